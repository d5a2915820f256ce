"""A function of two rows over all pairs of rows, in the memory of a few pairs, with its gradient.

The intermediate numbers of a pair (the kernel of two images goes through millions of covariances)
are never there for all pairs, and they are not kept for the gradient: the vector-Jacobian product
goes through the pairs again. It is computed only for the arguments that are differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from kipsk._types import PyTree

#: ``(rows_a, rows_b) -> matrix`` on pytrees of few rows; hashable, because code is compiled for it.
Block = Callable[[PyTree, PyTree], Array]

#: Which arguments are differentiated: () if so, None if not. Code that is compiled can branch on
#: this, because it is part of a pytree's structure.
Wanted = tuple[tuple[()] | None, tuple[()] | None]


def _in_tiles(A: PyTree, size: int) -> PyTree:
    """Return rows as (n_tiles, size, ...); the last row fills up the last tile.

    Zeros would not do. Results of filled-up rows are cut off, but if one of them were NaN it would
    reach the gradient of other rows.
    """

    def tiles(leaf: Array) -> Array:
        missing = -len(leaf) % size
        padded = jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1), mode="edge")
        return padded.reshape(-1, size, *leaf.shape[1:])

    return jax.tree.map(tiles, A)


def _rows(tiles: PyTree, A: PyTree) -> PyTree:
    """Return the rows that the tiles were cut from, in the shapes of A."""
    return jax.tree.map(lambda t, leaf: t.reshape(-1, *leaf.shape[1:])[: len(leaf)], tiles, A)


def _matrix(tiles: Array, n_a: int, n_b: int) -> Array:
    """Return (tiles_a, tiles_b, size_a, size_b) as a matrix, cut to n_a rows and n_b columns."""
    m, n, s, t = tiles.shape
    return tiles.transpose(0, 2, 1, 3).reshape(m * s, n * t)[:n_a, :n_b]


def _matrix_tiles(matrix: Array, sizes: tuple[int, int]) -> Array:
    """Return a matrix as (tiles_a, tiles_b, size_a, size_b); zeros fill up the last tiles."""
    s, t = sizes
    padded = jnp.pad(matrix, ((0, -len(matrix) % s), (0, -matrix.shape[1] % t)))
    return padded.reshape(len(padded) // s, s, padded.shape[1] // t, t).transpose(0, 2, 1, 3)


def _n_rows(A: PyTree) -> int:
    return len(jax.tree.leaves(A)[0])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def all_pairs(block: Block, sizes: tuple[int, int], A: PyTree, B: PyTree) -> Array:
    """Return ``block(A, B)``, computed tile by tile.

    Parameters
    ----------
    block : callable
        ``(rows of A, rows of B) -> matrix``.
    sizes : tuple of two int
        How many rows of A and of B a tile has.
    A, B : pytree of Array with n_a and n_b rows

    Returns
    -------
    K : Array of shape (n_a, n_b)
    """
    tiles_A, tiles_B = _in_tiles(A, sizes[0]), _in_tiles(B, sizes[1])
    tiles = jax.lax.map(lambda a: jax.lax.map(lambda b: block(a, b), tiles_B), tiles_A)
    return _matrix(tiles, _n_rows(A), _n_rows(B))


def _all_pairs_forward(
    block: Block, sizes: tuple[int, int], A: PyTree, B: PyTree
) -> tuple[Array, tuple[PyTree, PyTree, Wanted]]:
    by_A, by_B = (any(leaf.perturbed for leaf in jax.tree.leaves(rows)) for rows in (A, B))
    wanted = () if by_A else None, () if by_B else None
    A, B = jax.tree.map(lambda leaf: leaf.value, (A, B))
    return all_pairs(block, sizes, A, B), (A, B, wanted)


def _all_pairs_backward(
    block: Block,
    sizes: tuple[int, int],
    kept: tuple[PyTree, PyTree, Wanted],
    cotangent: Array | SymbolicZero,
) -> tuple[PyTree, PyTree]:
    A, B, wanted = kept
    by_A, by_B = (mark is not None for mark in wanted)
    if isinstance(cotangent, SymbolicZero):
        return None, None
    tiles_A, tiles_B = _in_tiles(A, sizes[0]), _in_tiles(B, sizes[1])
    tiles_G = _matrix_tiles(cotangent, sizes)

    def row(total_B: PyTree, of_a: PyTree) -> tuple[PyTree, PyTree]:
        a, row_G = of_a

        def pair(total_a: PyTree, of_b: PyTree) -> tuple[PyTree, PyTree]:
            b, g = of_b
            grad_a, grad_b = _pull_back(block, a, b, g, by_A, by_B)
            return jax.tree.map(jnp.add, total_a, grad_a), grad_b

        start = jax.tree.map(jnp.zeros_like, a) if by_A else None
        total_a, grad_B = jax.lax.scan(pair, start, (tiles_B, row_G))
        return jax.tree.map(jnp.add, total_B, grad_B), total_a

    start = jax.tree.map(jnp.zeros_like, tiles_B) if by_B else None
    grad_B, grad_A = jax.lax.scan(row, start, (tiles_A, tiles_G))
    return _rows(grad_A, A) if by_A else None, _rows(grad_B, B) if by_B else None


def _pull_back(
    block: Block, a: PyTree, b: PyTree, g: Array, by_a: bool, by_b: bool
) -> tuple[PyTree, PyTree]:
    """Return the gradients of ``<g, block(a, b)>``; None in place of one that is not wanted."""
    if by_a and by_b:
        return jax.vjp(block, a, b)[1](g)
    if by_a:
        return jax.vjp(lambda a: block(a, b), a)[1](g)[0], None
    return None, jax.vjp(lambda b: block(a, b), b)[1](g)[0]


all_pairs.defvjp(_all_pairs_forward, _all_pairs_backward, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def pairs_among(block: Block, size: int, A: PyTree) -> Array:
    """Return the symmetric ``block(A, A)``, from the tiles of one triangle.

    Parameters
    ----------
    block : callable
        ``(rows, rows) -> matrix``, with ``block(a, b) = block(b, a)^T``.
    size : int
        How many rows a tile has.
    A : pytree of Array with n rows

    Returns
    -------
    K : Array of shape (n, n)
    """
    tiles_A, n = _in_tiles(A, size), _n_rows(A)
    m = -(-n // size)
    rows, columns = np.triu_indices(m)
    tiles = jax.lax.map(lambda ij: block(_at(tiles_A, ij[0]), _at(tiles_A, ij[1])), (rows, columns))
    K = jnp.zeros((m, m, size, size), tiles.dtype).at[rows, columns].set(tiles)
    K = jnp.triu(_matrix(K, n, n))
    return K + jnp.triu(K, 1).T  # exactly symmetric, within the tiles on the diagonal too


def _pairs_among_forward(block: Block, size: int, A: PyTree) -> tuple[Array, PyTree]:
    return pairs_among(block, size, A), A


def _pairs_among_backward(block: Block, size: int, A: PyTree, cotangent: Array) -> tuple[PyTree]:
    tiles_A = _in_tiles(A, size)
    m = -(-_n_rows(A) // size)
    rows, columns = np.triu_indices(m)
    tiles_G = _matrix_tiles(jnp.triu(cotangent) + jnp.triu(cotangent.T, 1), (size, size))

    def pair(total: PyTree, of_pair: PyTree) -> tuple[PyTree, None]:
        i, j, g = of_pair
        grads = jax.vjp(block, _at(tiles_A, i), _at(tiles_A, j))[1](g)
        for index, grad in zip((i, j), grads, strict=True):
            total = jax.tree.map(lambda t, g, at=index: t.at[at].add(g), total, grad)
        return total, None

    start = jax.tree.map(jnp.zeros_like, tiles_A)
    total, _ = jax.lax.scan(pair, start, (rows, columns, tiles_G[rows, columns]))
    return (_rows(total, A),)


def _at(tiles: PyTree, index: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], tiles)


pairs_among.defvjp(_pairs_among_forward, _pairs_among_backward)
