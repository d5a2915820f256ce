"""Random changes of rows that leave their class alone, drawn anew at every step.

An augmentation is a function ``(key, images) -> images`` of JAX arrays; the classes here are such
functions with parameters, and ``>>`` puts one after another:

>>> import jax
>>> from kipsk.augment import Flip, Shift
>>> augment = Flip() >> Shift(fraction=0.25)
>>> augment(jax.random.key(0), jax.numpy.ones((5, 8, 8, 3))).shape
(5, 8, 8, 3)

They are for standardised features: the zeros that fill what is free are then the mean. Numbers are
drawn for a whole batch at once, in float32: one key makes the same changes at every dtype.
"""

from kipsk.augment._augmentations import (
    Augmentation,
    ChannelShift,
    Compose,
    Crop,
    Cutout,
    Flip,
    MixUp,
    Noise,
    Rotate,
    Shift,
)

__all__ = [
    "Augmentation",
    "ChannelShift",
    "Compose",
    "Crop",
    "Cutout",
    "Flip",
    "MixUp",
    "Noise",
    "Rotate",
    "Shift",
]
