"""Which rows stand for all of them, as a kernel sees them: pivots, and kernel herding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import solve_triangular

from kipsk._jax import own_settings
from kipsk._types import AnyArray, Float64s, Ints, PyTree
from kipsk.kernels._base import KernelFunction, prepare

# What is left of the diagonal counts as rounding below this share of its sum.
_ROUNDING = 1e-6
# Blocks that pivots are drawn in, at least: with more of them fewer are drawn in vain.
_ROUNDS = 20
# The mean of a kernel over more rows than this moves by less than its own noise.
_MAX_MEAN_ROWS = 2000
# Numbers that a block of a kernel matrix is computed through, at most.
_MAX_ENTRIES = 2**22


def rp_cholesky(base: KernelFunction, X: AnyArray, n: int, rng: np.random.RandomState) -> Ints:
    """Return the numbers of n rows, or of fewer if these are all that differ.

    Algorithm 1 of arXiv 2207.06503 (Chen, Epperly, Tropp & Webber 2022), a few pivots at a time: of
    a block of rows drawn by what is left of the diagonal, each is taken with the share of it that
    the others of the block leave.

    Parameters
    ----------
    base : KernelFunction
        One that stays the same.
    X : ndarray of shape (n_rows, n_features)
    n : int
        At most `n_rows`.
    rng : RandomState

    Raises
    ------
    ValueError
        If the kernel of a row with itself is not finite, or, of herding, that with the others.
    """
    with own_settings():
        prepared = _prepared(base, X)
        left = _diagonal(base, prepared, len(X))
        start, chosen = left.sum(), np.zeros(0, int)
        factor = np.zeros((len(X), n))
        size = max(1, n // _ROUNDS)
        while len(chosen) < n and left.sum() > _ROUNDING * start:
            drawn = rng.choice(len(X), min(size, n - len(chosen)), p=left / left.sum())
            block = np.unique(drawn)
            # Filled up with its last row, because `_columns` is compiled for each length.
            filled = np.pad(block, (0, size - len(block)), mode="edge")
            columns = np.asarray(_columns(base, prepared, filled))[: len(X), : len(block)]
            k = len(chosen)
            columns = columns - factor[:, :k] @ factor[block, :k].T
            own, kept = _pivots(columns[block], left[block], rng)
            part = solve_triangular(own, columns[:, kept].T, lower=True).T
            factor[:, k : k + len(kept)] = part
            left = np.maximum(left - np.sum(part**2, axis=1), 0)
            chosen = np.append(chosen, block[kept])
            left[chosen] = 0
            left[block[np.diag(columns[block]) <= 0]] = 0  # rounding, which would be drawn for ever
    return chosen


def _pivots(K: Float64s, diagonal: Float64s, rng: np.random.RandomState) -> tuple[Float64s, Ints]:
    """Return the Cholesky factor of the rows of a block that are taken, and their numbers."""
    left = K.copy()
    kept: list[int] = []
    L = np.zeros_like(K)
    for i in range(len(K)):
        if left[i, i] > rng.uniform() * diagonal[i]:
            column = left[:, i] / np.sqrt(left[i, i])
            L[:, len(kept)] = column
            left -= np.outer(column, column)
            kept.append(i)
    return L[kept, : len(kept)], np.array(kept, int)


def kernel_herding(base: KernelFunction, X: AnyArray, n: int, rng: np.random.RandomState) -> Ints:
    """Return the numbers of n different rows whose mean in the kernel's space follows that of all.

    Each is the row x of the largest ``<w, phi(x)>``, where w begins as the mean of all ``phi`` and
    gains this mean less ``phi(x)`` with every row x that is taken (Chen, Welling & Smola 2010,
    "Super-samples from kernel herding"). No row is taken twice.

    The parameters and the error are those of `rp_cholesky`. The mean is over a random 2000 rows if
    there are more.
    """
    rows = np.arange(len(X))
    if len(X) > _MAX_MEAN_ROWS:
        rows = rng.choice(len(X), _MAX_MEAN_ROWS, replace=False)
    with own_settings():
        prepared = _prepared(base, X)
        _diagonal(base, prepared, len(X))
        mean = _mean(base, prepared, rows, base.pair_size(X.shape[1]))[: len(X)]
        _check_finite(mean, "mean kernel of each row with the others")
        scores = mean.copy()  # <w, phi(x)> of each row
        is_free = np.ones(len(X), bool)
        chosen: list[int] = []
        for _ in range(n):
            best = int(np.argmax(np.where(is_free, scores, -np.inf)))
            is_free[best] = False
            chosen.append(best)
            column = np.asarray(_columns(base, prepared, np.array([best])))
            scores += mean - column[: len(X), 0]
    return np.array(chosen, int)


def _mean(base: KernelFunction, prepared: PyTree, rows: Ints, pair_size: int) -> Float64s:
    """Return the mean over some rows of each row's kernel with them, in blocks of columns."""
    n_all = len(jax.tree.leaves(prepared)[0])
    size = max(1, min(n_all, _MAX_ENTRIES // (n_all * pair_size)))
    total = np.zeros(n_all)
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        filled = np.pad(block, (0, size - len(block)), mode="edge")  # compiled once
        total += np.asarray(_columns(base, prepared, filled))[:, : len(block)].sum(axis=1)
    return total / len(rows)


def _prepared(base: KernelFunction, X: AnyArray) -> PyTree:
    """Return rows as the kernel needs them, in float64, filled up with copies of the last one.

    There are an eighth more at most. Sets of nearly as many rows, such as the classes of a table,
    then share what is compiled.
    """
    step = 1 << max(0, (len(X) - 1).bit_length() - 3)
    filled = np.pad(X, ((0, -len(X) % step), (0, 0)), mode="edge")
    return prepare(base, jnp.asarray(filled, np.float64))


def _diagonal(base: KernelFunction, prepared: PyTree, n: int) -> Float64s:
    """Return the kernel of each of the first n rows with itself; refuse one that is not finite."""
    diagonal = np.array(_diag(base, prepared), np.float64)[:n]
    _check_finite(diagonal, "kernel of each row with itself")
    return diagonal


def _check_finite(values: Float64s, what: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(
            f"The {what} must be finite for rows to be chosen by it. Got {values[wrong[0]]} for "
            f"{len(wrong)} of {len(values)} rows: scale the features, or give the kernel other "
            "parameters."
        )


@jax.jit
def _columns(base: KernelFunction, prepared: PyTree, rows: Array) -> Array:
    return base.cross(prepared, jax.tree.map(lambda leaf: leaf[rows], prepared))


@jax.jit
def _diag(base: KernelFunction, prepared: PyTree) -> Array:
    return base.diag(prepared)
