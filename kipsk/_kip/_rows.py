"""Rows and weights as `Moments` reads them: a block at a time, checked and transformed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from kipsk._checks import check_not_images, check_option
from kipsk._data._containers import is_frame
from kipsk._kip._preprocess import transformed
from kipsk._types import Estimator, Float64s, Floats, MatrixLike


class Rows:
    """Rows that are read, checked and transformed when they are sliced."""

    def __init__(self, moments: Estimator, X: MatrixLike, is_first: bool) -> None:
        check_not_images("X", X)
        check_option("Moments", "dtype", moments.dtype, ("float32", "float64"))
        if not (hasattr(X, "shape") and (hasattr(X, "dtype") or is_frame(X))):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=moments)
        self._X, self._moments = X, moments
        # The first rows tell how many features there are, and what they are called.
        validate_data(moments, self._slice(slice(0, 2)), dtype=moments.dtype, reset=is_first)
        self._is_transformed = moments.preprocess is not None and moments.augment is None
        if moments.preprocess is not None:
            check_is_fitted(moments.preprocess)
        self.n_seen = self.seen(1).shape[1]
        width = self.n_seen if self._is_transformed else moments.n_features_in_
        self.shape = (X.shape[0], width)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> Floats:
        X = self.raw(rows)
        return self._transformed(X) if self._is_transformed else X

    def raw(self, rows: slice | int) -> Floats:
        """Return rows as they came, or the first so many."""
        part = self._slice(rows if isinstance(rows, slice) else slice(0, rows))
        moments = self._moments
        return validate_data(moments, part, dtype=moments.dtype, reset=False)

    def seen(self, n: int) -> Floats:
        """Return at most n rows, evenly spaced, as the kernel sees them."""
        step = max(1, -(-self._X.shape[0] // n))
        X = self.raw(slice(0, None, step))
        return X if self._moments.preprocess is None else self._transformed(X)

    def _slice(self, rows: slice) -> MatrixLike:
        return self._X.iloc[rows] if hasattr(self._X, "iloc") else self._X[rows]

    def _transformed(self, X: Floats) -> Floats:
        return transformed(self._moments.preprocess, X, self._moments.dtype)


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
