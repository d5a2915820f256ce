"""Properties of distilled rows: their size, how near they are to training rows, their dimension.

Distances are Euclidean, in the units of the features as they are given. Scale the features first if
their units differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array, check_random_state

from kipsk._checks import check_integer, check_not_images
from kipsk._closed_form._centre import centre_of
from kipsk._engine._sizes import block_size_for, slices
from kipsk._types import Float64s, Floats, Given, Ints

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

# The most training rows that serve as reference rows if none are given. The median of so many
# distances is off by 4 % of the spread of the distances.
_MAX_REFERENCE_ROWS = 1000
# The share of the rows that Facco et al. leave out of their fit: those with the largest ratios.
_DISCARDED = 0.1


class DistanceToTraining(NamedTuple):
    """How near distilled rows are to training rows, and how near other real rows are."""

    median: float  #: median distance from a distilled row to its nearest training row
    reference_median: float  #: median distance from a real row to its nearest training row
    ratio: float  #: median / reference_median
    smallest_ratio: float  #: the smallest distance of a distilled row / reference_median


class Compression(NamedTuple):
    """How many times smaller a distilled set is than the training set."""

    rows: float  #: rows of the training set / rows of the distilled set
    bytes: float  #: memory of the training rows and labels / that of the distilled ones


class Stored(Protocol):
    """A kernel that says what it keeps of the data."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of its arrays."""


def compression_ratio(
    X_s: ArrayLike, y_s: ArrayLike, X: ArrayLike, y: ArrayLike, *, kernel: Stored | None = None
) -> Compression:
    """Return how many times smaller a distilled set is than the training set.

    The ratio in bytes is often smaller than the ratio in rows: a soft label is as many numbers as
    there are classes, and learned rows are floating point where pixels may take one byte.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows; or ``distiller.mosaics_``, n_s / f**2 images that hold them.
    y_s : array-like of shape (n_s,), (n_s, n_classes) or (n_s, n_outputs)
        Their labels or targets.
    X : array-like of shape (n, ...)
        Training rows, in the dtype in which they are stored.
    y : array-like of shape (n,) or (n, n_outputs)
        Their labels or targets.
    kernel : kernel object or None, default=None
        The kernel that predicts, ``distiller.predictor_.kernel_``, to count what it keeps of the
        data beside the set: filters from data and landmarks, ``kernel.stored_bytes``. None counts
        the set alone. A fitted ``preprocess_`` is not counted.

    Returns
    -------
    Compression
        ``rows`` and ``bytes``: for each, the number of the training set divided by that of the
        distilled set. Bytes are those of the uncompressed arrays as they are given.

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
                f"be counted. Got dtype object instead: pass numpy.asarray({name}).astype(str), or "
                "numbers."
            )
    for rows, labels in (("X_s", "y_s"), ("X", "y")):
        n, n_labels = (len(np.atleast_1d(arrays[name])) for name in (rows, labels))
        factor = math.isqrt(n_labels // n) if n and rows == "X_s" else 1  # of mosaics
        if not n or n * factor**2 != n_labels:
            also = " (of mosaics factor**2 labels each)" if rows == "X_s" else ""
            raise ValueError(
                f"{rows} and {labels} must have equally many rows, and at least one{also}. Got {n} "
                f"and {n_labels} instead."
            )
    size = {name: array.nbytes for name, array in arrays.items()}
    if kernel is not None:
        if not hasattr(kernel, "stored_bytes"):
            raise ValueError(
                "The 'kernel' parameter of compression_ratio must be a kernel of kipsk.kernels or "
                f"None. Got {kernel!r} instead: pass distiller.predictor_.kernel_."
            )
        size["X_s"] += kernel.stored_bytes
    return Compression(
        len(arrays["X"]) / len(arrays["y_s"]),
        (size["X"] + size["y"]) / (size["X_s"] + size["y_s"]),
    )


def nearest_rows(
    X_s: ArrayLike, X: ArrayLike, *, block_size: int | str = "auto"
) -> tuple[Float64s, Ints]:
    """Return the distance from each row to its nearest row of X, and the number of that row.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows.
    X : array-like of shape (n, n_features)
        Real rows. They are not copied if they are a C-contiguous array of float32 or float64,
        unless they are far from zero (ten times as far as from their mean), and no matrix of
        (n_s, n) is made.
    block_size : int or "auto", default="auto"
        The number of rows of X_s that are compared at a time. "auto" bounds the memory.

    Returns
    -------
    distances : ndarray of shape (n_s,)
        Euclidean distances in float64, exact to rounding: the distance of a copy is 0.
    indices : ndarray of shape (n_s,)
        The numbers of the nearest rows of X.

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
    X_s: ArrayLike,
    X: ArrayLike,
    X_reference: ArrayLike | None = None,
    *,
    random_state: Given = None,
) -> DistanceToTraining:
    """Return how near distilled rows are to training rows, compared with other real rows.

    This is a check for memorised rows, known for synthetic data as the distance to the closest
    record. A ratio near 0 says that distilled rows are copies of training rows with small changes.
    A ratio near or above 1 says that they are no nearer than a real row that was not in the
    training set. A ratio in between does not imply a copy: with many features, the mean of many
    rows is at about 0.7 of the distance between two of them.

    The check is no guarantee of privacy. A training row plus large noise is far from the training
    row and still shows it, so ratios above 1 exclude nothing. Rows that are shifted, mirrored or
    of another contrast are not recognised as copies. And labels reveal training rows too.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows.
    X : array-like of shape (n, n_features)
        Training rows.
    X_reference : array-like of shape (n_reference, n_features), default=None
        Real rows of the same distribution that are not in X, such as a test set. None takes
        training rows, 1000 at random if there are more, and their distances to the nearest other
        row of X.
    random_state : int, RandomState or None, default=None
        The seed of the draw of these 1000 rows.

    Returns
    -------
    DistanceToTraining
        ``median`` and ``reference_median`` are the medians of the distances from a row to its
        nearest training row, over X_s and over the reference rows. ``ratio`` is the first divided
        by the second. ``smallest_ratio`` is the smallest distance over X_s divided by
        ``reference_median``; it is 0 if a row is a copy.

    Raises
    ------
    ValueError
        If half of the reference rows or more are equal to rows of X, so that there is nothing to
        compare with.

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

    The method is that of Facco et al. 2017, arXiv 1803.06992. Let mu be the ratio of a row's
    distance to its second nearest row to its distance to its nearest row. Where the density is
    constant as far as the second nearest row, mu has the distribution
    ``F(mu) = 1 - mu^-dimension``. F is estimated by the rank of mu divided by the number of rows.
    The dimension is the slope of the line through the origin that fits ``-log(1 - F)`` to
    ``log mu`` by least squares, without the tenth of the rows that have the largest mu.

    The standard error is about ``1.5 / sqrt(n)`` times the dimension. The estimate is too small
    where many rows are near an edge of the manifold, as most rows are in high dimensions: for 1000
    rows in a cube by 2 % in two dimensions and by 15 % in ten. Noise has a dimension of its own, on
    its scale.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        A row that is repeated counts once. The time is proportional to ``n^2 n_features``.

    Returns
    -------
    dimension : float
        inf if the two nearest rows of nearly every row are at the same distance, as on a grid.

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
    snapshots: Mapping[int, tuple[ArrayLike, object]],
) -> tuple[Ints, Float64s]:
    """Return the intrinsic dimension of the support rows at each snapshot of a run.

    Parameters
    ----------
    snapshots : dict of int to tuple (X_s, y_s)
        The ``snapshots_`` of a distiller.

    Returns
    -------
    steps : ndarray of shape (n_snapshots,)
        The numbers of steps, sorted.
    dimensions : ndarray of shape (n_snapshots,)
        The `intrinsic_dimension` of the support rows after each number of steps. All snapshots
        have equally many rows, so their dimensions can be compared with one another. To compare
        with a larger set, see `sample_dimension`.

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
    X: ArrayLike, n_rows: int, *, n_draws: int = 10, random_state: Given = None
) -> float:
    """Return the mean intrinsic dimension of a few rows of X, drawn several times.

    Where a manifold has many dimensions, the estimate grows with the number of rows. A small
    support set should therefore be compared with equally few real rows, not with all of them.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        Real rows.
    n_rows : int
        The number of rows of a draw, at least 3 and at most n; no row is drawn twice.
    n_draws : int, default=10
        The number of draws.
    random_state : int, RandomState or None, default=None
        The seed of the draws.

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


def _checked(name: str, X: ArrayLike, *, like: Floats | None = None, minimum: int = 1) -> Floats:
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


def _neighbours(
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


def _nearest_others(A: Floats, own: Ints, X: Floats, k: int) -> Float64s:
    """Return the distances from each row of ``A = X[own]`` to its k nearest other rows of X."""
    distances, indices = _neighbours(A, X, k + 1)
    distances[indices == own[:, None]] = np.inf
    return np.sort(distances, axis=1)[:, :k]
