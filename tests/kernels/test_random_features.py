"""Sampled kernels: the formula, its gradient, and what is drawn when.

Oracles: `networks.features` of the same parameters in numpy, central differences, the exact kernel.
That the estimates converge is in test_infinite_width.py.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.kernel_approximation import Nystroem
from sklearn.svm import SVC

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.architectures import (
    Activation,
    Architecture,
    Conv,
    Dense,
    Flatten,
    _frozen,
    conv_vec,
    convnet,
    fully_connected,
    myrtle,
)
from kipsk.kernels import FullyConnected, RandomFeatures
from kipsk.networks import features, init

OTHER = {"w_std": 1.3, "b_std": 0.5}
RELU = Activation("relu")
NETWORKS = {
    "ConvNet": (convnet(2), (8, 8, 3)),
    "odd sides": (convnet(2), (7, 5, 2)),
    "wide input": (convnet(1, "gelu", first_conv=True, **OTHER), (4, 6, 9)),
    "normalised": (convnet(1, normalize=True), (4, 4, 2)),
    "Myrtle": (myrtle(5), (8, 8, 2)),
    "conv vec": (conv_vec(2, "erf", parameterization="standard", **OTHER), (5, 4, 3)),
    "strides": (
        Architecture((Conv(3, 2), RELU, Conv(2), RELU, Conv(3, 1, "VALID"), Flatten(), Dense())),
        (9, 8, 2),
    ),
    "rows": (fully_connected(2, **OTHER), (11,)),
    "no hidden layer": (fully_connected(0, **OTHER), (6,)),
}
# Myrtle has the layers of ConvNet, more of them.
every_network = pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        pytest.param(*network, id=name, marks=pytest.mark.slow if name == "Myrtle" else ())
        for name, network in NETWORKS.items()
    ],
)
WIDTH, N_NETWORKS = 6, 3
compiled_features = jax.jit(features, static_argnums=0)
compiled_init = jax.jit(init, static_argnums=(0, 2, 3))


def rows(shape, n=7, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).reshape(n, -1)


def kernel_of(architecture, shape, **params):
    image_shape = shape if len(shape) == 3 else None
    return RandomFeatures(architecture, N_NETWORKS, WIDTH, image_shape=image_shape, **params)


def numpy_kernel(kernel, X, shape):
    """The mean of each network's own estimate, from its features."""
    architecture, estimates = kernel.architecture, []
    for key in jax.random.split(jax.random.key(kernel.random_state), kernel.n_networks):
        params = compiled_init(architecture, key, kernel.width, shape)
        x = X.reshape(len(X), *shape).astype(np.float32)
        phi = np.asarray(compiled_features(architecture, params, x), np.float64)
        estimates.append(architecture.w_std**2 * phi @ phi.T / phi.shape[1])
    return np.mean(estimates, axis=0) + architecture.b_std**2


@every_network
def test_equals_the_mean_over_networks(architecture, shape, close):
    kernel, X = kernel_of(architecture, shape, random_state=4), rows(shape)
    expected = numpy_kernel(kernel, X, shape)
    close(kernel(X), expected, np.float32)
    close(kernel(X[:4], X[2:]), expected[:4, 2:], np.float32)
    close(kernel.diag(X), np.diag(expected), np.float32)


@pytest.mark.parametrize("n_networks", [11, 12])
def test_many_networks(n_networks, close):
    kernel = RandomFeatures(fully_connected(1), n_networks, 4)
    close(kernel(rows((5,))), numpy_kernel(kernel, rows((5,)), (5,)), np.float32)


@pytest.mark.parametrize(
    ("architecture", "shape", "group_bytes"),
    [
        pytest.param(*network, 2**11, id=name, marks=pytest.mark.slow if name == "Myrtle" else ())
        for name, network in NETWORKS.items()
    ]
    + [
        pytest.param(*NETWORKS["ConvNet"], 1, id="row by row"),
        pytest.param(*NETWORKS["ConvNet"], 2**30, id="one group"),
    ],
)
def test_features_in_groups_equal_plain_ones(architecture, shape, group_bytes, monkeypatch, close):
    """Oracle: `features` of each network, values and gradients by autodiff."""
    monkeypatch.setattr(_frozen, "_GROUP_BYTES_CPU", group_bytes)
    monkeypatch.setattr(_frozen, "GROUP_BYTES", group_bytes)
    keys = jax.random.split(jax.random.key(1), N_NETWORKS)
    networks = [compiled_init(architecture, key, WIDTH, shape) for key in keys]
    x = jnp.asarray(rows(shape), jnp.float32).reshape(-1, *shape)
    weights = jnp.asarray(np.random.default_rng(5).standard_normal(1000), jnp.float32)

    def frozen(x):
        return _frozen.frozen_features(architecture, networks, WIDTH, x)

    def plain(x):
        return jnp.concatenate([features(architecture, params, x) for params in networks], axis=1)

    def loss(function, x):
        phi = function(x)
        return jnp.sum(jnp.sin(phi) * weights[: phi.shape[1]])

    with jax.default_matmul_precision("highest"):
        close(jax.jit(frozen)(x), jax.jit(plain)(x))
        expected = jax.jit(jax.grad(lambda x: loss(plain, x)))(x)
        close(jax.jit(jax.grad(lambda x: loss(frozen, x)))(x), expected, times=10)


def test_groups_are_filled():
    """Padding is less than a group, whatever does not divide."""
    for n, limit in [(500, 499), (500, 16), (7, 3), (9, 1), (100, 15)]:
        seen = []

        def function(x, seen=seen):
            seen.append(x.shape[0])
            return x

        x = jnp.arange(2.0 * n).reshape(n, 2)
        assert_array_equal(_frozen.in_groups(function, x, 2, 2 * 4 * limit), x)
        assert seen[0] <= limit
        assert -(-n // seen[0]) * seen[0] - n < seen[0]
        assert seen[0] >= n / -(-n // limit)


def test_rows_in_groups_do_not_see_each_other(monkeypatch):
    """Not even in their last bit, nor the zero rows that fill the last group."""
    kernel, shape = kernel_of(convnet(1), (4, 4, 2)), (4, 4, 2)
    X = rows(shape, n=9).astype(np.float32)
    monkeypatch.setattr(_frozen, "_GROUP_BYTES_CPU", 4 * 4 * 4 * WIDTH * N_NETWORKS * 2)
    function = kernel.function()
    prepared = function.prepare(jnp.asarray(X))
    assert_array_equal(prepared[:4], function.prepare(jnp.asarray(X[:4])))


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_gradient_equals_finite_differences(kind):
    """Oracle: central differences in float32 of a smooth network, so to three digits."""
    kernel = RandomFeatures(convnet(1, "gelu"), 2, 4, kind=kind, image_shape=(4, 4, 2))
    function, X = kernel.function(), jnp.asarray(rows((4, 4, 2), n=4), jnp.float32)
    weights = jnp.asarray(np.random.default_rng(2).standard_normal((4, 4)), jnp.float32)

    @jax.jit
    def loss(X):
        A = function.prepare(X)
        return jnp.sum(weights * function.gram(A)) + jnp.sum(weights * function.cross(A, A[::-1]))

    direction = rows((4, 4, 2), n=4, seed=3).astype(np.float32)
    slope = (loss(X + 1e-2 * direction) - loss(X - 1e-2 * direction)) / 2e-2
    assert_allclose(jnp.sum(jax.jit(jax.grad(loss))(X) * direction), slope, rtol=2e-3)


def test_is_positive_semi_definite_and_float64_where_it_is_solved_with():
    X = rows((12,), n=40)
    K = RandomFeatures("fc1", width=16)(X)
    assert K.dtype == np.float64
    assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K)[0] > -1e-12 * np.trace(K)
    with jax.enable_x64(True):
        function = RandomFeatures("fc1", width=16).function()
        prepared = function.prepare(jnp.asarray(X))
        assert prepared.dtype == np.float32 and function.gram(prepared).dtype == np.float64


def test_fixed_networks_are_drawn_from_random_state_alone():
    X = rows((5,))
    kernel = RandomFeatures("fc1", width=8)
    assert_array_equal(kernel(X), kernel(X))
    assert_array_equal(kernel(X), RandomFeatures("fc1", width=8, resample=False)(X))
    other = RandomFeatures("fc1", width=8, random_state=1)(X)
    assert np.abs(other - kernel(X)).max() > 0.01


def test_networks_do_not_depend_on_jax_settings():
    """A fitted model is a seed: what draws its networks may not follow what users set."""
    X = rows((5,))
    kernel = RandomFeatures("fc1", width=8, random_state=2**32 - 1)
    expected = kernel(X)
    with jax.default_prng_impl("rbg"):
        assert_array_equal(kernel(X), expected)
    function = kernel.function()
    with jax.enable_x64(True):
        assert_array_equal(kernel.function().key, function.key)


def test_many_networks_with_tangents(close):
    """Oracle: the mean over kernels of eight networks each, drawn from the same keys by hand."""
    kernel = RandomFeatures(fully_connected(1), 16, 4, kind="ntk")
    function, X = kernel.function(), jnp.asarray(rows((5,)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 16)
    halves = [function._features(half, None, X) for half in (keys[:8], keys[8:])]
    close(kernel(X), sum(half @ half.T for half in halves) + 0.01, np.float32)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_rows_are_of_the_announced_size(kind):
    function = RandomFeatures("convnet1", 3, 5, kind=kind, image_shape=(4, 6, 2)).function()
    prepared = jax.eval_shape(function.prepare, jnp.ones((2, 48)))
    assert prepared.shape == (2, function.row_size(48))


def test_prediction_in_blocks(digits, close):
    """Oracle: all rows at once."""
    X, _, y, _ = digits
    kernel = RandomFeatures("convnet1", 2, 4, image_shape=(8, 8, 1))
    model = KernelRidgeNTKClassifier(kernel, block_size=7).fit(X[:30], y[:30])
    dense = kernel(X[:50], X[:30]) @ model.dual_coef_
    close(model.decision_function(X[:50]), dense, np.float32, times=10)


def test_draw():
    X, key = jnp.asarray(rows((5,)), jnp.float32), jax.random.key(3)
    for resample in (True, False):
        function = RandomFeatures("fc1", width=8, resample=resample).function()
        drawn = function.draw(key)
        assert np.array_equal(drawn.prepare(X), function.prepare(X)) is not resample
        assert function.is_random is resample
    assert FullyConnected().function().is_random is False
    by_hand = replace(RandomFeatures("fc1", width=8).function(), key=jax.random.key_data(key))
    assert_array_equal(
        by_hand.prepare(X), RandomFeatures("fc1", width=8).function().draw(key).prepare(X)
    )


def test_kernel_to_predict_with():
    drawn_anew = RandomFeatures("fc2", 2, 16, kind="ntk", random_state=5)
    assert drawn_anew.for_prediction() == RandomFeatures(
        "fc2", 64, 16, kind="ntk", resample=False, random_state=5
    )
    assert RandomFeatures("fc2", 2, 24).for_prediction().n_networks == 48  # side by side
    assert RandomFeatures("fc2", 20, 100).for_prediction().n_networks == 24
    assert RandomFeatures("fc2", 5, 300).for_prediction().n_networks == 5
    fixed = RandomFeatures("fc2", resample=False)
    assert fixed.for_prediction() is fixed
    exact = FullyConnected()
    assert exact.for_prediction() is exact


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_bfloat16(kind):
    """Oracle: float32, of the same networks; bfloat16 rounds to 4e-3."""
    shape = 8, 8, 3
    X, Y = rows(shape)[:3].astype(np.float32), rows(shape)[3:].astype(np.float32)

    def of(dtype):
        kernel = RandomFeatures(
            convnet(2), 2, 8, kind=kind, image_shape=shape, random_state=3, dtype=dtype
        )
        function = kernel.function()

        def total(X):
            return jnp.sum(jnp.sin(function.cross(function.prepare(X), function.prepare(Y))))

        return jax.jit(function.prepare)(X), jax.jit(jax.grad(total))(X)

    for full, low in zip(of("float32"), of("bfloat16"), strict=True):
        assert full.dtype == low.dtype == jnp.float32
        error = np.linalg.norm(low - full) / np.linalg.norm(full)
        assert 1e-4 < error < 3e-2


def test_bfloat16_is_for_steps():
    low = RandomFeatures("fc2", 2, 16, dtype="bfloat16")
    assert low.for_prediction().dtype == "float32"
    fixed = RandomFeatures("fc2", 2, 16, dtype="bfloat16", resample=False)
    assert fixed.for_prediction() is fixed
    with pytest.raises(ValueError, match=r"'dtype' parameter of RandomFeatures .* Got 'float16'"):
        RandomFeatures("fc2", dtype="float16").function()


@pytest.mark.parametrize("channels", [1, 3])
def test_few_channels_on_a_gpu_are_a_product(channels, monkeypatch, close):
    """Oracle: the convolution that a CPU takes."""
    shape, weights = (6, 6, channels), init(conv_vec(1), jax.random.key(2), 5, (6, 6, channels))
    x = jnp.asarray(rows(shape), jnp.float32).reshape(-1, *shape)

    def both():
        function = jax.jit(lambda x: _frozen.frozen_features(conv_vec(1), [weights], 5, x))
        gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(function(x)))))
        return str(jax.make_jaxpr(function)(x)), function(x), gradient(x)

    on_cpu = both()
    monkeypatch.setattr(_frozen.jax, "default_backend", lambda: "gpu")
    as_on_gpu = both()
    assert "conv_general" in on_cpu[0] and "conv_general" not in as_on_gpu[0]
    close(as_on_gpu[1], on_cpu[1])
    close(as_on_gpu[2], on_cpu[2], times=10)


def test_ntk_of_the_standard_parameterization_is_refused():
    kernel = RandomFeatures(fully_connected(1, parameterization="standard"), kind="ntk")
    with pytest.raises(ValueError, match=r"'kind' .* \"nngp\" .* standard .*Got 'ntk'"):
        kernel(rows((3,)))


def test_image_shape_may_be_a_list_or_an_array():
    X = rows((4, 4, 1))
    expected = RandomFeatures(convnet(1), width=4, image_shape=(4, 4, 1))(X)
    for shape in ([4, 4, 1], np.array([4, 4, 1])):
        K = RandomFeatures(convnet(1), width=4, image_shape=shape)(X)  # type: ignore[arg-type]
        assert_array_equal(K, expected)


@pytest.mark.parametrize(
    "model",
    [
        lambda kernel: SVC(kernel=kernel),
        lambda kernel: KernelRidgeNTKClassifier(kernel, reg=1e-3),
        lambda kernel: LabelSolver(kernel, ipc=10, random_state=0),
    ],
    ids=["SVC", "KernelRidgeNTKClassifier", "LabelSolver"],
)
def test_in_other_models(model, digits):
    X, X_test, y, y_test = digits
    kernel = RandomFeatures("convnet2", 2, 16, image_shape=(8, 8, 1))
    fitted = model(kernel).fit(X[:500], y[:500])
    assert fitted.score(X_test, y_test) > 0.85


@pytest.mark.slow
def test_distils_images_of_28_pixels():
    """MNIST's shape: a name, the shape, and no other parameter is needed."""
    X = np.random.RandomState(0).rand(20, 28 * 28).astype(np.float32)
    distiller = KIPDistiller(kernel="rf_convnet", ipc=1, max_iter=1, image_shape=(28, 28, 1))
    distiller.fit(X, np.arange(20) % 2)
    assert (distiller.X_s_ != X[:2]).any() and np.isfinite(distiller.X_s_).all()


def test_nystroem(digits):
    """Oracle: with a component for every row it is the kernel itself."""
    X = digits[0][:40]
    kernel = RandomFeatures("convnet1", width=16, image_shape=(8, 8, 1))
    features = Nystroem(kernel=kernel, n_components=40, random_state=0).fit_transform(X)
    assert_allclose(features @ features.T, kernel(X), rtol=1e-3)
