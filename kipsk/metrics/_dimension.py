"""The dimension of the manifold that rows lie on, also of few rows and at each snapshot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from kipsk._checks import check_integer
from kipsk._types import Float64s, Given, Ints
from kipsk.metrics._neighbours import checked_rows, nearest_others

# The share of the rows that Facco et al. leave out of their fit: those with the largest ratios.
_DISCARDED = 0.1


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
    rows = checked_rows("X", X)
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
    nearest = nearest_others(rows, np.arange(n), rows, 2)
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
    rows = checked_rows("X", X)
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
