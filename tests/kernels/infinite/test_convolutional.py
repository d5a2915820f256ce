"""Exact convolutional kernels against neural-tangents, values and gradients.

Coinciding points are compared off the diagonal alone: neural-tangents takes the arc cosine of 1 but
for rounding there, an error of 1e-8 in float64. The diagonal has an oracle of its own.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kipsk.architectures import (
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    conv_vec,
    convnet,
    fully_connected,
    get_architecture,
    myrtle,
)
from kipsk.kernels import Convolutional, FullyConnected
from kipsk.kernels._stax import load_stax

from ._networks import RELU, TOLERANCES, rows, slow, with_gradients

WIDTH = 7  # of the standard parameterisation


OTHER = {"w_std": 1.3, "b_std": 0.5}  # large biases, so that a wrong one is seen


def neural_tangents(architecture):
    """Oracle: the kernel function of the same layers."""
    stax = load_stax()
    activations = {
        "relu": stax.Relu,
        "erf": stax.Erf,
        "gelu": stax.Gelu,
        "exp": stax.ExpNormalized,
    }
    how = {"parameterization": architecture.parameterization}
    deviations = architecture.w_std, architecture.b_std
    layers = []
    for layer in architecture.layers:
        match layer:
            case Conv(k, s, padding):
                layers.append(stax.Conv(WIDTH, (k, k), (s, s), padding, *deviations, **how))
            case Dense():
                layers.append(stax.Dense(WIDTH, *deviations, **how))
            case Activation(name):
                layers.append(activations[name]())
            case AvgPool(s):
                layers.append(stax.AvgPool((s, s), (s, s)))
            case GlobalAvgPool():
                layers.append(stax.GlobalAvgPool())
            case Flatten():
                layers.append(stax.Flatten())
    return stax.serial(*layers)[2]


def unoptimised(kernel):
    """Values and gradients, compiled in half the time.

    And without what made XLA's code for neural-tangents read in front of its constants, which is a
    segmentation fault where no memory happens to be there (jax 0.10.2).
    """
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(partial(with_gradients, kernel), compiler_options=options)


def relative_error(ours, oracle):
    return np.abs(np.asarray(ours, np.float64) - oracle).max() / np.abs(oracle).max()


def check_agreement(architecture, shape, kind="ntk", n=(3, 2)):
    """Values and both gradients agree with neural-tangents' in float64, and so do float32's."""
    function = Convolutional(architecture, kind, image_shape=shape, width=WIDTH).function()
    kernel = neural_tangents(architecture)
    X, Y = rows(n[0], shape), rows(n[1], shape, seed=1)
    G = np.random.default_rng(2).standard_normal(n)

    def ours(X, Y):
        return function.cross(function.prepare(X), function.prepare(Y))

    def theirs(X, Y):
        return kernel(X.reshape(-1, *shape), Y.reshape(-1, *shape), kind)

    with jax.enable_x64(True):
        oracle = [np.asarray(a) for a in unoptimised(theirs)(G, X, Y)]
        for dtype, tolerance in TOLERANCES.items():
            arrays = (jnp.asarray(a, dtype) for a in (G, X, Y))
            results = jax.jit(partial(with_gradients, ours))(*arrays)
            assert {result.dtype for result in results} == {np.dtype(dtype)}
            errors = [relative_error(*pair) for pair in zip(results, oracle, strict=True)]
            if max(errors) >= tolerance and dtype == "float32":
                # Nearly parallel patches (one pixel of one channel) have an arc cosine that no
                # float32 resolves: neither does the oracle's.
                with jax.enable_x64(False):
                    arrays = (jnp.float32(a) for a in (G, X, Y))
                    single = unoptimised(theirs)(*arrays)
                limit = max(relative_error(*pair) for pair in zip(single, oracle, strict=True))
                tolerance = max(tolerance, 2 * limit)
            assert max(errors) < tolerance


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        pytest.param(convnet(1, "exp"), "ntk", marks=pytest.mark.slow),
        pytest.param(convnet(1, "exp"), "nngp", marks=pytest.mark.slow),
        pytest.param(myrtle(5, "exp"), "ntk", marks=pytest.mark.slow),
    ],
)
def test_exponential_activation_agrees_with_neural_tangents(architecture, kind):
    """Quick are its dual (test_duals.py) and the fully connected kernel (test_dot_product.py)."""
    check_agreement(architecture, (4, 4, 2), kind, n=(2, 2))


@st.composite
def architectures(draw):
    """An architecture with an exact kernel, and images for it, odd sides included."""
    shape = draw(st.integers(5, 8)), draw(st.integers(5, 8)), draw(st.integers(1, 2))
    name = draw(st.sampled_from(["relu", "relu", "erf", "gelu", "exp"]))
    layers, side = [], min(shape[:2])
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.sampled_from([3, 3, 1, 2]))
        layers += [Conv(size, draw(st.sampled_from([1, 1, 2]))), Activation(name)]
        side = -(-side // layers[-2].strides)
        if side >= 2 and draw(st.booleans()):
            layers.append(AvgPool(2))
            side //= 2
    layers.append(draw(st.sampled_from([Flatten(), GlobalAvgPool()])))
    if draw(st.booleans()):
        layers += [Dense(), Activation(name)]
    parameterization = draw(st.sampled_from(["ntk", "standard"]))
    options = {**OTHER, "parameterization": parameterization}
    kind = draw(st.sampled_from(["ntk", "nngp"]))
    return Architecture((*layers, Dense()), **options), shape, kind


def random_architectures(n_examples):
    def decorate(test):
        test = given(architectures())(test)
        return settings(
            max_examples=n_examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # each example takes neural-tangents many seconds to compile
        )(test)

    return decorate


@pytest.mark.slow
@random_architectures(2)
def test_random_architectures(case):
    check_agreement(*case)


@pytest.mark.slow
@random_architectures(20)
def test_many_random_architectures(case):
    check_agreement(*case)


STRIDED = (Conv(5, 2, "VALID"), RELU, Conv(2), RELU, Flatten(), Dense())
POOLED_INPUT = (AvgPool(2), Conv(), RELU, AvgPool(3), Flatten(), Dense())


@pytest.mark.parametrize(
    ("architecture", "shape", "kind"),
    [
        slow(convnet(2, **OTHER), (8, 8, 2), "ntk"),
        slow(convnet(1, first_conv=True, global_pool=True, **OTHER), (6, 4, 1), "ntk"),
        (convnet(1, **OTHER), (5, 7, 2), "ntk"),
        slow(convnet(2), (7, 9, 1), "nngp"),
        slow(convnet(1, "gelu", parameterization="standard", **OTHER), (5, 7, 2), "ntk"),
        slow(myrtle(5), (6, 7, 1), "ntk"),
        slow(Architecture(POOLED_INPUT), (7, 9, 2), "ntk"),
        slow(Architecture((Conv(), RELU, AvgPool(4), Flatten(), Dense())), (5, 7, 2), "ntk"),
        (conv_vec(2, **OTHER), (5, 7, 2), "ntk"),
        slow(convnet(1, "gelu", parameterization="standard", **OTHER), (4, 6, 2), "ntk"),
        slow(Architecture(STRIDED), (9, 8, 1), "ntk"),
        slow(Architecture(POOLED_INPUT), (6, 6, 2), "ntk"),
    ],
    ids=[
        "ConvNet2",
        "first conv",
        "odd",
        "odd twice",
        "odd standard",
        "odd Myrtle5",
        "odd pooled input",
        "odd window of 4",
        "Conv2",
        "standard",
        "strides",
        "pooled input",
    ],
)
def test_agrees_with_neural_tangents(architecture, shape, kind):
    check_agreement(architecture, shape, kind)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "parameterization", "kind"),
    [("relu", "ntk", "ntk"), ("erf", "standard", "ntk"), ("gelu", "ntk", "nngp")],
)
@pytest.mark.parametrize("name", ["conv3", "convnet", "convnet3", "myrtle5", "myrtle7", "myrtle10"])
def test_named_architectures(name, activation, parameterization, kind):
    named = get_architecture(name)
    layers = tuple(Activation(activation) if layer == RELU else layer for layer in named.layers)
    check_agreement(
        Architecture(layers, parameterization=parameterization), (8, 8, 1), kind, (2, 2)
    )


@pytest.mark.slow
def test_large_images_go_one_pair_at_a_time():
    """At 32 x 32 x 3 a tile is a single pair; the benchmark of speed is of this size."""
    check_agreement(convnet(3), (32, 32, 3), n=(2, 1))


def test_fully_connected_agrees_with_its_own_kernel():
    X, Y = rows(5, (6,)), rows(4, (6,), seed=1)
    for kind in ("ntk", "nngp"):
        ours = Convolutional(fully_connected(2, "gelu", **OTHER), kind)
        oracle = FullyConnected(2, kind, activation="gelu", **OTHER)
        np.testing.assert_allclose(ours(X, Y), oracle(X, Y), rtol=1e-12)
        np.testing.assert_allclose(ours(X), oracle(X), rtol=1e-12)
        np.testing.assert_allclose(ours.diag(X), oracle.diag(X), rtol=1e-12)
