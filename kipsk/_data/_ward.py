"""Ward's clusters of the rows of a class: their centres, and the rows nearest to these."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from kipsk._data._support import mean_within
from kipsk._types import Float64s, Ints

# Ward's method keeps the distances of all pairs, and takes as many operations for each feature. It
# sees so many random rows of a class that is larger, twice as many as clusters if these are more,
# but never more than the last number: 400 MB of distances.
_ROWS, _PER_CLUSTER, _MAX_ROWS = 2000, 2, 10_000


def ward_centres(
    rows: Float64s, n: int, rng: np.random.RandomState, features: Float64s | None = None
) -> Float64s:
    """Return the means of n clusters of rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
    n : int
        The number of clusters, at most `n_rows`.
    rng : RandomState
        Draws the rows that clusters are made of, where there are more than 2000.
    features : ndarray of shape (n_rows, n_other), or None
        What clusters are made of in place of `rows`.

    Raises
    ------
    ValueError
        For more clusters than distances fit into memory for.
    """
    clusters = ward(rows if features is None else features, n, rng)
    return np.array([mean_within(rows[own]) for own in clusters]).reshape(n, rows.shape[1])


def ward_medoids(features: Float64s, n: int, rng: np.random.RandomState) -> list[int]:
    """Return the number of the row nearest to the centre of each of n clusters, among its own.

    The parameters and the error are those of `ward_centres`.
    """
    chosen = []
    for own in ward(features, n, rng):
        chosen.append(int(own[nearest_to_mean(features[own])]))
    return chosen


def nearest_to_mean(rows: Float64s) -> int:
    """Return the number of the row nearest to the mean of all."""
    return int(np.argmin(np.sum(np.square(rows - rows.mean(axis=0)), axis=1)))


def ward(features: Float64s, n: int, rng: np.random.RandomState) -> list[Ints]:
    """Return the numbers of the rows of each of n clusters, which leave rows out of large classes.

    Two clusters become one, again and again, whose sum of squared distances to its centre grows
    least by it (Ward 1963, "Hierarchical grouping to optimize an objective function").
    """
    most = min(max(_ROWS, _PER_CLUSTER * n), _MAX_ROWS)
    which = np.arange(len(features))
    if len(features) > most:
        if n > most:
            raise ValueError(
                f"Agglomerative clustering makes at most {_MAX_ROWS} clusters of a class of "
                f"{len(features)} rows, because it keeps the distances of all pairs. Got {n} rows "
                'to choose instead: choose fewer, or take the method "k_means" or "k_medoids".'
            )
        which = np.sort(rng.choice(len(features), most, replace=False))
    if n < 2:
        return [which][:n]
    labels = AgglomerativeClustering(n).fit_predict(features[which])
    return [which[labels == cluster] for cluster in range(n)]
