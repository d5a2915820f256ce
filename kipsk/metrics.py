"""Properties of distilled rows: size, nearness to training rows, intrinsic dimension.

Distances are Euclidean, in the units of the features that are given: scale the features first if
their units differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array, check_random_state

from kipsk._checks import check_integer, check_not_images
from kipsk._engine._sizes import block_size_for, slices

__all__ = [
    "Compression",
    "DistanceToTraining",
    "compression_ratio",
    "distance_to_training",
    "intrinsic_dimension",
    "nearest_rows",
    "sample_dimension",
    "snapshot_dimensions",
]

# Rows whose distances are the reference where none are given: their median is off by 4 % of the
# spread of the distances.
_MAX_REFERENCE_ROWS = 1000
# Share of the rows, those of the largest ratios, that Facco et al. leave out of their fit.
_DISCARDED = 0.1


class DistanceToTraining(NamedTuple):
    """How near distilled rows are to training rows, and how near other real rows are."""

    median: float  #: of the distilled rows' distances to their nearest training row
    reference_median: float  #: the same of real rows
    ratio: float  #: median / reference_median
    smallest_ratio: float  #: the smallest distance of a distilled row / reference_median


class Compression(NamedTuple):
    """How many times smaller a distilled set is than the training set."""

    rows: float  #: rows of the training set over those of the distilled set
    bytes: float  #: the same of the memory that rows and labels take


def compression_ratio(X_s: ArrayLike, y_s: ArrayLike, X: ArrayLike, y: ArrayLike) -> Compression:
    """Return how many times smaller a distilled set is than the training set.

    In bytes it is often less than in rows: a soft label is as many numbers as there are classes,
    and learned rows are floating point where pixels may be of one byte.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows.
    y_s : array-like of shape (n_s,), (n_s, n_classes) or (n_s, n_outputs)
        Their labels or targets.
    X : array-like of shape (n, ...)
        Training rows, in the dtype that they are kept in.
    y : array-like of shape (n,) or (n, n_outputs)
        Their labels or targets.

    Returns
    -------
    Compression
        ``rows`` and ``bytes``, both the training set's over the distilled set's. Bytes are those
        of the uncompressed arrays as they are given.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.metrics import compression_ratio
    >>> X, y = np.zeros((1000, 64), dtype=np.uint8), np.zeros(1000, dtype=np.uint8)
    >>> X_s, y_s = np.zeros((10, 64), dtype=np.float32), np.zeros((10, 10))
    >>> compression_ratio(X_s, y_s, X, y)
    Compression(rows=100.0, bytes=19.3...)
    """
    given = {"X_s": X_s, "y_s": y_s, "X": X, "y": y}
    arrays = {name: np.asarray(value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.dtype == object:
            raise ValueError(
                f"{name} must be an array of numbers or of strings of one length, whose bytes can "
                "be counted. Got dtype object instead: pass np.asarray(y.astype(str)), or numbers."
            )
    for rows, labels in (("X_s", "y_s"), ("X", "y")):
        n, n_labels = (len(np.atleast_1d(arrays[name])) for name in (rows, labels))
        if not n or n != n_labels:
            raise ValueError(
                f"{rows} and {labels} must have equally many rows, and some. Got {n} and "
                f"{n_labels} instead."
            )
    size = {name: array.nbytes for name, array in arrays.items()}
    return Compression(
        len(arrays["X"]) / len(arrays["X_s"]),
        (size["X"] + size["y"]) / (size["X_s"] + size["y_s"]),
    )


def nearest_rows(
    X_s: ArrayLike, X: ArrayLike, *, block_size: int | str = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return each row's distance to its nearest row of X, and which row that is.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows.
    X : array-like of shape (n, n_features)
        Real rows. There is no copy of them, nor a matrix of (n_s, n), if they are a C-contiguous
        array of float32 or float64.
    block_size : int or "auto", default="auto"
        Rows of X_s at a time. "auto" bounds the memory.

    Returns
    -------
    distances : ndarray of shape (n_s,)
        Euclidean, in float64 and exact to rounding: that of a copy is 0.
    indices : ndarray of shape (n_s,)
        Rows of X.

    Examples
    --------
    >>> from kipsk.metrics import nearest_rows
    >>> distances, indices = nearest_rows([[3.0, 4.0]], [[9.0, 9.0], [0.0, 0.0]])
    >>> distances, indices
    (array([5.]), array([1]))
    """
    if block_size != "auto":
        check_integer("nearest_rows", "block_size", block_size, minimum=1, also=' or "auto"')
    rows = _checked("X", X)
    distances, indices = _neighbours(_checked("X_s", X_s, like=rows), rows, 1, block_size)
    return distances[:, 0], indices[:, 0]


def distance_to_training(
    X_s: ArrayLike, X: ArrayLike, X_reference: ArrayLike | None = None, *, random_state: Any = None
) -> DistanceToTraining:
    """Return how near distilled rows are to training rows, next to how near other real rows are.

    A check for memorised rows, known for synthetic data as the distance to the closest record.
    A ratio near 0 says that distilled rows are copies of training rows, with small changes; near
    or above 1, that they are no nearer than a real row that was not in the training set. In
    between there need not be a copy: with many features the mean of many rows is at about 0.7 of
    the distance between two of them.

    It is no guarantee of privacy. A training row plus large noise is far from it and still shows
    it, so ratios above 1 exclude nothing; other transformations of a row (shifted, mirrored, or of
    another contrast) are not looked for; and labels tell of training rows, too.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows.
    X : array-like of shape (n, n_features)
        Training rows.
    X_reference : array-like of shape (n_reference, n_features), default=None
        Real rows of the same distribution that are not in X, such as a test set. None takes
        training rows, 1000 at random if there are more, and the nearest other row of X.
    random_state : int, RandomState or None, default=None
        For these 1000.

    Returns
    -------
    DistanceToTraining
        ``median``, ``reference_median``: medians of the distances from a row to its nearest
        training row, over X_s and over the reference rows; ``ratio`` of the first to the second;
        ``smallest_ratio``, of the smallest distance over X_s to the second, which is 0 if a row is
        a copy.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from kipsk.metrics import distance_to_training
    >>> X, _ = load_digits(return_X_y=True)
    >>> distance_to_training(X[:10], X[:900], X[900:]).ratio
    0.0
    """
    rows = _checked("X", X, minimum=2 if X_reference is None else 1)
    distances, _ = _neighbours(_checked("X_s", X_s, like=rows), rows, 1)
    if X_reference is None:
        chosen = check_random_state(random_state).permutation(len(rows))[:_MAX_REFERENCE_ROWS]
        reference = _nearest_others(rows[chosen], chosen, rows, 1)
        advice = "drop the repeated rows of X"
    else:
        reference, _ = _neighbours(_checked("X_reference", X_reference, like=rows), rows, 1)
        advice = "pass an X_reference without rows of X"
    scale = float(np.median(reference))
    if scale == 0:
        raise ValueError(
            f"At least half of the {len(reference)} reference rows must differ from all other "
            f"rows of X. Got a median distance of 0 instead: {advice}."
        )
    median = float(np.median(distances))
    return DistanceToTraining(median, scale, median / scale, float(distances.min()) / scale)


def intrinsic_dimension(X: ArrayLike) -> float:
    """Return the dimension of the manifold that rows lie on, estimated by two-NN.

    Facco et al. 2017, arXiv 1803.06992. Where the density is constant as far as the second nearest
    row, the ratio mu of a row's distances to its second and to its nearest row has the
    distribution ``F(mu) = 1 - mu^-dimension``. The estimate is theirs: the slope of the line
    through the origin that fits ``-log(1 - F)`` to ``log mu``, by least squares, without the
    tenth of the rows with the largest mu; F is the rank over the number of rows.

    Its standard error is about ``1.5 / sqrt(n)`` of it. It is too small where many rows are near an
    edge of the manifold, which in high dimensions is most of them: for 1000 rows in a cube by 2 %
    in two dimensions and by 15 % in ten. Noise has a dimension of its own, on its scale.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        A repeated row counts once. The time goes with n^2 n_features.

    Returns
    -------
    dimension : float
        inf if nearly all rows have two nearest ones at the same distance, as on a grid.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.metrics import intrinsic_dimension
    >>> plane = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> round(intrinsic_dimension(plane @ [[1, 0, 2], [0, 1, 2]]), 1)
    2.0
    """
    rows = _checked("X", X)
    # Adding 0 makes -0 the number that it equals.
    distinct = list({(row + 0.0).tobytes(): number for number, row in enumerate(rows)}.values())
    if len(distinct) < 3:
        raise ValueError(
            "intrinsic_dimension needs at least 3 different rows in X. Got "
            f"{len(distinct)} instead, of {len(rows)} rows."
        )
    if len(distinct) < len(rows):
        rows = rows[distinct]
    n = len(rows)
    nearest = _nearest_others(rows, np.arange(n), rows, 2)
    log_mu = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))[: int((1 - _DISCARDED) * n)]
    survival = -np.log1p(-np.arange(1, len(log_mu) + 1) / n)
    squares = float(log_mu @ log_mu)
    return float(log_mu @ survival) / squares if squares else np.inf


def snapshot_dimensions(
    snapshots: Mapping[int, Any],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the intrinsic dimension of the support rows at each snapshot of a run.

    Parameters
    ----------
    snapshots : dict of int to tuple (X_s, y_s)
        A distiller's ``snapshots_``.

    Returns
    -------
    steps : ndarray of shape (n_snapshots,)
        Sorted.
    dimensions : ndarray of shape (n_snapshots,)
        Each of `intrinsic_dimension`. All are of equally many rows, so that they compare with one
        another; with other sets see `sample_dimension`.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.metrics import snapshot_dimensions
    >>> X_s = np.random.default_rng(0).uniform(size=(500, 2))
    >>> steps, dimensions = snapshot_dimensions({10: (X_s, None), 0: (X_s * [1, 0], None)})
    >>> steps, dimensions.round()
    (array([ 0, 10]), array([1., 2.]))
    """
    steps = sorted(snapshots)
    dimensions = [intrinsic_dimension(snapshots[step][0]) for step in steps]
    return np.array(steps, dtype=np.intp), np.array(dimensions, dtype=np.float64)


def sample_dimension(
    X: ArrayLike, n_rows: int, *, n_draws: int = 10, random_state: Any = None
) -> float:
    """Return the mean intrinsic dimension of a few rows of X, drawn several times.

    The estimate grows with the number of rows where the manifold has many dimensions, so a small
    support set compares with as few real rows, not with all.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        Real rows.
    n_rows : int
        Rows of a draw, without repetition; at least 3, and at most n.
    n_draws : int, default=10
        How many draws.
    random_state : int, RandomState or None, default=None
        For the draws.

    Returns
    -------
    dimension : float
        The mean of `intrinsic_dimension` over the draws.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.metrics import sample_dimension
    >>> cube = np.random.default_rng(0).uniform(size=(1000, 3))
    >>> bool(2.4 < sample_dimension(cube, 100, random_state=0) < 3.2)
    True
    """
    rows = _checked("X", X)
    check_integer("sample_dimension", "n_draws", n_draws, minimum=1)
    check_integer("sample_dimension", "n_rows", n_rows, minimum=3)
    if n_rows > len(rows):
        raise ValueError(
            f"The 'n_rows' parameter of sample_dimension must be at most the {len(rows)} rows of "
            f"X. Got {n_rows} instead."
        )
    rng = check_random_state(random_state)
    draws = [rows[rng.permutation(len(rows))[:n_rows]] for _ in range(n_draws)]
    return float(np.mean([intrinsic_dimension(draw) for draw in draws]))


def _checked(
    name: str, X: ArrayLike, *, like: NDArray[Any] | None = None, minimum: int = 1
) -> NDArray[Any]:
    """Return finite rows in floating point, with as many features as another array has."""
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


def _neighbours(
    A: NDArray[Any], X: NDArray[Any], k: int, block_size: int | str = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return each row's distances to its k nearest rows of X, the nearest first, and which."""
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(X)
    size = block_size_for(block_size, 1, 3 * X.shape[1], 8)
    distances = np.empty((len(A), k))
    indices = np.empty((len(A), k), np.intp)
    for s in slices(len(A), size):
        # In another dtype than X the search would copy X.
        found = search.kneighbors(A[s].astype(X.dtype, copy=False), return_distance=False)
        # The search expands |a - x|^2 and loses the digits of small distances.
        for column, x in enumerate(found.T):
            distances[s, column] = np.linalg.norm(np.subtract(A[s], X[x], dtype=np.float64), axis=1)
        order = np.argsort(distances[s], axis=1, kind="stable")
        distances[s] = np.take_along_axis(distances[s], order, axis=1)
        indices[s] = np.take_along_axis(found, order, axis=1)
    return distances, indices


def _nearest_others(
    A: NDArray[Any], own: NDArray[np.intp], X: NDArray[Any], k: int
) -> NDArray[np.float64]:
    """Return the distances of ``A = X[own]`` to their k nearest other rows of X."""
    distances, indices = _neighbours(A, X, k + 1)
    distances[indices == own[:, None]] = np.inf
    return np.sort(distances, axis=1)[:, :k]
