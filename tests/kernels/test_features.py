"""Kernels of finite features: what `has_features`, `is_finite`, `features` and `row_size` promise.

Oracle: the kernel's own `cross`, which the tests of each kernel compare with formulas.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kipsk.kernels import (
    RBF,
    FullyConnected,
    Invariant,
    Landmarks,
    Laplace,
    Polynomial,
    RandomFeatures,
    TrainedFeatures,
)
from kipsk.kernels._base import FeatureFunction

SHAPE = (2, 3, 1)
X = np.random.default_rng(0).standard_normal((30, 6))
A, B = X[:8], X[5:12]
FAR = 1000.0
NETWORKS = RandomFeatures("convnet1", 2, 4, image_shape=SHAPE, resample=False)
TANGENTS = RandomFeatures("fc1", 3, 4, kind="ntk", resample=False)
WITHOUT_BIAS = FullyConnected(0, b_std=0.0)
FINITE = {
    "networks": NETWORKS,
    "tangents": TANGENTS,
    "trained networks": TrainedFeatures("fc1", 3, 4, max_age=3).train(X, X[:, :2]),
    "linear": FullyConnected(0),
    "linear, nngp": FullyConnected(0, "nngp", w_std=0.7, b_std=0.5),
    "linear, no bias": WITHOUT_BIAS,
    "polynomial": Polynomial(2),
    "landmarks": Landmarks("fc1", 10),
    "landmarks, RBF": Landmarks(RBF(2.0), 10),
    "landmarks of features": Landmarks(NETWORKS, 5),
    "invariant networks": Invariant(NETWORKS, image_shape=SHAPE),
    "invariant linear": Invariant(FullyConnected(0), image_shape=SHAPE),
    "invariant polynomial": Invariant(Polynomial(2), image_shape=SHAPE),
    "invariant landmarks": Invariant(Landmarks("fc1", 10), image_shape=SHAPE),
}
every_kernel = pytest.mark.parametrize("kernel", FINITE.values(), ids=FINITE.keys())


def prepared(function, *sets, dtype=np.float32):
    return [function.prepare(jnp.asarray(rows, dtype)) for rows in sets]


@jax.jit
def compiled(function, A, B):
    """Features of the rows of A and of B, K(A, B) and the diagonal of K(A)."""
    rows, others = function.prepare(A), function.prepare(B)
    features = function.features(rows), function.features(others)
    return *features, function.cross(rows, others), function.diag(rows)


@every_kernel
def test_product_of_features_is_the_kernel(kernel, close):
    function = kernel.resolve(X).function()
    assert function.has_features and function.is_finite
    results = compiled(function, *(jnp.asarray(rows, np.float32) for rows in (A, B)))
    Phi, Psi, cross, diag = (np.asarray(result) for result in results)
    assert Phi.dtype == np.float32
    close(Phi @ Psi.T, cross, np.float32)
    close(np.sum(Phi**2, axis=1), diag, np.float32)


@every_kernel
def test_in_float64(kernel, close):
    """Networks stay in float32, whatever the rows are."""
    with jax.enable_x64(True):
        function = kernel.resolve(X).function()
        Phi, Psi, cross, _ = (np.asarray(result) for result in compiled(function, A, B))
        close(Phi @ Psi.T, cross)


@every_kernel
def test_row_size_is_the_length_of_the_features(kernel):
    function = kernel.resolve(X).function()

    def features(A):
        rows = function.prepare(A)
        Phi = function.features(rows)
        if isinstance(function, FeatureFunction):
            assert rows is Phi
        return Phi

    Phi = jax.eval_shape(features, jnp.asarray(A, np.float32))
    assert Phi.shape[0] == len(A)
    if isinstance(function, FeatureFunction):
        assert Phi.shape[1] == function.row_size(6)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_linear_kernel_of_rows_far_from_zero(kind, close):
    """Oracle: float64. The prepared rows are about the centre; features are of the rows."""
    kernel = FullyConnected(0, kind).resolve(X + FAR)
    assert kernel.function().centre is not None
    function = kernel.function()
    rows, others = prepared(function, A + FAR, B + FAR)
    assert rows.along is not None
    expected = kernel(A + FAR, B + FAR)
    close(function.features(rows) @ function.features(others).T, expected, np.float32)
    close(function.cross(rows, others), expected, np.float32)
    with jax.enable_x64(True):
        exact = function.features(function.exact(rows))
        close(exact @ exact.T, function.gram(rows))


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_invariant_linear_kernel_of_rows_far_from_zero(kind, close):
    """Oracle: the mean of four matrices, in float64."""
    base = FullyConnected(0, kind)
    kernel = Invariant(base, image_shape=SHAPE).resolve(X + FAR)
    function = kernel.function()
    rows, others = prepared(function, A + FAR, B + FAR)
    sets = [(Z, mirror(Z)) for Z in (A + FAR, B + FAR)]
    expected = sum(base(a, b) for a in sets[0] for b in sets[1]) / 4
    close(function.cross(rows, others), expected, np.float32)


def mirror(rows):
    return rows.reshape(-1, *SHAPE)[:, :, ::-1].reshape(rows.shape)


INVARIANT = {name: kernel for name, kernel in FINITE.items() if isinstance(kernel, Invariant)}


@pytest.mark.parametrize("kernel", INVARIANT.values(), ids=INVARIANT.keys())
def test_invariant_features(kernel, close):
    """Oracle: the features themselves of the mirror image, and K(Tx, x') = K(x, x')."""
    function = kernel.resolve(X).function()
    rows, mirrored, others = prepared(function, A, mirror(A), B)
    close(function.features(mirrored), function.features(rows))
    close(function.cross(mirrored, others), function.cross(rows, others))
    assert np.abs(mirror(A) - A).max() > 0.1


@pytest.mark.parametrize(
    ("kernel", "has_features"),
    [
        (RandomFeatures("fc1", width=8), True),
        (Invariant(RandomFeatures("fc1", width=8), image_shape=SHAPE), True),
        (FullyConnected(1), False),
        (RBF(1.0), False),
        (Laplace(1.0), False),
        (Invariant("fc1", image_shape=SHAPE), False),
        (Invariant(RBF(1.0), image_shape=SHAPE), False),
    ],
    ids=repr,
)
def test_kernels_that_are_not_finite(kernel, has_features):
    function = kernel.function()
    assert not function.is_finite
    assert function.has_features is has_features
