"""Exact convolutional kernels against neural-tangents, values and gradients.

Coinciding points are compared off the diagonal alone: neural-tangents takes the arc cosine of 1 but
for rounding there, an error of 1e-8 in float64. The diagonal has an oracle of its own.
"""

from __future__ import annotations

import math
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from kipsk import KernelRidgeNTK, KIPDistiller, LabelSolver
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
from kipsk.kernels import ConvNet, Convolutional, FullyConnected, Myrtle, get_kernel
from kipsk.kernels._infinite import _convolutional as module
from kipsk.kernels._infinite import _propagation
from kipsk.kernels._stax import load_stax

WIDTH = 7  # of the standard parameterisation
TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
OTHER = {"w_std": 1.3, "b_std": 0.5}  # large biases, so that a wrong one is seen
RELU = Activation()


def neural_tangents(architecture):
    """Oracle: the kernel function of the same layers."""
    stax = load_stax()
    activations = {"relu": stax.Relu, "erf": stax.Erf, "gelu": stax.Gelu}
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


def rows(n, shape, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, math.prod(shape)))
    X[0] *= 3  # variances differ
    return X


def with_gradients(kernel, G, X, Y):
    K, pull_back = jax.vjp(kernel, X, Y)
    return K, *pull_back(G)


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


@st.composite
def architectures(draw):
    """An architecture with an exact kernel, and images for it, odd sides included."""
    shape = draw(st.integers(5, 8)), draw(st.integers(5, 8)), draw(st.integers(1, 2))
    name = draw(st.sampled_from(["relu", "relu", "erf", "gelu"]))
    layers, side = [], min(shape[:2])
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.sampled_from([3, 3, 1, 2]))
        layers += [Conv(size, draw(st.sampled_from([1, 1, 2]))), Activation(name)]
        side = -(-side // layers[-2].strides)
        if side >= 2 and draw(st.booleans()):
            layers.append(AvgPool(2, crop=True))
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
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("architecture", "shape", "kind"),
    [
        (convnet(2, **OTHER), (8, 8, 2), "ntk"),
        slow(convnet(1, first_conv=True, global_pool=True, **OTHER), (6, 4, 1), "ntk"),
        slow(convnet(2, crop=True), (7, 9, 1), "nngp"),
        (conv_vec(2, **OTHER), (5, 7, 2), "ntk"),
        slow(convnet(1, "gelu", parameterization="standard", **OTHER), (4, 6, 2), "ntk"),
        slow(Architecture(STRIDED), (9, 8, 1), "ntk"),
        slow(Architecture(POOLED_INPUT), (6, 6, 2), "ntk"),
    ],
    ids=["ConvNet2", "first conv", "crop", "Conv2", "standard", "strides", "pooled input"],
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


SHAPE = (6, 6, 1)
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
    np.testing.assert_array_equal(K, K.T)
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


@pytest.mark.parametrize("together", [slow(1), 36**2, 5 * 36**2, slow(10**9)])
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
    K = KERNELS[0](X)
    assert np.isnan(K[0]).all()
    np.testing.assert_allclose(K[1:, 1:], expected[1:, 1:], rtol=1e-12)


def test_black_images_without_biases():
    X = np.zeros((2, 36))
    X[1] = 1
    K = ConvNet(1, image_shape=SHAPE, b_std=0.0)(X)
    np.testing.assert_array_equal(K[0], 0)
    assert K[1, 1] > 0


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("conv2", Convolutional("conv2")),
        ("convnet3", ConvNet(3)),
        ("convnet", ConvNet(3, first_conv=True)),
        ("convnet2_nngp", ConvNet(2, "nngp")),
        ("myrtle7", Myrtle(7)),
    ],
)
def test_names(name, kernel):
    assert get_kernel(name) == kernel
    shape = (8, 8, 1)
    assert get_kernel(name, image_shape=shape).function().architecture == get_architecture(
        name.removesuffix("_nngp")
    )


class TestBadInput:
    X = np.zeros((2, 36))

    def test_image_shape(self):
        with pytest.raises(ValueError, match=r"'image_shape' parameter of ConvNet .* Got None"):
            ConvNet(1)(self.X)
        with pytest.raises(ValueError, match=r"'image_shape' parameter of Convolutional .* 36"):
            Convolutional(image_shape=(8, 8, 1))(self.X)

    def test_too_small_for_the_pooling(self):
        with pytest.raises(ValueError, match=r"Layer 2, AvgPool.* Got 3 x 3 pixels .*crop=True"):
            ConvNet(1, image_shape=(3, 3, 4))(self.X)
        with pytest.raises(ValueError, match=r"Layer 5, AvgPool.* at least as large .* 1 x 1"):
            ConvNet(2, image_shape=(3, 3, 4), crop=True)(self.X)

    def test_layers_without_an_exact_kernel(self):
        network = convnet(1, normalize=True)
        with pytest.raises(ValueError, match=r"layer 1, Normalize\(\).*RandomFeatures"):
            Convolutional(network, image_shape=SHAPE)(self.X)
        twice = Architecture((Conv(), RELU, AvgPool(), RELU, Flatten(), Dense()))
        with pytest.raises(ValueError, match=r"layer 3, Activation.* behind Conv or Dense"):
            Convolutional(twice, image_shape=SHAPE)(self.X)
        # Pixels of unlike variance: the dual of their mean is not the mean of their duals.
        late = Architecture((Conv(), Flatten(), RELU, Dense()))
        with pytest.raises(ValueError, match=r"layer 2, Activation.* before Flatten"):
            Convolutional(late, image_shape=SHAPE)(self.X)

    def test_parameters(self):
        for kernel, message in [
            (ConvNet(image_shape=SHAPE, kind="cntk"), "'kind' parameter of ConvNet"),
            (ConvNet(0, image_shape=SHAPE), "'depth'"),
            (Myrtle(6, image_shape=SHAPE), "'depth'"),
            (ConvNet(1, image_shape=SHAPE, width=0), "'width' parameter of ConvNet"),
            (ConvNet(1, image_shape=SHAPE, activation="tanh"), "relu"),
            (Convolutional("resnet", image_shape=SHAPE), "'architecture' parameter of Convol"),
            (ConvNet(1, image_shape=np.array([[6, 6, 1]])), "'image_shape' parameter of ConvNet"),
            (ConvNet(1, image_shape=SHAPE, first_conv="no"), "'first_conv'"),
        ]:
            with pytest.raises(ValueError, match=message):
                kernel(self.X)


@pytest.mark.slow
def test_myrtle_is_its_architecture():
    X = rows(2, (8, 8, 1))
    other = Convolutional(myrtle(5), image_shape=(8, 8, 1))
    np.testing.assert_array_equal(Myrtle(5, image_shape=(8, 8, 1))(X), other(X))


class TestEstimators:
    """The distillers with an exact kernel on 4 x 4 digits; oracle: the same by scikit-learn."""

    KERNEL = ConvNet(1, image_shape=(4, 4, 1))

    @pytest.fixture
    def data(self):
        X, y = load_digits(n_class=3, return_X_y=True)
        X = X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
        return (X - X.mean()) / X.std(), y

    def test_kernel_ridge(self, data):
        """Oracle: scikit-learn's KernelRidge with the ridge matched."""
        X, y = data
        ours = KernelRidgeNTK(self.KERNEL, reg=1e-3, dtype="float64").fit(X[:50], y[:50])
        K = self.KERNEL(X[:50])
        theirs = KernelRidge(alpha=1e-3 * np.trace(K) / 50, kernel="precomputed").fit(K, y[:50])
        expected = theirs.predict(self.KERNEL(X[50:], X[:50]))
        np.testing.assert_allclose(ours.predict(X[50:]), expected, rtol=1e-8)
        single = KernelRidgeNTK(self.KERNEL, reg=1e-3).fit(X[:50], y[:50])
        np.testing.assert_allclose(single.predict(X[50:]), expected, atol=1e-3)

    def test_label_solve_in_blocks(self, data, capsys):
        X, y = data
        whole, blocks = (
            LabelSolver(self.KERNEL, 2, random_state=0, dtype="float64", block_size=size, verbose=1)
            for size in (1000, 37)
        )
        whole.fit(X, y)
        np.testing.assert_allclose(blocks.fit(X, y).y_s_, whole.y_s_, rtol=1e-6, atol=1e-9)
        assert whole.score(X, y) > 0.8
        assert f"{len(X)}/{len(X)}" in capsys.readouterr().err

    def test_kip_learns(self, data):
        X, y = data
        how = {"batch_size": 100, "random_state": 0}
        start = KIPDistiller(self.KERNEL, 1, max_iter=1, learning_rate=1e-9, **how).fit(X, y)
        distiller = KIPDistiller(self.KERNEL, 1, max_iter=30, learning_rate=0.2, **how).fit(X, y)
        assert distiller.score(X, y) > start.score(X, y) + 0.2
        assert distiller.loss_curve_[-1] < 0.5 * distiller.loss_curve_[0]

    @pytest.mark.slow
    def test_grid_search_over_its_parameters(self, data):
        X, y = data
        grid = {"kernel__kind": ["ntk", "nngp"]}
        search = GridSearchCV(LabelSolver(self.KERNEL, 2, random_state=0), grid, cv=2)
        assert search.fit(X[:100], y[:100]).best_score_ > 0.7
        loaded = pickle.loads(pickle.dumps(search.best_estimator_))
        np.testing.assert_array_equal(loaded.predict(X), search.predict(X))

    def test_support_vector_machine(self, data):
        X, y = data
        assert SVC(kernel=self.KERNEL, C=10).fit(X[:100], y[:100]).score(X[100:], y[100:]) > 0.9
