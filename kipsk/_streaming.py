"""Training rows a batch at a time, from arrays that need not fit in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from kipsk._checks import check_not_images, refuse
from kipsk._distiller import Data
from kipsk._settings import Settings
from kipsk._start import Start
from kipsk._targets import encode, one_hot


class Stream(NamedTuple):
    """What `partial_fit` goes on from: plain objects and numpy.

    Attributes
    ----------
    start : Start
    leaves : list of ndarrays
        The optimiser's state.
    rng_state : object
        Of the generator of batches.
    """

    start: Start
    leaves: list[NDArray[Any]]
    rng_state: Any

    def rng(self) -> np.random.RandomState:
        """Return the generator as it was left."""
        rng = np.random.RandomState()
        rng.set_state(self.rng_state)
        return rng


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
        return Data(part, self.classes, codes, one_hot(codes, len(self.classes), part.dtype))


def check_streaming(estimator: Any) -> None:
    """Refuse parameters that need all data at once."""
    name = type(estimator).__name__
    for parameter, off in (("early_stopping", False), ("checkpoint_path", None)):
        value = getattr(estimator, parameter)
        if value is not None and value is not False:
            rule = f"{off} in partial_fit, which sees no other rows and is saved by pickling"
            raise refuse(name, parameter, rule, value)


def streaming_rates(
    estimator: Any, settings: Settings, done: int, n_steps: int
) -> NDArray[np.floating]:
    """Return the sizes of the next steps: constant, unless the schedule is a function."""
    if not callable(estimator.schedule) or settings.rates[0] < 0:  # an optax transformation's
        first = settings.rates[0] if settings.rates[0] < 0 else settings.learning_rate
        return np.full(n_steps, first)
    factors = [float(estimator.schedule(step)) for step in range(done, done + n_steps)]
    return settings.learning_rate * np.array(factors)
