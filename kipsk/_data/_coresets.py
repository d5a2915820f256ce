"""Which rows of a class stand for all of them: farthest first, medoids, forgetting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from sklearn.metrics import pairwise_distances_chunked

# Distances to a medoid are summed over at most so many rows: the error of such a sum is smaller
# than the difference between the sums of neighbouring rows.
_MAX_MEDOID_ROWS = 2000
_MAX_ROUNDS = 100  # of alternating; the sum falls in each, and a few are enough
_BLOCK_MIB = 128


def farthest_first(rows: NDArray[np.float64], n: int) -> list[int]:
    """Return the numbers of n different rows: each the farthest from those chosen before.

    The first is the row nearest to the mean. The largest distance of a row to its nearest chosen
    one is at most twice the smallest possible (Gonzalez 1985, "Clustering to minimize the maximum
    intercluster distance"), whatever the first row.
    """
    if not n:
        return []
    rows = rows - rows.mean(axis=0)  # |x - c|^2 is expanded below
    squares = np.einsum("ij,ij->i", rows, rows)
    chosen = [int(np.argmin(squares))]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < n:
        last = rows[chosen[-1]]
        nearest = np.minimum(nearest, squares - 2 * (rows @ last) + last @ last)
        nearest[chosen] = -np.inf
        chosen.append(int(np.argmax(nearest)))
    return chosen


def medoids(rows: NDArray[np.float64], n: int, rng: np.random.RandomState) -> list[int]:
    """Return the numbers of n different rows of a small sum of distances to them.

    Rows go to their nearest medoid, and each cluster's medoid becomes the member of the smallest
    sum of distances to the members, in turns until nothing changes (Park & Jun 2009, "A simple and
    fast algorithm for K-medoids clustering"), from a start drawn by k-means++. In a class of more
    than 2000 rows the sums are over the members among a random 2000 of them.

    Memory is that of a few rows' distances to 2000 others.
    """
    if not n:
        return []
    _, starts = kmeans_plusplus(rows, n, random_state=rng)
    order = rng.permutation(len(rows))
    # Where rows repeat, k-means++ may draw one twice.
    chosen = np.array(list(dict.fromkeys([*starts.tolist(), *order.tolist()]))[:n])
    is_counted = np.zeros(len(rows), bool)
    is_counted[order[:_MAX_MEDOID_ROWS]] = True
    for _ in range(_MAX_ROUNDS):
        cluster = _nearest(rows, rows[chosen])
        cluster[chosen] = np.arange(n)  # a row that repeats is a medoid of its own
        moved = chosen.copy()
        for c in range(n):
            members = np.flatnonzero(cluster == c)
            sums = _sums_of_distances(rows[members], rows[members[is_counted[members]]])
            best = int(np.argmin(sums))
            # Among equals the old one stays, or rounds would not end.
            if sums[best] < sums[members == chosen[c]][0]:
                moved[c] = members[best]
        if np.array_equal(moved, chosen):
            break
        chosen = moved
    return chosen.tolist()


def _nearest(rows: NDArray[np.float64], medoids: NDArray[np.float64]) -> NDArray[np.intp]:
    def first(distances: NDArray[np.float64], start: int) -> NDArray[np.intp]:
        return np.argmin(distances, axis=1)

    blocks = pairwise_distances_chunked(
        rows,
        medoids,
        reduce_func=first,
        working_memory=_BLOCK_MIB,
        metric="euclidean",
        squared=True,
    )
    return np.concatenate(list(blocks))


def _sums_of_distances(
    rows: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each row's sum of distances to all of the others, zeros if there are none."""
    if not len(others):
        return np.zeros(len(rows))

    def total(distances: NDArray[np.float64], start: int) -> NDArray[np.float64]:
        return distances.sum(axis=1)

    blocks = pairwise_distances_chunked(
        rows, others, reduce_func=total, working_memory=_BLOCK_MIB, metric="euclidean"
    )
    return np.concatenate(list(blocks))


def forgetting_events(correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how often each row was forgotten: right after one epoch, and wrong after the next.

    Parameters
    ----------
    correct : ndarray of shape (n_epochs, n)
        Whether a row was predicted right after each epoch.

    Returns
    -------
    events : ndarray of shape (n,)
        inf for a row that never was right, as Toneva et al. 2019 (arXiv 1812.05159) count.
    """
    events = np.sum(correct[:-1] & ~correct[1:], axis=0).astype(np.float64)
    events[~correct.any(axis=0)] = np.inf
    return events


def most_forgotten(events: NDArray[np.float64], n: int, rng: np.random.RandomState) -> list[int]:
    """Return the numbers of the n rows of most events, in falling order, equals in random order."""
    order = rng.permutation(len(events))
    return order[np.argsort(-events[order], kind="stable")][:n].tolist()
