"""`factor`: several support rows in the storage of one image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import zoom

from kipsk import KIPDistiller, LabelSolver, Moments
from kipsk._distil._mosaic import Mosaic
from kipsk.datasets import load_images
from kipsk.kernels import Landmarks


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def test_enlarged_tiles_are_those_of_scipy():
    """Oracle: scipy's linear zoom, on a grid of pixels' centres."""
    stored = np.random.default_rng(0).normal(size=(2, 6, 8, 3))
    found = np.asarray(Mosaic((6, 8, 3), 2).enlarged(stored.reshape(2, -1)))
    found = found.reshape(2, 2, 2, 6, 8, 3)
    for i in range(2):
        for a in range(2):
            for b in range(2):
                tile = stored[i, 3 * a : 3 * a + 3, 4 * b : 4 * b + 4]
                expected = zoom(tile, (2, 2, 1), order=1, mode="nearest", grid_mode=True)
                assert_allclose(found[i, a, b], expected, atol=1e-5)


def test_stored_mosaics_give_flat_images_back():
    flat = np.repeat(np.arange(8.0), 36).reshape(8, 36).astype(np.float32)
    mosaic = Mosaic((6, 6, 1), 2)
    assert mosaic.stored(flat).shape == (2, 36)
    assert_allclose(mosaic.enlarged(mosaic.stored(flat)), flat, atol=1e-6)


@pytest.mark.parametrize("labels", ["learned", "fixed", "solved"])
def test_rows_and_storage(digits, labels):
    model = KIPDistiller(
        ipc=1, factor=2, image_shape=(8, 8, 1), max_iter=20, labels=labels, random_state=0
    ).fit(digits.X_train, digits.y_train)
    assert model.X_s_.shape == (40, 64)
    assert model.y_s_.shape == (40, 10)
    assert model.mosaics_.shape == (10, 64)
    again = Mosaic((8, 8, 1), 2).enlarged(model.mosaics_)
    assert_allclose(model.X_s_, again, atol=1e-5)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if labels == "fixed":
        assert_array_equal(model.y_s_.argmax(axis=1), np.repeat(np.arange(10), 4))


def test_a_file_holds_the_mosaics(digits, tmp_path):
    """Oracle: the distiller that was exported, up to the rounding of what is enlarged."""
    shape = {"image_shape": (8, 8, 1), "max_iter": 20, "random_state": 0}
    model = KIPDistiller(ipc=1, factor=2, **shape).fit(digits.X_train, digits.y_train)
    model.export_support(tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as file:
        assert "images" not in file and file["mosaics"].shape == (10, 8, 8, 1)
    again = KIPDistiller(image_shape=(8, 8, 1)).load_support(tmp_path / "set.npz")
    assert_array_equal(again.mosaics_, model.mosaics_)
    assert_allclose(again.X_s_, model.X_s_, atol=1e-5)
    assert_allclose(
        again.decision_function(digits.X_test), model.decision_function(digits.X_test), atol=1e-3
    )


def test_loaded_mosaics_are_written_again_by_an_estimator_that_does_not_know_images(
    digits, tmp_path
):
    params = {"max_iter": 2, "random_state": 0, "dtype": "float64"}
    model = KIPDistiller(ipc=1, factor=2, image_shape=(8, 8, 1), **params)
    model.fit(digits.X_train, digits.y_train).export_support(tmp_path / "set.npz")
    again = KIPDistiller(dtype="float64").load_support(tmp_path / "set.npz")
    again.export_support(tmp_path / "again.npz")
    third = KIPDistiller(dtype="float64").load_support(tmp_path / "again.npz")
    assert_array_equal(third.X_s_, again.X_s_)
    assert_allclose(again.X_s_, model.X_s_, rtol=1e-12, atol=1e-12)  # enlarged in float64


def test_a_new_fit_forgets_loaded_mosaics(digits, tmp_path):
    params = {"ipc": 1, "image_shape": (8, 8, 1), "random_state": 0}
    model = KIPDistiller(factor=2, max_iter=2, **params).fit(digits.X_train, digits.y_train)
    model.export_support(tmp_path / "set.npz")
    solver = LabelSolver(**params).load_support(tmp_path / "set.npz")
    solver.fit(digits.X_train, digits.y_train).export_support(tmp_path / "rows.npz")
    with np.load(tmp_path / "rows.npz") as file:
        assert_array_equal(file["images"].reshape(10, 64), solver.X_s_)


@pytest.mark.parametrize(
    "mosaics",
    [np.zeros((3, 4, 4, 1)), np.zeros((2, 16)), np.zeros((2, 3, 3, 1)), np.full((2, 4, 4, 1), "a")],
    ids=["number", "flat", "sides", "text"],
)
def test_files_of_no_mosaics(mosaics, tmp_path):
    np.savez(tmp_path / "set.npz", mosaics=mosaics, labels=np.eye(8))
    with pytest.raises(ValueError, match=r"mosaics of shape \(n, H, W, C\).*Got mosaics of shape"):
        KIPDistiller().load_support(tmp_path / "set.npz")


def test_more_rows_in_the_same_storage_predict_better(digits):
    """Of digits with each pixel four times, of which tiles of 8 x 8 lose nothing."""
    X_train, X_test = (
        np.kron(X.reshape(-1, 8, 8), np.ones((2, 2))).reshape(len(X), -1)
        for X in (digits.X_train, digits.X_test)
    )
    kernel = Landmarks("fc1", 300).resolve(X_train)
    moments = Moments(kernel, classes=range(10)).fit(X_train, digits.y_train)
    scores = [
        KIPDistiller(
            kernel, ipc=1, factor=factor, image_shape=(16, 16, 1), max_iter=200, random_state=0
        )
        .fit_moments(moments, power=1)  # with less both reach ridge regression on all rows
        .score(X_test, digits.y_test)
        for factor in (1, 2)
    ]
    assert scores[1] > scores[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"factor": 3}, "'factor'.*divisor of the sides of images, 8 and 8. Got 3"),
        ({"factor": 0}, "'factor'.*>= 1.*Got 0"),
        ({"image_shape": None}, "'image_shape'.*mosaics"),
        ({"corruption": 0.5}, "'corruption'.*0 with a 'factor' > 1"),
        ({"warm_start": True}, "'warm_start'.*False with a 'factor'"),
    ],
)
def test_bad_input(digits, params, message):
    model = KIPDistiller(**{"factor": 2, "image_shape": (8, 8, 1), **params})
    with pytest.raises(ValueError, match=message):
        model.fit(digits.X_train, digits.y_train)


def test_given_rows_fill_whole_mosaics(digits):
    X, y = digits.X_train, digits.y_train
    model = KIPDistiller(factor=2, image_shape=(8, 8, 1), init=(X[:10], y[:10]), max_iter=1)
    with pytest.raises(ValueError, match=r"'factor'.*10 support rows, of which 4 share one image"):
        model.fit(X, y)
