"""The containers that users give: arrays, DataFrames, Series. Rows and labels go back in these."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing

from kipsk._types import AnyArray, Floats, MatrixLike


def is_frame(given: MatrixLike) -> bool:
    """Return whether X or y is a DataFrame or Series, of pandas or polars."""
    return hasattr(given, "iloc") or type(given).__module__.partition(".")[0] == "polars"


def taken(given: MatrixLike, rows: ArrayLike) -> MatrixLike:
    """Return some rows of X or y by their numbers, in its container; those of a list as array."""
    given = np.asarray(given) if isinstance(given, list | tuple) else given
    return _safe_indexing(given, np.asarray(rows))


def rows_like(X: MatrixLike, rows: Floats) -> MatrixLike:
    """Return other rows of the features of X: a DataFrame of its columns, if it is one."""
    if not is_frame(X):
        return rows
    if hasattr(X, "iloc"):
        return type(X)(rows, columns=X.columns)
    return type(X)(rows, schema=X.columns)


def labels_like(y: MatrixLike, labels: AnyArray) -> MatrixLike:
    """Return labels of other rows, all of which y has too, in the container and dtype of y.

    Parameters
    ----------
    y : array-like of shape (n,)
        If it is a Series or a DataFrame of one column, the result is one of its name and dtype,
        with a new index.
    labels : ndarray of shape (n_other,)

    Returns
    -------
    labels : ndarray, Series or DataFrame with n_other rows
    """
    if not is_frame(y):
        return labels
    # A dtype such as "category" or "Int64" comes with the rows of y, and not with their labels.
    classes, firsts = np.unique(np.asarray(y).ravel(), return_index=True)
    like = taken(y, firsts[np.searchsorted(classes, labels)])
    return like.reset_index(drop=True) if hasattr(like, "iloc") else like
