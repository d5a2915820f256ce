"""Architectures: layers in a row, the deviations of their weights, and names for some."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np

from kipsk._checks import check_integer, check_option, check_positive, refuse
from kipsk.architectures._layers import (
    IMAGE_LAYERS,
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    Normalize,
    Shape,
    check_n_dims,
    checked_layers,
    checked_shape,
    output_shape,
    set_field,
)

PARAMETERIZATIONS = ("ntk", "standard")


@dataclass(frozen=True)
class Architecture:
    """A network without its width: hashable, so a static argument of jitted code.

    Parameters
    ----------
    layers : tuple of layers
        Ends with `Dense`, the readout. A list is taken too, and kept as a tuple.
    w_std : float, default=sqrt(2)
        Weights are worth ``w_std / sqrt(fan_in)`` times a standard normal, where ``fan_in`` counts
        the numbers that a unit sees: features, or filter pixels times channels.
    b_std : float, default=0.1
        Biases are worth ``b_std`` times a standard normal.
    parameterization : {"ntk", "standard"}, default="ntk"
        Where these factors stand: in the function, in front of parameters N(0, 1), or in the
        initial deviation of the parameters. The same network at the start, other gradients.

    Raises
    ------
    ValueError
        If a parameter breaks its rule, the last layer is not `Dense`, or a layer cannot follow the
        ones before it, whatever the input.

    Examples
    --------
    >>> from kipsk.architectures import Activation, Architecture, Conv, Dense, GlobalAvgPool
    >>> network = Architecture((Conv(5, strides=2), Activation("gelu"), GlobalAvgPool(), Dense()))
    >>> network.shapes((32, 32, 3), width=64, n_outputs=10)
    [(32, 32, 3), (16, 16, 64), (16, 16, 64), (64,), (10,)]
    """

    layers: tuple[Layer, ...]
    w_std: float = 2**0.5
    b_std: float = 0.1
    parameterization: str = "ntk"

    def __post_init__(self) -> None:
        set_field(self, "layers", checked_layers(self.layers))
        # Plain floats: a numpy float64 among float32 arrays would promote them.
        set_field(self, "w_std", check_positive("Architecture", "w_std", self.w_std))
        set_field(self, "b_std", check_positive("Architecture", "b_std", self.b_std, zero=True))
        check_option("Architecture", "parameterization", self.parameterization, PARAMETERIZATIONS)
        if self.needs_images:
            n_dims = 3
            for number, layer in enumerate(self.layers):
                check_n_dims(number, layer, n_dims)
                n_dims = 1 if isinstance(layer, Flatten | GlobalAvgPool) else n_dims

    @property
    def needs_images(self) -> bool:
        """Whether a layer looks at pixels, so that rows of X need an ``image_shape``."""
        return any(isinstance(layer, IMAGE_LAYERS) for layer in self.layers)

    def input_shape(
        self, n_features: int, image_shape: Shape | None = None, *, owner: str = "Architecture"
    ) -> Shape:
        """Return the shape that rows of X take before the first layer.

        Parameters
        ----------
        n_features : int
            The length of a row.
        image_shape : tuple (H, W, C), default=None
            The images that the rows are, flattened. It is never guessed.
        owner : str
            The object whose parameter ``image_shape`` is, for the messages.

        Returns
        -------
        shape : tuple of int
            ``image_shape``, or ``(n_features,)`` if no layer looks at pixels.

        Raises
        ------
        ValueError
            If ``image_shape`` is missing, is not a shape, or is one of other images.
        """
        if image_shape is None:
            if not self.needs_images:
                return (n_features,)
            raise ValueError(
                f"The 'image_shape' parameter of {owner} must be (height, width, channels): its "
                f"layers look at pixels. Got None instead: pass the shape of the images whose "
                f"{n_features} values are a row of X, such as image_shape=(32, 32, 3). A kernel "
                "given by name takes it as get_kernel(name, image_shape=...)."
            )
        shape = checked_shape(owner, "image_shape", image_shape, n_dims=(3,))
        if math.prod(shape) != n_features:
            raise ValueError(
                f"The 'image_shape' parameter of {owner} must have height * width * channels = "
                f"{n_features}, the number of features in X. Got {image_shape!r} instead, with "
                f"{math.prod(shape)}: pass the shape of a single image, channels last."
            )
        return shape if self.needs_images else (n_features,)

    def shapes(self, input_shape: Shape, width: int, n_outputs: int = 1) -> list[Shape]:
        """Return the shape of one input's features before each layer and after the last.

        Parameters
        ----------
        input_shape : tuple of int
            (H, W, C) of images, or (n_features,).
        width : int
            Channels of every convolution, units of every Dense layer but the last.
        n_outputs : int, default=1
            Units of the last Dense layer.

        Returns
        -------
        shapes : list of tuple of int
            One more than there are layers.

        Raises
        ------
        ValueError
            If a layer does not fit its input; the message names both.
        """
        shape = checked_shape("Architecture", "input_shape", input_shape, n_dims=(1, 3))
        check_integer("Architecture", "width", width, minimum=1)
        check_integer("Architecture", "n_outputs", n_outputs, minimum=1)
        if self.needs_images and len(shape) == 1:
            raise ValueError(
                "The 'input_shape' parameter of Architecture must be (height, width, channels): "
                f"its layers look at pixels. Got {shape} instead: reshape the rows to images."
            )
        shapes = [shape]
        for number, layer in enumerate(self.layers):
            is_readout = number == len(self.layers) - 1
            units = int(n_outputs if is_readout else width)
            shapes.append(output_shape(number, layer, shapes[-1], units))
        return shapes


class Options(TypedDict, total=False):
    """What every named architecture passes on to `Architecture`."""

    w_std: float
    b_std: float
    parameterization: str


def fully_connected(
    depth: int = 1, activation: str = "relu", **options: Unpack[Options]
) -> Architecture:
    """Return Flatten, ``depth`` times (Dense, activation), Dense: "FC1" is ``fully_connected(1)``.

    Parameters
    ----------
    depth : int, default=1
        Hidden layers.
    activation : {"relu", "erf", "gelu"}, default="relu"
        The nonlinearity after each of them.
    **options : float or str
        ``w_std``, ``b_std`` and ``parameterization`` of `Architecture`.

    Returns
    -------
    architecture : Architecture
    """
    check_integer("fully_connected", "depth", depth, minimum=0)
    hidden: tuple[Layer, ...] = (Dense(), Activation(activation))
    return Architecture((Flatten(), *hidden * depth, Dense()), **options)


def conv_vec(depth: int = 3, activation: str = "relu", **options: Unpack[Options]) -> Architecture:
    """Return ``depth`` times (Conv, activation), Flatten, Dense: no pooling.

    Parameters
    ----------
    depth : int, default=3
        Convolutions.
    activation : {"relu", "erf", "gelu"}, default="relu"
        The nonlinearity after each of them.
    **options : float or str
        ``w_std``, ``b_std`` and ``parameterization`` of `Architecture`.

    Returns
    -------
    architecture : Architecture
    """
    check_integer("conv_vec", "depth", depth, minimum=1)
    hidden: tuple[Layer, ...] = (Conv(), Activation(activation))
    return Architecture((*hidden * depth, Flatten(), Dense()), **options)


def convnet(
    depth: int = 3,
    activation: str = "relu",
    *,
    first_conv: bool = False,
    global_pool: bool = False,
    normalize: bool = False,
    **options: Unpack[Options],
) -> Architecture:
    """Return ``depth`` times (Conv, activation, AvgPool), Flatten, Dense.

    "ConvNet3" of the papers (arXiv 2107.13034) is ``convnet(3)``, their "ConvNet"
    ``convnet(3, first_conv=True)``. Images need ``2**depth`` pixels a side at least.

    Parameters
    ----------
    depth : int, default=3
        Blocks of a convolution and a pooling layer.
    activation : {"relu", "erf", "gelu"}, default="relu"
        The nonlinearity after each convolution.
    first_conv : bool, default=False
        One more (Conv, activation) in front.
    global_pool : bool, default=False
        GlobalAvgPool instead of Flatten.
    normalize : bool, default=False
        Normalize after each convolution.
    **options : float or str
        ``w_std``, ``b_std`` and ``parameterization`` of `Architecture`.

    Returns
    -------
    architecture : Architecture
    """
    check_integer("convnet", "depth", depth, minimum=1)
    options_named = {"first_conv": first_conv, "global_pool": global_pool, "normalize": normalize}
    for name, value in options_named.items():
        if not isinstance(value, bool | np.bool_):
            raise refuse("convnet", name, "True or False", value)
    middle: tuple[Layer, ...] = (Normalize(),) if normalize else ()
    conv: tuple[Layer, ...] = (Conv(), *middle, Activation(activation))
    first: tuple[Layer, ...] = conv if first_conv else ()
    end: Layer = GlobalAvgPool() if global_pool else Flatten()
    return Architecture((*first, *(*conv, AvgPool()) * depth, end, Dense()), **options)


def myrtle(depth: int = 5, activation: str = "relu", **options: Unpack[Options]) -> Architecture:
    """Return Myrtle5, 7 or 10 (Shankar et al. 2020, arXiv 2003.02237).

    (Conv, activation), three blocks of these with AvgPool in between, GlobalAvgPool, Dense.
    Images need 4 pixels a side at least.

    Parameters
    ----------
    depth : {5, 7, 10}, default=5
        Layers with weights, the readout among them.
    activation : {"relu", "erf", "gelu"}, default="relu"
        The nonlinearity after each convolution.
    **options : float or str
        ``w_std``, ``b_std`` and ``parameterization`` of `Architecture`.

    Returns
    -------
    architecture : Architecture
    """
    blocks = {5: (1, 1, 1), 7: (1, 2, 2), 10: (2, 3, 3)}
    if depth not in tuple(blocks):
        raise refuse("myrtle", "depth", f"one of {list(blocks)}", depth)
    conv: tuple[Layer, ...] = (Conv(), Activation(activation))
    first, second, third = (conv * n for n in blocks[depth])
    layers = (*conv, *first, AvgPool(), *second, AvgPool(), *third, GlobalAvgPool(), Dense())
    return Architecture(layers, **options)


_NAMES = "fc1, fc2, ..., conv1, conv2, ..., convnet, convnet1, convnet2, ..., myrtle5, 7 or 10"


def get_architecture(
    architecture: Architecture | str, *, owner: str = "get_architecture", also: str = ""
) -> Architecture:
    """Return an architecture from its name, or as it is.

    Parameters
    ----------
    architecture : Architecture or str
        ``"fc1"`` is ``fully_connected(1)``, ``"conv3"`` ``conv_vec(3)``, ``"convnet3"``
        ``convnet(3)``, ``"convnet"`` ``convnet(3, first_conv=True)``, ``"myrtle5"`` ``myrtle(5)``;
        so for other depths.
    owner, also : str
        For the message: the object whose parameter it is, and what else it may be.

    Returns
    -------
    architecture : Architecture

    Raises
    ------
    ValueError
        If it is neither; the message lists the names.

    Examples
    --------
    >>> from kipsk.architectures import convnet, get_architecture
    >>> get_architecture("convnet2") == convnet(2)
    True
    """
    if isinstance(architecture, Architecture):
        return architecture
    factories: dict[str, Any] = {
        "fc": fully_connected,
        "conv": conv_vec,
        "convnet": convnet,
        "myrtle": myrtle,
    }
    if isinstance(architecture, str):
        if architecture == "convnet":
            return convnet(3, first_conv=True)
        match = re.fullmatch(r"(fc|conv|convnet|myrtle)([0-9]+)", architecture)
        if match:
            return factories[match[1]](int(match[2]))
    rule = f"an Architecture or one of its names ({_NAMES})"
    raise refuse(owner, "architecture", rule + also, architecture)
