"""What a network is: layers as frozen descriptions, and the architectures that have names.

An architecture is data, which is read in three ways: as a kernel of infinite width, as random
features of finite networks, and as a network to train (`kipsk.networks`). A new architecture is a
new tuple of layers. A new layer is a class in `_layers.py`, a case in the rule of shapes there, and
a case in each of the three readings.
"""

from kipsk.architectures._architecture import (
    Architecture,
    conv_vec,
    convnet,
    fully_connected,
    get_architecture,
    myrtle,
    shallow,
)
from kipsk.architectures._layers import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GaussianPool,
    GlobalAvgPool,
    Layer,
    Normalize,
    Shape,
    TwoSided,
)

__all__ = [
    "Activation",
    "AdaptiveAvgPool",
    "Architecture",
    "AvgPool",
    "Conv",
    "Dense",
    "Flatten",
    "GaussianPool",
    "GlobalAvgPool",
    "Layer",
    "Normalize",
    "Shape",
    "TwoSided",
    "conv_vec",
    "convnet",
    "fully_connected",
    "get_architecture",
    "myrtle",
    "shallow",
]
