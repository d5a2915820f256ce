"""The augmentations of differentiable siamese augmentation that `_augmentations` does not have.

Zhao and Bilen 2021, arXiv 2102.08259: networks are trained on distilled images that are changed at
each step in one of six ways. `dsa` is this choice with its published strengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._checks import check_positive, refuse
from kipsk.augment._apply import changed
from kipsk.augment._augmentations import Cutout, Flip, Rotate, Shift
from kipsk.augment._base import Compose, OfImages
from kipsk.augment._pixels import over_rows, resized, some

T = TypeVar("T")


@dataclass(frozen=True)
class ColorJitter(OfImages):
    """Change brightness, saturation and contrast of images, by amounts drawn for each image.

    With u uniform in [0, 1], anew for each of the three, and the means of the image::

        x <- x + brightness (u - 1/2)                         brightness
        x <- mean + saturation u (x - mean)                   mean over channels, of each pixel
        x <- mean + (contrast + u) (x - mean)                 mean over pixels and channels

    Parameters
    ----------
    brightness : float, default=1.0
        The range of the shift, in units of the images' deviation over the batch; 0 for none.
    saturation : float, default=2.0
        The largest factor of what a pixel's channels differ by; 0 leaves colours alone. Grey images
        have none.
    contrast : float or None, default=0.5
        The smallest factor of what the pixels differ by; the largest is 1 more. None leaves the
        contrast alone.
    p : float, default=1.0
        Chance that an image is changed.
    """

    brightness: float = 1.0
    saturation: float = 2.0
    contrast: float | None = 0.5
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("brightness", "saturation"):
            self._set(**{name: check_positive(self._name, name, getattr(self, name), zero=True)})
        if self.contrast is not None:
            also = " or None"
            contrast = check_positive(self._name, "contrast", self.contrast, zero=True, also=also)
            self._set(contrast=contrast)

    def change(self, key: Array, images: Array) -> Array:
        """Change the colours of all images."""
        drawn = jax.random.uniform(key, (3, len(images)), jnp.float32).astype(images.dtype)
        shift, colour, spread = (over_rows(u, images) for u in drawn)
        images = images + self.brightness * jnp.std(images) * (shift - 0.5)
        if self.saturation and images.shape[-1] > 1:
            grey = jnp.mean(images, axis=-1, keepdims=True)
            images = grey + self.saturation * colour * (images - grey)
        if self.contrast is not None:
            mean = jnp.mean(images, axis=(1, 2, 3), keepdims=True)
            images = mean + (self.contrast + spread) * (images - mean)
        return images


@dataclass(frozen=True)
class Scale(OfImages):
    """Stretch or shrink images about their centre, bilinearly; zeros fill the empty pixels.

    Parameters
    ----------
    ratio : float, default=1.2
        The factors of height and width are drawn apart, each uniform in ``[1 / ratio, ratio]``.
    p : float, default=1.0
        Chance that an image is changed.
    """

    ratio: float = 1.2
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if check_positive(self._name, "ratio", self.ratio) <= 1:
            raise refuse(self._name, "ratio", "a number > 1", self.ratio)
        self._set(ratio=float(self.ratio))

    def change(self, key: Array, images: Array) -> Array:
        """Stretch all images."""
        factors = jax.random.uniform(key, (len(images), 2), jnp.float32, 1 / self.ratio, self.ratio)
        return resized(images, factors)


@dataclass(frozen=True)
class OneOf(Compose):
    """Apply one of several augmentations, drawn for each batch; all are equally likely.

    Parameters
    ----------
    augmentations : tuple
        Augmentations, or functions ``(key, images) -> images``.
    p : float, default=1.0
        Chance that a row goes through the augmentation at all. Each also has its own `p`.
    """

    def change(self, key: Array, images: Array) -> Array:
        """Return all images changed by one of the augmentations."""
        return jax.lax.switch(*self._drawn(key, self.augmentations), images)

    def with_targets(self, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
        """Return images and targets changed by one of the augmentations."""
        key_change, key_p = jax.random.split(key)
        branches = [partial(changed, one) for one in self.augmentations]
        new = jax.lax.switch(*self._drawn(key_change, branches), images, y)
        return some(key_p, self.p, new, (images, y))

    def _drawn(self, key: Array, branches: Sequence[T]) -> tuple[Array, Sequence[T], Array]:
        """Return the number of the one that is applied, all of them, and its key."""
        key_which, key_change = jax.random.split(key)
        which = jax.random.randint(key_which, (), 0, len(branches), jnp.int32)
        return which, branches, key_change


def dsa(*, flip: bool = True) -> OneOf:
    """Return the augmentation that later papers train networks on distilled images with.

    At each step the batch is changed in one way: colours, moved by up to an eighth of the sides,
    a window of half the sides cut out, mirrored, stretched by up to 1.2, or rotated by up to 15
    degrees (Zhao and Bilen 2021, arXiv 2102.08259, with the strengths of their experiments). Here a
    window that is cut out lies inside the image.

    Parameters
    ----------
    flip : bool, default=True
        Whether mirror images are among them, which digits must not have.

    Returns
    -------
    augmentation : OneOf
    """
    mirrored = (Flip(),) if flip else ()
    return OneOf((ColorJitter(), Shift(0.125), Cutout(0.5), *mirrored, Scale(1.2), Rotate(15)))
