"""The view of a fitted distiller in a notebook."""

from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.preprocessing import Normalizer, StandardScaler

from kipsk import KIPRegressor, LabelSolver

SHAPE = (8, 8, 1)
# Pictures have 256 levels, and are rounded down to one; values next to a level may miss that too.
LEVEL = 1.001 / 255


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def solver(rows):
    return LabelSolver(ipc=2, image_shape=SHAPE, random_state=0).fit(*rows)


def pictures(text):
    """The images in HTML as arrays, and the captions below them."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    names = re.findall(r"<figcaption [^>]*>(.*?)</figcaption>", text)
    return [imread(io.BytesIO(base64.b64decode(data))) for data in found], names


def views(estimator):
    """Both ways in which notebooks ask for HTML."""
    return estimator._repr_html_(), estimator._repr_mimebundle_()["text/html"]


def test_view_has_the_rows_and_their_classes(solver):
    low, high = np.percentile(solver.X_s_, [1, 99])
    for view in views(solver):
        assert "sk-" in view and "LabelSolver" in view  # scikit-learn's diagram
        images, names = pictures(view)
        expected = (np.clip(solver.X_s_, low, high) - low) / (high - low)
        assert_allclose(np.stack(images)[..., 0].reshape(20, 64), expected, atol=LEVEL)
        assert names == list(solver.classes_[solver.y_s_.argmax(axis=1)].astype(str))
        assert "20 support rows" in view


def test_view_of_many_large_images_is_small():
    rng = np.random.default_rng(0)
    X, y = rng.uniform(size=(40, 130 * 100 * 3)), np.repeat(["<b>", "a&b"], 20)
    solver = LabelSolver(ipc=20, image_shape=(130, 100, 3), random_state=0).fit(X, y)
    images, names = pictures(solver._repr_html_())
    assert len(images) == 30
    assert images[0].shape[:2] == (44, 34)
    assert set(names) == {"&lt;b&gt;", "a&amp;b"}
    assert "30 of 40 support rows" in solver._repr_html_()


def test_view_is_in_the_units_of_pixels(rows):
    """Oracle: with `preprocess` only the support's units differ from those of X."""
    scaler = StandardScaler().fit(rows[0])
    distiller = LabelSolver(ipc=1, image_shape=SHAPE, random_state=0)
    distiller.fit(scaler.transform(rows[0]), rows[1]).preprocess_ = scaler
    pixels = rows[0][distiller.support_indices_]
    low, high = np.percentile(pixels, [1, 99])
    images, _ = pictures(distiller._repr_html_())
    expected = (np.clip(pixels, low, high) - low) / (high - low)
    assert_allclose(np.stack(images)[..., 0].reshape(10, 64), expected, atol=LEVEL)


@pytest.mark.slow
def test_view_of_a_regression(rows):
    regressor = KIPRegressor(
        n_support=3, max_iter=1, reg=1e-2, image_shape=SHAPE, random_state=0
    ).fit(*rows)
    _, names = pictures(regressor._repr_html_())
    assert_allclose([float(name) for name in names], regressor.y_s_, rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("why", ["not fitted", "no shape", "no inverse", "two channels"])
def test_what_cannot_be_drawn_is_scikit_learns_view(why, rows):
    shape = (4, 8, 2) if why == "two channels" else SHAPE if why != "no shape" else None
    estimator = LabelSolver(ipc=1, image_shape=shape)
    if why != "not fitted":
        estimator.fit(*rows)
    if why == "no inverse":
        estimator.preprocess_ = Normalizer()
    for view in views(estimator):
        assert type(estimator).__name__ in view
        assert "<figure" not in view and "support rows" not in view


def test_view_without_matplotlib(monkeypatch, solver):
    for name in ("matplotlib", "matplotlib.image"):
        monkeypatch.setitem(sys.modules, name, None)
    for view in views(solver):
        assert "LabelSolver" in view and "<figure" not in view


def test_switch_to_text(solver):
    with config_context(display="text"):
        assert not hasattr(solver, "_repr_html_")
        assert solver._repr_mimebundle_() == {"text/plain": repr(solver)}
