"""Pairs in tiles against the same function of all rows at once, with gradients by autodiff."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kipsk.kernels._pairs import all_pairs, pairs_among


def block(A, B):
    """A kernel matrix of rows that are a pytree: exp(<x, x'>) + s s'."""
    return jnp.exp(A["x"] @ B["x"].T) + A["s"][:, None] * B["s"]


def rows(n, seed):
    rng = np.random.default_rng(seed)
    return {"x": jnp.asarray(rng.standard_normal((n, 3))), "s": jnp.asarray(rng.standard_normal(n))}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@partial(jax.jit, static_argnums=(0, 1))
def values_and_slopes(pairs, by, G, *batches):
    """The matrix of `pairs`, and the gradient of <G, matrix> by some of the batches."""
    slopes = jax.grad(lambda *batches: jnp.sum(G * pairs(*batches)), by)(*batches)
    return pairs(*batches), slopes


def all_at_once(A, B=None):
    """The oracle."""
    return block(A, A if B is None else B)


SIZES = [(1, 1), (1, 4), (2, 3), (7, 5), (10, 10)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("by", [0, 1, (0, 1)])
def test_all_pairs(sizes, by):
    A, B = rows(7, 0), rows(5, 1)
    G = jnp.asarray(np.random.default_rng(2).standard_normal((7, 5)))
    ours = values_and_slopes(partial(all_pairs, block, sizes), by, G, A, B)
    oracle = values_and_slopes(all_at_once, by, G, A, B)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), ours, oracle)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pairs_among(size):
    A = rows(7, 0)
    G = jnp.asarray(np.random.default_rng(2).standard_normal((7, 7)))
    ours = values_and_slopes(partial(pairs_among, block, size), 0, G, A)
    oracle = values_and_slopes(all_at_once, 0, G, A)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), ours, oracle)


def test_nothing_is_computed_for_what_is_not_differentiated():
    """The pull-back of a block sees constants: the cotangent's program has no trace of B's."""

    def count(by):
        def loss(A, B):
            return jnp.sum(all_pairs(block, (1, 1), A, B))

        program = jax.make_jaxpr(jax.grad(loss, by))(rows(7, 0), rows(5, 1))
        return str(program).count("dot_general")

    assert count(0) < count((0, 1))


def test_one_row():
    A, B = rows(1, 0), rows(4, 1)
    np.testing.assert_allclose(all_pairs(block, (3, 2), A, B), block(A, B), rtol=1e-12)
    np.testing.assert_allclose(pairs_among(block, 1, A), block(A, A), rtol=1e-12)


def test_what_fills_a_tile_up_reaches_no_gradient():
    """Of rows of zeros this kernel is NaN; with three rows in tiles of two, one is missing."""

    def cosine(A, B):
        units = (X / jnp.linalg.norm(X, axis=1, keepdims=True) for X in (A, B))
        return jnp.matmul(*(u.T if n else u for n, u in enumerate(units)))

    A, B = rows(3, 0)["x"], rows(5, 1)["x"]
    ours = jax.grad(lambda A: all_pairs(cosine, (2, 2), A, B).sum())(A)
    oracle = jax.grad(lambda A: cosine(A, B).sum())(A)
    np.testing.assert_allclose(ours, oracle, rtol=1e-12, atol=1e-14)
