"""Rows, targets and weights as `Moments` reads them: checked, and rows a block at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from kipsk._checks import check_labels, check_not_images, check_option, refuse
from kipsk._data._classes import known_codes
from kipsk._data._containers import is_frame, rows_like
from kipsk._data._labels import encode
from kipsk._estimators._rounding import warn_of_outliers, warn_of_rounding
from kipsk._kip._preprocess import transformed
from kipsk._types import AnyArray, Estimator, Float64s, Floats, Ints, MatrixLike

# Rows that are looked at for what float32 takes from them.
_LOOKED_AT = 1000


class Rows:
    """Rows that are read, checked and transformed when they are sliced."""

    def __init__(self, moments: Estimator, X: MatrixLike, is_first: bool) -> None:
        check_not_images("X", X)
        check_option("Moments", "dtype", moments.dtype, ("float32", "float64"))
        if issparse(X):
            check_array(X, estimator=moments)  # says that X must be dense
        if not (hasattr(X, "shape") and (hasattr(X, "dtype") or is_frame(X))):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=moments)
        self._X, self._moments = X, moments
        # The first rows tell how many features there are, and what they are called.
        validate_data(moments, self._slice(slice(0, 2)), dtype=moments.dtype, reset=is_first)
        self._is_transformed = moments.preprocess is not None and moments.augment is None
        if moments.preprocess is not None:
            check_is_fitted(moments.preprocess)
        if is_first:  # later rows would repeat it
            given = self._slice(self._spread(_LOOKED_AT))
            names = getattr(moments, "feature_names_in_", None)
            part = validate_data(moments, given, dtype=moments.dtype, reset=False)
            warn_of_rounding("Moments", given, part, names)
            if moments.augment is None and moments.epsilon is None:
                warn_of_outliers("Moments", self.transformed(part))
        self.n_seen = self.seen(1).shape[1]
        width = self.n_seen if self._is_transformed else moments.n_features_in_
        self.shape = (X.shape[0], width)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> Floats:
        X = self.raw(rows)
        return self.transformed(X) if self._is_transformed else X

    def raw(self, rows: slice | int) -> Floats:
        """Return rows as they came, or the first so many."""
        part = self._slice(rows if isinstance(rows, slice) else slice(0, rows))
        moments = self._moments
        return validate_data(moments, part, dtype=moments.dtype, reset=False)

    def seen(self, n: int) -> Floats:
        """Return at most n rows, evenly spaced, as the kernel sees them."""
        return self.transformed(self.raw(self._spread(n)))

    def transformed(self, X: Floats) -> Floats:
        """Return raw rows as `preprocess` makes them, which gets the names it was fitted with."""
        transformer = self._moments.preprocess
        if transformer is None or not len(X):
            return X
        rows = rows_like(self._X, X) if hasattr(transformer, "feature_names_in_") else X
        return transformed(transformer, rows, self._moments.dtype)

    def _spread(self, n: int) -> slice:
        """Return at most n rows, evenly spaced."""
        return slice(0, None, max(1, -(-self._X.shape[0] // n)))

    def _slice(self, rows: slice) -> MatrixLike:
        return self._X.iloc[rows] if hasattr(self._X, "iloc") else self._X[rows]


class UnitVectors:
    """The unit vector of each row's class, made when rows are sliced: all may not fit in memory."""

    def __init__(self, codes: Ints, n_classes: int) -> None:
        self._codes = codes
        self.shape = (len(codes), n_classes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Float64s:
        codes = self._codes[rows]
        vectors = np.zeros((len(codes), self.shape[1]))
        vectors[np.arange(len(codes)), codes] = 1
        return vectors


def targets_of(moments: Estimator, y: MatrixLike) -> tuple[Floats | UnitVectors, bool]:
    """Return the targets of each row, and whether y has one dimension."""
    if moments.classes is None:
        y = np.asarray(y)
        if y.dtype.kind in "USmMVO":
            rule = f"the class labels that y holds, whose dtype is {y.dtype}"
            raise refuse("Moments", "classes", rule, None)
        if moments.epsilon is not None:
            raise refuse("Moments", "epsilon", "None without 'classes'", moments.epsilon)
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        return y.reshape(len(y), -1), y.ndim == 1
    check_labels(y)
    classes, y = classes_of(moments), column_or_1d(y, warn=True)
    return UnitVectors(known_codes(y, classes, "'classes'"), len(classes)), True


def classes_of(moments: Estimator) -> AnyArray:
    """Return the sorted classes that the parameters name."""
    given = moments.classes
    classes = None if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if classes is None or any(np.ndim(one) for one in classes):
        rule = "None, or a list of all class labels that will ever come, such as range(10)"
        raise refuse("Moments", "classes", rule, given)
    check_labels(classes)
    return encode("Moments", np.asarray(classes))[0]


def weights(sample_weight: ArrayLike | None, n: int) -> Float64s:
    """Return the weight of each row."""
    if sample_weight is None:
        return np.ones(n)
    weight = check_array(
        sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weight.shape != (n,) or (weight < 0).any() or not weight.any():
        raise ValueError(
            f"sample_weight must be {n} numbers >= 0, one for each row, and not all zero. Got an "
            f"array of shape {weight.shape} whose smallest entry is "
            f"{weight.min(initial=np.inf):.3g} instead."
        )
    return weight
