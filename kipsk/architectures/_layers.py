"""The layers of a network as frozen descriptions, and the shapes of their outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from kipsk._checks import check_integer, check_option, check_positive, refuse, shown
from kipsk._types import Float64s, Given

ACTIVATIONS = ("relu", "erf", "gelu", "exp")
PADDINGS = ("SAME", "VALID")

Shape = tuple[int, ...]  # (H, W, C) of an image, (n_features,) of a row


def set_field(description: object, name: str, value: object) -> None:
    """Set a field of a frozen dataclass, from its ``__post_init__``."""
    object.__setattr__(description, name, value)


@dataclass(frozen=True)
class Conv:
    """Convolution to as many channels as the network is wide.

    Parameters
    ----------
    size : int, default=3
        The filter has ``size`` x ``size`` pixels.
    strides : int, default=1
        How many pixels the filter moves from one place to the next.
    padding : {"SAME", "VALID"}, default="SAME"
        "SAME" puts zeros around the image, so that a side of n pixels becomes one of
        ``ceil(n / strides)``. "VALID" does not, and it becomes one of
        ``floor((n - size) / strides) + 1``.
    contrast : float or None, default=None
        Contrast normalisation: each patch that a filter sees is centred and divided by its
        deviation, so that an edge in a shadow counts as one in the light. `contrast` times the
        variance of the whole image is added to the patch's, lest plain areas become noise; above
        0. It is for networks of finite width alone. None leaves patches as they are.
    """

    size: int = 3
    strides: int = 1
    padding: str = "SAME"
    contrast: float | None = None

    def __post_init__(self) -> None:
        set_field(self, "size", check_integer("Conv", "size", self.size, minimum=1))
        set_field(self, "strides", check_integer("Conv", "strides", self.strides, minimum=1))
        check_option("Conv", "padding", self.padding, PADDINGS)
        if self.contrast is not None:
            contrast = check_positive("Conv", "contrast", self.contrast, also=" or None")
            set_field(self, "contrast", contrast)


@dataclass(frozen=True)
class Dense:
    """Affine map of flat features to as many units as the network is wide.

    The last layer has as many units as the network has outputs.
    """


@dataclass(frozen=True)
class Activation:
    """Elementwise nonlinearity.

    Parameters
    ----------
    name : {"relu", "erf", "gelu", "exp"}, default="relu"
        The nonlinearity; "gelu" is the exact one, not its tanh form. "exp" is for exact kernels
        alone: its covariance is ``exp(cosine - 1)`` times both norms (Shankar et al. 2020, arXiv
        2003.02237, section 4), which no network of finite width has.
    """

    name: str = "relu"

    def __post_init__(self) -> None:
        check_option("Activation", "name", self.name, ACTIVATIONS)


@dataclass(frozen=True)
class TwoSided:
    """``relu(x - threshold)`` and ``relu(-x - threshold)`` of each channel, which become two.

    A filter then tells what is there, and what is there with the opposite sign; what is below the
    threshold is left out (Coates & Ng 2011, "The importance of encoding versus training with sparse
    coding and vector quantization"). It is for finite networks alone.

    Parameters
    ----------
    threshold : float, default=1.0
        In the units of x. Filters from patches give x a deviation of 1.
    """

    threshold: float = 1.0

    def __post_init__(self) -> None:
        value = check_positive("TwoSided", "threshold", self.threshold, zero=True)
        set_field(self, "threshold", value)


@dataclass(frozen=True)
class AvgPool:
    """Mean over windows of ``size`` x ``size`` pixels that do not overlap.

    Pixels beyond the last whole window, to the right and below, are left out: of ``n`` pixels a
    side ``floor(n / size)`` remain, as in other libraries.

    Parameters
    ----------
    size : int, default=2
        The side of a window in pixels, which may not be longer than the shorter side of the image.
    """

    size: int = 2

    def __post_init__(self) -> None:
        set_field(self, "size", check_integer("AvgPool", "size", self.size, minimum=1))


@dataclass(frozen=True)
class AdaptiveAvgPool:
    """Mean over as many windows as are asked for, whatever the size of the image.

    Window i of a side of n pixels is from ``floor(i n / size)`` to ``ceil((i + 1) n / size)``, as
    in other libraries: where `size` does not divide n, windows share pixels. It is for finite
    networks alone.

    Parameters
    ----------
    size : int, default=2
        Windows along each side, at most the pixels of the shorter one.
    """

    size: int = 2

    def __post_init__(self) -> None:
        set_field(self, "size", check_integer("AdaptiveAvgPool", "size", self.size, minimum=1))

    def windows(self, n: int) -> list[slice]:
        """Return the windows of a side.

        Parameters
        ----------
        n : int
            The pixels of the side.

        Returns
        -------
        windows : list of slice
            `size` of them.
        """
        return [slice(i * n // self.size, -(-(i + 1) * n // self.size)) for i in range(self.size)]


@dataclass(frozen=True)
class GaussianPool:
    """Means over the whole image, weighted by Gaussians around the centres of equal windows.

    A side of n pixels is 1 long, and pixel i lies at ``(i + 1/2) / n``. Window k of `size` lies
    around ``(k + 1/2) / size`` with a deviation of ``spread / size``, and the weights of a window
    add up to 1. A detail that moves by a pixel then changes all means a little, where windows with
    borders lose it to their neighbour. It is for networks of finite width alone.

    Parameters
    ----------
    size : int, default=3
        Windows along each side, at most the pixels of the shorter one.
    spread : float, default=0.55
        The deviation, in sides of a window; above 0.
    """

    size: int = 3
    spread: float = 0.55

    def __post_init__(self) -> None:
        set_field(self, "size", check_integer("GaussianPool", "size", self.size, minimum=1))
        set_field(self, "spread", check_positive("GaussianPool", "spread", self.spread))

    def weights(self, n: int) -> Float64s:
        """Return the weights of the windows of a side.

        Parameters
        ----------
        n : int
            The pixels of the side.

        Returns
        -------
        weights : ndarray of shape (size, n)
            Each row adds up to 1.
        """
        pixels, centres = (np.arange(n) + 0.5) / n, (np.arange(self.size) + 0.5) / self.size
        squares = ((pixels - centres[:, None]) * self.size / self.spread) ** 2
        # From the nearest pixel on: with a small spread all weights would be zero.
        weights = np.exp((squares.min(axis=1, keepdims=True) - squares) / 2)
        return weights / weights.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over all pixels, which leaves one feature for each channel."""


@dataclass(frozen=True)
class Flatten:
    """Pixels and channels become one row of features; rows stay as they are."""


@dataclass(frozen=True)
class Normalize:
    """Bring each channel of each image to mean 0 and variance 1 over its pixels.

    This is instance normalisation. It is for networks of finite width alone: kipsk has no
    infinite-width kernel of it.
    """


Layer = (
    Conv
    | Dense
    | Activation
    | TwoSided
    | AvgPool
    | AdaptiveAvgPool
    | GaussianPool
    | GlobalAvgPool
    | Flatten
    | Normalize
)
IMAGE_LAYERS = (Conv, AvgPool, AdaptiveAvgPool, GaussianPool, GlobalAvgPool, Normalize)
#: Layers that no infinite-width kernel of this package has.
FINITE_LAYERS = (Normalize, TwoSided, AdaptiveAvgPool, GaussianPool)


def checked_layers(layers: Given) -> tuple[Layer, ...]:
    """Return the layers of an architecture as a tuple that ends with `Dense`."""
    if not isinstance(layers, tuple | list):
        raise refuse("Architecture", "layers", "a tuple of layers", layers)
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise ValueError(
                "The 'layers' parameter of Architecture must be a tuple of layers of "
                f"kipsk.architectures. Got {shown(layer)} at place {number} instead: "
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


def checked_shape(owner: str, name: str, value: Given, *, n_dims: tuple[int, ...]) -> Shape:
    """Return a shape as a tuple of positive int whose length is one of `n_dims`."""
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
    """Return the shape of a layer's output.

    A layer with weights has `units` channels or units.
    """
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
        case AdaptiveAvgPool() | GaussianPool():
            if min(pixels) < layer.size:
                raise ValueError(
                    f"Layer {number}, {layer}, must get images of at least as many pixels a side "
                    f"as it has windows. {got}: use larger images, fewer windows, or less pooling "
                    "before it."
                )
            return (layer.size, layer.size, channels)
        case TwoSided():
            return (*pixels, 2 * channels)
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
