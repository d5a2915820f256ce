"""FullyConnected, RBF and Laplace: values, gradients and properties.

Oracles: neural-tangents, scikit-learn's pairwise kernels, formulas in numpy float64, finite
differences.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel

from kipsk.kernels import RBF, FullyConnected, Laplace

DTYPES = ["float32", "float64"]
KERNELS = [
    FullyConnected(),
    FullyConnected(3, "nngp", w_std=1.2, b_std=0.0),
    FullyConnected(2, activation="erf", b_std=0.5),
    FullyConnected(2, activation="gelu"),
    RBF(2.0),
    Laplace(4.0),
]
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
few = settings(max_examples=5, deadline=None, derandomize=True, database=None)


def rows(n, n_features=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n_features))


# One set of shapes, so that most operations compile once; other shapes come from hypothesis.
A, B, COTANGENT = rows(4), rows(4, seed=1), rows(4, 4, seed=2)


@jax.jit
def compiled_cross_and_gradients(function, A, B, cotangent):
    K, vjp = jax.vjp(lambda A, B: function.cross(function.prepare(A), function.prepare(B)), A, B)
    return K, *vjp(cotangent)


def cross_and_gradients(kernel, A, B, cotangent, dtype):
    """K(A, B) and the gradients of <cotangent, K> with respect to the rows of A and of B."""
    with jax.enable_x64(True):
        arrays = (jnp.asarray(x, dtype) for x in (A, B, cotangent))
        results = compiled_cross_and_gradients(kernel.function(), *arrays)
        return [np.asarray(x) for x in results]


@pytest.mark.parametrize(
    ("activation", "depth"),
    [
        *[("relu", depth) for depth in range(5)],
        *[(activation, depth) for activation in ("erf", "gelu", "exp") for depth in (1, 2)],
        *[
            pytest.param(activation, depth, marks=pytest.mark.slow)
            for activation in ("erf", "gelu", "exp")
            for depth in (3, 4)
        ],
    ],
)
def test_fully_connected_equals_neural_tangents(activation, depth, neural_tangents, close):
    w_std, b_std = [(2**0.5, 0.1), (1.3, 0.0), (0.7, 0.6)][depth % 3]
    kernel_fn = neural_tangents(depth, w_std, b_std, activation)
    kinds = ("ntk", "nngp")
    with jax.enable_x64(True):
        both, vjp = jax.vjp(lambda A, B: tuple(kernel_fn(A, B, kinds)), A, B)
        one_of = [(COTANGENT, 0 * COTANGENT), (0 * COTANGENT, COTANGENT)]
        oracles = [(K, *vjp(pair)) for K, pair in zip(both, one_of, strict=True)]
    for kind, oracle in zip(kinds, oracles, strict=True):
        kernel = FullyConnected(depth, kind, w_std, b_std, activation)
        for dtype in DTYPES:
            for actual, desired in zip(
                cross_and_gradients(kernel, A, B, COTANGENT, dtype), oracle, strict=True
            ):
                assert actual.dtype == dtype
                close(actual, desired)


@given(
    n_a=st.integers(1, 5),
    n_b=st.integers(1, 5),
    n_features=st.integers(2, 20),  # on a line, the oracle's own arccos loses half its digits
    w_std=st.floats(0.3, 3),
    b_std=st.floats(0, 2),
    kind=st.sampled_from(["ntk", "nngp"]),
)
@few
def test_shapes_equal_neural_tangents(neural_tangents, close, n_a, n_b, n_features, **params):
    A, B = rows(n_a, n_features), rows(n_b, n_features, seed=1)
    kernel_fn = neural_tangents(1, params["w_std"], params["b_std"], "relu")
    with jax.enable_x64(True):
        oracle = jax.jit(kernel_fn, static_argnums=2)(A, B, params["kind"])
    kernel = FullyConnected(1, **params)
    close(kernel(A, B), oracle)
    # With few features, points nearly coincide and the angle loses half the digits.
    close(kernel(A.astype(np.float32), B.astype(np.float32)), oracle, "float32", times=3)


@every_dtype
def test_one_layer_equals_arc_cosine_formula(dtype, close):
    """Oracle: Cho & Saul 2009, eq. 6, in numpy float64."""
    A, B, w_std, b_std = rows(7), rows(5, seed=1), 1.4, 0.3
    covariance, a, b = (
        w_std**2 * products / A.shape[1] + b_std**2
        for products in (A @ B.T, np.sum(A**2, axis=1)[:, None], np.sum(B**2, axis=1))
    )
    angle = np.arccos(covariance / np.sqrt(a * b))
    dual = np.sqrt(a * b) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    oracle = w_std**2 * dual + b_std**2
    kernel = FullyConnected(1, "nngp", w_std, b_std)
    close(kernel(A.astype(dtype), B.astype(dtype)), oracle, dtype)
    slope = (np.pi - angle) / (2 * np.pi)
    kernel = FullyConnected(1, "ntk", w_std, b_std)
    close(kernel(A.astype(dtype), B.astype(dtype)), oracle + w_std**2 * slope * covariance, dtype)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20), st.floats(0.5, 50))
@few
def test_stationary_kernels_equal_sklearn(close, n_a, n_b, n_features, length_scale):
    A, B = rows(n_a, n_features), rows(n_b, n_features, seed=1)
    rbf = rbf_kernel(A, B, gamma=1 / (2 * length_scale**2))
    laplace = laplacian_kernel(A, B, gamma=1 / length_scale)
    for dtype in DTYPES:
        a, b = A.astype(dtype), B.astype(dtype)
        close(RBF(length_scale)(a, b), rbf, dtype)
        close(Laplace(length_scale)(a, b), laplace, dtype)


@pytest.mark.parametrize(("kernel", "metric"), [(RBF(), "euclidean"), (Laplace(), "cityblock")])
def test_auto_length_scale_is_the_median_distance(kernel, metric):
    """Oracle: scipy's cdist, over pairs of different rows, duplicates left out."""
    X = rows(9) * 200
    X[4] = X[2]
    distances = cdist(X, X, metric)[np.triu_indices(9, 1)]
    oracle = np.median(distances[distances > 0])
    assert kernel.resolve(X).length_scale == pytest.approx(oracle, rel=1e-12)
    assert kernel.resolve(X.tolist()).length_scale == pytest.approx(oracle, rel=1e-12)
    assert type(kernel)(3.0).resolve(X).length_scale == 3.0
    assert kernel.resolve(X[[2, 4]]).length_scale == 1.0  # all rows coincide
    many = np.vstack([X] * 300)
    assert kernel.resolve(many).length_scale == kernel.resolve(many).length_scale


@every_kernel
def test_gradients_equal_finite_differences(kernel, close):
    _, *gradients = cross_and_gradients(kernel, A, B, COTANGENT, "float64")
    step = 1e-6
    for direction in range(3):
        towards = rows(4, seed=10 + direction), rows(4, seed=20 + direction)
        shifted = [
            np.sum(COTANGENT * kernel(A + sign * step * towards[0], B + sign * step * towards[1]))
            for sign in (1, -1)
        ]
        actual = sum(np.sum(g * t) for g, t in zip(gradients, towards, strict=True))
        close(actual, (shifted[0] - shifted[1]) / (2 * step), times=1e3)


@every_kernel
def test_gradient_of_gram_equals_finite_differences(kernel, close):
    towards, step = rows(4, seed=3), 1e-6
    function = kernel.function()

    @jax.jit
    @jax.grad
    def gradient_of_gram(X):
        return jnp.sum(COTANGENT * function.gram(function.prepare(X)))

    with jax.enable_x64(True):
        gradient = np.asarray(gradient_of_gram(jnp.asarray(A)))
    above, below = (np.sum(COTANGENT * kernel(A + s * towards)) for s in (step, -step))
    close(np.sum(gradient * towards), (above - below) / (2 * step), times=1e3)


@every_dtype
@every_kernel
def test_gradient_at_coinciding_rows(kernel, dtype, close):
    """Oracle: by symmetry, half the gradient of `diag`. A support row starts as a training row."""
    _, gradient, _ = cross_and_gradients(kernel, A, A, np.eye(4), dtype)
    function = kernel.function()

    @jax.jit
    @jax.grad
    def gradient_of_diag(X):
        return jnp.sum(function.diag(function.prepare(X)))

    with jax.enable_x64(True):
        oracle = np.asarray(gradient_of_diag(jnp.asarray(A))) / 2
    # Of RBF, x - x' is a difference of products: zero up to rounding.
    close(gradient, oracle)


def test_laplace_gradient_where_single_coordinates_coincide(close):
    """Oracle: |t| counts as level at t = 0, as images share their black pixels."""
    X, Y = A.copy(), B.copy()
    X[:, 2], Y[:, 2] = 0, 0
    _, *gradients = cross_and_gradients(Laplace(4.0), X, Y, COTANGENT, "float64")
    K = laplacian_kernel(X, Y, gamma=1 / 4)
    towards = np.sign(X[:, None, :] - Y[None, :, :]) * (COTANGENT * K / 4)[:, :, None]
    close(gradients[0], -towards.sum(axis=1))
    close(gradients[1], towards.sum(axis=0))


@every_dtype
@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "exp"])
def test_zero_rows_without_bias_have_finite_gradients(activation, dtype):
    """Oracle: a network without biases is 0 at 0, so its kernel is; a black image is such a row."""
    X, Y = A.copy(), B.copy()
    X[1], Y[2] = 0, 0
    kernel = FullyConnected(2, b_std=0.0, activation=activation)
    K, *gradients = cross_and_gradients(kernel, X, Y, COTANGENT, dtype)
    assert not K[1].any()
    assert not K[:, 2].any()
    for gradient in gradients:
        assert np.isfinite(gradient).all()


@every_dtype
@every_kernel
def test_properties_of_gram(kernel, dtype, close):
    """Symmetric, positive semi-definite, the same as cross and diag; with a row standing twice."""
    X = np.vstack([A, rows(6, seed=3), A[:1], 2 * A[:1]]).astype(dtype)
    K = kernel(X)
    close(K.T, K)
    close(kernel(X, X), K)
    close(kernel.diag(X), np.diag(K))
    eigenvalues = np.linalg.eigvalsh(K)
    assert eigenvalues[0] >= -close.tolerance("float64") * eigenvalues[-1]


@every_kernel
def test_permuted_rows_permute_the_matrix(kernel, close):
    order, other, features = [2, 0, 3, 1], [1, 2, 0, 3], [4, 2, 0, 1, 3]
    close(kernel(A[order], B[other]), kernel(A, B)[np.ix_(order, other)])
    close(kernel(A[:, features], B[:, features]), kernel(A, B))
    close(kernel(B, A), kernel(A, B).T)


@every_kernel
def test_split_into_prepare_and_cross_equals_call(kernel, close):
    function = kernel.function()
    with jax.enable_x64(True):
        prepared, other = (jax.jit(function.prepare)(jnp.asarray(X)) for X in (A, B))
        assert {len(leaf) for leaf in jax.tree.leaves(prepared)} == {4}
        halves = [
            jax.tree.map(lambda leaf, s=s: leaf[s], prepared) for s in (slice(2), slice(2, 4))
        ]
        cross = jax.jit(function.cross)
        close(np.vstack([cross(half, other) for half in halves]), kernel(A, B))
        close(jax.jit(function.gram)(prepared), kernel(A))


def test_kernels_never_share_compiled_code():
    """JAX looks compiled code up by the pytree's structure, and takes two `register_dataclass`
    classes with equal static fields for one: RBF's code then runs for Laplace, now and then.
    """
    functions = [kernel.function() for kernel in KERNELS]
    for i, one in enumerate(functions):
        for other in functions[:i]:
            assert jax.tree.structure(one) != jax.tree.structure(other)


def test_a_new_number_compiles_nothing_again():
    """Numbers are leaves of the kernel function, names and depth its structure."""
    structures = [
        jax.tree.structure(kernel.function())
        for kernel in (FullyConnected(), FullyConnected(w_std=3.0, b_std=0.0), FullyConnected(2))
    ]
    assert structures[0] == structures[1] != structures[2]
    assert jax.tree.structure(RBF(1.0).function()) == jax.tree.structure(RBF(7.0).function())
