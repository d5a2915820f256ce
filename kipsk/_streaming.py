"""Training rows a batch at a time, from arrays that need not fit in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from kipsk._checkpoint import describe
from kipsk._checks import check_not_images, refuse
from kipsk._coding import ClassCoding, Data
from kipsk._optimize import is_transformation
from kipsk._settings import Settings
from kipsk._start import Start
from kipsk._targets import encode, one_hot

# Parameters that may change between two calls.
_FREE = {
    "batch_size",
    "block_size",
    "checkpoint_interval",
    "learning_rate",
    "max_iter",
    "n_iter_no_change",
    "random_state",
    "schedule",
    "validation_fraction",
    "verbose",
    "warm_start",
}


class Stream(NamedTuple):
    """What `partial_fit` goes on from: plain objects and numpy.

    Attributes
    ----------
    start : Start
    leaves : list of ndarrays
        The optimiser's state.
    rng : RandomState
        Of the batches, as it was left.
    facts : dict of str to str
        Parameters that must stay what they were.
    """

    start: Start
    leaves: list[NDArray[Any]]
    rng: np.random.RandomState
    facts: dict[str, str]

    @classmethod
    def facts_of(cls, estimator: Any) -> dict[str, str]:
        """Return the facts of an estimator."""
        params = estimator.get_params(deep=False)
        return {name: describe(params[name]) for name in params.keys() - _FREE}

    def check(self, estimator: Any) -> None:
        """Refuse parameters that are not what they were in the first call."""
        for name, now in sorted(self.facts_of(estimator).items()):
            if now != self.facts[name]:
                rule = f"what it was in the first call of partial_fit, {self.facts[name]}"
                value = estimator.get_params(deep=False)[name]
                raise ValueError(
                    f"{refuse(type(estimator).__name__, name, rule, value)} Begin anew with a "
                    "clone, or with `fit`."
                )


class Reader:
    """Validated batches of one call's rows.

    Parameters
    ----------
    estimator : KIPDistiller
    X : array-like of shape (n_samples, n_features)
        A memory-mapped array stays on the disk.
    y : array-like of shape (n_samples,)
    classes : array-like or None
        As the call was given them.
    known : ndarray or None
        As an earlier call was.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,)
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, classes: ArrayLike | None, known: Any
    ) -> None:
        name = type(estimator).__name__
        check_not_images("X", X)
        self._estimator = estimator
        # Arrays of h5py and zarr have a shape and are indexed too.
        is_array = hasattr(X, "shape") and hasattr(X, "dtype") and not issparse(X)
        if not (is_array or hasattr(X, "iloc")):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)
        self._X = X
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        if not len(y):
            raise ValueError(f"{name}.partial_fit needs at least 1 row. Got X of shape {X.shape}.")
        if known is None and classes is None:
            raise refuse(name, "classes", "given in the first call of partial_fit", None)
        given = known if classes is None else encode(name, np.asarray(classes))[0]
        if known is not None and not np.array_equal(given, known):
            raise refuse(name, "classes", f"those of the first call, {known.tolist()}", classes)
        unknown = np.setdiff1d(y, given)
        if len(unknown):
            raise ValueError(
                f"y holds labels that are not among the classes of the first call of partial_fit: "
                f"{unknown[:5].tolist()}. Name all of them there."
            )
        self.classes = given
        self.codes = np.searchsorted(given, y)

    def read(self, index: NDArray[np.intp], reset: bool = False) -> Data:
        """Return some rows, in the order of the file."""
        index = np.sort(index)
        part = self._X.iloc[index] if hasattr(self._X, "iloc") else self._X[index]
        estimator = self._estimator
        part = validate_data(estimator, part, dtype=estimator.dtype, reset=reset)
        codes = self.codes[index]
        targets = one_hot(codes, len(self.classes), part.dtype)
        return Data(part, ClassCoding(self.classes), codes, targets)


def check_streaming(estimator: Any) -> None:
    """Refuse parameters that need all data at once."""
    name = type(estimator).__name__
    for parameter, off in (
        ("early_stopping", False),
        ("checkpoint_path", None),
        ("snapshots", None),
    ):
        value = getattr(estimator, parameter)
        if value is not None and value is not False:
            rule = f"{off} in partial_fit, which sees no other rows and is saved by pickling"
            raise refuse(name, parameter, rule, value)


def streaming_rates(
    estimator: Any, settings: Settings, done: int, n_steps: int
) -> NDArray[np.floating]:
    """Return the sizes of the next steps: constant, unless the schedule is a function."""
    if is_transformation(estimator.optimizer):
        return np.full(n_steps, settings.rates[0])
    if not callable(estimator.schedule):
        return np.full(n_steps, settings.learning_rate)
    factors = [float(estimator.schedule(step)) for step in range(done, done + n_steps)]
    return settings.learning_rate * np.array(factors)
