"""The augmentations as classes, and those that have names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk._checks import check_positive, refuse
from kipsk._types import Floats, Given
from kipsk.augment._apply import Function, _jitted, check_function, check_share
from kipsk.augment._base import FUNCTIONS, Augmentation, Compose, OfImages
from kipsk.augment._pixels import (
    cropped,
    normal,
    over_rows,
    pixels,
    rotated,
    shifted,
    some,
    symmetric_beta,
)

# Rows and draws that `mixes_rows` tries an augmentation on.
_TRIED_ROWS = 64
_TRIES = 8


@dataclass(frozen=True)
class Flip(OfImages):
    """Mirror images left to right.

    It is not for images whose class a mirror changes, such as digits.

    Parameters
    ----------
    p : float, default=0.5
        Chance that an image is mirrored.
    """

    p: float = 0.5

    def change(self, key: Array, images: Array) -> Array:
        """Mirror all images."""
        return images[:, :, ::-1]


def without_flip(augmentation: Function | None) -> tuple[float, Function | None]:
    """Return the chance that an augmentation begins with a mirror image, and what follows.

    The two cases of `Flip` can both be counted, which draws of it only estimate. A subclass may do
    anything else, and is drawn.
    """
    if type(augmentation) is Flip:
        return augmentation.p, None
    if type(augmentation) is Compose and augmentation.p == 1:
        first, *rest = augmentation.augmentations
        if type(first) is Flip:
            return first.p, rest[0] if len(rest) == 1 else Compose(tuple(rest)) if rest else None
    return 0.0, augmentation


def mixes_rows(
    augmentation: Function, X: Floats, y: Floats, image_shape: tuple[int, ...] | None
) -> bool:
    """Return whether an augmentation gives rows a share of the targets of others.

    It is tried: the targets of every other row are replaced, and the rest must not notice in a few
    draws. An augmentation that only measures a batch, such as `Noise`, mixes nothing.

    Parameters
    ----------
    augmentation : callable
        From `get_augmentation`, and checked.
    X, y : ndarrays of shapes (n, d) and (n, ...)
        Some rows and their targets, which are repeated if they are few.
    image_shape : tuple (H, W, C) or None
    """
    if not hasattr(augmentation, "with_targets"):
        return False
    X, y = (np.resize(rows, (_TRIED_ROWS, *rows.shape[1:])) for rows in (X, y))
    images = X if image_shape is None else X.reshape(len(X), *image_shape)
    replaced = y.copy()
    replaced[1::2] += np.abs(y).max() or 1
    for seed in range(_TRIES):
        key = jax.random.key(seed, impl="threefry2x32")
        own, its = (
            np.asarray(_jitted(augmentation, key, jnp.asarray(images), jnp.asarray(targets))[1])
            for targets in (y, replaced)
        )
        if not np.allclose(own[::2], its[::2], 1e-5, 1e-5 * np.abs(own).max()):
            return True
    return False


@dataclass(frozen=True)
class Shift(OfImages):
    """Move images by whole pixels, up or down and left or right; zeros fill the empty pixels.

    Parameters
    ----------
    fraction : float, default=0.125
        Images move by at most ``int(fraction * H)`` and ``int(fraction * W)`` pixels. All distances
        up to these are equally likely.
    p : float, default=1.0
        Chance that an image is moved.
    """

    fraction: float = 0.125
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(fraction=check_share(self._name, "fraction", self.fraction))

    def change(self, key: Array, images: Array) -> Array:
        """Move all images."""
        n, *sides, _ = images.shape
        reach = [pixels(self.fraction, side) for side in sides]
        if not any(reach):
            rule = f"at least {1 / max(sides):.3g} to move images of {sides[0]} x {sides[1]} pixels"
            raise refuse(self._name, "fraction", rule, self.fraction)
        down, right = (
            jax.random.randint(one, (n,), -far, far + 1, jnp.int32)
            for one, far in zip(jax.random.split(key), reach, strict=True)
        )
        return shifted(images, down, right, reach)


@dataclass(frozen=True)
class Crop(OfImages):
    """Cut a window out of images and resize it to the size of the image, bilinearly.

    Parameters
    ----------
    fraction : float, default=0.875
        The window's share of both sides is uniform in [fraction, 1], and so is its place among
        those inside the image.
    p : float, default=1.0
        Chance that an image is cropped.
    """

    fraction: float = 0.875
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(fraction=check_share(self._name, "fraction", self.fraction))

    def change(self, key: Array, images: Array) -> Array:
        """Crop all images."""
        n, *sides, _ = images.shape
        key_share, key_place = jax.random.split(key)
        share = jax.random.uniform(key_share, (n,), jnp.float32, self.fraction, 1)
        place = jax.random.uniform(key_place, (n, 2), jnp.float32)
        free = (1 - share)[:, None] * jnp.array(sides, jnp.float32)
        return cropped(images, share, place * free)


@dataclass(frozen=True)
class Rotate(OfImages):
    """Rotate images about their centre, bilinearly; zeros fill the empty pixels.

    Parameters
    ----------
    degrees : float, default=15
        Angles are uniform in [-degrees, degrees]. It may be at most 180.
    p : float, default=1.0
        Chance that an image is rotated.
    """

    degrees: float = 15.0
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        degrees = check_positive(self._name, "degrees", self.degrees)
        if degrees > 180:
            raise refuse(self._name, "degrees", "a number > 0 and <= 180", self.degrees)
        self._set(degrees=degrees)

    def change(self, key: Array, images: Array) -> Array:
        """Rotate all images."""
        most = math.radians(self.degrees)
        return rotated(images, jax.random.uniform(key, images.shape[:1], jnp.float32, -most, most))


@dataclass(frozen=True)
class ChannelShift(OfImages):
    """Add a number to each channel of each image: a change of brightness and of colour.

    Parameters
    ----------
    scale : float, default=0.1
        Standard deviation of these normal numbers, in units of the channel's deviation over the
        batch.
    p : float, default=1.0
        Chance that an image is changed.
    """

    scale: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(scale=check_positive(self._name, "scale", self.scale))

    def change(self, key: Array, images: Array) -> Array:
        """Shift the channels of all images."""
        n, _, _, channels = images.shape
        shift = normal(key, (n, 1, 1, channels), images.dtype)
        return images + self.scale * images.std(axis=(0, 1, 2)) * shift


@dataclass(frozen=True)
class Cutout(OfImages):
    """Set a window of images to zero (DeVries and Taylor 2017, arXiv 1708.04552).

    Parameters
    ----------
    fraction : float, default=0.25
        The window's share of both sides, rounded down to whole pixels but at least one pixel. The
        window lies inside the image, and all places there are equally likely.
    p : float, default=1.0
        Chance that an image is changed.
    """

    fraction: float = 0.25
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(fraction=check_share(self._name, "fraction", self.fraction))

    def change(self, key: Array, images: Array) -> Array:
        """Cut a window out of all images."""
        n, *sides, _ = images.shape
        inside = []
        for one, side in zip(jax.random.split(key), sides, strict=True):
            size = max(1, pixels(self.fraction, side))
            start = jax.random.randint(one, (n, 1), 0, side - size + 1, jnp.int32)
            at = jnp.arange(side)
            inside.append((start <= at) & (at < start + size))
        window = inside[0][:, :, None] & inside[1][:, None, :]
        return jnp.where(window[..., None], 0, images)


@dataclass(frozen=True)
class Noise(Augmentation):
    """Add normal noise to every feature (jitter), of images or of rows of tables.

    Parameters
    ----------
    scale : float, default=0.1
        Standard deviation of the noise, in units of the feature's deviation over the batch.
    p : float, default=1.0
        Chance that a row is changed.
    """

    scale: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(scale=check_positive(self._name, "scale", self.scale))

    def change(self, key: Array, images: Array) -> Array:
        """Add noise to all rows."""
        noise = normal(key, images.shape, images.dtype)
        return images + self.scale * images.std(axis=0) * noise


@dataclass(frozen=True)
class MixUp(Augmentation):
    """Mix each row with another of the batch, and their targets in the same proportion.

    With one partner j and one number ``share ~ Beta(alpha, alpha)`` for each row i::

        x_i -> share x_i + (1 - share) x_j
        y_i -> share y_i + (1 - share) y_j

    (Zhang et al. 2018, arXiv 1710.09412). It is for images and for rows of tables. Because it
    changes targets too, only `with_targets` can be called.

    Parameters
    ----------
    alpha : float, default=0.2
        With a small number, few rows are mixed by much.
    p : float, default=1.0
        Chance that a row is mixed.
    """

    alpha: float = 0.2
    p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(alpha=check_positive(self._name, "alpha", self.alpha))

    def __call__(self, key: Array, images: Array) -> Array:
        """Raise TypeError, because there are no targets to mix."""
        raise TypeError(
            f"{self!r} mixes the targets too, and got none: call with_targets(key, images, y), "
            "or use another augmentation where there are no targets."
        )

    def with_targets(self, key: Array, images: Array, y: Array) -> tuple[Array, Array]:
        """Return mixed images and targets.

        Parameters
        ----------
        key : Array
            A key of `jax.random`.
        images : Array of shape (n, ...)
            A batch of images or rows.
        y : Array of shape (n, ...)
            Floating-point targets, such as one-hot rows.

        Returns
        -------
        images, y : Array
            In the same shapes and dtypes.
        """
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise ValueError(
                f"{self!r} must get floating-point targets, which can be mixed. Got dtype "
                f"{y.dtype} instead: pass one-hot rows, as floats."
            )
        n = len(images)
        key_share, key_partner, key_p = jax.random.split(key, 3)
        share = symmetric_beta(key_share, self.alpha, n)
        # Any row but the row itself; in a batch of one there is no other.
        ahead = jax.random.randint(key_partner, (n,), 1, max(n, 2), jnp.int32)
        partner = (jnp.arange(n, dtype=jnp.int32) + ahead) % n

        def mixed(values: Array) -> Array:
            own = over_rows(share, values).astype(values.dtype)
            return own * values + (1 - own) * values[partner]

        return some(key_p, self.p, (mixed(images), mixed(y)), (images, y))


def get_augmentation(owner: str, augment: Given) -> Function | None:
    """Return the augmentation that the parameter ``augment`` of an estimator stands for.

    Parameters
    ----------
    owner : str
        The object that has the parameter; messages name it.
    augment : None, str, Augmentation, callable or list of these
        A list stands for `Compose` of its parts.

    Returns
    -------
    augmentation : callable or None
        A hashable function.

    Raises
    ------
    ValueError
        If `augment` is none of these.
    """
    if augment is None:
        return None
    named = {"flip": Flip(), "flip_shift": Flip() >> Shift()}
    if isinstance(augment, str) and augment in named:
        return named[augment]
    rule = f"None, one of {list(named)}, {FUNCTIONS}, or a list of these"
    if isinstance(augment, list | tuple):
        parts = [get_augmentation(owner, one) for one in augment]
        functions = tuple(part for part in parts if part is not None)
        if not functions or len(functions) < len(parts):
            raise refuse(owner, "augment", rule + " (not empty, without None)", augment)
        return Compose(functions)
    check_function(owner, "augment", augment, rule)
    return cast(Function, augment)
