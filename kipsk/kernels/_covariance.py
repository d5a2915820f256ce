"""Covariances between the pixels of two images, and what each layer does to them.

An infinitely wide network is described by the covariance of its features at every pixel of one
image with those at every pixel of another, the mean over channels. The arrays here have the pixels
in front and anything behind, such as pairs of images:

    EVERY   (H, W, H', W', ...)   each pixel of x with each of x'
    SAME    (H, W, ...)           each pixel of x with the one at its place in x'
    FLAT    (...)                 features without places

A layer that mixes places in one image, pooling, needs EVERY; without any, SAME is enough.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kipsk.architectures import Conv
from kipsk.kernels._duals import Dual

#: Number of leading axes that are pixels.
EVERY, SAME, FLAT = 4, 2, 0

matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Covariance(NamedTuple):
    """What is known of a layer's outputs on two inputs.

    Attributes
    ----------
    nngp : Array
        The covariance of its features.
    ntk : Array or None
        The inner product of their derivatives by all parameters so far; None if nobody asks.
    """

    nngp: Array
    ntk: Array | None


class Weights(NamedTuple):
    """What weights and biases do: ``nngp = w2 mean + b2``, and what they add to the ntk.

    In the NTK parameterisation the derivatives by N(0, 1) parameters are the covariance itself; in
    the standard one they are the inputs, of which there are `fan_in`, and 1 for the bias.
    """

    w2: float
    b2: float
    fan_in: int | None  # None is the NTK parameterisation

    def __call__(self, nngp: Array, ntk: Array | None, *, wants_ntk: bool) -> Covariance:
        """Return the outputs of Dense or Conv from the means of what its filters see."""
        out = self.w2 * nngp + self.b2
        if not wants_ntk:
            return Covariance(out, None)
        own = out if self.fan_in is None else self.fan_in * nngp + 1
        return Covariance(out, own if ntk is None else own + self.w2 * ntk)


def conv_padding(layer: Conv, n: int) -> tuple[int, int, int]:
    """Return the zeros before and after a side of n pixels, and the pixels of the result."""
    if layer.padding == "VALID":
        return 0, 0, (n - layer.size) // layer.strides + 1
    n_out = -(-n // layer.strides)
    total = max((n_out - 1) * layer.strides + layer.size - n, 0)
    return total // 2, total - total // 2, n_out


def filter_mean(K: Array, layer: Conv, places: int) -> Array:
    """Return the mean over the pixels of a filter that sits at the same place in both inputs.

    ``1/size^2 sum_d K[i + d, j + e, i' + d, j' + e]``; zeros outside count.
    """
    for axis in range(2):  # a sum over rows, then over columns: 2 size terms, not size^2
        axes = (axis, axis + 2) if places == EVERY else (axis,)
        before, after, n_out = conv_padding(layer, K.shape[axis])
        padding = [(0, 0, 0)] * K.ndim
        for a in axes:
            padding[a] = (before, after, 0)
        padded = jax.lax.pad(K, jnp.zeros((), K.dtype), padding)
        shifted = []
        for d in range(layer.size):
            window: list[slice] = [slice(None)] * K.ndim
            for a in axes:
                window[a] = slice(d, d + (n_out - 1) * layer.strides + 1, layer.strides)
            shifted.append(padded[tuple(window)])
        K = sum(shifted[1:], shifted[0])
    return K / layer.size**2


def pool(K: Array, size: int) -> Array:
    """Return the means over windows of both inputs; a remainder of pixels is left out."""
    height, breadth = (n // size for n in K.shape[:2])
    K = K[: height * size, : breadth * size, : height * size, : breadth * size]
    windows = K.reshape(height, size, breadth, size, height, size, breadth, size, *K.shape[4:])
    return windows.mean(axis=(1, 3, 5, 7))


def same_places(K: Array) -> Array:
    """Return what of EVERY is SAME."""
    n = math.prod(K.shape[:2])
    return jnp.diagonal(K.reshape(n, n, *K.shape[4:]), axis1=0, axis2=1).reshape(K.shape[:2])


def patches(x: Array, layer: Conv) -> Array:
    """Return the pixels that a filter sees at each place: (n, H', W', size^2 C) of (n, H, W, C)."""
    (top, bottom, height), (left, right, breadth) = (conv_padding(layer, n) for n in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    s = layer.strides
    return jnp.concatenate(
        [
            x[:, i : i + (height - 1) * s + 1 : s, j : j + (breadth - 1) * s + 1 : s]
            for i in range(layer.size)
            for j in range(layer.size)
        ],
        axis=-1,
    )


def window_major(P: Array, size: int) -> Array:
    """Return (n, H, W, ...) as (n, size^2, H/size W/size, ...): place in a window, window."""
    n, height, breadth, *rest = P.shape
    height, breadth = height // size, breadth // size
    P = P[:, : height * size, : breadth * size]
    P = P.reshape(n, height, size, breadth, size, *rest)
    return jnp.moveaxis(P, (2, 4), (1, 2)).reshape(n, size**2, height * breadth, *rest)


def pooled_activation(
    P: Array, Q: Array, a: Array, b: Array, weights: Weights, dual: Dual, *, wants_ntk: bool
) -> Covariance:
    """Return what the first convolution, an activation and pooling make of two images.

    The full-resolution covariance, the largest array of all, is never whole: each place in the
    windows of x is a matrix product with all places in those of x', an elementwise function of it,
    and a sum over the places, which all fit in a core's cache.

    Parameters
    ----------
    P, Q : Array of shape (size^2, n_windows, n_filter)
        Patches by place in their window.
    a, b : Array of shape (size^2, n_windows)
        Variances of the convolution's outputs.

    Returns
    -------
    covariance : Covariance of shape (n_windows, n_windows)
    """
    n_places, n_windows, n_filter = P.shape
    all_Q = Q.reshape(n_places * n_windows, n_filter).T / n_filter

    @jax.checkpoint
    def place(p: Array, a_p: Array) -> Covariance:
        means = matmul(p, all_Q).reshape(n_windows, n_places, n_windows)
        k = weights(means, None, wants_ntk=wants_ntk)
        nngp, slope = dual.pair(k.nngp, a_p[:, None, None], b[None])
        ntk = None if k.ntk is None else (k.ntk * slope).sum(axis=1)
        return Covariance(nngp.sum(axis=1), ntk)

    parts = [place(P[i], a[i]) for i in range(n_places)]
    return jax.tree.map(lambda *terms: sum(terms[1:], terms[0]) / n_places**2, *parts)
