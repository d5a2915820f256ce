"""Initial support sets: which rows distillation starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kipsk._data._labels import one_hot
from kipsk._warn import warn

#: Names of initial supports.
INITS = ("sample", "noise", "kmeans", "herding")

# k-means on more rows of one class than this moves the centres by less than their own noise.
_MAX_KMEANS_ROWS = 2000
# The variance of as many rows is off by 1.4 %, in any direction.
_MAX_NOISE_ROWS = 10_000
_NOISE_BLOCK = 1024  # rows of noise at a time: each mixes _MAX_NOISE_ROWS rows


def rows_per_class(
    codes: NDArray[np.integer],
    classes: NDArray[Any],
    ipc: int,
    rng: np.random.RandomState,
) -> list[NDArray[np.intp]]:
    """Draw `ipc` different rows of each class; all of a class that has fewer, with a warning."""
    drawn, scarce = [], []
    for code, name in enumerate(classes):
        members = np.flatnonzero(codes == code)
        if len(members) < ipc:
            scarce.append(f"{name!s} ({len(members)})")
        drawn.append(rng.permutation(members)[:ipc])
    if scarce:
        advice = "Lower 'ipc' for classes of equal size."
        if not all(map(len, drawn)):
            advice = (
                "A class without any gets no support row, and is learned by the labels of the "
                "others: let the first call of partial_fit hold rows of every class, shuffled."
            )
        warn(
            f"Fewer rows than ipc={ipc} in {len(scarce)} of {len(classes)} classes, which "
            f"contribute all their rows: {', '.join(scarce[:10])}"
            f"{', ...' if len(scarce) > 10 else ''}. {advice}"
        )
    return drawn


def gaussian_noise(X: NDArray[Any], n: int, rng: np.random.RandomState) -> NDArray[Any]:
    """Return n Gaussian rows with the mean and the covariance of the rows of X, in its dtype.

    With Z of shape (n, m), independent and standard normal, the rows of ``Z (X - mean) / sqrt(m)``
    have the covariance ``(X - mean)' (X - mean) / m``, without a matrix of n_features^2 numbers.
    Of more than 10000 rows it is that of a random 10000.
    """
    mean = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    rows = X[rng.permutation(len(X))[:_MAX_NOISE_ROWS]]
    rows -= mean
    rows /= X.dtype.type(np.sqrt(len(rows)))
    noise = np.empty((n, X.shape[1]), X.dtype)
    for start in range(0, n, _NOISE_BLOCK):
        block = noise[start : start + _NOISE_BLOCK]
        block[:] = rng.standard_normal((len(block), len(rows))).astype(X.dtype) @ rows + mean
    return noise


def herd(rows: NDArray[Any], n: int) -> list[int]:
    """Return the numbers of n different rows whose running mean follows the mean of all.

    Each is the one that brings the mean of the chosen rows nearest (Welling 2009, "Herding
    dynamical weights to learn"; in this form Rebuffi et al. 2017, arXiv 1611.07725, algorithm 4).
    """
    if not n:
        return []
    mean = rows.mean(axis=0)
    half_squares = 0.5 * np.einsum("ij,ij->i", rows, rows)
    missing = mean.copy()  # (k + 1) times the mean, less the sum of the k chosen rows
    chosen: list[int] = []
    for _ in range(n):
        scores = rows @ missing - half_squares  # -1/2 |missing - row|^2, but for a constant
        scores[chosen] = -np.inf
        chosen.append(int(np.argmax(scores)))
        missing += mean - rows[chosen[-1]]
    return chosen


def centres_of(
    rows: NDArray[Any],
    spare: NDArray[Any],
    rng: np.random.RandomState,
    features: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return as many centres of k-means as spare rows, or some of these if rows repeat.

    With `features` (n, n_other) clusters are made of these: a centre is the mean of its rows.
    """
    if len(rows) > _MAX_KMEANS_ROWS:
        some = rng.choice(len(rows), _MAX_KMEANS_ROWS, replace=False)
        rows, features = rows[some], None if features is None else features[some]
    points = rows if features is None else features
    n_clusters = min(len(spare), len(np.unique(points, axis=0)))
    if not n_clusters:
        return spare
    kmeans = KMeans(n_clusters, n_init=1, random_state=rng).fit(points)
    centres = kmeans.cluster_centers_
    if features is not None:
        found = np.unique(kmeans.labels_)  # fewer, if features differ by rounding alone
        centres = np.array([rows[kmeans.labels_ == c].mean(axis=0) for c in found])
    return np.concatenate([centres, spare[len(centres) :]])


def initial_support(
    X: NDArray[Any],
    codes: NDArray[np.integer],
    classes: NDArray[Any],
    ipc: int,
    init: str,
    rng: np.random.RandomState,
) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp] | None]:
    """Return a support set to start from, sorted by class.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    codes : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)
        Names, for the warning.
    ipc : int
        Rows per class.
    init : {"sample", "herding", "noise", "kmeans"}
        Random real rows; real rows whose running mean follows their class's mean, which depend on
        no random number; Gaussian noise with the mean and covariance of X, the same for all
        classes; the centres of k-means within each class.

    Returns
    -------
    X_s : ndarray of shape (n_s, n_features)
    codes_s : ndarray of shape (n_s,)
    indices : ndarray of shape (n_s,) or None
        Rows of X, if X_s is made of real rows; within a class, in the order they were chosen.
    """
    drawn = rows_per_class(codes, classes, ipc, rng)
    codes_s = np.repeat(np.arange(len(classes)), [len(rows) for rows in drawn])
    if init == "noise":
        return gaussian_noise(X, len(codes_s), rng), codes_s, None
    members = (np.flatnonzero(codes == code) for code in range(len(classes)))
    pairs = zip(members, drawn, strict=True)
    if init == "kmeans":
        centres = [centres_of(X[own], X[rows], rng) for own, rows in pairs]
        return np.concatenate(centres).astype(X.dtype), codes_s, None
    if init == "herding":
        mean = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        drawn = [own[herd(X[own] - mean, len(rows))] for own, rows in pairs]
    indices = np.concatenate(drawn)
    return X[indices], codes_s, indices


def resize_support(
    X_s: NDArray[Any],
    y_s: NDArray[Any],
    codes_s: NDArray[np.integer],
    X: NDArray[Any],
    codes: NDArray[np.integer],
    classes: NDArray[Any],
    ipc: int,
    init: str,
    rng: np.random.RandomState,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.integer]]:
    """Return a support set made from another one, with `ipc` rows of each class, sorted by class.

    Of each class the first `ipc` rows stay. A class with k < ipc rows gets the last ipc - k of an
    `initial_support` of `ipc`: its own rows may have started from the first k.

    Parameters
    ----------
    X_s : ndarray of shape (n_s, n_features)
    y_s : ndarray of shape (n_s, n_classes)
    codes_s : ndarray of shape (n_s,)
        Class of each row, in any order; a class may have none.
    X, codes, classes, ipc, init, rng
        As in `initial_support`.

    Returns
    -------
    X_s, y_s, codes_s : ndarrays
        Of as many columns; a new row's label is its centred one-hot.
    """
    numbers = range(len(classes))
    kept = np.concatenate([np.flatnonzero(codes_s == code)[:ipc] for code in numbers])
    X_s, y_s, codes_s = X_s[kept], y_s[kept], codes_s[kept]
    held = np.bincount(codes_s, minlength=len(classes))
    if held.min() == ipc:
        return X_s, y_s, codes_s
    X_new, codes_new, _ = initial_support(X, codes, classes, ipc, init, rng)
    new = np.concatenate([np.flatnonzero(codes_new == code)[held[code] :] for code in numbers])
    X_s = np.concatenate([X_s, X_new[new]])
    y_s = np.concatenate([y_s, one_hot(codes_new[new], len(classes), y_s.dtype)])
    codes_s = np.concatenate([codes_s, codes_new[new]])
    order = np.argsort(codes_s, kind="stable")
    return X_s[order], y_s[order], codes_s[order]
