"""Reducers and models that count their fits, and fail or kill a run when told to."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier

from kipsk.evaluation import compare

SETTINGS = ["reducer", "model", "ipc", "seed", "split"]
COLUMNS = [
    *SETTINGS,
    "n_rows",
    "labels",
    "accuracy",
    "reduce_seconds",
    "fit_seconds",
    "error",
    "full_fit_seconds",
    "speed_up",
    "speed_up_with_reduction",
]
NN = KNeighborsClassifier(1)
RESULT = [*SETTINGS, "n_rows", "labels", "accuracy", "error"]  # all that no clock enters
# Fits of the stubs below, by name.
FITS: Counter[str] = Counter()
# The fit of a model that is interrupted, by name.
KILL: dict[str, int] = {}


class Sample(BaseEstimator):
    """Some random rows of each class."""

    def __init__(self, ipc=2, random_state=None, name="sample", fails=False):
        self.ipc = ipc
        self.random_state = random_state
        self.name = name
        self.fails = fails

    def fit_resample(self, X, y):
        FITS[self.name] += 1
        if self.fails:
            raise RuntimeError("no\nrows, sorry")
        rng = np.random.RandomState(self.random_state)
        rows = [rng.permutation(np.flatnonzero(y == c))[: self.ipc] for c in np.unique(y)]
        return X[np.concatenate(rows)], y[np.concatenate(rows)]


class Model(ClassifierMixin, BaseEstimator):
    """Predicts one class; counts its fits, and on a given one kills the run."""

    def __init__(self, name="model", predicts=0, fails=False, random_state=None):
        self.name = name
        self.predicts = predicts
        self.fails = fails
        self.random_state = random_state

    def fit(self, X, y):
        FITS[self.name] += 1
        if FITS[self.name] == KILL.get(self.name):
            raise KeyboardInterrupt
        if self.fails:
            raise ValueError('too few,\n"rows"')
        return self

    def predict(self, X):
        return np.full(len(X), self.predicts)


class SoftModel(Model):
    """Takes soft labels; keeps what it was given."""

    seen: list = []

    def __init__(self, classes=None):
        super().__init__("soft")
        self.classes = classes

    def fit(self, X, y):
        self.seen.append((X, y, self.classes))
        self.fitted_ = True  # a Pipeline asks
        return self

    def predict(self, X):
        return np.full(len(X), self.classes[0] if self.classes is not None else 0)


def same(one, other):
    for name in RESULT:
        assert_array_equal(list(map(str, one[name])), list(map(str, other[name])), name)


def counted(path, blobs, **params):
    reducers = {"all": None, "a": Sample(name="a"), "b": Sample(name="b")}
    models = {"one": Model("one"), "two": Model("two"), "three": Model("three", predicts=1)}
    return compare(reducers, models, *blobs, path=path, seeds=[0, 1], **params)
