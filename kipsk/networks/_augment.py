"""Small random changes of images that leave their class alone, drawn anew at each step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

#: Names of augmentations.
AUGMENTATIONS = ("flip", "flip_shift")

_REACH = 8  # shifts go up to this part of the side


def augment(kind: str, key: Array, images: Array) -> Array:
    """Return images (n, H, W, C), each changed at random.

    "flip" mirrors half of them left to right; "flip_shift" also moves each by up to ``H // 8``
    pixels up or down and ``W // 8`` left or right, all distances equally likely.
    """
    n, height, width, _ = images.shape
    key_flip, key_down, key_right = jax.random.split(key, 3)
    images = flip(images, jax.random.bernoulli(key_flip, shape=(n,)))
    if kind == "flip":
        return images
    reach = height // _REACH, width // _REACH
    down = jax.random.randint(key_down, (n,), -reach[0], reach[0] + 1)
    right = jax.random.randint(key_right, (n,), -reach[1], reach[1] + 1)
    return shift(images, down, right, reach)


def flip(images: Array, which: Array) -> Array:
    """Mirror the images left to right where the booleans `which`, of shape (n,), say so."""
    return jnp.where(which[:, None, None, None], images[:, :, ::-1], images)


def shift(images: Array, down: Array, right: Array, reach: tuple[int, int]) -> Array:
    """Move each image by its pixels, of shape (n,), at most `reach`; zeros fill what is free."""
    padded = jnp.pad(images, [(0, 0), *((side, side) for side in reach), (0, 0)])

    def window(image: Array, down: Array, right: Array) -> Array:
        start = (reach[0] - down, reach[1] - right, 0)
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    return jax.vmap(window)(padded, down, right)
