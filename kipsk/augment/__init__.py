"""Random changes of rows that leave their class alone, drawn anew at every step.

An augmentation is a function ``(key, images) -> images`` of JAX arrays; the classes here are such
functions with parameters, and ``>>`` puts one after another:

>>> import jax
>>> from kipsk.augment import Flip, Shift
>>> augment = Flip() >> Shift(fraction=0.25)
>>> augment(jax.random.key(0), jax.numpy.ones((5, 8, 8, 3))).shape
(5, 8, 8, 3)

They are made for standardised features, whose mean is the zero that fills empty pixels. Random
numbers are drawn for a whole batch at once and in float32, so one key makes the same changes
whatever the dtype.
"""

from kipsk.augment._augmentations import (
    ChannelShift,
    Crop,
    Cutout,
    Flip,
    MixUp,
    Noise,
    Rotate,
    Shift,
)
from kipsk.augment._base import Augmentation, Compose
from kipsk.augment._dsa import ColorJitter, OneOf, Scale, dsa

__all__ = [
    "Augmentation",
    "ChannelShift",
    "ColorJitter",
    "Compose",
    "Crop",
    "Cutout",
    "Flip",
    "MixUp",
    "Noise",
    "OneOf",
    "Rotate",
    "Scale",
    "Shift",
    "dsa",
]
