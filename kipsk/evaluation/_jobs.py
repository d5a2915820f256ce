"""The jobs of a comparison: in each of them a training set is reduced and models learn from it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit, check_cv

from kipsk._storage._describe import describe, in_one_dtype
from kipsk._types import AnyArray, Estimator, Given, Ints

#: A row of the results: the names of the columns and their values.
Row: TypeAlias = dict[str, Any]

#: The numbers of the rows for training and of the rows for testing.
Split: TypeAlias = tuple[Ints, Ints]

#: What the fingerprint of a row names, in this order.
FINGERPRINTED = ["data", "split", "preprocess", "reducer", "model"]

_TEST_SIZE = 0.2


class Cell(NamedTuple):
    """What identifies one row of the results."""

    reducer: str
    model: str
    ipc: int | None
    seed: int
    split: int

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the cell that a row is the result of."""
        return cls(*(row[name] for name in cls._fields))

    def __str__(self) -> str:
        named = zip(self._fields, self, strict=True)
        return ", ".join(f"{name} {value!r}" for name, value in named if value is not None)


@dataclass(frozen=True)
class Job:
    """A reducer, and the models that are trained on its sets.

    Attributes
    ----------
    reducer : estimator or None
        With its seed and its `ipc` set. None stands for all rows.
    models : dict of Cell to estimator
        With their seeds set.
    preprocess : transformer or None
    train, test : ndarrays of int
        The numbers of the rows.
    """

    reducer: Estimator
    models: dict[Cell, Estimator]
    preprocess: Estimator
    train: Ints
    test: Ints

    def without(self, done: Container[Cell]) -> Job:
        """Return the job with the models that are still to be trained."""
        return replace(self, models={c: m for c, m in self.models.items() if c not in done})


def seeded(estimator: Estimator, seed: int) -> Estimator:
    """Return a copy whose every random_state is `seed`, also inside it; None for None."""
    if estimator is None:
        return None
    names = estimator.get_params()
    random = [n for n in names if n == "random_state" or n.endswith("__random_state")]
    return clone(estimator).set_params(**dict.fromkeys(random, seed))


def has_ipc(reducer: Estimator) -> bool:
    """Return whether a reducer has the parameter ``ipc``."""
    return reducer is not None and "ipc" in reducer.get_params(deep=False)


def ipc_of(reducer: Estimator) -> int | None:
    """Return a reducer's parameter ``ipc``, or None if it has no such parameter."""
    ipc = reducer.get_params(deep=False)["ipc"] if has_ipc(reducer) else None
    return int(ipc) if isinstance(ipc, Integral) else None


def splits_by_seed(
    X: AnyArray, y: AnyArray, n_train: int | None, cv: Given
) -> Callable[[int], list[Split]]:
    """Return a function from a seed to the splits of the rows under this seed.

    Parameters
    ----------
    X, y : ndarrays of shape (n_samples, n_features) and (n_samples,)
        All rows and their labels.
    n_train : int or None
        If not None, the first `n_train` rows are the training set and all others the test set.
    cv : int, splitter, iterable or None
        As in `compare`.
    """
    if isinstance(cv, Iterator):
        cv = list(cv)  # an iterator could be read for the first seed only
    return partial(_splits, X, y, n_train, cv)


def _splits(X: AnyArray, y: AnyArray, n_train: int | None, cv: Given, seed: int) -> list[Split]:
    if n_train is not None:
        return [(np.arange(n_train), np.arange(n_train, len(X)))]
    if cv is None:
        cv = StratifiedShuffleSplit(1, test_size=_TEST_SIZE, random_state=seed)
    elif isinstance(cv, int | np.integer):
        cv = StratifiedKFold(cv, shuffle=True, random_state=seed)
    elif getattr(cv, "random_state", seed) is None:
        cv = copy.copy(cv)
        cv.random_state = seed
    return list(check_cv(cv, y, classifier=True).split(X, y))


def jobs_of(
    reducers: Mapping[str, Estimator],
    models: Mapping[str, Estimator],
    splits: Callable[[int], list[Split]],
    *,
    ipcs: Sequence[int | None],
    seeds: Sequence[int],
    preprocess: Estimator,
) -> Iterator[Job]:
    """Yield all jobs, in the order of the results.

    Parameters
    ----------
    reducers, models : dict of str to estimator
        A reducer that is None stands for all rows.
    splits : callable
        From a seed to its splits: `splits_by_seed`.
    ipcs : sequence of int or None
        Values for the reducers that have the parameter ``ipc``; None leaves it as it is.
    seeds : sequence of int
    preprocess : transformer or None
    """
    for seed in map(int, seeds):
        for split, (train, test) in enumerate(splits(seed)):
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
                    else:  # the models share no reduced set, so each of them is a job of its own
                        for cell in trained:
                            yield job.without(trained.keys() - {cell})


def fingerprints(jobs: Sequence[Job], X: AnyArray, y: AnyArray) -> dict[Cell, str]:
    """Return what the row of each cell depends on, as "data=1f3a... split=..."."""
    data = _hash(X, in_one_dtype(y))
    prints = {}
    for job in jobs:
        common = f"data={data} split={_hash(job.train, job.test)} "
        common += f"preprocess={_hash(job.preprocess)} reducer={_hash(job.reducer)}"
        for cell, model in job.models.items():
            prints[cell] = f"{common} model={_hash(model)}"
    return prints


def _hash(*values: object) -> str:
    return hashlib.blake2b(describe(values).encode(), digest_size=4).hexdigest()
