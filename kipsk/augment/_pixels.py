"""Arithmetic of augmentations: random numbers for rows, and functions that move pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates
from jax.typing import DTypeLike

Arrays = TypeVar("Arrays", Array, tuple[Array, Array])


def over_rows(values: Array, like: Array) -> Array:
    """Return values (n,) in a shape that broadcasts over the rows of the array `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def some(key: Array, p: float, new: Arrays, old: Arrays) -> Arrays:
    """Return for each row the new one with chance p, else the old one; alike in all arrays."""
    if p == 1:
        return new
    n = len(jax.tree.leaves(old)[0])
    chosen = jax.random.uniform(key, (n,), jnp.float32) < p
    return jax.tree.map(lambda a, b: jnp.where(over_rows(chosen, a), a, b), new, old)


def normal(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return standard normal numbers, drawn in float32 whatever the dtype."""
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def symmetric_beta(key: Array, alpha: float, n: int) -> Array:
    r"""Return n random numbers of the distribution Beta(alpha, alpha).

    They are ``1/2 + t / (2 sqrt(2 alpha + t^2))``, where t has Student's distribution with 2 alpha
    degrees of freedom: ``t^2 = 2 alpha (u^{-1/alpha} - 1) cos^2(2 pi v)`` with u and v uniform in
    [0, 1] (Bailey 1994, Math. Comp. 62, 779). `jax.random.beta` rejects draws in a loop, which
    takes two seconds to compile and ten times as long to run.
    """
    u, v = jax.random.uniform(key, (2, n), jnp.float32)
    power = jnp.log(u) / alpha
    cos = jnp.cos(2 * jnp.pi * v)
    return jnp.clip(0.5 + 0.5 * cos / jnp.sqrt(cos**2 - jnp.exp(power) / jnp.expm1(power)), 0, 1)


def pixels(fraction: float, side: int) -> int:
    """Return a share of a side in whole pixels, rounded down.

    The small number is for shares such as 0.29, since 0.29 * 100 is 28.999999999999996.
    """
    return int(fraction * side + 1e-9)


def shifted(images: Array, down: Array, right: Array, reach: Sequence[int]) -> Array:
    """Return images moved down and right; zeros fill the empty pixels.

    Parameters
    ----------
    images : Array of shape (n, H, W, C)
    down, right : Array of shape (n,)
        Whole pixels, of either sign.
    reach : sequence of two int
        The most that `down` and `right` may be.
    """
    padded = jnp.pad(images, [(0, 0), *((far, far) for far in reach), (0, 0)])

    def window(image: Array, down: Array, right: Array) -> Array:
        start = (reach[0] - down, reach[1] - right, jnp.zeros_like(down))
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    return jax.vmap(window)(padded, down, right)


def cropped(images: Array, share: Array, start: Array) -> Array:
    """Return windows of images, resized to the size of the images.

    Parameters
    ----------
    images : Array of shape (n, H, W, C)
    share : Array of shape (n,)
        The window's share of both sides.
    start : Array of shape (n, 2)
        The window's first row and column, in pixels.
    """
    share, start = share.astype(images.dtype), start.astype(images.dtype)

    def resized(image: Array, share: Array, start: Array) -> Array:
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), jnp.stack([1 / share] * 2), -start / share, "linear"
        )

    return jax.vmap(resized)(images, share, start)


def resized(images: Array, factors: Array) -> Array:
    """Return images stretched about their centre by factors (n, 2) of height and width."""
    sides = jnp.array(images.shape[1:3], images.dtype)
    factors = factors.astype(images.dtype)

    def one(image: Array, factor: Array) -> Array:
        # The centre of the image, at half of its sides, stays where it is.
        offset = sides / 2 * (1 - factor)
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), factor, offset, "linear", antialias=False
        )

    return jax.vmap(one)(images, factors)


def rotated(images: Array, angles: Array) -> Array:
    """Return images rotated counter-clockwise by angles (n,), in radians."""
    height, width = images.shape[1:3]
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    centre = (height - 1) / 2, (width - 1) / 2
    down = jnp.arange(height, dtype=dtype)[:, None] - centre[0]
    right = jnp.arange(width, dtype=dtype) - centre[1]
    angles = angles.astype(dtype)[:, None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    # The place that each pixel of the result is taken from.
    rows, columns = cos * down + sin * right + centre[0], cos * right - sin * down + centre[1]
    between = partial(map_coordinates, order=1, mode="constant")
    by_channel = jax.vmap(between, in_axes=(-1, None), out_axes=-1)
    return jax.vmap(by_channel)(images, [rows, columns])
