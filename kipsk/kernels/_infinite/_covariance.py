"""Covariances between the pixels of two images, and what each layer does to them.

An infinitely wide network is described by the covariance of its features at every pixel of one
image with those at every pixel of another, the mean over channels. The arrays here have the pixels
in front and pairs of inputs, (n_a, n_b), behind:

    EVERY   (H, W, H', W', n_a, n_b)   each pixel of x with each of x'
    SAME    (H, W, n_a, n_b)           each pixel of x with the one at its place in x'
    FLAT    (n_a, n_b)                 features without places

A layer that mixes places in one image, pooling, needs EVERY; without any, SAME is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kipsk.architectures import Conv

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
    ntk: Any


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

    def unit_patches(self, P: Array, roots: Array) -> Array:
        """Return patches whose products are the cosines between outputs, the bias one more pixel.

        Parameters
        ----------
        P : Array of shape (..., n_filter)
        roots : Array of shape (...)
            Roots of the variances of the outputs.
        """
        inverse = 1 / jnp.where(roots == 0, 1, roots)[..., None]
        scale = (self.w2 / P.shape[-1]) ** 0.5
        bias = jnp.full_like(inverse, self.b2**0.5)
        return jnp.concatenate([scale * P, bias], axis=-1) * inverse


def conv_padding(layer: Conv, n: int) -> tuple[int, int, int]:
    """Return the zeros before and after a side of n pixels, and the pixels of the result."""
    if layer.padding == "VALID":
        return 0, 0, (n - layer.size) // layer.strides + 1
    n_out = -(-n // layer.strides)
    total = max((n_out - 1) * layer.strides + layer.size - n, 0)
    return total // 2, total - total // 2, n_out


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)``, on a CPU compiled apart from what its result is used for.

    XLA would fuse it into each use, and compute it again for each: several times for every shift of
    a convolution. An optimisation barrier is gone by then; a branch is not.
    """
    if jax.default_backend() != "cpu":  # a branch waits for the host
        return function(*arguments)
    shapes = jax.eval_shape(function, *arguments)
    number = jax.tree.leaves(arguments)[0].ravel()[0]
    bits = jax.lax.bitcast_convert_type(number, f"int{8 * number.dtype.itemsize}")
    return jax.lax.cond(
        bits != -1,  # always, but XLA cannot know: those are the bits of a NaN nothing computes
        function,
        lambda *_: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes),
        *arguments,
    )


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def filter_mean(K: Array, layer: Conv, places: int) -> Array:
    """Return the mean over the pixels of a filter that sits at the same place in both inputs.

    ``1/size^2 sum_de K[i + d, j + e, i' + d, j' + e]``; zeros outside count.
    """
    return apart(partial(_filter_mean, layer=layer, places=places), K)


def _filter_mean(K: Array, layer: Conv, places: int) -> Array:
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


def _filter_mean_backward(layer: Conv, places: int, K: Array, cotangent: Array) -> tuple[Array]:
    if layer.strides == 1 and layer.padding == "SAME" and layer.size % 2:
        return (filter_mean(cotangent, layer, places),)  # as symmetric as the filter
    return jax.linear_transpose(partial(_filter_mean, layer=layer, places=places), K)(cotangent)


filter_mean.defvjp(
    lambda K, layer, places: (filter_mean(K, layer, places), K), _filter_mean_backward
)


def pool(K: Array, size: int) -> Array:
    """Return the means over windows of both inputs; a remainder of pixels is left out."""
    height, breadth = (n // size for n in K.shape[:2])
    K = K[: height * size, : breadth * size, : height * size, : breadth * size]
    windows = K.reshape(height, size, breadth, size, height, size, breadth, size, *K.shape[4:])
    return windows.mean(axis=(1, 3, 5, 7))


def same_places(K: Array) -> Array:
    """Return what of EVERY is SAME."""
    height, breadth, _, _, *pairs = K.shape
    n = height * breadth
    diagonal = K.reshape(n * n, *pairs)[:: n + 1]
    return diagonal.reshape(height, breadth, *pairs)


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


def by_window(P: Array, size: int) -> Array:
    """Return (n, H, W, n_filter) by place in a window: (n, size^2, n_windows, n_filter)."""
    n, height, breadth, n_filter = P.shape
    height, breadth = height // size, breadth // size
    P = P[:, : height * size, : breadth * size]
    P = P.reshape(n, height, size, breadth, size, n_filter).transpose(0, 2, 4, 1, 3, 5)
    return P.reshape(n, size**2, height * breadth, n_filter)


def products(P: Array, Q: Array, places: int) -> Array:
    """Return the means of products of (n_a, H, W, n_filter) and (n_b, H, W, n_filter) patches."""
    (n_a, height, breadth, n_filter), n_b = P.shape, len(Q)
    Q = Q / n_filter
    if places == SAME:
        return jnp.einsum("aijf,bijf->ijab", P, Q, precision=jax.lax.Precision.HIGHEST)
    # A plain product and a transposition, which is none for a single pair: of an einsum XLA makes
    # a layout that what follows is several times slower on.
    K = matmul(P.reshape(-1, n_filter), Q.reshape(-1, n_filter).T)
    K = K.reshape(n_a, height, breadth, n_b, height, breadth)
    return K.transpose(1, 2, 4, 5, 0, 3)
