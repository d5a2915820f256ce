"""Random images and targets, and augmentations compiled once each."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from kipsk.augment import (
    ChannelShift,
    ColorJitter,
    Compose,
    Crop,
    Cutout,
    Flip,
    MixUp,
    Noise,
    OneOf,
    Rotate,
    Scale,
    Shift,
)

KEY = jax.random.key(3)
OF_IMAGES = [
    Flip(), Shift(0.25), Crop(), Rotate(), ChannelShift(), Cutout(), ColorJitter(), Scale()
]  # fmt: skip
ALL = [
    *OF_IMAGES,
    Noise(),
    MixUp(),
    OneOf([Flip(), MixUp()], 0.4),
    Flip() >> Shift(0.25) >> Noise(),
    Compose([Flip(), MixUp()], 0.4),
]


def make_images(n=40, shape=(8, 12, 3), seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(dtype)


def make_targets(n=40, n_classes=4, dtype=np.float32):
    return np.eye(n_classes, dtype=dtype)[np.arange(n) % n_classes]


@partial(jax.jit, static_argnums=(0, 1))
def compiled(augmentation, method, *arguments):
    return getattr(augmentation, method)(*arguments)


def changed(augmentation, images, key=KEY):
    return np.asarray(compiled(augmentation, "__call__", key, images))


def changed_both(augmentation, images, y, key=KEY):
    both = compiled(augmentation, "with_targets", key, images, y)
    return tuple(np.asarray(array) for array in both)
