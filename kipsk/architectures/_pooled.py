"""A first convolution with its activation and pooling in one: the largest layer is never whole.

Of an image of few channels a convolution makes an array many times larger, which an activation and
pooling make small again. On a CPU the time goes into memory then, not into products. Here the
rows of all pooling windows are convolved one after another, each as one product, and are added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from kipsk.architectures._architecture import Architecture
from kipsk.architectures._function import activated, contrast_normalised, margins
from kipsk.architectures._layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Layer,
    Shape,
    TwoSided,
)

#: With so few channels a convolution does not fill vector registers, and products are faster.
FEW_CHANNELS = 4


@dataclass(frozen=True)
class PooledConvolution:
    """Conv, an activation, and means over windows of equal size that do not overlap.

    Attributes
    ----------
    conv, activation : layers
    window : tuple of int
        Height and breadth of a window in pixels.
    n_windows : tuple of int
        How many there are along each side.
    """

    conv: Conv
    activation: Activation | TwoSided
    window: tuple[int, int]
    n_windows: tuple[int, int]

    def row_size(self, channels: int, units: int) -> int:
        """Return how many numbers one image has where it is largest."""
        (height, breadth), (n_rows, n_columns) = self.window, self.n_windows
        pixels = n_rows * n_columns * breadth
        return pixels * height * self.conv.size**2 * channels + 3 * pixels * units

    def __call__(self, x: Array, weight: Array, bias: Array) -> Array:
        """Return the output of the three layers.

        Parameters
        ----------
        x : Array of shape (n, H, W, C)
        weight : Array of shape (size, size, C, units)
        bias : Array of shape (units,)
        """
        (height, breadth), (n_rows, n_columns) = self.window, self.n_windows
        size, low_high = self.conv.size, margins(self.conv.size, self.conv.padding)
        x, weight, factor = contrast_normalised(self.conv, x, weight)
        x = jnp.pad(x, ((0, 0), low_high, low_high, (0, 0)))
        rows, columns = height * n_rows, breadth * n_columns
        patches = jnp.concatenate(
            [x[:, i : i + rows, j : j + columns] for i in range(size) for j in range(size)], axis=-1
        )
        patches = patches.reshape(len(x), n_rows, height, columns, -1)
        if factor is not None:
            factor = factor[:, :rows, :columns].reshape(len(x), n_rows, height, columns, 1)
        matrix = weight.reshape(-1, weight.shape[-1])
        # Half precision is for what goes into products, not for sums over many pixels.
        precise = jnp.promote_types(x.dtype, jnp.float32)
        means = []
        totals = [jnp.zeros((), precise)] * 2
        for k in range(height):
            outputs = jnp.matmul(patches[:, :, k], matrix, preferred_element_type=precise)
            if factor is not None:
                outputs *= factor[:, :, k]
            parts = activated(self.activation, outputs + bias)
            totals = [total + part for total, part in zip(totals, parts, strict=False)]
        for total in totals:
            windows = total.reshape(len(x), n_rows, n_columns, breadth, -1)
            mean = sum((windows[:, :, :, k] for k in range(1, breadth)), windows[:, :, :, 0])
            means.append(mean / math.prod(self.window))
        both = jnp.stack(means, axis=-1).astype(x.dtype)
        return both.reshape(*both.shape[:3], -1)


def pooled_convolutions(
    architecture: Architecture, shapes: list[Shape]
) -> dict[int, PooledConvolution]:
    """Return the layers that are computed as one, by the number of the first of them.

    Parameters
    ----------
    architecture : Architecture
    shapes : list of tuple of int
        From `Architecture.shapes`.
    """
    found = {}
    layers = architecture.layers
    for i, (conv, activation, pool) in enumerate(zip(layers, layers[1:], layers[2:], strict=False)):
        if not (isinstance(conv, Conv) and isinstance(activation, Activation | TwoSided)):
            continue
        window = _window(pool, shapes[i + 1])
        if window is not None and conv.strides == 1 and shapes[i][-1] <= FEW_CHANNELS:
            n_windows = shapes[i + 1][0] // window[0], shapes[i + 1][1] // window[1]
            found[i] = PooledConvolution(conv, activation, window, n_windows)
    return found


def _window(pool: Layer, shape: Shape) -> tuple[int, int] | None:
    """Return the windows of pooling; None if they are not all of one size."""
    height, breadth, _ = shape
    if isinstance(pool, AvgPool):
        return pool.size, pool.size
    if isinstance(pool, AdaptiveAvgPool) and height % pool.size == breadth % pool.size == 0:
        return height // pool.size, breadth // pool.size
    return None
