"""Features of networks whose parameters are constants, and their gradient by the input.

What random features need: several networks at once, no gradient by a parameter, and often the one
by the input. A few rows at a time and with a convolution whose gradient is written out, that takes
half the time of differentiating `apply` on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from kipsk.architectures._architecture import Architecture, Conv, Dense, Flatten
from kipsk.architectures._function import Params, apply_layer, convolve

# Bytes of the largest layer of the rows that go through the networks together: on a CPU they stay
# in its caches, a GPU has to be filled.
_GROUP_BYTES_CPU = 8 * 2**20
GROUP_BYTES = 2**30

# So few channels do not fill a vector register; the gradient by them is better a plain product.
_FEW_CHANNELS = 4


def frozen_features(
    architecture: Architecture, networks: list[Params], width: int, x: Array
) -> Array:
    """Return the features of several networks, side by side.

    Parameters
    ----------
    architecture : Architecture
    networks : list of Params
        The parameters of each, from `init`; constants.
    width : int
        Of every network.
    x : Array of shape (n, *input_shape)

    Returns
    -------
    features : Array of shape (n, n_networks * n_features)
        Differentiable by x, in reverse mode only.
    """
    joint = [
        {name: jnp.concatenate([p[i][name] for p in networks], axis=-1) for name in networks[0][i]}
        for i in range(len(architecture.layers))
    ]
    end = len(architecture.layers) - 1
    weighted = [i for i in range(end) if isinstance(architecture.layers[i], Conv | Dense)]
    # All networks see the same input, so their first layers are one wide layer; and what follows
    # works on each channel alone, until the channels of a network meet again.
    split = weighted[0] + 1 if weighted else end
    while split < end and not isinstance(architecture.layers[split], Conv | Dense | Flatten):
        split += 1

    def through(first: int, last: int, params: Params, x: Array) -> Array:
        for i in range(first, last):
            layer = architecture.layers[i]
            x = apply_layer(architecture, i, layer, params[i], x, convolve=_convolve)
        return x

    def features(x: Array) -> Array:
        x = through(0, split, joint, x)
        if not weighted:
            return jnp.concatenate([x] * len(networks), axis=-1)
        own = jnp.split(x, len(networks), axis=-1)
        outputs = [through(split, end, p, h) for p, h in zip(networks, own, strict=True)]
        return jnp.concatenate(outputs, axis=-1)

    shapes = architecture.shapes(x.shape[1:], width)
    limit = _GROUP_BYTES_CPU if jax.default_backend() == "cpu" else GROUP_BYTES
    return in_groups(features, x, len(networks) * max(map(math.prod, shapes)), limit)


def in_groups(function: Callable[[Array], Array], x: Array, row_size: int, limit: int) -> Array:
    """Return ``function(x)``, a few rows at a time: as many as the bytes of `limit` hold.

    `row_size` is how many numbers one row is at its largest. The last group is filled up with zero
    rows, so that all are of one size and compiled once.
    """
    n = len(x)
    size = max(1, limit // (row_size * x.dtype.itemsize))
    if n <= size:
        return function(x)
    size = -(-n // -(-n // size))  # all groups nearly alike
    n_groups = -(-n // size)
    padding = [(0, n_groups * size - n)] + [(0, 0)] * (x.ndim - 1)
    outputs = jax.lax.map(function, jnp.pad(x, padding).reshape(n_groups, size, *x.shape[1:]))
    return outputs.reshape(n_groups * size, -1)[:n]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, weight: Array, strides: int, padding: str) -> Array:
    """As `convolve`, with constant weights."""
    return convolve(x, weight, strides, padding)


def _convolve_forward(
    x: Array, weight: Array, strides: int, padding: str
) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, weight, strides, padding), (x, weight)


def _convolve_backward(
    strides: int, padding: str, saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    x, weight = saved
    size, _, n_channels, n_units = weight.shape
    if strides != 1 or padding != "SAME" or size % 2 == 0:
        _, transpose = jax.vjp(lambda x: convolve(x, weight, strides, padding), x)
        (gradient,) = transpose(cotangent)
    elif n_channels > _FEW_CHANNELS:
        # XLA's own form of this is many times slower inside of a loop.
        flipped = jnp.flip(weight, (0, 1)).swapaxes(2, 3)
        gradient = convolve(cotangent, flipped, 1, "SAME")
    else:
        shares = cotangent @ weight.reshape(-1, n_units).T
        shares = shares.reshape(*cotangent.shape[:3], size, size, n_channels)
        margin = size // 2
        n, height, breadth, _ = x.shape
        total = jnp.zeros((n, height + 2 * margin, breadth + 2 * margin, n_channels), x.dtype)
        for i in range(size):
            for j in range(size):
                total = total.at[:, i : i + height, j : j + breadth].add(shares[:, :, :, i, j])
        gradient = total[:, margin : margin + height, margin : margin + breadth]
    return gradient, jnp.zeros_like(weight)


_convolve.defvjp(_convolve_forward, _convolve_backward)
