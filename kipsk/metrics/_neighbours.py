"""Nearest rows and their distances, exact to rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array

from kipsk._checks import check_not_images
from kipsk._closed_form._centre import centre_of
from kipsk._engine._sizes import block_size_for, slices
from kipsk._types import Float64s, Floats, Ints


def checked_rows(
    name: str, X: ArrayLike, *, like: Floats | None = None, minimum: int = 1
) -> Floats:
    """Return finite rows in floating point, with as many features as the rows of `like`."""
    check_not_images(name, X)
    rows = check_array(
        X, dtype=[np.float64, np.float32], input_name=name, ensure_min_samples=minimum
    )
    if like is not None and rows.shape[1] != like.shape[1]:
        raise ValueError(
            f"{name} must have as many features as X, {like.shape[1]}. Got an array of shape "
            f"{rows.shape} instead."
        )
    return rows


def neighbours(
    A: Floats, X: Floats, k: int, block_size: int | str = "auto"
) -> tuple[Float64s, Ints]:
    """Return each row's distances to its k nearest rows of X, ascending, and their numbers."""
    centre = centre_of(X)
    # The search expands |a - x|^2. Far from zero nothing is left of small distances; elsewhere some
    # of their digits are lost, so the distances are computed anew below.
    origin = X.dtype.type(0) if centre is None else centre.astype(X.dtype)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute")
    search.fit(X if centre is None else X - origin)
    size = block_size_for(block_size, 1, 3 * X.shape[1], 8)
    distances = np.empty((len(A), k))
    indices = np.empty((len(A), k), np.intp)
    for s in slices(len(A), size):
        # In another dtype than X the search would copy X.
        near = (A[s] - origin).astype(X.dtype, copy=False)
        found = search.kneighbors(near, return_distance=False)
        for column, x in enumerate(found.T):
            distances[s, column] = np.linalg.norm(np.subtract(A[s], X[x], dtype=np.float64), axis=1)
        order = np.argsort(distances[s], axis=1, kind="stable")
        distances[s] = np.take_along_axis(distances[s], order, axis=1)
        indices[s] = np.take_along_axis(found, order, axis=1)
    return distances, indices


def nearest_others(A: Floats, own: Ints, X: Floats, k: int) -> Float64s:
    """Return the distances from each row of ``A = X[own]`` to its k nearest other rows of X."""
    distances, indices = neighbours(A, X, k + 1)
    distances[indices == own[:, None]] = np.inf
    return np.sort(distances, axis=1)[:, :k]
