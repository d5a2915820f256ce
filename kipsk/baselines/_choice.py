"""The methods: which rows of a class, or which centres, stand for it."""

from __future__ import annotations

import numpy as np

from kipsk._data._coresets import farthest_first, medoids
from kipsk._data._support import centres_of, herd
from kipsk._data._ward import ward_centres, ward_medoids
from kipsk._types import Float64s, Ints
from kipsk.kernels._base import KernelFunction
from kipsk.kernels._choice import kernel_herding, rp_cholesky

#: Methods whose rows are centres of clusters, and no rows of X.
CENTRES = ("k_means", "agglomerative")

#: Methods that see rows through a kernel.
BY_KERNEL = ("kernel_herding", "rp_cholesky")

#: All names of methods.
METHODS = (
    "random",
    "herding",
    "kernel_herding",
    "k_center",
    "k_means",
    "k_medoids",
    "agglomerative",
    "agglomerative_medoids",
    "rp_cholesky",
    "forgetting",
)

# k-means sees so many rows for each centre where these are more than 2000.
_PER_CENTRE = 10


def centres(
    method: str,
    rows: Float64s,
    spare: Float64s,
    rng: np.random.RandomState,
    features: Float64s | None,
) -> Float64s:
    """Return the centres of clusters of the rows of one class, as many as rows are `spare`.

    Parameters
    ----------
    method : {"k_means", "agglomerative"}
    rows : ndarray of shape (n_rows, n_features)
    spare : ndarray of shape (n, n_features)
        Rows of the class, for k-means of rows that repeat.
    rng : RandomState
    features : ndarray of shape (n_rows, n_other), or None
        What clusters are made of in place of `rows`.
    """
    if method == "agglomerative":
        return ward_centres(rows, len(spare), rng, features)
    return centres_of(rows, spare, rng, features, _PER_CENTRE).astype(np.float64, copy=False)


def chosen(
    method: str,
    rows: Float64s,
    spare: Ints,
    rng: np.random.RandomState,
    kernel: KernelFunction | None,
) -> list[int]:
    """Return the numbers of the rows of one class that a method chooses, as many as are `spare`.

    Parameters
    ----------
    method : str
        One of `METHODS` whose rows are real, but "random" and "forgetting".
    rows : ndarray of shape (n_rows, n_other)
        The rows as they are compared.
    spare : ndarray of shape (n,)
        Numbers of random rows, to fill up with where rows repeat.
    rng : RandomState
    kernel : KernelFunction or None
        Of the methods in `BY_KERNEL`.
    """
    n = len(spare)
    if kernel is not None:
        if method == "kernel_herding":
            return kernel_herding(kernel, rows, n, rng).tolist()
        pivots = rp_cholesky(kernel, rows, n, rng)
        return list(dict.fromkeys([*pivots.tolist(), *spare.tolist()]))[:n]
    rows = rows - rows.mean(axis=0)
    match method:
        case "herding":
            return herd(rows, n)
        case "k_center":
            return farthest_first(rows, n)
        case "k_medoids":
            return medoids(rows, n, rng)
        case _:
            return ward_medoids(rows, n, rng)
