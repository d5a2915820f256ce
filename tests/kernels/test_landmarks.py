"""Kernels as seen from landmarks.

Oracles: the base kernel wherever a row is a landmark; scikit-learn's Nystroem formula
``K_xz pinv(K_zz) K_zx`` in numpy and float64; central differences.
"""

from __future__ import annotations

import pickle
from copy import deepcopy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.kernel_approximation import Nystroem
from sklearn.svm import SVC

from kipsk import KIPDistiller, Moments
from kipsk._closed_form import _cholesky
from kipsk.kernels import (
    RBF,
    ConvNet,
    FullyConnected,
    Invariant,
    Landmarks,
    Laplace,
    RandomFeatures,
    StaxKernel,
    _choice,
)

WAYS = ["rpcholesky", "kmeans++", "random"]
every_way = pytest.mark.parametrize("way", WAYS)
# What is added to the diagonal of K_zz, 1e-6 of its mean, and no more than twice as much.
JITTER = 2e-6

X = np.random.default_rng(0).standard_normal((40, 5))
Z = X[::3]
BASES = [
    FullyConnected(1),
    FullyConnected(2, "nngp", activation="gelu"),
    RBF(2.0),
    Laplace(5.0),
    RandomFeatures("fc1", 2, 30, resample=False),
]
every_base = pytest.mark.parametrize("base", BASES, ids=lambda kernel: type(kernel).__name__)
# Networks are in float32.
every_double = pytest.mark.parametrize("base", BASES[:4], ids=lambda kernel: type(kernel).__name__)


def clusters(n=400, n_clusters=30, seed=0):
    """Groups of very different sizes."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((n_clusters, 5))
    shares = 0.75 ** np.arange(n_clusters)
    codes = rng.choice(n_clusters, n, p=shares / shares.sum())
    return centres[codes] + 0.1 * rng.standard_normal((n, 5))


def largest(K):
    return np.abs(K).max()


@every_base
def test_equals_the_kernel_where_a_row_is_a_landmark(base):
    kernel = Landmarks(base, landmarks=Z)
    assert largest(kernel(X, Z) - base(X, Z)) < JITTER * largest(base(X, Z))
    assert largest(kernel(Z, X) - base(Z, X)) < JITTER * largest(base(Z, X))
    # Of other rows it is smaller than the kernel: what landmarks explain of it.
    left = base.diag(X) - kernel.diag(X)
    assert left.min() > -1e-6 * largest(base(X))
    others = np.arange(40) % 3 != 0
    if not isinstance(base, RandomFeatures):
        assert left[others].min() > 10 * left[~others].max()


@every_way
@every_double
def test_all_rows_are_landmarks(base, way):
    kernel = Landmarks(base, 40, landmarks=way).resolve(X)
    assert_array_equal(kernel.landmarks, X)
    assert largest(kernel(X) - base(X)) < JITTER * largest(base(X))


@every_base
def test_nystroem_formula(base):
    K_xz, K_zz = base(X, Z), base(Z)
    weights = K_xz @ np.linalg.pinv(K_zz, hermitian=True)
    oracle = weights @ K_xz.T
    # k^T (K^-1 - (K + d)^-1) k = d k^T K^-1 (K + d)^-1 k < d |K^-1 k|^2
    limit = JITTER * np.trace(K_zz) / len(Z) * np.sum(weights**2, axis=1).max()
    kernel = Landmarks(base, landmarks=Z)
    assert limit < 1e-4 * largest(oracle)
    assert largest(kernel(X) - oracle) < limit
    assert largest(kernel(X.astype(np.float32)) - oracle) < 1e-4 * largest(oracle)


def test_equals_sklearn():
    """Oracle: Nystroem, whose landmarks these are."""
    nystroem = Nystroem(gamma=1 / 8, n_components=12, random_state=0).fit(X)
    features = nystroem.transform(X)
    kernel = Landmarks(RBF(2.0), landmarks=nystroem.components_)
    assert largest(kernel(X) - features @ features.T) < 10 * JITTER


@every_way
def test_ways_of_choosing(way):
    rows = clusters()
    kernel = Landmarks(RBF(1.0), 20, landmarks=way).resolve(rows)
    assert kernel.landmarks.shape == (20, 5)
    assert len(np.unique(kernel.landmarks, axis=0)) == 20
    assert {tuple(row) for row in kernel.landmarks} <= {tuple(row) for row in rows}
    again = Landmarks(RBF(1.0), 20, landmarks=way).resolve(rows)
    assert_array_equal(again.landmarks, kernel.landmarks)
    other = Landmarks(RBF(1.0), 20, landmarks=way, random_state=1).resolve(rows)
    assert not np.array_equal(other.landmarks, kernel.landmarks)
    assert kernel.resolve(rows[:50]) is kernel


def test_resolve_leaves_the_kernel_alone():
    kernel = Landmarks("rbf", 5)
    resolved = kernel.resolve(X)
    assert kernel.kernel == "rbf" and kernel.landmarks == "rpcholesky"
    assert resolved.kernel == RBF().resolve(X)
    assert resolved.recommended_reg == RBF.recommended_reg


@pytest.mark.parametrize("Z", [Z, Z.tolist(), np.round(10 * Z).astype(int)])
def test_landmarks_as_they_are_given(Z, close):
    given = Landmarks(RBF(2.0), 3, landmarks=Z).resolve(X)
    assert_array_equal(given.landmarks, Z)
    assert given.function().row_size(5) == len(Z)
    array = np.asarray(Z, np.float64)
    close(given(X), Landmarks(RBF(2.0), landmarks=array)(X))


@every_way
def test_fewer_different_rows_than_components(way):
    """Oracle: the base kernel, all of whose rows are landmarks."""
    rows = np.repeat(X[:6], 5, axis=0)
    kernel = Landmarks(RBF(2.0), 20, landmarks=way, random_state=3).resolve(rows)
    if way == "rpcholesky":
        assert len(kernel.landmarks) == 6
    n_chosen = len(np.unique(kernel.landmarks, axis=0))
    assert n_chosen == 6
    assert largest(kernel(rows) - RBF(2.0)(rows)) < JITTER
    assert np.isfinite(kernel(X)).all()


@every_way
def test_equal_rows(way):
    kernel = Landmarks("fc1", 4, landmarks=way).resolve(np.ones((9, 3)))
    expected = FullyConnected()(np.ones((2, 3)))
    assert largest(kernel(np.ones((2, 3))) - expected) < JITTER * largest(expected)


def test_rpcholesky_leaves_less_of_the_trace_than_random_landmarks():
    """The mean over ten seeds; small groups are where random landmarks are missing."""
    rows, base = clusters(), RBF(1.0)

    def left(way, seed):
        kernel = Landmarks(base, 20, landmarks=way, random_state=seed).resolve(rows)
        return np.sum(base.diag(rows) - kernel.diag(rows))

    errors = {way: np.mean([left(way, seed) for seed in range(10)]) for way in WAYS}
    assert errors["rpcholesky"] < 0.8 * errors["random"]
    assert errors["kmeans++"] < 0.8 * errors["random"]


def test_rpcholesky_in_blocks_is_near_one_pivot_at_a_time():
    """Oracle: the algorithm as it is published, a loop of one pivot each."""
    rows, base, n = clusters(300), RBF(1.0), 60
    K = base(rows)

    def one_at_a_time(seed):
        rng, K_left, left = np.random.RandomState(seed), K.copy(), np.ones(300)
        for _ in range(n):
            at = rng.choice(300, p=left / left.sum())
            K_left = K_left - np.outer(K_left[:, at], K_left[at]) / K_left[at, at]
            left = np.maximum(np.diag(K_left), 0)
        return left.sum()

    def in_blocks(seed):
        kernel = Landmarks(base, n, random_state=seed).resolve(rows)
        assert len(kernel.landmarks) == n
        return np.sum(base.diag(rows) - kernel.diag(rows))

    expected = np.mean([one_at_a_time(seed) for seed in range(10)])
    assert np.mean([in_blocks(seed) for seed in range(10)]) < 1.15 * expected


def test_candidates_are_eight_times_as_many():
    """Rows that are not drawn do not matter: a kernel of many rows takes no longer to choose."""
    rows = np.random.default_rng(1).standard_normal((1000, 3))
    chosen = Landmarks(RBF(1.0), 10, landmarks="random").resolve(rows).landmarks
    drawn = rows[np.random.RandomState(0).permutation(1000)[:80]]
    assert {tuple(row) for row in chosen} <= {tuple(row) for row in drawn}


@every_double
def test_gradient_equals_finite_differences(base):
    """Oracle: central differences in float64."""
    with jax.enable_x64(True):
        function = Landmarks(base, landmarks=Z).function()
        rng = np.random.default_rng(3)
        rows, step = rng.standard_normal((2, 4, 5))
        weights = rng.standard_normal((4, len(Z)))

        @jax.jit
        def loss(rows):
            return jnp.sum(weights * jnp.sin(function.prepare(rows)))

        slope = np.sum(jax.grad(loss)(jnp.asarray(rows)) * step)
        h = 1e-6
        difference = (loss(rows + h * step) - loss(rows - h * step)) / (2 * h)
        slope, difference = float(slope), float(difference)
    assert abs(slope) > 1e-2
    np.testing.assert_allclose(slope, difference, 1e-5)


def test_rows_far_from_zero():
    """Oracle: the same in float64, of rows that float32 has rounded."""
    far = (X + 1000).astype(np.float32)
    kernel = Landmarks("fc1", 40).resolve(far)
    exact = FullyConnected()(far.astype(np.float64))
    assert largest(kernel(far) - exact) < 1e-5 * largest(exact)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_landmarks_far_from_zero(dtype):
    """Oracle: translation by a power of two, which rounds no number here."""
    steps = np.random.default_rng(0).permutation(np.arange(60.0))[:, None].astype(dtype)
    offset = np.dtype(dtype).type({"float32": 2.0**22, "float64": 2.0**40}[dtype])
    near, far = (
        Landmarks(RBF(5.0), 20, landmarks="kmeans++").resolve(rows).landmarks
        for rows in (steps, steps + offset)
    )
    assert_array_equal(far - offset, near)


def test_resolve_after_function():
    """The base kernel still has to learn where the rows are."""
    far = (X + 1000).astype(np.float32)
    kernel = Landmarks("fc1", landmarks=far)
    kernel.function()
    exact = FullyConnected()(far.astype(np.float64))
    assert largest(kernel(far) - exact) < 1e-5 * largest(exact)
    resolved = kernel.resolve(far)
    assert resolved.resolve(X) is resolved
    copy = pickle.loads(pickle.dumps(resolved))
    assert copy.resolve(X) is copy
    assert_array_equal(copy(far), resolved(far))


def test_copies():
    kernel = Landmarks(RBF(2.0), landmarks=Z, random_state=4)
    K = kernel(X)
    for copy in (clone(kernel), pickle.loads(pickle.dumps(kernel)), deepcopy(kernel)):
        assert copy == kernel
        assert_array_equal(copy.landmarks, Z)
        assert copy.random_state == 4
        assert_array_equal(copy(X), K)
    unresolved = Landmarks("fc1", 7, landmarks="random")
    for copy in (clone(unresolved), pickle.loads(pickle.dumps(unresolved)), deepcopy(unresolved)):
        assert copy == unresolved
        assert_array_equal(copy(X), unresolved(X))


def test_kernels_that_differ_are_not_equal():
    kernel = Landmarks("fc1", landmarks=Z)
    for landmarks in (Z + 1, Z[:4], "random"):
        assert Landmarks("fc1", landmarks=landmarks) != kernel
        assert kernel != Landmarks("fc1", landmarks=landmarks)


def test_new_parameters_after_a_call():
    """Oracle: a kernel that has never been called."""
    kernel = Landmarks(RBF(2.0), landmarks=Z).resolve(X)
    kernel(X)
    kernel.set_params(landmarks=X[:20])
    assert_array_equal(kernel(X), Landmarks(RBF(2.0), landmarks=X[:20])(X))
    kernel.set_params(kernel=RBF(1.0))
    assert_array_equal(kernel(X), Landmarks(RBF(1.0), landmarks=X[:20])(X))
    kernel.set_params(landmarks="random", n_components=5)
    assert_array_equal(kernel(X), Landmarks(RBF(1.0), 5, landmarks="random")(X))


def test_parameters_that_are_set_as_attributes():
    """Oracle: a kernel that has never been called."""
    inner = FullyConnected()
    kernel = Landmarks(inner, landmarks=Z.copy())
    kernel(X)
    inner.depth = 3
    assert_array_equal(kernel(X), Landmarks(FullyConnected(3), landmarks=Z)(X))
    kernel.landmarks = X[:20].copy()
    assert_array_equal(kernel(X), Landmarks(FullyConnected(3), landmarks=X[:20])(X))
    kernel.landmarks[0] += 1
    assert_array_equal(kernel(X), Landmarks(FullyConnected(3), landmarks=kernel.landmarks)(X))
    resolved = Landmarks("fc1", 5).resolve(X)
    resolved.landmarks = "random"
    expected = Landmarks("fc1", 5, landmarks="random").resolve(X)
    assert_array_equal(resolved.resolve(X).landmarks, expected.landmarks)


def test_whitening_is_computed_once(monkeypatch):
    calls = []
    factor = _cholesky.factor
    monkeypatch.setattr(_cholesky, "factor", lambda K: calls.append(len(K)) or factor(K))
    kernel = Landmarks(FullyConnected(2), landmarks=Z).resolve(X)
    first = kernel.function().whitening
    kernel(X)
    assert kernel.function().whitening is first
    assert calls == [len(Z)]


def test_whitening_in_strips(monkeypatch):
    """Oracle: scipy's inverse of the Cholesky factor of the whole matrix, by numpy."""
    monkeypatch.setattr(_cholesky, "_STRIP", 5)
    K = FullyConnected()(Z)
    K += 1e-6 * np.trace(K) / len(K) * np.eye(len(K))
    expected = np.linalg.inv(np.linalg.cholesky(K)).T
    found = Landmarks("fc1", landmarks=Z).function().whitening
    np.testing.assert_allclose(found, expected, 1e-6, 1e-6 * largest(expected))


def minus_distances(x1, x2):
    return 9 - jnp.sum((x1[:, None] - x2) ** 2, axis=-1)


def test_a_kernel_that_is_not_positive():
    message = r"(?s)'kernel' parameter of Landmarks must be positive semi-definite.*14 landmarks"
    with pytest.raises(ValueError, match=message):
        Landmarks(StaxKernel(minus_distances), landmarks=Z).function()


def test_rows_of_another_width():
    kernel = Landmarks("fc1", landmarks=Z)
    message = "must have 5 features, as its landmarks do. Got rows of 4 features"
    for rows in (X[:, :4], X[:, :4] + 1000):
        for call in (kernel, kernel.resolve, kernel.diag):
            with pytest.raises(ValueError, match=message):
                call(rows)
    with pytest.raises(ValueError, match=message):
        kernel.function().prepare(jnp.asarray(X[:, :4]))


def test_what_the_kernel_inside_recommends():
    images = ConvNet(1, image_shape=(4, 4, 1))
    kernel = Landmarks(images, landmarks=np.eye(3, 16))
    for outer in (kernel, Invariant(kernel, image_shape=(4, 4, 1)), Landmarks("convnet1")):
        assert outer.recommended_dtype == images.recommended_dtype == "float32"
        assert outer.recommended_batch_size == images.recommended_batch_size == 500
    assert Landmarks("fc1").recommended_dtype == "float64"
    assert kernel.function().is_slow(16)
    assert Invariant(kernel, image_shape=(4, 4, 1)).function().is_slow(16)
    assert not kernel.function().has_slow_pairs(16)
    assert not Landmarks("fc1", landmarks=Z).function().is_slow(5)


def test_bytes_that_are_not_known_yet(digits):
    X = digits[0][:40]
    patches = RandomFeatures("convnet1", 2, 4, filters="patches", resample=False)
    shape = 8, 8, 1
    for kernel, name in (
        (Landmarks("fc1"), "landmarks"),
        (Invariant(Landmarks("fc1"), image_shape=shape), "landmarks"),
        (patches, "filters"),
        (Landmarks(patches, landmarks=X), "filters"),
        (Landmarks("patches", landmarks=X), "filters"),
        (Invariant("patches", image_shape=shape), "filters"),
    ):
        message = rf"'{name}' parameter .*resolve\(X\) first, or take .*predictor_\.kernel_"
        with pytest.raises(ValueError, match=message):
            _ = kernel.stored_bytes
    assert Landmarks("fc1", landmarks=X.tolist()).stored_bytes == 40 * 64 * 8
    chosen = Invariant(Landmarks("fc1", 7), image_shape=shape).resolve(X)
    assert chosen.stored_bytes == 7 * 64 * X.itemsize
    assert RBF().stored_bytes == 0


def test_blocks_of_pivots_are_compiled_once():
    _choice._columns.clear_cache()
    kernel = Landmarks(RBF(1.0), 60, random_state=1).resolve(clusters(300))
    assert len(kernel.landmarks) == 60
    assert _choice._columns._cache_size() == 1


@pytest.mark.parametrize("landmarks", ["random", Z])
def test_in_svc(landmarks, digits):
    X, X_test, y, y_test = digits
    if not isinstance(landmarks, str):
        landmarks = X[:200]
    kernel = Landmarks("fc1", 200, landmarks=landmarks)
    model = SVC(kernel=kernel).fit(X[:600], y[:600])
    exact = SVC(kernel=FullyConnected()).fit(X[:600], y[:600])
    assert model.score(X_test, y_test) > exact.score(X_test, y_test) - 0.03


def test_in_a_distiller(digits):
    X, X_test, y, y_test = digits
    params = {"ipc": 1, "max_iter": 60, "random_state": 0}
    distiller = KIPDistiller(kernel=Landmarks("fc1", 50), **params).fit(X, y)
    assert distiller.kernel_.landmarks.shape == (50, 64)
    start = KIPDistiller(kernel=Landmarks("fc1", 50), **params | {"max_iter": 1}).fit(X, y)
    assert (distiller.X_s_ != start.X_s_).any()
    assert distiller.score(X_test, y_test) > max(0.7, start.score(X_test, y_test) + 0.02)


def test_the_kernel_inside_learns_the_shape_of_images(digits):
    """Oracle: the same kernel with the shape written out."""
    X, _, y, _ = digits
    X, y = X[:60], y[:60]

    def make(shape=None):
        inner = RandomFeatures("convnet1", 2, 4, resample=False, image_shape=shape)
        return Landmarks(inner, 5)

    shape = 8, 8, 1
    params = {"ipc": 1, "max_iter": 2, "random_state": 0}
    found = KIPDistiller(make(), image_shape=shape, **params).fit(X, y)
    expected = KIPDistiller(make(shape), image_shape=shape, **params).fit(X, y)
    assert_array_equal(found.X_s_, expected.X_s_)
    found = Moments(make(), image_shape=shape, classes=range(10)).fit(X, y)
    assert found.kernel_ == make(shape).resolve(X)


def test_a_distiller_predicts_with_the_landmarks_of_its_fit(digits):
    """Also after a round through a pickle, and without the rows."""
    X, X_test, y, _ = digits
    params = {"ipc": 1, "max_iter": 3, "random_state": 0}
    distiller = KIPDistiller(kernel=Landmarks("fc1", 20), **params).fit(X, y)
    copy = pickle.loads(pickle.dumps(distiller))
    assert_array_equal(copy.kernel_.landmarks, distiller.kernel_.landmarks)
    assert_array_equal(copy.decision_function(X_test), distiller.decision_function(X_test))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"landmarks": "first"},
            r"'landmarks' parameter of Landmarks must be one of .*Got 'first'",
        ),
        ({"n_components": 0}, r"'n_components' parameter .* an integer >= 1\. Got 0"),
        ({"n_components": 2.5}, r"'n_components' parameter .* an integer >= 1\. Got 2\.5"),
        ({"random_state": -1}, r"'random_state' parameter .* an integer >= 0\. Got -1"),
        ({"landmarks": Z[0]}, r"or an array of shape \(n_landmarks, n_features\)\. Got an array"),
        ({"landmarks": Z[:0]}, r"or an array of shape \(n_landmarks, n_features\)\. Got an array"),
        (
            {"kernel": RandomFeatures("fc1")},
            r"'kernel' parameter of Landmarks must be a kernel that stays the same.*resample=False",
        ),
        (
            {"kernel": RandomFeatures("fc1"), "landmarks": Z},
            r"'kernel' parameter of Landmarks must be a kernel that stays the same.*resample=False",
        ),
        ({"kernel": "fcx"}, "Unknown kernel name 'fcx'"),
    ],
)
def test_bad_input(params, message):
    with pytest.raises(ValueError, match=message):
        Landmarks(**params)(X)


@every_way
def test_a_kernel_that_draws_networks_is_refused_whatever_the_way(way):
    kernel = Landmarks(RandomFeatures("fc1", width=8), 5, landmarks=way)
    with pytest.raises(ValueError, match=r"'kernel' parameter of Landmarks .* resample=False"):
        kernel.resolve(X)


def test_landmarks_that_are_still_to_be_chosen():
    message = r"'landmarks' parameter of Landmarks is 'random', .* call resolve\(X\) first"
    with pytest.raises(ValueError, match=message):
        Landmarks("fc1", 5, landmarks="random").function()
