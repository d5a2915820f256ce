"""Covariances after an elementwise nonlinearity, and after one with pooling behind it."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._closed_form._products import matmul
from kipsk.kernels._duals import DUALS, Dual, cosine_of, order0_slope, orders_and_sine, sqrt
from kipsk.kernels._infinite._covariance import Covariance, Weights, apart

#: What `_relu` keeps for its gradient: its arguments, and the covariance of its outputs.
Kept = tuple[Covariance, Array, Array, Array]

#: The sums of the nngp and of the ntk over the places of a window.
Sums = tuple[Array, Array]

#: What `_pooled_relu` keeps for its gradient: its arguments, and the sums of each place of P.
KeptPooled = tuple[Array, Array, Array, Array, list[Sums]]

Tree = TypeVar("Tree", Covariance, Sums)


def activation(dual: Dual, cov: Covariance, a: Array, b: Array) -> Covariance:
    """Return the covariance after an elementwise nonlinearity.

    Parameters
    ----------
    dual : Dual
        The duals of the nonlinearity.
    cov : Covariance
        The covariance before it.
    a, b : Array
        The variances before it, in shapes that broadcast with the covariance.

    Returns
    -------
    covariance : Covariance
    """
    if dual is DUALS["relu"]:
        return _relu(cov, sqrt(a), sqrt(b))
    return apart(partial(_activation, dual), cov, a, b)


def _activation(dual: Dual, cov: Covariance, a: Array, b: Array) -> Covariance:
    nngp, slope = dual.pair(cov.nngp, a, b)
    return Covariance(nngp, None if cov.ntk is None else cov.ntk * slope)


# With r and r' the roots of the variances, relu maps the covariance k to r r' order1 and the ntk to
# ntk order0, both functions of the cosine k / (r r'). With G the cotangents, the gradients are
#   by k               G_nngp order0 + G_ntk ntk order0' / (r r')
#   by r, times r      the sum over x' of  G_nngp nngp - (gradient by k) k
# The second needs no elementwise function again.
@jax.custom_vjp
def _relu(cov: Covariance, r: Array, s: Array) -> Covariance:
    return apart(_relu_forward, cov, r, s)


def _relu_forward(cov: Covariance, r: Array, s: Array) -> Covariance:
    order1, order0, _ = orders_and_sine(cosine_of(cov.nngp, r, s))
    return Covariance(r * s * order1, None if cov.ntk is None else cov.ntk * order0)


def _relu_backward(kept: Kept, cotangent: Covariance) -> tuple[Covariance, Array, Array]:
    cov, r, s, nngp = kept

    def elementwise(cov: Covariance, cotangent: Covariance, r: Array, s: Array) -> Covariance:
        _, order0, sine = orders_and_sine(cosine_of(cov.nngp, r, s))
        by_k = cotangent.nngp * order0
        if cov.ntk is None or cotangent.ntk is None:
            return Covariance(by_k, None)
        slope = cosine_of(cotangent.ntk * cov.ntk * order0_slope(sine), r, s)
        return Covariance(by_k + slope, cotangent.ntk * order0)

    by_cov = apart(elementwise, cov, cotangent, r, s)
    terms = apart(lambda g, n, d, k: g * n - d * k, cotangent.nngp, nngp, by_cov.nngp, cov.nngp)
    by_r, by_s = (_sum_to(terms, root.shape) / jnp.where(root == 0, 1, root) for root in (r, s))
    return by_cov, by_r, by_s


def _sum_to(K: Array, shape: tuple[int, ...]) -> Array:
    """Return the sum of K over the axes that `shape` broadcasts along."""
    missing = K.ndim - len(shape)
    shape = (1,) * missing + shape
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and K.shape[i] > 1)
    return K.sum(axis=axes, keepdims=True).reshape(shape[missing:])


def _relu_saving(cov: Covariance, r: Array, s: Array) -> tuple[Covariance, Kept]:
    out = _relu(cov, r, s)
    return out, (cov, r, s, out.nngp)


_relu.defvjp(_relu_saving, _relu_backward)


def _sum_over(K: Array, axis: int) -> Array:
    """Return the sum over a short axis, written out: a CPU takes half the time of a reduction."""
    terms = [jax.lax.index_in_dim(K, i, axis, keepdims=False) for i in range(K.shape[axis])]
    return sum(terms[1:], terms[0])


def pooled_activation(
    P: Array, Q: Array, a: Array, b: Array, weights: Weights, dual: Dual, *, wants_ntk: bool
) -> Covariance:
    """Return the covariance after the first convolution, an activation and pooling.

    The covariance at full resolution, the largest array of all, is never whole. For each place in
    the windows of x there is a matrix product with all places in the windows of x', an elementwise
    function of it, and a sum over the places. All three fit in a core's cache.

    Parameters
    ----------
    P : Array of shape (size^2, n, n_filter)
        Patches of n windows, ordered by their place in the window.
    Q : Array of shape (size^2, m, n_filter)
        Patches of the m windows of the other inputs.
    a, b : Array of shape (size^2, n), (size^2, m)
        Variances of the convolution's outputs.
    weights : Weights
        Weights of the convolution.
    dual : Dual
        Duals of the activation.
    wants_ntk : bool
        Whether the NTK is wanted too.

    Returns
    -------
    covariance : Covariance of shape (n, m)
    """
    n_places, n, n_filter = P.shape
    if dual is DUALS["relu"] and (weights.fan_in is None or not wants_ntk):
        roots = [sqrt(variance) for variance in (a, b)]
        nngp, ntk = _pooled_relu(
            *(weights.unit_patches(X, root) for X, root in zip((P, Q), roots, strict=True)), *roots
        )
        cov = Covariance(nngp, ntk if wants_ntk else None)
    else:
        all_Q = Q.reshape(-1, n_filter).T / n_filter

        @jax.checkpoint
        def place(p: Array, a_p: Array) -> Covariance:
            means = matmul(p, all_Q).reshape(n, n_places, -1)
            k = weights(means, None, wants_ntk=wants_ntk)
            nngp, slope = dual.pair(k.nngp, a_p[:, None, None], b)
            ntk = None if k.ntk is None else _sum_over(k.ntk * slope, 1)
            return Covariance(_sum_over(nngp, 1), ntk)

        cov = _sum([place(P[i], a[i]) for i in range(n_places)])
    return jax.tree.map(lambda total: total / n_places**2, cov)


def _sum(terms: list[Tree]) -> Tree:
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *terms)


# What follows is `pooled_activation` for relu in the NTK parameterisation. Both outputs are then
# r r' times a function of the cosine: order1 for the nngp, and cosine * order0 for the ntk, because
# the ntk of a first layer is its covariance. So the gradient by r can be read off the outputs, and
# the gradient by the patches takes one more product and elementwise function for each place. That
# is half the time of autodiff.
@jax.custom_vjp
def _pooled_relu(P: Array, Q: Array, r: Array, s: Array) -> Sums:
    """Return the sums over all pairs of places.

    Parameters
    ----------
    P, Q : Array of shape (size^2, n, n_filter + 1), (size^2, m, n_filter + 1)
        Patches from `Weights.unit_patches`.
    r, s : Array of shape (size^2, n), (size^2, m)
        Square roots of the variances.
    """
    return apart(lambda *x: _relu_sums(*x)[0], P, Q, r, s)


def _relu_place(p: Array, Q: Array) -> tuple[Array, ...]:
    """Return the cosines of one place with all places, and `orders_and_sine` of them.

    All four arrays have shape (n, size^2, m).
    """
    n_places, m, n_filter = Q.shape
    cosine = matmul(p, Q.reshape(-1, n_filter).T).reshape(len(p), n_places, m)
    return cosine, *orders_and_sine(cosine)


def _relu_sums(P: Array, Q: Array, r: Array, s: Array) -> tuple[Sums, list[Sums]]:
    """Return the sums over all pairs of places, and for each place of P those over Q's places."""
    parts = []
    for p, r_p in zip(P, r, strict=True):
        cosine, order1, order0, _ = _relu_place(p, Q)
        scale = r_p[:, None, None] * s
        nngp = _sum_over(scale * order1, 1)
        parts.append((nngp, _sum_over(scale * (cosine * order0), 1)))
    return _sum(parts), parts


def _pooled_relu_forward(P: Array, Q: Array, r: Array, s: Array) -> tuple[Sums, KeptPooled]:
    total, parts = apart(_relu_sums, P, Q, r, s)
    return total, (P, Q, r, s, parts)


def _pooled_relu_backward(kept: KeptPooled, cotangent: Sums) -> tuple[Array, ...]:
    P, Q, r, s, parts = kept
    by_nngp, by_ntk = cotangent
    by_both = by_nngp + by_ntk
    scaled_Q = (Q * s[..., None]).reshape(-1, Q.shape[-1])
    grad_P, grad_r, grad_Q, grad_s = [], [], [], []
    for p, r_p, (nngp, ntk) in zip(P, r, parts, strict=True):
        cosine, order1, order0, sine = _relu_place(p, Q)
        # d order1 = order0 d cosine,  d (cosine order0) = (order0 + cosine order0') d cosine.
        # The factor r r' of both goes to the small factors of the products below.
        by_cosine = by_both[:, None] * order0 + by_ntk[:, None] * (cosine * order0_slope(sine))
        by_cosine = by_cosine.reshape(len(p), -1)
        grad_P.append(r_p[:, None] * matmul(by_cosine, scaled_Q))
        outputs = by_nngp * nngp + by_ntk * ntk
        # A black patch without a bias has no direction. Its slope is taken as 0.
        grad_r.append(outputs.sum(axis=1) / jnp.where(r_p == 0, 1, r_p))
        # The gradients of the other side, which XLA drops where nobody uses them.
        grad_Q.append(s[..., None] * matmul(by_cosine.T, r_p[:, None] * p).reshape(Q.shape))
        both = by_nngp[:, None] * order1 + by_ntk[:, None] * (cosine * order0)
        grad_s.append((r_p[:, None, None] * both).sum(axis=0))
    by_Q, by_s = sum(grad_Q, jnp.zeros_like(Q)), sum(grad_s, jnp.zeros_like(s))
    return jnp.stack(grad_P), by_Q, jnp.stack(grad_r), by_s


_pooled_relu.defvjp(_pooled_relu_forward, _pooled_relu_backward)
