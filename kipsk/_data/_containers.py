"""The containers that users give, such as DataFrames: rows and labels go back in these."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing

from kipsk._data._labels import single_labels
from kipsk._types import AnyArray, Floats, MatrixLike


def is_frame(given: MatrixLike) -> bool:
    """Return whether X or y is a DataFrame or Series, of pandas or polars."""
    return hasattr(given, "iloc") or type(given).__module__.partition(".")[0] == "polars"


def with_dense_columns(X: MatrixLike) -> MatrixLike:
    """Return a DataFrame of pandas' sparse columns with dense ones, anything else as it is."""
    # The accessor is there only if all columns are sparse.
    return X.sparse.to_dense() if is_frame(X) and hasattr(X, "sparse") else X


def taken(given: MatrixLike, rows: ArrayLike) -> MatrixLike:
    """Return some rows of X or y by their numbers, in its container; those of a tuple as array."""
    if isinstance(given, list):
        return [given[row] for row in np.asarray(rows).tolist()]
    given = np.asarray(given) if isinstance(given, tuple) else given
    return _safe_indexing(given, np.asarray(rows))


def rows_like(X: MatrixLike, rows: Floats) -> MatrixLike:
    """Return other rows of the features of X: a DataFrame of its columns, if it is one.

    Columns that pandas stores as sparse numbers with a fraction are sparse in the result too.
    """
    if not is_frame(X):
        return rows
    if not hasattr(X, "iloc"):
        return type(X)(rows, schema=X.columns)
    frame = type(X)(rows, columns=X.columns)
    is_sparse = [hasattr(dtype, "fill_value") and dtype.kind == "f" for dtype in X.dtypes]
    return frame.astype(dict(X.dtypes[is_sparse])) if any(is_sparse) else frame


def list_like(given: MatrixLike, rows: MatrixLike) -> MatrixLike:
    """Return rows as a list if X was one, and as they are if not."""
    is_array = isinstance(rows, np.ndarray)
    return rows.tolist() if isinstance(given, list) and is_array else rows


def labels_like(y: MatrixLike, labels: AnyArray) -> MatrixLike:
    """Return labels of other rows, all of which y has too, in the container and dtype of y.

    Parameters
    ----------
    y : array-like of shape (n,)
        If it is a Series or a DataFrame of one column, the result is one of its name and dtype,
        with a new index. If it is one-vs-all, of shape (n, n_classes), so is the result.
    labels : ndarray of shape (n_other,)
        Of one-vs-all labels the numbers of columns.

    Returns
    -------
    labels : ndarray, list, Series or DataFrame with n_other rows
    """
    single = single_labels(y)
    if single is y and not isinstance(y, list) and not is_frame(y):
        return labels
    # A dtype such as "category" or "Int64" comes with the rows of y, and not with their labels.
    classes, firsts = np.unique(np.asarray(single).ravel(), return_index=True)
    like = taken(y, firsts[np.searchsorted(classes, labels)])
    return like.reset_index(drop=True) if hasattr(like, "iloc") else like
