"""Kernels of rows far from zero: years, Unix times, identifiers.

Oracles: scipy's cdist on differences in float64, the same kernel in float64 (which other tests
compare with neural-tangents and finite differences), translation.
"""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as sklearn_kernels
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import RegularizedZCA
from kipsk._closed_form._centre import centre_of
from kipsk.kernels import RBF, FullyConnected, Invariant, Laplace

EPS = np.finfo(np.float32).eps
NETWORKS = [
    FullyConnected(),
    FullyConnected(2, "nngp", b_std=0.0),
    FullyConnected(2, activation="erf"),
    FullyConnected(2, activation="gelu"),
]
every_network = pytest.mark.parametrize("kernel", NETWORKS, ids=repr)


def rows(n, offset=0.0, n_features=4, seed=0):
    """Rows of deviation 1 in float32, each of which float32 has rounded already."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, n_features)) + offset).astype(np.float32)


@jax.jit
def compiled_cross_and_gradients(function, A, B, cotangent):
    K, pull_back = jax.vjp(
        lambda A, B: function.cross(function.prepare(A), function.prepare(B)), A, B
    )
    return K, *pull_back(cotangent.astype(K.dtype))


def cross_and_gradients(kernel, A, B, cotangent, dtype):
    """K(A, B) as a step of KIP has it, and the gradients of <cotangent, K> by A and by B."""
    function = kernel.resolve(B).function()
    with jax.enable_x64(True):
        A, B = jnp.asarray(A, dtype), jnp.asarray(B, dtype)
        results = compiled_cross_and_gradients(function, A, B, jnp.asarray(cotangent))
        return [np.asarray(x, np.float64) for x in results]


def varying(K):
    """What of a matrix is neither its rows' means nor its columns': all that tells rows apart."""
    return K - K.mean(axis=0) - K.mean(axis=1, keepdims=True) + K.mean()


@every_network
@pytest.mark.parametrize("offset", [30, 1000])
def test_networks_in_float32_equal_float64(kernel, offset):
    A, B = rows(6, offset), rows(7, offset, seed=1)
    B[:2] = A[:2]  # points that coincide, where relu has a cusp
    cotangent = np.random.default_rng(2).standard_normal((6, 7))
    single, double = (
        cross_and_gradients(kernel, A, B, cotangent, dtype) for dtype in ("float32", "float64")
    )
    error, size = np.abs(varying(single[0] - double[0])).max(), np.abs(varying(double[0])).max()
    assert error <= 20 * EPS * size
    for gradient, oracle in zip(single[1:], double[1:], strict=True):
        assert np.abs(gradient - oracle).max() <= 20 * EPS * np.abs(oracle).max()
    np.testing.assert_allclose(kernel(A, B), kernel(A.astype(float), B.astype(float)), rtol=EPS)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_a_row_that_stands_in_both_sets_is_exact(kind):
    """Oracle: `diag`, which knows that the angle is 0."""
    X, kernel = rows(7, 1000), FullyConnected(kind=kind)
    np.testing.assert_allclose(np.diag(kernel(X, X)), kernel.diag(X), rtol=EPS)
    np.testing.assert_allclose(np.diag(kernel(X)), kernel.diag(X), rtol=EPS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rbf_equals_distances(dtype):
    A, B = rows(6, 1000).astype(dtype), rows(7, 1000, seed=1).astype(dtype)
    B[0] = A[0]
    oracle = np.exp(-cdist(A.astype(float), B.astype(float), "sqeuclidean") / 8)
    tolerance = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(RBF(2.0)(A, B), oracle, rtol=0, atol=tolerance)
    both = np.exp(-cdist(A.astype(float), A.astype(float), "sqeuclidean") / 8)
    np.testing.assert_allclose(RBF(2.0)(A), both, rtol=0, atol=tolerance)


def test_rbf_of_unix_times_is_that_of_seconds():
    """Oracle: translation. Seconds since 1970 are exact in float64, and their squares are not."""
    seconds = np.arange(20.0)[:, None]
    np.testing.assert_allclose(RBF(5.0)(1.7e9 + seconds), RBF(5.0)(seconds), rtol=1e-12)
    np.testing.assert_allclose(
        RBF()(1.7e9 + seconds[:4], 1.7e9 + seconds), RBF()(seconds[:4], seconds), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_of_rbf_is_that_at_zero(dtype):
    """Oracle: translation by a power of two, which rounds no number here."""
    A, B = (np.round(rows(5, seed=seed) * 64) / 64 for seed in (0, 1))
    cotangent = np.random.default_rng(2).standard_normal((5, 5))
    far, near = (
        cross_and_gradients(RBF(2.0), A + offset, B + offset, cotangent, dtype)
        for offset in (np.float32(4096), np.float32(0))
    )
    for actual, oracle in zip(far, near, strict=True):
        np.testing.assert_allclose(actual, oracle, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_years():
    """scikit-learn#9354: K(X) and K(X, X) differed by 0.27."""
    X = np.array([[2020.3], [2021.1], [2023.7]], np.float32)
    oracle = np.exp(-cdist(X.astype(float), X.astype(float), "sqeuclidean") / 2)
    np.testing.assert_allclose(RBF(1.0)(X), oracle, rtol=4 * EPS)
    np.testing.assert_allclose(RBF(1.0)(X, X), oracle, rtol=4 * EPS)


@pytest.mark.parametrize("kernel", [RBF(2.0), FullyConnected()], ids=["rbf", "fc1"])
def test_the_mean_of_two_kernels(kernel):
    """Oracle: `Invariant` in float64, whose base kernel sees the images, too."""
    A, B = rows(5, 1000), rows(6, 1000, seed=1)
    mirrored = Invariant(kernel, image_shape=(1, 4, 1))
    np.testing.assert_allclose(
        mirrored(A, B), mirrored(A.astype(float), B.astype(float)), rtol=10 * EPS
    )


@pytest.mark.parametrize("kernel", [RBF(2.0), RBF(), FullyConnected(2)], ids=repr)
def test_far_rows_have_positive_semi_definite_kernels(kernel):
    X = np.vstack([rows(8, 1000), rows(2, 1000)])  # some stand twice
    for K in (kernel(X), kernel(X, X)):
        np.testing.assert_allclose(K, K.T, rtol=2 * EPS)
        values = np.linalg.eigvalsh(K.astype(np.float64))
        assert values[0] >= -10 * EPS * values[-1]


@pytest.mark.parametrize("kernel", [RBF(2.0), FullyConnected()], ids=["rbf", "fc1"])
def test_a_resolved_kernel_is_the_same_kernel(kernel):
    """In its parameters, as a clone and as a pickle; near zero the very object."""
    far, near = rows(9, 1000), rows(9)
    resolved = kernel.resolve(far)
    assert resolved == kernel
    assert repr(resolved) == repr(kernel)
    assert resolved.get_params() == kernel.get_params()
    for copy in (clone(resolved), pickle.loads(pickle.dumps(resolved)), resolved.resolve(far)):
        assert copy == kernel
        np.testing.assert_array_equal(copy(far[:3], far), kernel(far[:3], far))
        np.testing.assert_array_equal(copy(near[:3], near), kernel(near[:3], near))
    assert kernel.resolve(near) is kernel


def test_models_of_scikit_learn():
    """Oracle: the same model of rows about zero."""
    X = rows(60)
    y = X[:, 0] + X[:, 1] ** 2
    near = X + np.float32(4096) - np.float32(4096)  # as the offset leaves them
    far, new = near + np.float32(4096), near[40:]
    svc = [SVC(kernel=RBF(2.0)).fit(Z[:40], y[:40] > 1) for Z in (near, far)]
    np.testing.assert_allclose(
        svc[0].decision_function(new), svc[1].decision_function(far[40:]), atol=1e-3
    )
    gaussian = GaussianProcessRegressor(RBF(2.0), alpha=1e-3).fit(far[:40], y[:40])
    oracle = sklearn_kernels.RBF(2.0, "fixed")
    oracle = GaussianProcessRegressor(oracle, alpha=1e-3).fit(near[:40].astype(float), y[:40])
    for actual, desired in zip(
        gaussian.predict(far[40:], return_std=True),
        oracle.predict(new.astype(float), return_std=True),
        strict=True,
    ):
        np.testing.assert_allclose(actual, desired, atol=1e-2)


def test_only_far_rows_are_centred():
    """Pixels, standardised and whitened features are computed as they stand, on either side of 10.

    Oracle: the ratio of the mean's length to the deviation from it.
    """
    pixels = load_digits().data * 255 / 16
    for near in (
        pixels,
        pixels.astype(np.uint8),
        StandardScaler().fit_transform(pixels),
        RegularizedZCA().fit_transform(pixels),
        np.zeros((3, 2)),
        np.zeros((0, 2)),
    ):
        assert centre_of(near) is None
    X = StandardScaler().fit_transform(rows(50).astype(float))
    assert centre_of(X + 9.9) is None
    np.testing.assert_allclose(centre_of(X + 10.1), 10.1)
    # One far feature among others that vary as much as it is far takes nothing from them.
    wide = X * 1000
    wide[:, 0] = X[:, 0] + 2000
    assert centre_of(wide) is None


@pytest.mark.parametrize(("kernel", "metric"), [(RBF(), "euclidean"), (Laplace(), "cityblock")])
def test_auto_length_scale_of_unix_times(kernel, metric):
    seconds = np.random.default_rng(0).integers(0, 1000, (30, 2)).astype(float)
    distances = cdist(seconds, seconds, metric)[np.triu_indices(30, 1)]
    scale = kernel.resolve(1.7e9 + seconds).length_scale
    assert scale == pytest.approx(np.median(distances), rel=1e-12)
