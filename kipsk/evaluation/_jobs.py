"""The jobs of a comparison: a training set is reduced, and many models learn from it."""

from __future__ import annotations

import copy
import hashlib
import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from time import perf_counter
from typing import Any, NamedTuple, Self

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit, check_cv

from kipsk._storage._describe import describe

Row = dict[str, Any]

_TEST_SIZE = 0.2


class Cell(NamedTuple):
    """What one row of the results is of."""

    reducer: str
    model: str
    ipc: int | None
    seed: int
    split: int

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the cell of a row."""
        return cls(*(row[name] for name in cls._fields))

    def __str__(self) -> str:
        named = zip(self._fields, self, strict=True)
        return ", ".join(f"{name} {value!r}" for name, value in named if value is not None)


@dataclass(frozen=True)
class Job:
    """A reducer and the models that its sets train.

    Attributes
    ----------
    reducer : estimator or None
        With its parameters set; None is all rows.
    models : dict of Cell to estimator
        Likewise.
    preprocess : transformer or None
    train, test : ndarrays of int
        Numbers of the rows.
    """

    reducer: Any
    models: dict[Cell, Any]
    preprocess: Any
    train: NDArray[np.intp]
    test: NDArray[np.intp]

    def without(self, done: Any) -> Job:
        """Return the job with the models that are left to do."""
        return replace(self, models={c: m for c, m in self.models.items() if c not in done})


def seeded(estimator: Any, seed: int) -> Any:
    """Return a copy with every random_state, also those inside of it, set; None for None."""
    if estimator is None:
        return None
    names = estimator.get_params()
    random = [n for n in names if n == "random_state" or n.endswith("__random_state")]
    return clone(estimator).set_params(**dict.fromkeys(random, seed))


def has_ipc(reducer: Any) -> bool:
    """Return whether a reducer has the parameter ``ipc``."""
    return reducer is not None and "ipc" in reducer.get_params(deep=False)


def ipc_of(reducer: Any) -> int | None:
    """Return a reducer's parameter ``ipc``, None if it has none."""
    ipc = reducer.get_params(deep=False)["ipc"] if has_ipc(reducer) else None
    return int(ipc) if isinstance(ipc, Integral) else None


def _splits(
    X: NDArray[Any], y: NDArray[Any], n: int | None, cv: Any, seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the rows for training and for testing, of every split."""
    if n is not None:
        return [(np.arange(n), np.arange(n, len(X)))]
    if cv is None:
        cv = StratifiedShuffleSplit(1, test_size=_TEST_SIZE, random_state=seed)
    elif isinstance(cv, int | np.integer):
        cv = StratifiedKFold(cv, shuffle=True, random_state=seed)
    elif getattr(cv, "random_state", seed) is None:
        cv = copy.copy(cv)
        cv.random_state = seed
    return list(check_cv(cv, y, classifier=True).split(X, y))


def jobs_of(
    reducers: Mapping[str, Any],
    models: Mapping[str, Any],
    X: NDArray[Any],
    y: NDArray[Any],
    n: int | None,
    cv: Any,
    ipcs: list[int | None],
    seeds: Sequence[int],
    preprocess: Any,
) -> Iterator[Job]:
    """Yield all jobs, in the order of the results.

    Parameters
    ----------
    reducers, models : dict of str to estimator
    X, y : ndarrays of shape (n_samples, n_features) and (n_samples,)
        All rows.
    n : int or None
        If not None the rows from here on are the test set.
    cv : int, splitter, iterable or None
    ipcs : list of int or None
        Values for the reducers that have the parameter; None leaves it as it is.
    seeds : sequence of int
    preprocess : transformer or None
    """
    if isinstance(cv, Iterator):
        cv = list(cv)  # for every seed
    for seed in map(int, seeds):
        for split, (train, test) in enumerate(_splits(X, y, n, cv, seed)):
            for name, given in reducers.items():
                for ipc in ipcs if has_ipc(given) else [None]:
                    reducer = seeded(given, seed)
                    if ipc is not None:
                        reducer.set_params(ipc=ipc)
                    trained = {
                        Cell(name, of, ipc_of(reducer), seed, split): seeded(model, seed)
                        for of, model in models.items()
                    }
                    job = Job(reducer, trained, seeded(preprocess, seed), train, test)
                    if reducer is not None:
                        yield job
                    else:  # nothing is made for all models, so that none need wait for another
                        for cell in trained:
                            yield job.without(trained.keys() - {cell})


def fingerprints(jobs: list[Job], X: NDArray[Any], y: NDArray[Any]) -> dict[Cell, str]:
    """Return what the row of each cell depends on, as "data=1f3a... split=..."."""
    data = _hash(X, y)
    prints = {}
    for job in jobs:
        common = f"data={data} split={_hash(job.train, job.test)} "
        common += f"preprocess={_hash(job.preprocess)} reducer={_hash(job.reducer)}"
        for cell, model in job.models.items():
            prints[cell] = f"{common} model={_hash(model)}"
    return prints


def _hash(*values: Any) -> str:
    return hashlib.blake2b(describe(values).encode(), digest_size=4).hexdigest()


def run(jobs: list[Job], X: NDArray[Any], y: NDArray[Any], n_jobs: int | None) -> Iterator[Row]:
    """Yield the rows of all jobs as they come."""
    if effective_n_jobs(n_jobs) == 1:
        for job in jobs:
            yield from _run(job, X, y)
    else:
        parallel = Parallel(n_jobs, return_as="generator_unordered")
        for rows in parallel(delayed(_run_whole)(job, X, y) for job in jobs):
            yield from rows


def _run_whole(job: Job, X: NDArray[Any], y: NDArray[Any]) -> list[Row]:
    return list(_run(job, X, y))


def _run(job: Job, X: NDArray[Any], y: NDArray[Any]) -> Iterator[Row]:
    """Reduce, then train and score one model after the other."""
    blank = {"n_rows": None, "labels": "", "accuracy": math.nan}
    blank |= {"reduce_seconds": math.nan, "fit_seconds": math.nan, "error": ""}
    sets = _Sets(job, X, y)
    for cell, model in job.models.items():
        row = {**cell._asdict(), **blank}
        where = "before the model"
        try:
            row["labels"] = sets.labels_for(model)
            reduced = sets.reduced(row["labels"])
            row["n_rows"], row["reduce_seconds"] = len(reduced.X_s), reduced.seconds
            where = "model"
            if reduced.classes is not None:
                _last(model).set_params(classes=reduced.classes)
            start = perf_counter()
            with _interrupt_is_final():
                model.fit(reduced.X_s, reduced.y_s)
            seconds = perf_counter() - start
            row["accuracy"] = float(np.mean(model.predict(reduced.X_test) == y[job.test]))
            row["fit_seconds"] = seconds
        except Exception as error:
            row["error"] = _message(where, error)
        yield row


def _last(model: Any) -> Any:
    """Return the model, of a Pipeline the one at its end."""
    return model.steps[-1][1] if hasattr(model, "steps") else model


class _Reduced(NamedTuple):
    """A reduced set, the test rows in its units, and the classes of soft labels' columns."""

    X_s: Any
    y_s: Any
    X_test: NDArray[Any]
    classes: Any
    seconds: float


class _Sets:
    """The reduced sets of a job, each made when a model first needs it; failures are kept, too."""

    def __init__(self, job: Job, X: NDArray[Any], y: NDArray[Any]) -> None:
        self._job, self._X, self._y = job, X, y
        self._made: dict[str, _Reduced | Exception] = {}

    def labels_for(self, model: Any) -> str:
        """Return the kind of labels that a model is trained on."""
        takes_soft = "classes" in _last(model).get_params(deep=False)
        return "soft" if takes_soft and hasattr(self._job.reducer, "fit_distill") else "hard"

    def reduced(self, labels: str) -> _Reduced:
        """Return the set with these labels; raises what made it fail."""
        if labels not in self._made:
            try:
                self._made[labels] = self._reduce(labels)
            except Exception as error:
                self._made[labels] = error
        made = self._made[labels]
        if isinstance(made, Exception):
            raise made
        return made

    def _reduce(self, labels: str) -> _Reduced:
        X_train, y_train, X_test = self._rows
        if self._job.reducer is None:
            return _Reduced(X_train, y_train, X_test, None, 0.0)
        reducer = clone(self._job.reducer)
        start = perf_counter()
        with _interrupt_is_final():
            reduce = reducer.fit_distill if labels == "soft" else reducer.fit_resample
            X_s, y_s = reduce(X_train, y_train)
        seconds = perf_counter() - start
        if getattr(reducer, "preprocess_", None) is not None:  # the set is in these units
            X_test = reducer.preprocess_.transform(X_test)
        return _Reduced(X_s, y_s, X_test, reducer.classes_ if labels == "soft" else None, seconds)

    @cached_property
    def _rows(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return training rows, their labels, and test rows, all preprocessed."""
        job, X, y = self._job, self._X, self._y
        X_train, y_train, X_test = X[job.train], y[job.train], X[job.test]
        if job.preprocess is not None:
            X_train = job.preprocess.fit(X_train, y_train).transform(X_train)
            X_test = job.preprocess.transform(X_test)
        return X_train, y_train, X_test


def _message(where: str, error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(f"{where}: {type(error).__name__}: {error}".split())


@contextmanager
def _interrupt_is_final() -> Iterator[None]:
    """Raise `KeyboardInterrupt` after the block if one was caught inside of it.

    At Ctrl-C `KIPDistiller` and scikit-learn's networks stop and keep what they have: no result to
    write down.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    interrupts = []

    def note(number: int, frame: Any) -> None:
        interrupts.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupts:
            raise KeyboardInterrupt
