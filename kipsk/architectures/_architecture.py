"""Architectures: a row of layers with the deviations of their weights, and named ones."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol, TypedDict, Unpack

import numpy as np

from kipsk._checks import check_integer, check_option, check_positive, refuse
from kipsk.architectures._layers import (
    IMAGE_LAYERS,
    Activation,
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
    check_n_dims,
    checked_layers,
    checked_shape,
    output_shape,
    set_field,
)

PARAMETERIZATIONS = ("ntk", "standard")


@dataclass(frozen=True)
class Architecture:
    """A network except for its width; hashable, so that it is a static argument of jitted code.

    Parameters
    ----------
    layers : tuple of layers
        The last one has to be `Dense`, the readout. A list is made a tuple.
    w_std : float, default=sqrt(2)
        Weights are ``w_std / sqrt(fan_in)`` times a standard normal number, where ``fan_in`` is how
        many numbers a unit sees: features, or filter pixels times channels.
    b_std : float, default=0.1
        Biases are ``b_std`` times a standard normal number.
    parameterization : {"ntk", "standard"}, default="ntk"
        Where these factors stand. With "ntk" the parameters are N(0, 1) and the network's function
        multiplies them by the factors. With "standard" the factors are the initial deviation of
        the parameters. Both are the same network at the start, with different gradients.

    Raises
    ------
    ValueError
        If a parameter breaks its rule, the last layer is not `Dense`, or a layer cannot follow the
        layers before it, whatever the input.

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
        # Plain floats, because a numpy float64 would promote the float32 arrays it multiplies.
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
        """Return the shape of one input of the first layer.

        Parameters
        ----------
        n_features : int
            The length of a row of X.
        image_shape : tuple (H, W, C), default=None
            The shape of the images whose pixels are a row of X. It is never guessed.
        owner : str
            The object that has the parameter ``image_shape``; messages name it.

        Returns
        -------
        shape : tuple of int
            ``image_shape``, or ``(n_features,)`` if no layer looks at pixels.

        Raises
        ------
        ValueError
            If ``image_shape`` is missing, is not a shape, or does not have ``n_features`` pixels.
        """
        if image_shape is None:
            if not self.needs_images:
                return (n_features,)
            raise ValueError(
                f"The 'image_shape' parameter of {owner} must be (height, width, channels): its "
                f"layers look at pixels. Got None instead: pass the shape of the images whose "
                f"{n_features} values are a row of X{_hint(n_features)}. Give it to a "
                "distiller, to a kernel object, or to get_kernel(name, image_shape=...)."
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
    """The arguments that every named architecture passes on to `Architecture`."""

    w_std: float
    b_std: float
    parameterization: str


def fully_connected(
    depth: int = 1, activation: str = "relu", **options: Unpack[Options]
) -> Architecture:
    """Return Flatten, ``depth`` times (Dense, activation), Dense.

    "FC1" of the papers is ``fully_connected(1)``.

    Parameters
    ----------
    depth : int, default=1
        The number of hidden layers.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
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
    """Return ``depth`` times (Conv, activation), Flatten, Dense, hence no pooling.

    Parameters
    ----------
    depth : int, default=3
        The number of convolutions.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
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
    ``convnet(3, first_conv=True)``. Each side of the images needs at least ``2**depth`` pixels.

    Parameters
    ----------
    depth : int, default=3
        How many blocks (Conv, activation, AvgPool) there are.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
        The nonlinearity after each convolution.
    first_conv : bool, default=False
        Whether one more (Conv, activation) comes first.
    global_pool : bool, default=False
        Whether GlobalAvgPool stands in place of Flatten.
    normalize : bool, default=False
        Whether Normalize follows each convolution.
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

    These are (Conv, activation), three blocks of (Conv, activation) with AvgPool between them,
    GlobalAvgPool and Dense. Each side of the images needs at least 4 pixels.

    Parameters
    ----------
    depth : {5, 7, 10}, default=5
        The number of layers with weights, including the readout.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
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


def shallow(
    size: int = 6,
    windows: int = 3,
    threshold: float = 0.5,
    *,
    pool: int = 3,
    depth: int = 1,
    **options: Unpack[Options],
) -> Architecture:
    """Return Conv with contrast normalisation, TwoSided, AvgPool, GaussianPool, Flatten, Dense.

    One layer of many filters (Coates & Ng 2011). It is made for filters from data,
    ``RandomFeatures("shallow", filters="patches")``, on images that are not whitened: the filters
    whiten patches.

    Parameters
    ----------
    size : int, default=6
        The filters have ``size`` x ``size`` pixels.
    windows : int, default=3
        Along each side of the image the features are means over so many windows.
    threshold : float, default=0.5
        That of `TwoSided`.
    pool : int, default=3
        `AvgPool` takes means of ``pool`` x ``pool`` pixels before, which makes the windows cheap.
        An image of n pixels a side has ``(n - size + 1) // pool`` such means a side, which must be
        at least `windows`.
    depth : int, default=1
        Each layer beyond the first is Conv(3) and ReLU, between `AvgPool` and `GaussianPool`.
    **options : float or str
        ``w_std``, ``b_std`` and ``parameterization`` of `Architecture`.

    Returns
    -------
    architecture : Architecture
    """
    pool = check_integer("shallow", "pool", pool, minimum=1)
    depth = check_integer("shallow", "depth", depth, minimum=1)
    first = Conv(size, padding="VALID", contrast=0.1), TwoSided(threshold), AvgPool(pool)
    more = (Conv(), Activation()) * (depth - 1)
    return Architecture((*first, *more, GaussianPool(windows), Flatten(), Dense()), **options)


class _OfDepth(Protocol):
    def __call__(self, depth: int) -> Architecture: ...


_NAMES = (
    "fc1, fc2, ..., conv1, conv2, ..., convnet, convnet1, convnet2, ..., myrtle5, 7 or 10, "
    "shallow, shallow2"
)


def get_architecture(
    architecture: Architecture | str, *, owner: str = "get_architecture", also: str = ""
) -> Architecture:
    """Return an architecture from its name, or as it is.

    Parameters
    ----------
    architecture : Architecture or str
        ``"fc1"`` is ``fully_connected(1)``, ``"conv3"`` is ``conv_vec(3)``, ``"convnet3"`` is
        ``convnet(3)``, ``"myrtle5"`` is ``myrtle(5)``, and other depths likewise. ``"convnet"`` is
        ``convnet(3, first_conv=True)``, ``"shallow"`` is ``shallow()``, and ``"shallow2"`` is
        ``shallow(5, 4, pool=2, depth=2)``.
    owner, also : str
        For the message: the object that has this parameter, and what else it accepts.

    Returns
    -------
    architecture : Architecture

    Raises
    ------
    ValueError
        If `architecture` is neither; the message lists the names.

    Examples
    --------
    >>> from kipsk.architectures import convnet, get_architecture
    >>> get_architecture("convnet2") == convnet(2)
    True
    """
    if isinstance(architecture, Architecture):
        return architecture
    factories: dict[str, _OfDepth] = {
        "fc": fully_connected,
        "conv": conv_vec,
        "convnet": convnet,
        "myrtle": myrtle,
    }
    if isinstance(architecture, str):
        if architecture == "shallow":
            return shallow()
        if architecture == "shallow2":
            return shallow(5, 4, pool=2, depth=2)
        if architecture == "convnet":
            return convnet(3, first_conv=True)
        match = re.fullmatch(r"(fc|conv|convnet|myrtle)([0-9]+)", architecture)
        if match:
            return factories[match[1]](depth=int(match[2]))
    rule = f"an Architecture or one of its names ({_NAMES})"
    raise refuse(owner, "architecture", rule + also, architecture)


def _hint(n_features: int) -> str:
    """Return words for a message: the square image that a row may be. Nothing is computed by it."""
    for n_channels in (1, 3):
        side = math.isqrt(n_features // n_channels)
        if side * side * n_channels == n_features:
            return f", such as image_shape=({side}, {side}, {n_channels}) for square ones"
    return ""
