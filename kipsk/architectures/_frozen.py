"""Features of networks whose parameters are constants, and their gradient by the input.

Random features need several networks at once, no gradient by a parameter, and often the gradient by
the input. This module takes a few rows at a time and writes out the gradient of a convolution. On a
CPU that takes half the time of differentiating `apply`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from kipsk.architectures._architecture import Architecture, Conv, Dense, Flatten
from kipsk.architectures._function import (
    Params,
    apply_layer,
    convolve,
    margins,
    weight_and_bias,
)
from kipsk.architectures._pooled import FEW_CHANNELS, pooled_convolutions

# How many bytes the largest layer may take for the rows that go through the networks together. On a
# CPU they should stay in its caches; a GPU has to be filled.
_GROUP_BYTES_CPU = 8 * 2**20
GROUP_BYTES = 2**30


def frozen_features(
    architecture: Architecture, networks: list[Params], width: int, x: Array
) -> Array:
    """Return the features of several networks, side by side.

    Parameters
    ----------
    architecture : Architecture
    networks : list of Params
        The parameters of each network, from `init`. They are constants: nothing is differentiated
        by them.
    width : int
        The width of every network.
    x : Array of shape (n, *input_shape)

    Returns
    -------
    features : Array of shape (n, n_networks * n_features)
        They can be differentiated by x, in reverse mode only.
    """
    joint = [
        {name: jnp.concatenate([p[i][name] for p in networks], axis=-1) for name in networks[0][i]}
        for i in range(len(architecture.layers))
    ]
    end = len(architecture.layers) - 1
    weighted = [i for i in range(end) if isinstance(architecture.layers[i], Conv | Dense)]
    # All networks see the same input, so their first layers are computed as one wide layer. The
    # layers after it work on each channel alone, up to the next one that mixes channels.
    split = weighted[0] + 1 if weighted else end
    while split < end and not isinstance(architecture.layers[split], Conv | Dense | Flatten):
        split += 1

    shapes = architecture.shapes(x.shape[1:], width)
    is_cpu = jax.default_backend() == "cpu"
    pooled = pooled_convolutions(architecture, shapes) if is_cpu else {}

    def through(first: int, last: int, params: Params, x: Array) -> Array:
        i = first
        while i < last:
            layer = architecture.layers[i]
            if i in pooled and i + 3 <= last:
                weight, bias = weight_and_bias(architecture, i, layer, params[i], x)
                x, i = pooled[i](x, weight, bias), i + 3
            else:
                x = apply_layer(architecture, i, layer, params[i], x, convolve=_convolve)
                i += 1
        return x

    def features(x: Array) -> Array:
        x = through(0, split, joint, x)
        if not weighted:
            return jnp.concatenate([x] * len(networks), axis=-1)
        own = jnp.split(x, len(networks), axis=-1)
        outputs = [through(split, end, p, h) for p, h in zip(networks, own, strict=True)]
        return jnp.concatenate(outputs, axis=-1)

    inside = {i + k for i in pooled for k in (1, 2)}  # layers of which nothing is whole
    sizes = [len(networks) * math.prod(s) for i, s in enumerate(shapes) if i not in inside]
    sizes += [block.row_size(shapes[i][-1], len(networks) * width) for i, block in pooled.items()]
    return in_groups(features, x, max(sizes), _GROUP_BYTES_CPU if is_cpu else GROUP_BYTES)


def in_groups(function: Callable[[Array], Array], x: Array, row_size: int, limit: int) -> Array:
    """Return ``function(x)``, computed for as many rows at a time as `limit` bytes hold.

    `row_size` is how many numbers one row has where it is largest. Zero rows fill up the last
    group, so that all groups have one size and are compiled once.
    """
    n = len(x)
    size = max(1, limit // (row_size * x.dtype.itemsize))
    if n <= size:
        return function(x)
    size = -(-n // -(-n // size))  # as even as can be
    n_groups = -(-n // size)
    padding = [(0, n_groups * size - n)] + [(0, 0)] * (x.ndim - 1)
    outputs = jax.lax.map(function, jnp.pad(x, padding).reshape(n_groups, size, *x.shape[1:]))
    return outputs.reshape(n_groups * size, -1)[:n]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: Array, weight: Array, strides: int, padding: str) -> Array:
    """Return `convolve` of x with weights that are constants."""
    return _through(x, weight, strides, padding)


def _through(x: Array, weight: Array, strides: int, padding: str) -> Array:
    """Return the convolution. On a GPU that of few channels is a product, which is faster there."""
    size, _, n_channels, n_units = weight.shape
    is_plain = strides == 1 and padding == "SAME" and size % 2 == 1
    if jax.default_backend() == "cpu" or n_channels > FEW_CHANNELS or not is_plain:
        return convolve(x, weight, strides, padding)
    n, height, breadth, _ = x.shape
    margin = size // 2
    x = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    patches = jnp.concatenate(
        [x[:, i : i + height, j : j + breadth] for i in range(size) for j in range(size)], axis=-1
    )
    out = patches.reshape(-1, size * size * n_channels) @ weight.reshape(-1, n_units)
    return out.reshape(n, height, breadth, n_units)


def _convolve_forward(
    x: Array, weight: Array, strides: int, padding: str
) -> tuple[Array, tuple[Array, Array]]:
    return _through(x, weight, strides, padding), (x, weight)


def _convolve_backward(
    strides: int, padding: str, saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    x, weight = saved
    size, _, n_channels, n_units = weight.shape
    low, high = margins(size, padding)
    if strides != 1:
        _, transpose = jax.vjp(lambda x: convolve(x, weight, strides, padding), x)
        (gradient,) = transpose(cotangent)
    elif n_channels > FEW_CHANNELS:
        # A convolution again; XLA's own gradient is many times slower inside of a loop.
        flipped = jnp.flip(weight, (0, 1)).swapaxes(2, 3)
        own = size - 1 - low, size - 1 - high
        gradient = jax.lax.conv_general_dilated(
            cotangent, flipped, (1, 1), (own, own), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    else:
        shares = cotangent @ weight.reshape(-1, n_units).T
        n, height, breadth, _ = cotangent.shape
        shares = shares.reshape(n, height, breadth, size, size, n_channels)
        sides = height + size - 1, breadth + size - 1
        total = jnp.zeros((n, *sides, n_channels), x.dtype)
        for i in range(size):
            for j in range(size):
                total = total.at[:, i : i + height, j : j + breadth].add(shares[:, :, :, i, j])
        gradient = total[:, low : sides[0] - high, low : sides[1] - high]
    return gradient, jnp.zeros_like(weight)


_convolve.defvjp(_convolve_forward, _convolve_backward)
