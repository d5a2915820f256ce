"""Rows and labels that go back in the containers they came in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from kipsk import KIPDistiller, LabelSolver
from kipsk._data._containers import (
    labels_like,
    list_like,
    rows_like,
    taken,
    with_dense_columns,
)
from kipsk.baselines import CoresetSampler

NAMES = ["cat", "ant", "bee"] * 8
FAST = {"ipc": 1, "random_state": 0}


def series(values, dtype=None):
    return pd.Series(values, dtype=dtype, name="kind", index=np.arange(24) + 7)


LABELS = [
    series([3, 1, 2] * 8, "Int64"),
    series([3, 1, 2] * 8, "int8"),
    series([3.0, 1.0, 2.0] * 8),
    series([True, False, True] * 8, "boolean"),
    series(NAMES, "string"),
    series(NAMES, object),
    series(NAMES, pd.CategoricalDtype(["cat", "bee", "ant"], ordered=True)),
    series([3, 1, 2] * 8, "Int64").to_frame(),
]


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(24, 3)) + 3 * np.eye(3)[np.arange(24) % 3]


@pytest.mark.parametrize("y", LABELS, ids=lambda y: str(np.ravel(y.dtypes)[0]))
def test_labels_have_name_and_dtype_of_y(y):
    """Oracle: pandas' own rows."""
    classes = np.unique(np.asarray(y).ravel())
    codes = np.array([0, 1, 1, len(classes) - 1])
    found = labels_like(y, classes[codes])
    rows = [np.flatnonzero(np.asarray(y).ravel() == classes[code])[0] for code in codes]
    expected = y.iloc[rows].reset_index(drop=True)
    compare = pd.testing.assert_frame_equal if y.ndim == 2 else pd.testing.assert_series_equal
    compare(found, expected)


def test_columns_that_are_sparse_stay_sparse():
    """Oracle: pandas' own conversion; whole numbers would be rounded."""
    dense = pd.DataFrame({"a": [0.0, 1.5], "b": [2, 0]})
    given = dense.astype({"a": pd.SparseDtype(float, 0), "b": pd.SparseDtype(int, 0)})
    rows = np.array([[0.0, 0.5], [2.5, 1.0], [0.0, 0.0]])
    found = rows_like(given, rows)
    assert found.dtypes.tolist() == [pd.SparseDtype(float, 0), np.dtype(float)]
    assert_array_equal(found, rows)
    pd.testing.assert_frame_equal(with_dense_columns(given), dense)
    assert with_dense_columns(dense) is dense


def test_lists_stay_lists():
    labels = np.array(["ant", "cat"])
    for y in (np.array(NAMES), tuple(NAMES)):
        assert labels_like(y, labels) is labels
    assert labels_like(NAMES, labels) == taken(NAMES, [1, 3]) == ["ant", "cat"]
    assert taken([["a", 2.5], [3, None]], np.array([1])) == [[3, None]]
    assert list_like([[0.0, 1.0]], np.eye(2)) == [[1.0, 0.0], [0.0, 1.0]]
    assert list_like(np.zeros(2), labels) is labels


@pytest.mark.filterwarnings("ignore:KIPDistiller.fit_resample learned no better:UserWarning")
@pytest.mark.parametrize(
    "reducer",
    [
        LabelSolver(**FAST),
        KIPDistiller(max_iter=1, downstream="last", **FAST),
        KIPDistiller(["fc1"], max_iter=1, downstream="auto", **FAST),
        CoresetSampler("random", **FAST),
        CoresetSampler("k_means", **FAST),
    ],
    ids=["label solver", "last", "stages", "random", "k-means"],
)
def test_every_reducer_returns_what_came_in(reducer, X):
    frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(24) + 7)
    y = LABELS[0]
    X_s, y_s = reducer.fit_resample(frame, y)
    assert list(X_s.columns) == list("abc") and len(X_s) == 3
    assert isinstance(y_s, pd.Series) and y_s.name == "kind" and y_s.dtype == "Int64"
    assert_array_equal(X_s.index, y_s.index)
    assert sorted(y_s.tolist()) == [1, 2, 3]
    arrays = reducer.fit_resample(X, y.to_numpy(int))
    assert_array_equal(X_s.to_numpy(), arrays[0])
    assert_array_equal(y_s.to_numpy(int), arrays[1])


def test_polars(X):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(X, schema=list("abc"))
    y = polars.Series("kind", [3, 1, 2] * 8, dtype=polars.Int8)
    assert rows_like(frame, X[:2]).equals(frame[:2])
    assert labels_like(y, np.array([1, 3])).equals(y[[1, 0]], check_names=True, check_dtypes=True)
    for reducer in (CoresetSampler("random", **FAST), LabelSolver(**FAST)):
        X_s, y_s = reducer.fit_resample(frame, y)
        assert X_s.columns == list("abc")
        assert y_s.name == "kind" and y_s.dtype == polars.Int8
        assert list(reducer.feature_names_in_) == list("abc")
