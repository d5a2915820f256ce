"""Rows that a kernel object cannot take parameters from, or has no finite matrix of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.svm import SVC

from kipsk.architectures import AdaptiveAvgPool, Architecture, Conv, Dense, Flatten, TwoSided
from kipsk.kernels import RBF, FullyConnected, Invariant, Landmarks, Laplace, RandomFeatures

X = np.random.default_rng(0).normal(size=(10, 16))
IMAGES = (4, 4, 1)
LAYERS = (Conv(3), TwoSided(0.5), AdaptiveAvgPool(2), Flatten(), Dense())
PATCHES = RandomFeatures(
    Architecture(LAYERS), 1, 4, filters="patches", resample=False, image_shape=IMAGES
)
KERNELS = {
    "fully connected": FullyConnected(),
    "rbf": RBF(),
    "rbf of a length": RBF(2.0),
    "laplace": Laplace(),
    "landmarks": Landmarks("rbf", 4),
    "landmarks by k-means++": Landmarks("fc1", 4, landmarks="kmeans++"),
    "random landmarks": Landmarks("fc1", 4, landmarks="random"),
    "patches": PATCHES,
    "mirrored": Invariant("rbf", image_shape=IMAGES),
}
each = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


@each
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(kernel, value):
    rows = X.copy()
    rows[3, 5] = value
    message = rf"X must hold finite numbers. Got {value} in 1 of 160 .* column 5: leave such rows"
    for call in (kernel.resolve, kernel, kernel.diag):
        with pytest.raises(ValueError, match=message):
            call(rows)


@each
def test_no_rows(kernel):
    for rows in (X[:0], X[:, :0]):
        with pytest.raises(ValueError, match=r"at least one row and one column.*shape \((0|10), "):
            kernel.resolve(rows)


@each
def test_words(kernel):
    with pytest.raises(ValueError, match=r"X must hold real numbers.*encode its values"):
        kernel.resolve(np.full((10, 16), "a"))


def test_a_matrix_that_is_not_finite():
    """A support vector machine would search in it without end."""
    with pytest.raises(ValueError, match=r"non-finite matrix: 100 of the 100 entries of K\(X\)"):
        FullyConnected()(1e200 * X)
    with pytest.raises(ValueError, match=r"entries of K\(X, Y\) \(10 x 3\)"):
        FullyConnected()(1e200 * X, X[:3])
    with pytest.raises(ValueError, match=r"the diagonal of K\(X\)"):
        FullyConnected().diag(1e200 * X)
    with pytest.raises(ValueError, match="non-finite matrix"):
        SVC(kernel=FullyConnected()).fit(1e200 * X, np.arange(10) % 2)


@pytest.mark.parametrize(
    ("images", "variance"),
    [(np.full((10, 16), 3.0), "0"), (0 * X, "0"), (1e-200 * X, "0"), (1e200 * X, "(inf|nan)")],
    ids=["constant", "black", "too small", "too large"],
)
def test_patches_that_do_not_differ(images, variance):
    message = rf"3 x 3 pixels do not differ or cannot be squared.* variance is {variance}: scale"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=message):
            PATCHES.resolve(images)


def test_patches_of_some_constant_images():
    images = np.full((10, 16), 3.0)
    images[4] = X[4]
    for scale in (1e-30, 1.0, 1e30):
        kernel = PATCHES.resolve(scale * images)
        assert np.isfinite(kernel.filters).all() and np.isfinite(kernel(scale * images)).all()
