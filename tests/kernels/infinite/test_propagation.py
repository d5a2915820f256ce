"""Exact convolutional kernels: symmetry, gradients, tiles, rows that coincide or are NaN."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kipsk._jax import own_settings
from kipsk.architectures import conv_vec, convnet
from kipsk.kernels import ConvNet, Convolutional, Myrtle
from kipsk.kernels._base import evaluate
from kipsk.kernels._infinite import _convolutional as module
from kipsk.kernels._infinite import _propagation

from ._networks import SHAPE, TOLERANCES, rows, slow, with_gradients

KERNELS = [
    Convolutional(convnet(1), image_shape=SHAPE),
    Convolutional(convnet(1, "erf"), "nngp", image_shape=SHAPE),
    Convolutional(conv_vec(2), image_shape=SHAPE),
    pytest.param(Myrtle(5, image_shape=(8, 8, 1)), marks=pytest.mark.slow),
]


IDS = ["ConvNet1", "erf", "Conv2", "Myrtle5"]


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_gram_is_symmetric_and_agrees_with_cross(kernel):
    X = rows(7, kernel.image_shape)
    K = kernel(X)
    np.testing.assert_allclose(K, K.T, rtol=1e-12)
    np.testing.assert_allclose(K, kernel(X, X.copy()), rtol=1e-9)
    np.testing.assert_allclose(np.diag(K), kernel.diag(X), rtol=1e-14)
    assert np.linalg.eigvalsh(K)[0] > -1e-12 * np.trace(K)
    order = np.random.default_rng(0).permutation(7)
    np.testing.assert_allclose(kernel(X[order]), K[np.ix_(order, order)], rtol=1e-12)


@pytest.mark.parametrize(
    "kernel",
    # The others' gradients are compared with neural-tangents above: one is enough by default.
    [
        KERNELS[0],
        *(pytest.param(kernel, marks=pytest.mark.slow) for kernel in KERNELS[1:3]),
        KERNELS[3],
    ],
    ids=IDS,
)
def test_gradient_of_gram_by_finite_differences(kernel):
    function = kernel.function()
    X = rows(4, kernel.image_shape)
    rng = np.random.default_rng(1)
    G, direction = rng.standard_normal((4, 4)), rng.standard_normal(X.shape)

    @jax.jit
    def total(X):
        return jnp.sum(G * function.gram(function.prepare(X)))

    with jax.enable_x64(True):
        slope = float(jnp.sum(jax.jit(jax.grad(total))(X) * direction))
        step = 1e-5
        difference = total(X + step * direction) - total(X - step * direction)
    np.testing.assert_allclose(slope, float(difference) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("together", [slow(1), slow(36**2), 5 * 36**2, slow(10**9)])
def test_tiles_do_not_matter(together, monkeypatch):
    kernel = KERNELS[0]
    X, Y = rows(5, SHAPE), rows(3, SHAPE, seed=1)
    oracle = kernel(X, Y), kernel(X)
    monkeypatch.setattr(module, "_TOGETHER_CPU", {True: together})
    jax.clear_caches()
    np.testing.assert_allclose(kernel(X, Y), oracle[0], rtol=1e-12)
    np.testing.assert_allclose(kernel(X), oracle[1], rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", slow("erf")])
def test_fused_pooling_does_not_matter(activation, monkeypatch):
    """The first convolution with pooling, in places; oracle: the whole covariance, then pooled."""
    X, Y = rows(3, SHAPE), rows(2, SHAPE, seed=1)
    kernel = ConvNet(1, image_shape=SHAPE, activation=activation)
    function, G = kernel.function(), np.random.default_rng(2).standard_normal((3, 2))

    def ours(X, Y):
        return function.cross(function.prepare(X), function.prepare(Y))

    results = []
    for largest in (3, 0):
        monkeypatch.setattr(_propagation, "_MAX_FUSED", largest)
        jax.clear_caches()
        with jax.enable_x64(True):
            results.append(jax.jit(lambda *a: with_gradients(ours, *a))(G, X, Y))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_a_row_that_coincides_with_a_target():
    """A support row starts as a training row: the value is exact, the gradient finite."""
    kernel = ConvNet(1, image_shape=SHAPE)
    function, X = kernel.function(), rows(3, SHAPE)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def first(X):
        fixed = function.prepare(jax.lax.stop_gradient(X))
        K = function.cross(function.prepare(X), fixed)
        return K.sum(), K

    with jax.enable_x64(True):
        oracle = kernel(X)
        for dtype, tolerance in TOLERANCES.items():
            (_, K), gradient = first(jnp.asarray(X, dtype))
            np.testing.assert_allclose(K, oracle, rtol=tolerance)
            assert np.isfinite(gradient).all()


def test_gradients_of_tiles_that_are_filled_up():
    """Five rows in tiles of two; large biases. Oracle: finite differences."""
    kernel = ConvNet(1, image_shape=SHAPE, activation="erf", b_std=1.0)
    function, X, Y = kernel.function(), rows(7, SHAPE), rows(5, SHAPE, seed=1)
    direction = np.random.default_rng(2).standard_normal(X.shape)

    @jax.jit
    def total(X):
        return function.cross(function.prepare(X), function.prepare(Y)).sum()

    with jax.enable_x64(True):
        slope = float(jnp.sum(jax.grad(total)(X) * direction))
        difference = total(X + 1e-5 * direction) - total(X - 1e-5 * direction)
    np.testing.assert_allclose(slope, float(difference) / 2e-5, rtol=1e-6)


def test_no_rows():
    X = rows(3, SHAPE)
    assert KERNELS[0](X, X[:0]).shape == (3, 0)
    assert KERNELS[0](X[:0]).shape == (0, 0)


def test_a_row_of_nan_spoils_its_own_entries_alone():
    X = rows(4, SHAPE)
    expected = KERNELS[0](X)
    X[0] = np.nan
    with own_settings():  # the kernel object itself refuses NaN
        K = np.asarray(evaluate(KERNELS[0].function(), X))
    assert np.isnan(K[0]).all()
    np.testing.assert_allclose(K[1:, 1:], expected[1:, 1:], rtol=1e-12)


def test_black_images_without_biases():
    X = np.zeros((2, 36))
    X[1] = 1
    K = ConvNet(1, image_shape=SHAPE, b_std=0.0)(X)
    np.testing.assert_array_equal(K[0], 0)
    assert K[1, 1] > 0
