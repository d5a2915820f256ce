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
    GaussianPool,
    TwoSided,
)
from kipsk.architectures._frozen import frozen_features
from kipsk.architectures._function import features, init


@pytest.mark.parametrize("channels", [2, 7])
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        (1, 1, "SAME"),
        (2, 1, "SAME"),
        (3, 1, "VALID"),
        (6, 1, "SAME"),
        (6, 1, "VALID"),
        (3, 2, "SAME"),
    ],
)
def test_gradients_are_those_of_autodiff(size, strides, padding, channels):
    """Few channels and many, filters of odd and of even size, at the edges of images too."""
    layers = Conv(size, strides, padding), Activation("erf"), Flatten(), Dense()
    check(Architecture(layers), (9, 8, channels))


@pytest.mark.parametrize("pool", [AvgPool(2), AdaptiveAvgPool(3), GaussianPool(3)])
def test_both_signs_are_pooled_as_one_after_another(pool):
    first = Conv(4, padding="VALID"), TwoSided(0.2), pool
    check(Architecture((*first, Conv(), Activation(), Flatten(), Dense())), (11, 10, 3))


@pytest.mark.parametrize(
    ("size", "padding", "activation", "pool"),
    [
        (3, "SAME", Activation("relu"), AvgPool(2)),
        (3, "VALID", TwoSided(0.3), AvgPool(3)),
        (2, "SAME", Activation("gelu"), AvgPool(3)),
        (4, "VALID", TwoSided(0.3), AdaptiveAvgPool(2)),
        (1, "SAME", TwoSided(0.0), AvgPool(4)),
    ],
)
def test_pooled_convolutions_are_their_layers(size, padding, activation, pool):
    """Convolution, activation and pooling in one, with pixels left over and without."""
    block = Conv(size, padding=padding), activation, pool
    check(Architecture((*block, Flatten(), Dense())), (11, 13, 3))
    check(Architecture((*block, Conv(), Activation(), Flatten(), Dense())), (11, 13, 2))


compiled_init = jax.jit(init, static_argnums=(0, 2, 3))


def check(architecture, shape):
    width = 5
    networks = [
        compiled_init(architecture, key, width, shape)
        for key in jax.random.split(jax.random.key(0))
    ]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, *shape)), jnp.float32)

    cotangent = jnp.cos(jnp.arange(3, dtype=jnp.float32))[:, None]

    def with_gradient(function):
        def both(x):
            Phi, transpose = jax.vjp(function, x)
            turns = jnp.arange(Phi.shape[1], dtype=jnp.float32)
            return Phi, transpose(cotangent * jnp.cos(turns))[0]

        return jax.jit(both)(x)

    expected = with_gradient(
        lambda x: jnp.concatenate([features(architecture, p, x) for p in networks], axis=1)
    )
    found = with_gradient(lambda x: frozen_features(architecture, networks, width, x))
    for own, its in zip(found, expected, strict=True):
        assert_allclose(own, its, atol=2e-5)
