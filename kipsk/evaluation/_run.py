"""The jobs of a comparison are done: sets are made, models are trained on them and scored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from time import perf_counter
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import clone

from kipsk._checks import check_predictions
from kipsk._interrupts import noted_interrupts
from kipsk._types import AnyArray, Estimator, MatrixLike
from kipsk.evaluation._jobs import Job, Row


def run(jobs: Sequence[Job], X: AnyArray, y: AnyArray, n_jobs: int | None) -> Iterator[Row]:
    """Yield the rows of all jobs as they are computed, in any order of the jobs."""
    if effective_n_jobs(n_jobs) == 1:
        for job in jobs:
            yield from _rows_of(job, X, y)
    else:
        parallel = Parallel(n_jobs, return_as="generator_unordered")
        for rows in parallel(delayed(_all_rows_of)(job, X, y) for job in jobs):
            yield from rows


def _all_rows_of(job: Job, X: AnyArray, y: AnyArray) -> list[Row]:
    return list(_rows_of(job, X, y))  # a generator cannot be sent from another process


def _rows_of(job: Job, X: AnyArray, y: AnyArray) -> Iterator[Row]:
    """Reduce the training rows, then train and score one model after the other."""
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
            predictions, expected = model.predict(reduced.X_test), y[job.test]
            found = check_predictions("The model", predictions, len(expected), y)
            row["accuracy"] = float(np.mean(found == expected))
            row["fit_seconds"] = seconds
        except Exception as error:
            row["error"] = _message(where, error)
        yield row


def _last(model: Estimator) -> Estimator:
    """Return the last step of a Pipeline, and any other model as it is."""
    return model.steps[-1][1] if hasattr(model, "steps") else model


class _Reduced(NamedTuple):
    """A reduced set with the test rows in the same units.

    ``classes`` are the classes of the columns of soft labels, and None for class labels.
    """

    X_s: MatrixLike
    y_s: MatrixLike
    X_test: AnyArray
    classes: AnyArray | None
    seconds: float


class _Sets:
    """The reduced sets of a job: each is made when a model first needs it.

    An exception that a reducer raises is kept too, and raised again for every other model.
    """

    def __init__(self, job: Job, X: AnyArray, y: AnyArray) -> None:
        self._job, self._X, self._y = job, X, y
        self._made: dict[str, _Reduced | Exception] = {}

    def labels_for(self, model: Estimator) -> str:
        """Return the kind of labels that a model is trained on: "soft" or "hard"."""
        takes_soft = "classes" in _last(model).get_params(deep=False)
        return "soft" if takes_soft and hasattr(self._job.reducer, "fit_distill") else "hard"

    def reduced(self, labels: str) -> _Reduced:
        """Return the set with these labels, or raise what the reducer raised."""
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
        if getattr(reducer, "preprocess_", None) is not None:  # X_s is in the units after it
            X_test = reducer.preprocess_.transform(X_test)
        return _Reduced(X_s, y_s, X_test, reducer.classes_ if labels == "soft" else None, seconds)

    @cached_property
    def _rows(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Training rows, their labels, and test rows, after `preprocess`."""
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
    """Raise `KeyboardInterrupt` after the block if the block caught one itself.

    At Ctrl-C `KIPDistiller` and scikit-learn's networks stop and keep what they have reached. A
    comparison must not write that down as a result.
    """
    with noted_interrupts() as interrupts:
        try:
            yield
        finally:
            if interrupts:
                raise KeyboardInterrupt
