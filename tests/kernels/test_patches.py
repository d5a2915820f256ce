"""Filters from data: `RandomFeatures(filters="patches")`, and the layers made for them."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate2d

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, Moments
from kipsk.architectures import (
    AdaptiveAvgPool,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GaussianPool,
    TwoSided,
    convnet,
    get_architecture,
    shallow,
)
from kipsk.architectures._frozen import frozen_features
from kipsk.architectures._function import apply_layer, contrast_normalised, features, init
from kipsk.kernels import Convolutional, Invariant, RandomFeatures

SHAPE = (9, 8, 2)
SMALL = shallow(4, pool=1)  # for images of few pixels


def plain(size, windows=2, threshold=1.0, **options):
    """`shallow` without contrast normalisation, and with windows that have borders."""
    first = Conv(size, padding="VALID"), TwoSided(threshold), AdaptiveAvgPool(windows)
    return Architecture((*first, Flatten(), Dense()), **options)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(60, 9, 8, 2)).cumsum(axis=1).cumsum(axis=2)
    return smooth.reshape(60, -1).astype(np.float32)


@pytest.fixture(scope="module")
def kernel(X):
    return RandomFeatures(
        plain(4, threshold=0.5, b_std=0.0), 2, 3, filters="patches", image_shape=SHAPE,
        resample=False,
    ).resolve(X)  # fmt: skip


def test_features_are_those_of_numpy(X, kernel):
    """Oracle: correlations by scipy, thresholds and means over windows by numpy."""
    found = np.asarray(kernel.function().prepare(X[:3]))
    expected = np.empty((3, 2, 2, 2, 3, 2))  # network, window, window, filter, sign
    for i, image in enumerate(X[:3].reshape(3, *SHAPE).astype(float)):
        for k in range(6):
            filters = kernel.filters[..., k]
            a = sum(correlate2d(image[..., c], filters[..., c], "valid") for c in range(2))
            assert a.shape == (6, 5)
            for sign in (0, 1):
                b = np.maximum((-a if sign else a) - 0.5, 0)
                for r, rows in enumerate((slice(0, 3), slice(3, 6))):
                    for s, columns in enumerate((slice(0, 3), slice(2, 5))):
                        expected[i, k // 3, r, s, k % 3, sign] = b[rows, columns].mean()
    scale = np.sqrt(2) / np.sqrt(24 * 2)
    assert_allclose(found, scale * expected.reshape(3, -1), rtol=1e-4, atol=1e-5)


def test_outputs_of_patches_have_deviation_one(X):
    """Over all patches of the training images, up to the error of a sample."""
    kernel = RandomFeatures(
        plain(4), 1, 20, filters="patches", image_shape=SHAPE, resample=False
    ).resolve(X)
    windows = np.lib.stride_tricks.sliding_window_view(X.reshape(-1, *SHAPE), (4, 4), axis=(1, 2))
    outputs = np.einsum("nijcab,abck->nijk", windows, kernel.filters)
    assert_allclose(outputs.std(axis=(0, 1, 2)), 1, atol=0.05)


def test_whitening_evens_out_what_filters_see(X):
    """Outputs of many whitened filters have all directions; those of plain patches have a few."""
    kernel = RandomFeatures(
        plain(4), 1, 300, filters="patches", image_shape=SHAPE, resample=False
    ).resolve(X)
    W = kernel.filters.reshape(-1, 300)
    windows = np.lib.stride_tricks.sliding_window_view(X.reshape(-1, *SHAPE), (4, 4), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 32)
    patches = patches - patches.mean(axis=0)

    def rank(outputs):
        values = np.linalg.eigvalsh(np.cov(outputs.T))
        return values.sum() ** 2 / np.sum(values**2)

    assert rank(patches @ W) > 3 * rank(patches @ patches[:300].T)


@pytest.mark.parametrize("channels", [2, 7])
@pytest.mark.parametrize(("strides", "padding"), [(1, "VALID"), (2, "VALID"), (1, "SAME")])
def test_contrast_is_that_of_numpy(channels, strides, padding):
    """Each patch centred, over its deviation; few channels are computed as products."""
    layer = Conv(3, strides, padding, contrast=0.25)
    architecture = Architecture((layer, TwoSided(0.1), AvgPool(1), Flatten(), Dense()), b_std=0.3)
    x = 5 + np.random.default_rng(0).normal(size=(2, 6, 5, channels)).astype(np.float32)
    params = init(architecture, jax.random.key(0), 4, x.shape[1:])
    weight = np.asarray(params[0]["weight"]) * np.sqrt(2 / (9 * channels))
    centred = x - x.mean(axis=(1, 2, 3), keepdims=True)
    whole = centred.var(axis=(1, 2, 3))
    if padding == "SAME":
        centred = np.pad(centred, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(centred, (3, 3), axis=(1, 2))
    patches = np.moveaxis(windows, 3, -1)[:, ::strides, ::strides]
    patches = patches - patches.mean(axis=(-3, -2, -1), keepdims=True)
    deviations = np.sqrt(patches.var(axis=(-3, -2, -1)) + 0.25 * whole[:, None, None])
    outputs = np.einsum("nijabc,abcu->niju", patches, weight) / deviations[..., None]
    outputs = outputs + 0.3 * np.asarray(params[0]["bias"])
    both = np.stack([np.maximum(sign * outputs - 0.1, 0) for sign in (1, -1)], axis=-1)
    for function in (
        lambda x: features(architecture, params, x),
        lambda x: frozen_features(architecture, [params], 4, x),
    ):
        assert_allclose(function(jnp.asarray(x)), both.reshape(2, -1), rtol=1e-3, atol=1e-4)
        black = function(jnp.zeros_like(x))
        assert np.isfinite(black).all()
    slopes = [
        jax.grad(lambda x, f=function: jnp.sum(jnp.cos(f(x))))(jnp.asarray(x))
        for function in (
            lambda x: features(architecture, params, x),
            lambda x: frozen_features(architecture, [params], 4, x),
        )
    ]
    assert_allclose(slopes[0], slopes[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_gradient_of_a_black_image(is_frozen, threshold):
    """It is finite, also beside images that are not black, whose gradient it leaves alone."""
    architecture = shallow(4, pool=1, threshold=threshold)
    params = init(architecture, jax.random.key(0), 5, SHAPE)
    image = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)

    @jax.jit
    def both(x):
        def loss(x):
            if is_frozen:
                Phi = frozen_features(architecture, [params], 5, x)
            else:
                Phi = features(architecture, params, x)
            return jnp.sum(jnp.sin(Phi)), Phi

        return jax.grad(loss, has_aux=True)(x)

    slope, Phi = both(jnp.concatenate([jnp.zeros_like(image), image]))
    alone, _ = both(jnp.asarray(image))
    assert np.isfinite(Phi).all() and np.isfinite(slope).all()
    assert np.abs(alone).max() > 1e-3
    assert_allclose(slope[1:], alone, rtol=1e-4, atol=1e-6)


def test_sums_over_pixels_are_not_in_half_precision():
    """Oracle: float64, of the rows as bfloat16 has rounded them."""
    layer = Conv(3, padding="VALID", contrast=0.1)
    x = 3 + np.random.default_rng(0).normal(size=(2, 9, 8, 3))
    x = jnp.asarray(x, jnp.bfloat16)
    rounded = np.asarray(x, np.float64)
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3, 3, 2)), jnp.bfloat16)
    centred, filters, factor = contrast_normalised(layer, x, weight)
    assert centred.dtype == filters.dtype == jnp.bfloat16
    patches = np.lib.stride_tricks.sliding_window_view(rounded, (3, 3), axis=(1, 2))
    variances = patches.var(axis=(-3, -2, -1)) + 0.1 * rounded.var(axis=(1, 2, 3))[:, None, None]
    assert_allclose(factor[..., 0], variances**-0.5, rtol=1e-4)

    means = apply_layer(SMALL, 0, GaussianPool(3), {}, x)
    assert means.dtype == jnp.bfloat16
    down, across = (GaussianPool(3).weights(n) for n in (9, 8))
    expected = np.einsum("ih,jw,nhwc->nijc", down, across, rounded)
    assert_allclose(np.asarray(means, np.float64), expected, rtol=2**-8)


def test_bfloat16_with_contrast(X):
    """Oracle: float32, of the same filters."""
    given = {"filters": "patches", "image_shape": SHAPE, "resample": False}
    full = RandomFeatures(SMALL, 2, 8, **given).resolve(X)
    low = RandomFeatures(**{**full.get_params(), "dtype": "bfloat16"})
    Phi, rounded = (np.asarray(kernel.function().prepare(X[:9])) for kernel in (full, low))
    assert rounded.dtype == np.float32
    assert 1e-5 < np.linalg.norm(rounded - Phi) / np.linalg.norm(Phi) < 3e-2


def test_gaussian_windows_are_those_of_numpy():
    """Oracle: the weights of each pixel, written out; a plain image keeps its level."""
    pool = GaussianPool(2, 0.5)
    x = np.random.default_rng(0).normal(size=(3, 6, 5, 4)).astype(np.float32)
    expected = np.zeros((3, 2, 2, 4))
    for k in range(2):
        for m in range(2):
            rows = np.exp(-0.5 * (((np.arange(6) + 0.5) / 6 - (k + 0.5) / 2) / 0.25) ** 2)
            columns = np.exp(-0.5 * (((np.arange(5) + 0.5) / 5 - (m + 0.5) / 2) / 0.25) ** 2)
            weights = np.outer(rows / rows.sum(), columns / columns.sum())
            expected[:, k, m] = np.einsum("hw,nhwc->nc", weights, x)
    architecture = Architecture((pool, Flatten(), Dense()))
    assert_allclose(features(architecture, [{}] * 3, x), expected.reshape(3, -1), atol=1e-6)
    assert_allclose(features(architecture, [{}] * 3, np.ones_like(x)), 1, rtol=1e-6)


def test_narrow_gaussian_windows_are_their_nearest_pixels():
    np.testing.assert_array_equal(GaussianPool(2, 1e-4).weights(5).argmax(axis=1), [1, 3])
    assert_allclose(GaussianPool(2, 1e-4).weights(4), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])


def test_shallow_for_images_of_32_pixels():
    assert shallow().shapes((32, 32, 3), 7) == [
        (32, 32, 3), (27, 27, 7), (27, 27, 14), (9, 9, 14), (3, 3, 14), (126,), (1,)
    ]  # fmt: skip
    assert get_architecture("shallow2").shapes((28, 28, 1), 7)[-5:] == [
        (12, 12, 7), (12, 12, 7), (4, 4, 7), (112,), (1,)
    ]  # fmt: skip


def test_patches_are_of_what_the_first_filters_see(X):
    """Brighter images have the same filters: contrast is normalised before."""
    kernel = RandomFeatures(SMALL, 1, 4, filters="patches", image_shape=SHAPE, resample=False)
    assert_allclose(
        kernel.resolve(X).filters, kernel.resolve(100 * X).filters, rtol=1e-3, atol=1e-4
    )
    assert_allclose(kernel.resolve(X)(X[:5]), kernel.resolve(X)(100 * X[:5]), rtol=1e-3, atol=1e-4)


def test_layers_before_the_first_filters(X):
    """Oracle: filters of images that numpy has pooled. JAX's float64 does not matter to them."""
    behind = (Conv(3, padding="VALID"), TwoSided(), Flatten(), Dense())
    given = {"filters": "patches", "resample": False}
    double = X.astype(np.float64) + np.random.default_rng(1).normal(size=X.shape)
    pooled = double.reshape(-1, *SHAPE)[:, :8].reshape(-1, 4, 2, 4, 2, 2).mean(axis=(2, 4))
    expected = RandomFeatures(Architecture(behind), 1, 4, image_shape=(4, 4, 2), **given).resolve(
        pooled.reshape(len(X), -1)
    )
    kernel = RandomFeatures(Architecture((AvgPool(2), *behind)), 1, 4, image_shape=SHAPE, **given)
    found = []
    for has_float64 in (False, True):
        with jax.enable_x64(has_float64):
            found.append(kernel.resolve(double).filters)
    assert_array_equal(found[0], found[1])
    assert_allclose(found[0], expected.filters, rtol=1e-5, atol=1e-6)


def test_same_seed_same_filters(X, kernel):
    again = RandomFeatures(
        plain(4, threshold=0.5, b_std=0.0), 2, 3, filters="patches", image_shape=SHAPE,
        resample=False,
    )  # fmt: skip
    assert_array_equal(again.resolve(X).filters, kernel.filters)
    assert again.resolve(X) == kernel
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    assert kernel.resolve(X[:5]) is kernel
    other = RandomFeatures(**{**again.get_params(), "random_state": 1}).resolve(X)
    assert other != kernel
    assert "array of shape (4, 4, 2, 6)" in repr(kernel)


def test_many_networks_are_one_after_another(X):
    """Nine networks go through a loop; a filter is that of the same network there."""
    many = RandomFeatures(
        SMALL, 9, 2, filters="patches", image_shape=SHAPE, resample=False
    ).resolve(X)
    Phi = np.asarray(many.function().prepare(X[:2]))[:, :-1].reshape(2, 9, -1)
    for k in range(9):
        one = RandomFeatures(
            SMALL, 1, 2, filters=many.filters[..., 2 * k : 2 * k + 2], image_shape=SHAPE,
            resample=False,
        )  # fmt: skip
        own = np.asarray(one.function().prepare(X[:2]))[:, :-1]
        assert_allclose(3 * Phi[:, k], own, rtol=1e-5, atol=1e-6)


def test_layers_above_take_the_outputs_of_filters(X):
    kernel = RandomFeatures(
        Architecture((Conv(3), TwoSided(), AdaptiveAvgPool(4), Conv(3), Flatten(), Dense())), 2, 4,
        filters="patches", image_shape=SHAPE, resample=False,
    ).resolve(X)  # fmt: skip
    assert kernel.function().prepare(X[:2]).shape == (2, 2 * 4 * 16 + 1)
    assert RandomFeatures(
        convnet(2), 2, 4, filters="patches", image_shape=SHAPE, resample=False
    ).resolve(X)(X[:2]).shape == (2, 2)


def test_digits():
    """Ridge regression on all rows, and a set that moments alone have made."""
    from kipsk.datasets import load_images

    digits = load_images("digits")
    kernel = RandomFeatures(SMALL, 4, 8, filters="patches", image_shape=(8, 8, 1), resample=False)
    model = KernelRidgeNTKClassifier(kernel, reg=1e-4).fit(digits.X_train, digits.y_train)
    assert model.score(digits.X_test, digits.y_test) > 0.97
    kernel = Invariant(kernel, image_shape=(8, 8, 1))
    moments = Moments(kernel, classes=range(10)).fit(digits.X_train, digits.y_train)
    model = KIPDistiller(moments.kernel_, ipc=1, max_iter=30, random_state=0).fit_moments(moments)
    assert model.score(digits.X_test, digits.y_test) > 0.6


def refused(message, call):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()


def test_bad_input(X, kernel):
    def make(architecture=None, **params):
        given = {"filters": "patches", "image_shape": SHAPE, "resample": False, **params}
        return RandomFeatures(architecture or SMALL, 2, 3, **given)

    refused("'filters'.*normal.*Got 'gabor'", lambda: make(filters="gabor").function())
    refused("training images.*resolve", lambda: make().function())
    refused("'resample'.*False with filters from data", lambda: make(resample=True).resolve(X))
    refused("'kind'.*nngp", lambda: make(kind="ntk").resolve(X))
    refused("begins with Conv", lambda: make("fc1").resolve(X))
    refused("first filters fit into images of 9 x 8", lambda: make(shallow(9)).resolve(X))
    behind = (Conv(), TwoSided(), Flatten(), Dense())
    refused(
        "first filters fit into images of 2 x 2, to which the layers before them",
        lambda: make(Architecture((AvgPool(4), *behind))).resolve(X),
    )
    refused(
        "Layer 0, .*at least as large as its window",
        lambda: make(Architecture((AvgPool(9), *behind))).resolve(X),
    )
    refused(
        "Layer 1, .*must get images",
        lambda: make(Architecture((Flatten(), *behind))).resolve(X),
    )
    refused(
        r"shape \(4, 4, channels, 6\)", lambda: make(filters=kernel.filters[..., :5]).function()
    )
    refused("at least as many pixels", lambda: make(shallow(4)).resolve(X)(X[:2]))
    refused("at least as many pixels", lambda: make(shallow(4, 6, pool=1)).resolve(X)(X[:2]))
    refused(
        "contrast=0.1.*has no exact kernel",
        lambda: Convolutional(SMALL, image_shape=SHAPE)(X[:2]),
    )
    refused("'threshold'.*>= 0", lambda: TwoSided(-1))
    refused("'size'.*>= 1", lambda: AdaptiveAvgPool(0))
    refused("'size'.*>= 1", lambda: GaussianPool(0))
    refused("'spread'.*> 0.*Got 0", lambda: GaussianPool(3, 0))
    refused("'pool' parameter of shallow.*>= 1.*Got 0", lambda: shallow(pool=0))
    refused("'contrast'.*> 0 or None.*Got 0", lambda: Conv(3, contrast=0))
