"""Covariances between the pixels of two images, and what each layer does to them.

An infinitely wide network is described by the covariance of its features at every pixel of one
image with those at every pixel of another, the mean over channels. The arrays here have the pixels
in front and pairs of inputs, (n_a, n_b), behind:

    EVERY   (H, W, H', W', n_a, n_b)   each pixel of x with each pixel of x'
    SAME    (H, W, n_a, n_b)           each pixel of x with the pixel at the same place in x'
    FLAT    (n_a, n_b)                 features without places

Pooling mixes the places of an image, so the layers before it need EVERY. Where no pooling follows,
SAME is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._closed_form._products import FULL_PRECISION, matmul
from kipsk._types import PyTree
from kipsk.architectures import Conv

Out = TypeVar("Out")

#: Number of leading axes that are pixels.
EVERY, SAME, FLAT = 4, 2, 0


class Covariance(NamedTuple):
    """The two numbers that describe a layer's outputs on two inputs.

    Attributes
    ----------
    nngp : Array
        The covariance of the layer's features.
    ntk : Array or None
        The inner product of the features' derivatives by all parameters up to this layer; None
        where only the NNGP kernel is wanted.
    """

    nngp: Array
    ntk: Array | None


class Weights(NamedTuple):
    """A layer's weights and biases: ``nngp = w2 mean + b2``, and what they add to the ntk.

    In the NTK parameterisation the parameters are N(0, 1), and the inner product of the outputs'
    derivatives by them is the covariance itself. In the standard parameterisation the derivative
    by a weight is one of the `fan_in` inputs, and the derivative by the bias is 1.
    """

    w2: float
    b2: float
    fan_in: int | None  # None is the NTK parameterisation

    def __call__(self, nngp: Array, ntk: Array | None, *, wants_ntk: bool) -> Covariance:
        """Return the covariance after Dense or Conv from the means over what its filters see."""
        out = self.w2 * nngp + self.b2
        if not wants_ntk:
            return Covariance(out, None)
        own = out if self.fan_in is None else self.fan_in * nngp + 1
        return Covariance(out, own if ntk is None else own + self.w2 * ntk)

    def unit_patches(self, P: Array, roots: Array) -> Array:
        """Return patches whose inner products are the cosines between the layer's outputs.

        The bias becomes one more pixel of each patch.

        Parameters
        ----------
        P : Array of shape (..., n_filter)
        roots : Array of shape (...)
            Square roots of the variances of the outputs.

        Returns
        -------
        patches : Array of shape (..., n_filter + 1)
        """
        inverse = 1 / jnp.where(roots == 0, 1, roots)[..., None]
        scale = (self.w2 / P.shape[-1]) ** 0.5
        bias = jnp.full_like(inverse, self.b2**0.5)
        return jnp.concatenate([scale * P, bias], axis=-1) * inverse


def conv_padding(layer: Conv, n: int) -> tuple[int, int, int]:
    """Return how many zeros go before and after a side of n pixels, and the output's pixels."""
    if layer.padding == "VALID":
        return 0, 0, (n - layer.size) // layer.strides + 1
    n_out = -(-n // layer.strides)
    total = max((n_out - 1) * layer.strides + layer.size - n, 0)
    return total // 2, total - total // 2, n_out


def apart(function: Callable[..., Out], *arguments: PyTree) -> Out:
    """Return ``function(*arguments)``, on a CPU compiled apart from the code that uses its result.

    XLA would otherwise fuse the function into each use of its result and compute it again there,
    several times for every shift of a convolution. An optimisation barrier does not prevent it,
    because XLA removes barriers before it fuses. A branch stays until then, so the function is put
    into one.
    """
    if jax.default_backend() != "cpu":  # on an accelerator a branch waits for the host
        return function(*arguments)
    shapes = jax.eval_shape(function, *arguments)
    number = jax.tree.leaves(arguments)[0].ravel()[0]
    bits = jax.lax.bitcast_convert_type(number, f"int{8 * number.dtype.itemsize}")
    return jax.lax.cond(
        bits != -1,  # always true (-1 are the bits of a NaN that nothing computes); XLA cannot know
        function,
        lambda *_: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes),
        *arguments,
    )


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def filter_mean(K: Array, layer: Conv, places: int) -> Array:
    """Return the mean covariance over the pixels of a filter, moved alike in both inputs.

    ``1/size^2 sum_de K[i + d, j + e, i' + d, j' + e]``, where pixels outside of the images are
    zeros and count.
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
        return (filter_mean(cotangent, layer, places),)  # the filter is symmetric
    return jax.linear_transpose(partial(_filter_mean, layer=layer, places=places), K)(cotangent)


filter_mean.defvjp(
    lambda K, layer, places: (filter_mean(K, layer, places), K), _filter_mean_backward
)


def pool(K: Array, size: int) -> Array:
    """Return the means over windows of both inputs; pixels beyond the last window are left out."""
    height, breadth = (n // size for n in K.shape[:2])
    K = K[: height * size, : breadth * size, : height * size, : breadth * size]
    windows = K.reshape(height, size, breadth, size, height, size, breadth, size, *K.shape[4:])
    return windows.mean(axis=(1, 3, 5, 7))


def same_places(K: Array) -> Array:
    """Return the covariances of pixels at the same place, SAME, of those of all pairs, EVERY."""
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
    """Return patches (n, H, W, n_filter) ordered by their place in a pooling window.

    The result has shape (n, size^2, n_windows, n_filter).
    """
    n, height, breadth, n_filter = P.shape
    height, breadth = height // size, breadth // size
    P = P[:, : height * size, : breadth * size]
    P = P.reshape(n, height, size, breadth, size, n_filter).transpose(0, 2, 4, 1, 3, 5)
    return P.reshape(n, size**2, height * breadth, n_filter)


def products(P: Array, Q: Array, places: int) -> Array:
    """Return the mean over n_filter of the products of two sets of patches.

    The patches have shapes (n_a, H, W, n_filter) and (n_b, H, W, n_filter).
    """
    (n_a, height, breadth, n_filter), n_b = P.shape, len(Q)
    Q = Q / n_filter
    if places == SAME:
        return jnp.einsum("aijf,bijf->ijab", P, Q, precision=FULL_PRECISION)
    # A plain product and a transposition, which moves nothing for a single pair. XLA would lay out
    # the result of an einsum so that the layers after it take several times as long.
    K = matmul(P.reshape(-1, n_filter), Q.reshape(-1, n_filter).T)
    K = K.reshape(n_a, height, breadth, n_b, height, breadth)
    return K.transpose(1, 2, 4, 5, 0, 3)
