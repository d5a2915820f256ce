"""How near distilled rows are to training rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from kipsk._checks import check_integer
from kipsk._types import Float64s, Given, Ints
from kipsk.metrics._neighbours import checked_rows, nearest_others, neighbours

# The most training rows that serve as reference rows if none are given. The median of so many
# distances is off by 4 % of the spread of the distances.
_MAX_REFERENCE_ROWS = 1000


class DistanceToTraining(NamedTuple):
    """How near distilled rows are to training rows, and how near other real rows are."""

    median: float  #: median distance from a distilled row to its nearest training row
    reference_median: float  #: median distance from a real row to its nearest training row
    ratio: float  #: median / reference_median
    smallest_ratio: float  #: the smallest distance of a distilled row / reference_median


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
    rows = checked_rows("X", X)
    distances, indices = neighbours(checked_rows("X_s", X_s, like=rows), rows, 1, block_size)
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
    rows = checked_rows("X", X, minimum=2 if X_reference is None else 1)
    distances, _ = neighbours(checked_rows("X_s", X_s, like=rows), rows, 1)
    if X_reference is None:
        chosen = check_random_state(random_state).permutation(len(rows))[:_MAX_REFERENCE_ROWS]
        reference = nearest_others(rows[chosen], chosen, rows, 1)
        advice = "drop the repeated rows of X"
    else:
        reference, _ = neighbours(checked_rows("X_reference", X_reference, like=rows), rows, 1)
        advice = "pass an X_reference without rows of X"
    scale = float(np.median(reference))
    if scale == 0:
        raise ValueError(
            f"At least half of the {len(reference)} reference rows must differ from all other "
            f"rows of X. Got a median distance of 0 instead: {advice}."
        )
    median = float(np.median(distances))
    return DistanceToTraining(median, scale, median / scale, float(distances.min()) / scale)
