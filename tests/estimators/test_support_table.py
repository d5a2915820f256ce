"""Support sets as tables: CSV files and DataFrames."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller, KIPRegressor, LabelSolver

FAST = {"max_iter": 2, "random_state": 0}
SOLVER = {"ipc": 2, "random_state": 0}
CLASSES = np.array(["ant, red", "bee"])


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 20)
    X = rng.normal(size=(40, 3)) + 3 * codes[:, None]
    return pd.DataFrame(X, columns=["length, mm", 'the "second"', "größe"]), codes


def test_frame_of_classes(blobs):
    """Oracle: the attributes."""
    X, codes = blobs
    solver = LabelSolver(**SOLVER).fit(X, CLASSES[codes])
    frame = solver.to_frame()
    assert [*frame.columns] == [*X.columns, "class", "label ant, red", "label bee"]
    assert_array_equal(frame[X.columns], solver.X_s_)
    assert_array_equal(frame.iloc[:, -2:], solver.y_s_)
    assert_array_equal(frame["class"], CLASSES[solver.y_s_.argmax(axis=1)])
    assert frame.dtypes.iloc[0] == np.float32 and frame.dtypes.iloc[-1] == np.float64


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_frame_of_numbers(n_outputs, blobs):
    X, codes = blobs
    y = codes + 1.5 if n_outputs == 1 else np.column_stack([codes, -codes])
    regressor = KIPRegressor(n_support=4, **FAST).fit(X.to_numpy(), y)
    frame = regressor.to_frame()
    targets = ["target"] if n_outputs == 1 else ["target 0", "target 1"]
    assert [*frame.columns] == ["x0", "x1", "x2", *targets]
    assert_array_equal(frame[targets].to_numpy().squeeze(), regressor.y_s_)


def test_csv_is_the_frame(blobs, tmp_path):
    """Oracle: Python's float, which reads every digit back."""
    X, codes = blobs
    path = tmp_path / "set.CSV"
    with pytest.warns(UserWarning, match="can hardly tell rows apart"):
        solver = LabelSolver(dtype="float64", **SOLVER).fit(X * 1e-30, CLASSES[codes])
    solver.export_support(str(path))
    found = pd.read_csv(path, dtype=str)
    frame = solver.to_frame()
    assert [*found.columns] == [*frame.columns]
    for name in frame:
        own = frame[name].to_numpy()
        texts = found[name].to_numpy()
        assert_array_equal(texts if name == "class" else [float(text) for text in texts], own)
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(ValueError, match=r"must be an \.npz file"):
        LabelSolver().load_support(path)


class Nameless(BaseEstimator):
    """A transformer that does not name its features."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return 2 * X


PREPROCESS = {
    "same": (StandardScaler(), ["length, mm", 'the "second"', "größe"]),
    "others": (PCA(2, random_state=0), ["pca0", "pca1"]),
    "nameless": (Nameless(), ["x0", "x1", "x2"]),
}


@pytest.mark.parametrize("preprocess, names", PREPROCESS.values(), ids=PREPROCESS)
def test_names_after_preprocess(preprocess, names, blobs):
    X, codes = blobs
    frame = KIPDistiller(ipc=1, preprocess=preprocess, **FAST).fit(X, codes).to_frame()
    assert [*frame.columns] == [*names, "class", "label 0", "label 1"]


@pytest.mark.parametrize("name", ["set", "set.xlsx", "set.npz.gz", "set.parquet"])
def test_unknown_endings_are_refused(name, blobs, tmp_path):
    solver = LabelSolver(**SOLVER).fit(*blobs)
    message = r'path.* of export_support must be .* ends in "\.npz", "\.csv" or "\.pt"'
    message += rf"\. Got .*{name}"
    with pytest.raises(ValueError, match=message + r".*to_frame\(\)\.to_parquet"):
        solver.export_support(tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_names_that_are_there_twice_are_refused(blobs, tmp_path):
    X, codes = blobs
    solver = LabelSolver(**SOLVER).fit(X.set_axis(["class", "b", "label 1"], axis=1), codes)
    for action in (solver.to_frame, lambda: solver.export_support(tmp_path / "set.csv")):
        with pytest.raises(ValueError, match=r"Got 'class', 'label 1' more than once.* rename"):
            action()


def test_without_pandas(blobs, monkeypatch, tmp_path):
    solver = LabelSolver(**SOLVER).fit(blobs[0].to_numpy(), blobs[1])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas: pip install pandas.*'set\.csv'"):
        solver.to_frame()
    solver.export_support(tmp_path / "set.csv")
    text = (tmp_path / "set.csv").read_text(encoding="utf-8")
    assert text.startswith("x0,x1,x2,class,label 0,label 1\n") and text.count("\n") == 5


def test_before_fit(tmp_path):
    for action in (KIPDistiller().to_frame, lambda: KIPDistiller().export_support("set.csv")):
        with pytest.raises(ValueError, match="not fitted"):  # NotFittedError is one
            action()
