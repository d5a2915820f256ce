"""Finite networks of an architecture: their parameters, drawn from a key, and their function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import assert_never

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from kipsk.architectures._architecture import Architecture
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

Params = list[dict[str, Array]]  # one entry for each layer, empty if it has no parameters

_ACTIVATIONS = {
    "relu": jax.nn.relu,
    "erf": jax.scipy.special.erf,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}
# Added to variances of patches, so that a black image stays one. The derivative of `rsqrt` there is
# its power -3/2, which float32 has to hold.
_TINY = 1e-20
_VARIANCE_FLOOR = 1e-5  # added to variances, because a channel of one colour has variance 0


def init(
    architecture: Architecture, key: Array, width: int, input_shape: Shape, n_outputs: int = 1
) -> Params:
    """Draw the parameters of a network.

    Parameters
    ----------
    architecture : Architecture
        The network.
    key : Array
        A JAX PRNG key. From one key both parameterisations make the same function.
    width : int
        Channels of every convolution, units of every Dense layer but the last.
    input_shape : tuple of int
        (H, W, C) of images, or (n_features,).
    n_outputs : int, default=1
        Units of the last Dense layer.

    Returns
    -------
    params : list of dict
        For each layer its "weight", (size, size, channels, units) or (n_features, units), and
        "bias", (units,), in float32; empty for a layer without parameters.

    Raises
    ------
    ValueError
        If a layer does not fit its input.
    """
    shapes = architecture.shapes(input_shape, width, n_outputs)
    weights = [
        _weight_shape(layer, shapes[number][-1], shapes[number + 1][-1])
        for number, layer in enumerate(architecture.layers)
    ]
    sizes = [math.prod(shape) + shape[-1] if shape else 0 for shape in weights]
    # One draw that is cut up, because XLA takes a third of a second to compile each call of the
    # generator.
    draws = jax.random.normal(key, (sum(sizes),), jnp.float32)
    params: Params = []
    start = 0
    for shape, size in zip(weights, sizes, strict=True):
        own = draws[start : start + size]
        start += size
        if not shape:
            params.append({})
            continue
        weight, bias = own[: -shape[-1]].reshape(shape), own[-shape[-1] :]
        if architecture.parameterization == "standard":
            weight, bias = scaled(architecture, weight, bias)
        params.append({"weight": weight, "bias": bias})
    return params


def through(layers: tuple[Layer, ...], x: ArrayLike) -> Array:
    """Return what layers without weights make of images."""
    x = jnp.asarray(x)
    for number, layer in enumerate(layers):
        x = apply_layer(Architecture((Flatten(), Dense())), number, layer, {}, x)
    return x


def with_filters(architecture: Architecture, params: Params, filters: Array) -> Params:
    """Return parameters with which the first convolution's filters are given, without a bias.

    Parameters
    ----------
    architecture : Architecture
        Its first layer with weights is a convolution.
    params : list of dict
        From `init`.
    filters : Array of shape (size, size, channels, units)
        As the layer's function uses them, whatever the parameterization.
    """
    weight = filters
    if architecture.parameterization == "ntk":
        weight = filters * (math.sqrt(math.prod(filters.shape[:-1])) / architecture.w_std)
    number = next(i for i, own in enumerate(params) if own)
    given = {"weight": weight, "bias": jnp.zeros_like(params[number]["bias"])}
    return [*params[:number], given, *params[number + 1 :]]


def apply(
    architecture: Architecture, params: Params, x: ArrayLike, *, readout: bool = True
) -> Array:
    """Evaluate a network.

    Parameters
    ----------
    architecture : Architecture
        The network. It is a static argument: jit this function as ``jax.jit(apply,
        static_argnames=("architecture", "readout"))``.
    params : list of dict
        From `init`, with the same architecture.
    x : array-like of shape (n, H, W, C) or (n, n_features)
        Images, or rows.
    readout : bool, default=True
        Whether to apply the last Dense layer.

    Returns
    -------
    outputs : Array of shape (n, n_outputs), or of (n, n_features) without the readout
        Their dtype is that of x if x has floating-point numbers, else float32.

    Raises
    ------
    ValueError
        If x or the parameters do not fit the architecture.

    Notes
    -----
    Matrix products have JAX's default precision, which on accelerators is below float32's; see
    ``jax.default_matmul_precision``.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.float32)
    architecture.shapes(x.shape[1:], width=1)  # raises if x does not fit
    if len(params) != len(architecture.layers):
        raise ValueError(
            f"'params' must have one entry for each of the {len(architecture.layers)} layers. Got "
            f"{len(params)} instead: draw them with init and the same architecture."
        )
    n_layers = len(architecture.layers) - (not readout)
    for number, layer in enumerate(architecture.layers[:n_layers]):
        x = apply_layer(architecture, number, layer, params[number], x)
    return x


def features(architecture: Architecture, params: Params, x: ArrayLike) -> Array:
    """Return what the readout sees, ``apply(architecture, params, x, readout=False)``.

    For random parameters, ``w_std^2 <features(x), features(x')> / n_features + b_std^2`` estimates
    the NNGP kernel with an error of order ``1/sqrt(width)`` (Novak et al. 2019, arXiv 1810.05148).

    Parameters
    ----------
    architecture : Architecture
        The network.
    params : list of dict
        From `init`, with the same architecture.
    x : array-like of shape (n, H, W, C) or (n, n_features)
        Images, or rows.

    Returns
    -------
    features : Array of shape (n, n_features)
        Outputs of the last hidden layer.
    """
    return apply(architecture, params, x, readout=False)


def _weight_shape(layer: Layer, channels: int, units: int) -> Shape:
    """Return the shape of a layer's weights; () if the layer has none."""
    match layer:
        case Conv():
            return (layer.size, layer.size, channels, units)
        case Dense():
            return (channels, units)
        case _:
            return ()


def scaled(architecture: Architecture, weight: Array, bias: Array) -> tuple[Array, Array]:
    """Return weights and biases times their deviations."""
    fan_in = math.prod(weight.shape[:-1])
    return architecture.w_std / math.sqrt(fan_in) * weight, architecture.b_std * bias


def convolve(x: Array, weight: Array, strides: int, padding: str) -> Array:
    """Return the convolution of (n, H, W, C) with (size, size, C, units)."""
    return jax.lax.conv_general_dilated(
        x, weight, (strides, strides), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def activated(layer: Activation | TwoSided, x: Array) -> list[Array]:
    """Return what an activation makes of x: one array, or one for each sign."""
    if isinstance(layer, Activation):
        if layer.name not in _ACTIVATIONS:
            raise ValueError(
                f"Networks of finite width must have an activation among {list(_ACTIVATIONS)}. Got "
                f"{layer.name!r} instead, which has an exact kernel alone: use ConvNet, Myrtle, "
                "Convolutional or FullyConnected of kipsk.kernels."
            )
        return [_ACTIVATIONS[layer.name](x)]
    return [jax.nn.relu(sign * x - layer.threshold) for sign in (1, -1)]


def margins(size: int, padding: str) -> tuple[int, int]:
    """Return how many zeros a convolution puts before and behind a side of an image."""
    if padding == "VALID":
        return 0, 0
    return (size - 1) // 2, size // 2


def contrast_normalised(layer: Conv, x: Array, weight: Array) -> tuple[Array, Array, Array | None]:
    """Return images and filters to convolve, and what to multiply the result with, if anything.

    For a patch x of mean m and variance v the result is ``<w, (x - m) / sqrt(v + floor)>``, which
    is ``<w - mean(w), x> / sqrt(v + floor)``: no patch is ever made.

    Parameters
    ----------
    layer : Conv
    x : Array of shape (n, H, W, C)
    weight : Array of shape (size, size, C, units)

    Returns
    -------
    x, weight : Arrays
        Centred, if the layer normalises contrast.
    factor : Array of shape (n, H', W', 1) or None
        In float32 at least, as all sums over pixels are: half precision is for products.
    """
    if layer.contrast is None:
        return x, weight, None
    dtype, precise = x.dtype, jnp.promote_types(x.dtype, jnp.float32)
    x, weight = x.astype(precise), weight.astype(precise)
    # The margins of an image have its mean.
    x = x - jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    whole = jnp.mean(x**2, axis=(1, 2, 3), keepdims=True)[..., 0]
    steps, sides = (1, layer.strides, layer.strides), (1, layer.size, layer.size)

    def means(a: Array) -> Array:
        """Return means over patches, of shape (n, H', W')."""
        total = jax.lax.reduce_window(
            jnp.sum(a, axis=-1), 0.0, jax.lax.add, sides, steps, layer.padding
        )
        return total / (layer.size**2 * a.shape[-1])

    variances = jnp.maximum(means(x**2) - means(x) ** 2, 0)
    factor = jax.lax.rsqrt(variances + layer.contrast * whole + _TINY)
    weight = weight - jnp.mean(weight, axis=(0, 1, 2))
    return x.astype(dtype), weight.astype(dtype), factor[..., None]


def apply_layer(
    architecture: Architecture,
    number: int,
    layer: Layer,
    own: dict[str, Array],
    x: Array,
    *,
    convolve: Callable[[Array, Array, int, str], Array] = convolve,
) -> Array:
    """Return the output of one layer, whose parameters are `own`."""
    match layer:
        case Conv():
            weight, bias = weight_and_bias(architecture, number, layer, own, x)
            x, weight, factor = contrast_normalised(layer, x, weight)
            outputs = convolve(x, weight, layer.strides, layer.padding)
            if factor is not None:
                outputs = (outputs * factor).astype(outputs.dtype)
            return outputs + bias
        case Dense():
            weight, bias = weight_and_bias(architecture, number, layer, own, x)
            return x @ weight + bias
        case Activation():
            return activated(layer, x)[0]
        case AvgPool():
            n, height, breadth, channels = x.shape
            s = layer.size
            height, breadth = height // s, breadth // s
            x = x[:, : height * s, : breadth * s]  # whole windows
            windows = x.reshape(n, height, s, breadth, s, channels)
            return jnp.mean(windows, axis=(2, 4))
        case AdaptiveAvgPool():
            rows, columns = (layer.windows(n) for n in x.shape[1:3])
            means = [jnp.mean(x[:, i, j], axis=(1, 2)) for i in rows for j in columns]
            return jnp.stack(means, axis=1).reshape(len(x), layer.size, layer.size, x.shape[-1])
        case GaussianPool():
            # Half precision is for products of networks, not for sums over many pixels.
            precise = jnp.promote_types(x.dtype, jnp.float32)
            down, across = (layer.weights(n).astype(precise) for n in x.shape[1:3])
            pooled = jnp.einsum("ih,nhwc->niwc", down, x.astype(precise))
            return jnp.einsum("jw,niwc->nijc", across, pooled).astype(x.dtype)
        case TwoSided():
            # Both of a channel stand together, so that channels of several networks stay apart.
            return jnp.stack(activated(layer, x), axis=-1).reshape(*x.shape[:-1], -1)
        case GlobalAvgPool():
            return jnp.mean(x, axis=(1, 2))
        case Flatten():
            return x.reshape(x.shape[0], math.prod(x.shape[1:]))
        case Normalize():
            centred = x - jnp.mean(x, axis=(1, 2), keepdims=True)
            variance = jnp.mean(centred**2, axis=(1, 2), keepdims=True)
            return centred * jax.lax.rsqrt(variance + _VARIANCE_FLOOR)
        case _:
            assert_never(layer)


def weight_and_bias(
    architecture: Architecture, number: int, layer: Layer, own: dict[str, Array], x: Array
) -> tuple[Array, Array]:
    """Return a layer's weights and biases as its function uses them, in the dtype of x."""
    weight, bias = own["weight"].astype(x.dtype), own["bias"].astype(x.dtype)
    if weight.shape[-2] != x.shape[-1]:
        raise ValueError(
            f"Layer {number}, {layer}, has weights for {weight.shape[-2]} channels or features. "
            f"Got {x.shape[-1]} instead: draw the parameters for inputs of this shape."
        )
    if architecture.parameterization == "ntk":
        return scaled(architecture, weight, bias)
    return weight, bias
