"""A support set: the rows that distillation starts from, drawn, and resized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kipsk._data._coding import Coding, Data
from kipsk._types import Floats, Ints

#: Names of initial supports.
INITS = ("sample", "noise", "kmeans", "herding")

# k-means on more rows of one class than this moves the centres by less than their own noise.
_MAX_KMEANS_ROWS = 2000
# The variance of 10 000 rows, along any direction, has an error of 1.4 %.
_MAX_NOISE_ROWS = 10_000
_NOISE_BLOCK = 1024  # rows of noise at a time: each mixes _MAX_NOISE_ROWS rows


@dataclass(frozen=True)
class Support:
    """A support set.

    Attributes
    ----------
    X : ndarray of shape (n_s, n_features)
        The rows.
    y : ndarray of shape (n_s, n_outputs)
        Their targets.
    indices : ndarray of shape (n_s,) or None
        Which rows of the data the support rows are; None if they are others.
    frozen : ndarray of bool of shape (n_s, n_features), or None
        The entries of X that stay as they are.
    """

    X: Floats
    y: Floats
    indices: Ints | None = None
    frozen: NDArray[np.bool_] | None = None


def draw(data: Data, size: int, init: str, rng: np.random.RandomState) -> Support:
    """Return a support set to start from, sorted by stratum.

    Parameters
    ----------
    data : Data
    size : int
        Rows of each stratum. A stratum that has fewer gives all its rows, with a warning.
    init : {"sample", "herding", "noise", "kmeans"}
        Random real rows; real rows whose running mean follows the mean of their stratum, which
        depend on no random number; Gaussian noise with the mean and covariance of X, the same for
        all strata; the centres of k-means within each stratum.

    Returns
    -------
    support : Support
        Real rows come with their own targets and indices; within a stratum they are in the order
        in which they were chosen. The targets of other rows are the coding's `made_targets`.
    """
    X, coding = data.X, data.coding
    drawn = rows_per_stratum(data.codes, coding, size, rng)
    codes_s = np.repeat(np.arange(coding.n_strata), [len(rows) for rows in drawn])
    if init == "noise":
        X_s = gaussian_noise(X, len(codes_s), rng)
        return Support(X_s, coding.made_targets(data, X_s, codes_s, init))
    members = (np.flatnonzero(data.codes == code) for code in range(coding.n_strata))
    pairs = zip(members, drawn, strict=True)
    if init == "kmeans":
        centres = [centres_of(X[own], X[rows], rng) for own, rows in pairs]
        X_s = np.concatenate(centres).astype(X.dtype)
        return Support(X_s, coding.made_targets(data, X_s, codes_s, init))
    if init == "herding":
        mean = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        drawn = [own[herd(X[own] - mean, len(rows))] for own, rows in pairs]
    indices = np.concatenate(drawn)
    return Support(X[indices], data.y[indices], indices)


def resize(
    support: Support, data: Data, size: int, init: str, rng: np.random.RandomState
) -> Support:
    """Return a support set made from another one, with `size` rows of each stratum.

    Of each stratum the first `size` rows stay, in whatever order the strata come. A stratum with
    k < size rows gets the last size - k rows of a new set of `size`, as `draw` draws it: its own
    rows may have started from the first k.
    """
    coding = data.coding
    strata = range(coding.n_strata)
    codes_s = coding.strata(support.y)
    kept = np.concatenate([np.flatnonzero(codes_s == code)[:size] for code in strata])
    X_s, y_s, codes_s = support.X[kept], support.y[kept], codes_s[kept]
    held = np.bincount(codes_s, minlength=coding.n_strata)
    if held.min() == size:
        return Support(X_s, y_s)
    fresh = draw(data, size, init, rng)
    codes_new = coding.strata(fresh.y)
    new = np.concatenate([np.flatnonzero(codes_new == code)[held[code] :] for code in strata])
    order = np.argsort(np.concatenate([codes_s, codes_new[new]]), kind="stable")
    X_s, y_s = np.concatenate([X_s, fresh.X[new]]), np.concatenate([y_s, fresh.y[new]])
    return Support(X_s[order], y_s[order])


def rows_per_stratum(
    codes: Ints, coding: Coding, size: int, rng: np.random.RandomState
) -> list[Ints]:
    """Draw `size` different rows of each stratum; with a warning all rows, where it has fewer."""
    drawn = rows_of_strata(codes, np.full(coding.n_strata, size), rng)
    coding.warn_of_scarce(np.bincount(codes, minlength=coding.n_strata), size)
    return drawn


def rows_of_strata(codes: Ints, sizes: Ints, rng: np.random.RandomState) -> list[Ints]:
    """Draw so many different rows of each stratum; all of one that has fewer."""
    return [
        rng.permutation(np.flatnonzero(codes == code))[:size] for code, size in enumerate(sizes)
    ]


def gaussian_noise(X: Floats, n: int, rng: np.random.RandomState) -> Floats:
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


def herd(rows: Floats, n: int) -> list[int]:
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
    rows: Floats,
    spare: Floats,
    rng: np.random.RandomState,
    features: Floats | None = None,
    rows_per_centre: int = 0,
) -> Floats:
    """Return a centre of k-means for each spare row; where rows repeat, spare rows fill up.

    With `features` (n, n_other) clusters are made of these: a centre is the mean of its rows. Of
    more than 2000 rows k-means sees a random 2000, or `rows_per_centre` for each centre if these
    are more.
    """
    most = max(_MAX_KMEANS_ROWS, rows_per_centre * len(spare))
    if len(rows) > most:
        some = rng.choice(len(rows), most, replace=False)
        rows, features = rows[some], None if features is None else features[some]
    points = rows if features is None else features
    n_clusters = min(len(spare), len(np.unique(points, axis=0)))
    if not n_clusters:
        return spare
    labels = KMeans(n_clusters, n_init=1, random_state=rng).fit(points).labels_
    found = np.unique(labels)  # fewer, if features differ by rounding alone
    centres = np.array([mean_within(rows[labels == c]) for c in found])
    return np.concatenate([centres, spare[len(centres) :]])


def mean_within(rows: Floats) -> Floats:
    """Return the mean of rows, which rounding does not put outside of them.

    Where rows agree their mean has their value to the bit: trees split on any difference.
    """
    return np.clip(rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0))
