"""Features of constant networks: their written-out gradient against autodiff of `apply`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kipsk.architectures import (
    Activation,
    AdaptiveAvgPool,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    TwoSided,
)
from kipsk.architectures._frozen import frozen_features
from kipsk.architectures._function import features, init


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("channels", [2, 7])
def test_gradients_are_those_of_autodiff(size, strides, padding, channels):
    """Few channels and many, filters of odd and of even size, at the edges of images too."""
    layers = Conv(size, strides, padding), Activation("erf"), Flatten(), Dense()
    check(Architecture(layers), (9, 8, channels))


@pytest.mark.parametrize("pool", [AvgPool(2), AdaptiveAvgPool(3)])
def test_both_signs_are_pooled_as_one_after_another(pool):
    first = Conv(4, padding="VALID"), TwoSided(0.2), pool
    check(Architecture((*first, Conv(), Activation(), Flatten(), Dense())), (11, 10, 3))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("activation", [Activation("relu"), Activation("gelu"), TwoSided(0.3)])
@pytest.mark.parametrize(
    ("size", "pool"), [(3, AvgPool(2)), (2, AvgPool(3)), (4, AdaptiveAvgPool(2)), (1, AvgPool(4))]
)
def test_pooled_convolutions_are_their_layers(size, padding, activation, pool):
    """Convolution, activation and pooling in one, with pixels left over and without."""
    block = Conv(size, padding=padding), activation, pool
    check(Architecture((*block, Flatten(), Dense())), (11, 13, 3))
    check(Architecture((*block, Conv(), Activation(), Flatten(), Dense())), (11, 13, 2))


def check(architecture, shape):
    width = 5
    networks = [
        init(architecture, key, width, shape) for key in jax.random.split(jax.random.key(0))
    ]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, *shape)), jnp.float32)

    def expected(x):
        return jnp.concatenate([features(architecture, p, x) for p in networks], axis=1)

    def found(x):
        return frozen_features(architecture, networks, width, x)

    assert_allclose(found(x), expected(x), atol=2e-5)
    cotangent = jnp.cos(jnp.arange(expected(x).size, dtype=jnp.float32)).reshape(3, -1)
    for own, its in zip(
        jax.vjp(found, x)[1](cotangent), jax.vjp(expected, x)[1](cotangent), strict=True
    ):
        assert_allclose(own, its, atol=2e-5)
