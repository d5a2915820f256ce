"""Labels, snapshots and their intrinsic dimension, by the data of what is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk.metrics import intrinsic_dimension, nearest_rows
from kipsk.plotting import IntrinsicDimensionDisplay, LabelDisplay, SnapshotDisplay

from ._data import SHAPE


def test_labels(solver, wine):
    display = LabelDisplay.from_estimator(solver)
    assert_array_equal(display.image_.get_array(), solver.y_s_)
    low, high = display.image_.get_clim()
    assert low == -high == -np.abs(solver.y_s_).max()
    for draw in (LabelDisplay.from_estimator, LabelDisplay.from_pipeline):
        display = draw(wine[0])
        assert_array_equal(display.image_.get_array(), wine[0][-1].y_s_)
    names = [t.get_text() for t in display.ax_.get_xticklabels()]
    assert names == ["class_0", "class_1", "class_2"]


def test_labels_of_a_regression_are_refused(regressor):
    with pytest.raises(ValueError, match=r"Got a KIPRegressor instead"):
        LabelDisplay.from_estimator(regressor)


def test_snapshots(run, rows):
    """Oracle: the first are training rows, the last undo the standardisation."""
    display = SnapshotDisplay.from_estimator(run, rows=[1, 4], vmin=-50, vmax=50)
    sheet = display.image_.get_array()[..., 0] * 100 - 50
    assert sheet.shape == (3 * 9 - 1, 2 * 9 - 1)
    first = np.stack([sheet[:8, :8].ravel(), sheet[:8, 9:].ravel()])
    assert_allclose(nearest_rows(first, rows[0])[0], 0, atol=1e-3)
    last = run.preprocess_.transform(sheet[18:, 9:].reshape(1, -1))
    assert_allclose(last[0], run.snapshots_[12][0][4], atol=1e-3)
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0", "3", "12"]
    names = run.classes_[run.snapshots_[12][1][[1, 4]].argmax(axis=1)].astype(str)
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == list(names)


def test_snapshots_go_back_through_a_pipeline(rows):
    distiller = KIPDistiller(ipc=1, max_iter=1, snapshots=[0], random_state=0)
    pipeline = make_pipeline(StandardScaler(), distiller).fit(*rows)
    display = SnapshotDisplay.from_pipeline(pipeline, image_shape=SHAPE, rows=[3], vmin=0, vmax=16)
    pixels = display.image_.get_array()[..., 0].reshape(1, -1) * 16
    assert_allclose(nearest_rows(pixels, rows[0])[0], 0, atol=1e-3)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"steps": [0, 5]}, r"'steps' parameter .* steps \[0, 3, 12\]\. Got \[0, 5\] instead"),
        ({"steps": []}, r"'steps' parameter"),
        ({"rows": [10]}, r"'rows' parameter .* from 0 to 9\. Got \[10\] instead"),
        ({"rows": []}, r"'rows' parameter"),
        ({"image_shape": (4, 4, 1)}, r"'image_shape' parameter .* whose 64 values"),
    ],
)
def test_snapshots_that_are_not_there(params, message, run):
    with pytest.raises(ValueError, match=message):
        SnapshotDisplay.from_estimator(run, **params)


@pytest.mark.parametrize("display", [SnapshotDisplay, IntrinsicDimensionDisplay])
def test_without_snapshots(display, solver):
    with pytest.raises(ValueError, match=r"LabelSolver without any: fit .* snapshots='log'"):
        display.from_estimator(solver)


def test_dimensions(run, rows):
    display = IntrinsicDimensionDisplay.from_estimator(run, rows[0])
    expected = [intrinsic_dimension(X_s) for X_s, _ in run.snapshots_.values()]
    assert_array_equal(display.line_.get_xdata(), [0, 3, 12])
    assert_allclose(display.line_.get_ydata(), expected)
    # In the units that the kernel sees, and of as few rows.
    X, rng = run.preprocess_.transform(rows[0]), np.random.RandomState(0)
    draws = [intrinsic_dimension(X[rng.permutation(300)[:10]]) for _ in range(10)]
    assert_allclose(display.reference_line_.get_ydata(), np.mean(draws))
    assert IntrinsicDimensionDisplay.from_estimator(run).reference_line_ is None


def test_reference_of_a_table_with_names(run, rows):
    names = [f"pixel {i}" for i in range(64)]
    found = IntrinsicDimensionDisplay.from_estimator(run, pd.DataFrame(rows[0], columns=names))
    assert found.reference == IntrinsicDimensionDisplay.from_estimator(run, rows[0]).reference


def test_reference_goes_through_the_pipeline(rows):
    distiller = KIPDistiller(ipc=1, max_iter=1, snapshots=[0, 1], random_state=0)
    pipeline = make_pipeline(StandardScaler(), distiller).fit(*rows)
    found = IntrinsicDimensionDisplay.from_estimator(pipeline, rows[0])
    same = IntrinsicDimensionDisplay.from_estimator(distiller, pipeline[0].transform(rows[0]))
    assert found.reference == same.reference
