"""Finite networks: init, apply, features.

Oracle: a forward pass in numpy float64 with scipy's correlation. That wide networks have the
kernels of infinite width is in tests/kernels/test_infinite_width.py.
"""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate
from scipy.special import erf

from kipsk.architectures import (
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Normalize,
    conv_vec,
    convnet,
    fully_connected,
    myrtle,
)
from kipsk.architectures._function import _ACTIVATIONS
from kipsk.kernels._duals import DUALS
from kipsk.networks import apply, features, init

# Compiled as a whole: operation by operation, these tests would take minutes.
draw = jax.jit(init, static_argnames=("architecture", "width", "input_shape", "n_outputs"))
evaluate = jax.jit(apply, static_argnames=("architecture", "readout"))

RELU = Activation("relu")
OTHER = {"w_std": 1.3, "b_std": 0.5}  # large biases, so that a wrong one is seen


def images(shape, n=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape))


@pytest.fixture(autouse=True)
def exact_products():
    """Accelerators round float32 products to fewer bits by default."""
    with jax.default_matmul_precision("highest"):
        yield


# --- the function, against numpy -----------------------------------------------------------------

NUMPY_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "erf": erf,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
}


def numpy_conv(layer, x, weight, bias):
    n, k, s = x.shape[1:3], layer.size, layer.strides
    if layer.padding == "SAME":  # ceil(n / s) places; of an odd number of zeros one more at the end
        total = [max((-(-size // s) - 1) * s + k - size, 0) for size in n]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    out = [
        [
            sum(
                correlate(image[..., c], weight[..., c, o], "valid", "direct")
                for c in range(x.shape[-1])
            )[::s, ::s]
            for o in range(weight.shape[-1])
        ]
        for image in x
    ]
    return np.moveaxis(np.array(out), 1, -1) + bias


def numpy_apply(architecture, params, x, readout=True):
    """The network in float64, a loop for each pixel window and channel."""
    n_layers = len(architecture.layers) - (not readout)
    for layer, own in zip(architecture.layers[:n_layers], params[:n_layers], strict=True):
        if own:
            weight, bias = (np.asarray(own[name], np.float64) for name in ("weight", "bias"))
            if architecture.parameterization == "ntk":
                weight = weight * architecture.w_std / np.sqrt(weight[..., 0].size)
                bias = bias * architecture.b_std
        match layer:
            case Conv():
                x = numpy_conv(layer, x, weight, bias)
            case Dense():
                x = np.einsum("nf,fo->no", x, weight) + bias
            case Activation():
                x = NUMPY_ACTIVATIONS[layer.name](x)
            case AvgPool():
                s, (n, height, breadth, channels) = layer.size, x.shape
                out = np.empty((n, height // s, breadth // s, channels))
                for i in range(height // s):
                    for j in range(breadth // s):
                        window = x[:, i * s : i * s + s, j * s : j * s + s]
                        out[:, i, j] = window.mean(axis=(1, 2))
                x = out
            case GlobalAvgPool():
                x = x.mean(axis=(1, 2))
            case Flatten():
                x = x.reshape(len(x), -1)
            case Normalize():
                deviation = np.sqrt(x.var(axis=(1, 2), keepdims=True) + 1e-5)
                x = (x - x.mean(axis=(1, 2), keepdims=True)) / deviation
    return x


VALID = Architecture(
    (Conv(3, 2, "VALID"), Activation("erf"), Conv(2, 1, "VALID"), RELU, Flatten(), Dense()), **OTHER
)
STRIDED = Architecture(
    (Conv(3, 2), Activation("gelu"), Conv(4, 3), RELU, GlobalAvgPool(), Dense()), **OTHER
)
NETWORKS = {
    "ConvNet": (convnet(2, first_conv=True), (8, 4, 3)),
    "normalised": (convnet(2, "gelu", normalize=True, **OTHER), (8, 8, 2)),
    "Myrtle": (myrtle(5, **OTHER), (8, 8, 3)),
    "VALID": (VALID, (9, 7, 2)),
    "strides": (STRIDED, (9, 8, 2)),
    "conv vec": (conv_vec(2, "erf", parameterization="standard", **OTHER), (5, 4, 1)),
    "odd sides": (convnet(2, **OTHER), (7, 9, 2)),
    "pool of 3": (Architecture((AvgPool(3), Flatten(), Dense(), RELU, Dense())), (6, 9, 2)),
    "rows": (fully_connected(2, **OTHER), (11,)),
}
every_network = pytest.mark.parametrize(
    ("architecture", "shape"), NETWORKS.values(), ids=NETWORKS.keys()
)


@cache
def parameters(architecture, shape):
    """Parameters of width 5 and 2 outputs as init would shape them, from numpy's generator."""
    announced = jax.eval_shape(
        partial(init, architecture, width=5, input_shape=shape, n_outputs=2), key=jax.random.key(1)
    )
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), announced)


@every_network
def test_equals_numpy(architecture, shape, close):
    params, x = parameters(architecture, shape), images(shape)
    close(
        evaluate(architecture, params, x.astype(np.float32)), numpy_apply(architecture, params, x)
    )
    with jax.enable_x64(True):
        actual = evaluate(architecture, params, x, readout=False)
    assert actual.dtype == np.float64
    close(actual, numpy_apply(architecture, params, x, readout=False))


@every_network
def test_shapes_are_the_ones_announced(architecture, shape):
    announced = architecture.shapes(shape, 5, 2)
    params = parameters(architecture, shape)
    assert len(params) == len(architecture.layers)
    for layer, own in zip(architecture.layers, params, strict=True):
        assert set(own) == ({"weight", "bias"} if isinstance(layer, Conv | Dense) else set())
    for n_layers in range(1, len(architecture.layers)):
        start = Architecture((*architecture.layers[:n_layers], Flatten(), Dense()))
        flat = jax.eval_shape(
            partial(features, start), [*params[:n_layers], {}, {}], np.zeros((3, *shape))
        )
        assert flat.shape == (3, np.prod(announced[n_layers]))


def test_features_are_what_the_readout_sees():
    architecture, shape = NETWORKS["rows"]
    params, x = parameters(architecture, shape), images(shape).astype(np.float32)
    phi = apply(architecture, params, x, readout=False)
    assert phi.shape == (3, 5)
    np.testing.assert_array_equal(features(architecture, params, x), phi)


def test_one_table_of_activations():
    assert {*_ACTIVATIONS, "exp"} == set(DUALS)  # of which there is no network
    for name in DUALS:
        Activation(name)


# --- parameterisations ---------------------------------------------------------------------------


def both_parameterizations():
    args = (jax.random.key(3), 6, (8, 8, 3), 2)
    for parameterization in ("ntk", "standard"):
        architecture = convnet(2, parameterization=parameterization, **OTHER)
        yield architecture, draw(architecture, *args)


def test_ntk_and_standard_are_one_function_of_one_draw(close):
    (ntk, draws), (standard, params) = both_parameterizations()
    n_scaled = 0
    for own_draws, own in zip(draws, params, strict=True):
        if own:
            n_scaled += 1
            fan_in = own["weight"][..., 0].size
            close(own["weight"], own_draws["weight"] * 1.3 / np.sqrt(fan_in))
            close(own["bias"], own_draws["bias"] * 0.5)
    assert n_scaled == 3
    x = images((8, 8, 3)).astype(np.float32)
    close(evaluate(ntk, draws, x), evaluate(standard, params, x))


def test_gradients_differ_by_the_scale(close):
    """By the chain rule: a parameter that enters scaled has a gradient scaled once more."""
    x = images((8, 8, 3)).astype(np.float32)
    gradients = [
        jax.grad(lambda params, a=architecture: jnp.sum(evaluate(a, params, x) ** 2))(params)
        for architecture, params in both_parameterizations()
    ]
    for of_ntk, of_standard in zip(*gradients, strict=True):
        if of_ntk:
            fan_in = of_ntk["weight"][..., 0].size
            close(of_ntk["weight"], of_standard["weight"] * 1.3 / np.sqrt(fan_in), times=10)
            close(of_ntk["bias"], of_standard["bias"] * 0.5, times=10)


def test_ntk_parameters_are_standard_normal():
    """Moments of 4e5 draws, within five of their own deviations."""
    params = init(fully_connected(1), jax.random.key(5), 1000, (400,), 1)
    weight, bias = (np.asarray(params[1][name], np.float64) for name in ("weight", "bias"))
    assert abs(weight.mean()) < 5 / np.sqrt(weight.size)
    assert abs(weight.var() - 1) < 5 * np.sqrt(2 / weight.size)
    assert abs(bias.var() - 1) < 5 * np.sqrt(2 / bias.size)


def test_layers_and_keys_draw_differently():
    """No number is drawn twice: each is one of a generator's 2^23, of which here are 330."""
    three = Architecture((Dense(), RELU, Dense(), RELU, Dense()))
    leaves = [
        np.ravel(leaf)
        for seed in (0, 1)
        for leaf in jax.tree.leaves(draw(three, jax.random.key(seed), 9, (4,), 3))
    ]
    numbers = np.concatenate(leaves)
    assert len(set(numbers.tolist())) >= len(numbers) - 1


# --- differentiation, compilation, dtypes --------------------------------------------------------


@every_network
def test_gradients_are_finite(architecture, shape):
    @jax.jit
    def gradient(params, x):
        return jax.grad(lambda p, x: jnp.mean(apply(architecture, p, x) ** 2), (0, 1))(params, x)

    params = parameters(architecture, shape)
    for x in (images(shape), np.zeros((3, *shape)), np.ones((3, *shape))):
        gradients = jax.tree.leaves(gradient(params, x.astype(np.float32)))
        assert all(np.isfinite(leaf).all() for leaf in gradients)
        assert all(leaf.dtype == np.float32 for leaf in gradients)
        assert any(np.abs(leaf).max() > 0 for leaf in gradients)


def test_architecture_is_a_static_argument(close):
    n_traced = 0

    def counted(architecture, params, x):
        nonlocal n_traced
        n_traced += 1
        return apply(architecture, params, x)

    jitted = jax.jit(counted, static_argnums=0)
    x = images((8, 8, 3)).astype(np.float32)
    for _ in range(2):  # an equal description, made anew, compiles nothing
        architecture = convnet(2)
        params = draw(architecture, jax.random.key(0), 4, (8, 8, 3))
        actual = jitted(architecture, params, x)
    assert n_traced == 1
    close(actual, apply(architecture, params, x))
    other = jitted(convnet(2, b_std=0.5), params, x)
    assert not np.allclose(other, actual)
    assert n_traced == 2


def test_networks_can_be_mapped_over_keys(close):
    keys = jax.random.split(jax.random.key(0), 3)
    x = images((7,)).astype(np.float32)
    network = fully_connected(1)
    params = jax.vmap(lambda key: init(network, key, 4, (7,), 2))(keys)
    outputs = jax.vmap(lambda params: apply(network, params, x))(params)
    close(outputs[1], apply(network, init(network, keys[1], 4, (7,), 2), x))


@pytest.mark.parametrize("name", ["normalised", "VALID", "rows"])
def test_float32_whatever_the_global_precision(name):
    architecture, shape = NETWORKS[name]
    x = images(shape).astype(np.float32)
    params = draw(architecture, jax.random.key(1), 5, shape, n_outputs=2)
    outputs = evaluate(architecture, params, x)
    with jax.enable_x64(True):
        params64 = draw(architecture, jax.random.key(1), 5, shape, n_outputs=2)
        outputs64 = evaluate(architecture, params64, x)
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(params64), strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_array_equal(one, other)
    assert outputs.dtype == outputs64.dtype == np.float32
    np.testing.assert_array_equal(outputs, outputs64)


@pytest.mark.parametrize("x64", [False, True])
def test_integers_are_computed_in_float32(x64, close):
    pixels = np.arange(3 * 4 * 4 * 1, dtype=np.uint8).reshape(3, 4, 4, 1)
    network = convnet(1)
    with jax.enable_x64(x64):
        params = draw(network, jax.random.key(0), 4, (4, 4, 1))
        actual = evaluate(network, params, pixels)
        assert actual.dtype == np.float32
        close(actual, numpy_apply(network, params, pixels.astype(np.float64)))


def test_no_rows():
    params = draw(convnet(1), jax.random.key(0), 4, (4, 4, 1), 2)
    assert apply(convnet(1), params, np.zeros((0, 4, 4, 1), np.float32)).shape == (0, 2)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x_shape", "parts"),
    [
        ((4, 4, 3), ["'input_shape'", "(4, 3)"]),
        ((2, 48), ["'input_shape'", "(48,)", "reshape"]),
        ((2, 1, 4, 3), ["Layer 2, AvgPool(size=2)", "1 x 4"]),
        ((2, 4, 4, 1), ["Layer 0, Conv(", "3 channels", "1 instead", "draw the parameters"]),
        ((2, 8, 4, 3), ["Layer 4, Dense()", "20 channels or features", "40 instead"]),
    ],
)
def test_refuses_other_inputs(x_shape, parts):
    params = draw(convnet(1), jax.random.key(0), 5, (4, 4, 3))
    with pytest.raises(ValueError) as raised:
        apply(convnet(1), params, np.zeros(x_shape, np.float32))
    for part in parts:
        assert part in str(raised.value)


def test_refuses_parameters_of_another_architecture():
    params = draw(convnet(1), jax.random.key(0), 5, (4, 4, 3))
    x = np.zeros((2, 4, 4, 3), np.float32)
    with pytest.raises(ValueError, match=r"'params'.*8 layers.*Got 5 instead.*draw them with init"):
        apply(convnet(2), params, x)


def test_init_refuses_what_does_not_fit():
    for args, part in [
        ((4, (1, 4, 3)), "AvgPool"),
        ((0, (4, 4, 3)), "'width'"),
        ((4, (4, 4, 3), 0), "'n_outputs'"),
    ]:
        with pytest.raises(ValueError, match=part):
            init(convnet(1), jax.random.key(0), *args)


def test_the_exponential_has_no_network_of_finite_width():
    architecture = fully_connected(1, "exp")
    params = init(architecture, jax.random.key(0), 3, (4,))
    with pytest.raises(ValueError, match="'exp' instead, which has an exact kernel alone"):
        apply(architecture, params, np.ones((2, 4), np.float32))
