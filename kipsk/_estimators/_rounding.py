"""What the conversion to float32 takes from the rows that users give."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing

from kipsk._closed_form._centre import evenly
from kipsk._types import AnyArray, Floats, MatrixLike
from kipsk._warn import warn

# Rounding errors, in deviations of a column, that are noise of 1e-4 of its variance.
_BLURRED = 0.01


def warn_of_rounding(owner: str, given: MatrixLike, X: Floats, names: AnyArray | None) -> None:
    """Warn if the conversion of rows to float32 has blurred what a column tells apart.

    Parameters
    ----------
    owner : str
        The estimator that converted them.
    given : array-like of shape (n, n_features)
        X as the user gave it.
    X : ndarray of shape (n, n_features)
        What became of it.
    names : ndarray of shape (n_features,), or None
        Of the columns.
    """
    if X.dtype != np.float32 or getattr(given, "dtype", None) == np.float32:
        return
    which = evenly(X)
    rounded = X[which].astype(np.float64)
    # No number is rounded by more than half of eps times itself.
    most = np.finfo(np.float32).eps / 2 * np.abs(rounded).max(axis=0, initial=0)
    columns = np.flatnonzero(most > _BLURRED * rounded.std(axis=0))
    if not len(columns):
        return
    exact = np.asarray(_safe_indexing(given, which), dtype=np.float64)[:, columns]
    deviation = (exact - exact[0]).std(axis=0)  # of a constant column it is 0, without rounding
    error = np.abs(exact - rounded[:, columns]).max(axis=0)
    shares = np.divide(error, deviation, out=np.zeros_like(error), where=deviation > 0)
    worst = int(np.argmax(shares))
    if shares[worst] <= _BLURRED:
        return
    column = columns[worst]
    name = f"column {column}" if names is None else f"column {names[column]!r}"
    n_blurred = np.count_nonzero(shares > _BLURRED)
    warn(
        f"{owner} computes in float32, which has 7 digits. They are too few for {n_blurred} of the "
        f"{X.shape[1]} columns of X, most of all for {name}: its values are near "
        f"{exact[:, worst].mean():.3g}, their deviation is {deviation[worst]:.3g}, and rounding "
        f"changed them by up to {error[worst]:.3g}. Put StandardScaler in front, in a Pipeline, or "
        "set dtype='float64'."
    )
