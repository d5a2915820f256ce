"""The layers of a network as frozen descriptions, and the shapes they make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, assert_never

from kipsk._checks import check_integer, check_option, refuse

ACTIVATIONS = ("relu", "erf", "gelu")
PADDINGS = ("SAME", "VALID")

Shape = tuple[int, ...]  # (H, W, C) of an image, (n_features,) of a row


def set_field(description: Any, name: str, value: Any) -> None:
    """Set a field of a frozen description while it is made."""
    object.__setattr__(description, name, value)


@dataclass(frozen=True)
class Conv:
    """Convolution to as many channels as the network is wide.

    Parameters
    ----------
    size : int, default=3
        The filter has ``size`` x ``size`` pixels.
    strides : int, default=1
        Pixels from one place of the filter to the next.
    padding : {"SAME", "VALID"}, default="SAME"
        Zeros around the image, so that the output has ``ceil(n / strides)`` pixels a side; or
        none, so that it has ``floor((n - size) / strides) + 1``.
    """

    size: int = 3
    strides: int = 1
    padding: str = "SAME"

    def __post_init__(self) -> None:
        set_field(self, "size", check_integer("Conv", "size", self.size, minimum=1))
        set_field(self, "strides", check_integer("Conv", "strides", self.strides, minimum=1))
        check_option("Conv", "padding", self.padding, PADDINGS)


@dataclass(frozen=True)
class Dense:
    """Affine map of flat features to the network's width, as the last layer to its outputs."""


@dataclass(frozen=True)
class Activation:
    """Elementwise nonlinearity.

    Parameters
    ----------
    name : {"relu", "erf", "gelu"}, default="relu"
        Which; "gelu" is the exact one, not its tanh form.
    """

    name: str = "relu"

    def __post_init__(self) -> None:
        check_option("Activation", "name", self.name, ACTIVATIONS)


@dataclass(frozen=True)
class AvgPool:
    """Mean over windows of ``size`` x ``size`` pixels that do not overlap.

    Pixels beyond the last whole window, to the right and below, are left out: of ``n`` pixels a
    side ``floor(n / size)`` remain, as in other libraries.

    Parameters
    ----------
    size : int, default=2
        Pixels of a window's side; at most those of the image's shorter side.
    """

    size: int = 2

    def __post_init__(self) -> None:
        set_field(self, "size", check_integer("AvgPool", "size", self.size, minimum=1))


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over all pixels: one feature a channel."""


@dataclass(frozen=True)
class Flatten:
    """Pixels and channels as one row of features; rows as they are."""


@dataclass(frozen=True)
class Normalize:
    """Each channel of each image to mean 0 and variance 1 over its pixels (instance normalisation).

    For networks of finite width: it has no infinite-width kernel here.
    """


Layer = Conv | Dense | Activation | AvgPool | GlobalAvgPool | Flatten | Normalize
IMAGE_LAYERS = (Conv, AvgPool, GlobalAvgPool, Normalize)


def checked_layers(layers: Any) -> tuple[Layer, ...]:
    """Return the layers of an architecture as a tuple that ends with `Dense`."""
    if not isinstance(layers, tuple | list):
        raise refuse("Architecture", "layers", "a tuple of layers", layers)
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise ValueError(
                "The 'layers' parameter of Architecture must be a tuple of layers of "
                f"kipsk.architectures. Got {layer!r} at place {number} instead: "
                + (
                    "write the layer with brackets, such as Conv()."
                    if isinstance(layer, type)
                    else "unpack nested tuples, and write Activation('relu') for 'relu'."
                )
            )
    if not (layers and isinstance(layers[-1], Dense)):
        last = repr(layers[-1]) if layers else "no layer"
        raise ValueError(
            "The 'layers' parameter of Architecture must end with Dense(), the readout. Got "
            f"{last} at the end instead: append Dense()."
        )
    return tuple(layers)


def checked_shape(owner: str, name: str, value: Any, *, n_dims: tuple[int, ...]) -> Shape:
    """Return a shape as a tuple of positive int, of one of these lengths."""
    rule = " or ".join({1: "(n_features,)", 3: "(height, width, channels)"}[n] for n in n_dims)
    if not isinstance(value, tuple | list) or len(value) not in n_dims:
        if 3 in n_dims and isinstance(value, tuple | list) and len(value) == 2:
            rule += f", for grey images {(*value, 1)}"
        raise refuse(owner, name, rule, value)
    try:
        return tuple(check_integer(owner, name, n, minimum=1) for n in value)
    except ValueError:
        raise refuse(owner, name, f"{rule}, integers >= 1", value) from None


def check_n_dims(number: int, layer: Layer, n_dims: int) -> None:
    """Refuse images where a layer takes rows, and rows where it takes images."""
    if isinstance(layer, Dense) and n_dims != 1:
        raise ValueError(
            f"Layer {number}, {layer}, must get flat features. Got images instead: put Flatten() "
            "or GlobalAvgPool() before it."
        )
    if isinstance(layer, IMAGE_LAYERS) and n_dims != 3:
        raise ValueError(
            f"Layer {number}, {layer}, must get images. Got flat features instead: put it before "
            "Flatten() or GlobalAvgPool()."
        )


def output_shape(number: int, layer: Layer, shape: Shape, units: int) -> Shape:
    """Return the shape of a layer's output, with this many channels or units if it has weights."""
    check_n_dims(number, layer, len(shape))
    *pixels, channels = shape
    got = f"Got {' x '.join(map(str, pixels))} pixels instead"
    match layer:
        case Conv(padding="SAME"):
            return (*(-(-n // layer.strides) for n in pixels), units)
        case Conv():
            if min(pixels) < layer.size:
                raise ValueError(
                    f"Layer {number}, {layer}, must get images at least as large as its filter. "
                    f"{got}: use larger images, fewer layers, or padding='SAME'."
                )
            return (*((n - layer.size) // layer.strides + 1 for n in pixels), units)
        case AvgPool():
            if min(pixels) < layer.size:
                raise ValueError(
                    f"Layer {number}, {layer}, must get images at least as large as its window. "
                    f"{got}: use larger images or fewer pooling layers."
                )
            return (*(n // layer.size for n in pixels), channels)
        case Normalize():
            if math.prod(pixels) == 1:
                raise ValueError(
                    f"Layer {number}, {layer}, must get images of several pixels: a single one is "
                    f"its own mean. {got}: use larger images or fewer pooling layers."
                )
            return shape
        case Dense():
            return (units,)
        case Flatten():
            return (math.prod(shape),)
        case GlobalAvgPool():
            return (channels,)
        case Activation():
            return shape
        case _:
            assert_never(layer)
