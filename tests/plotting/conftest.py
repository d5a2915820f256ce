from __future__ import annotations

import matplotlib
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller, KIPRegressor, LabelSolver

from ._data import SHAPE

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def rows():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="session")
def solver(rows):
    """Two real rows of each class with solved labels."""
    return LabelSolver(ipc=2, random_state=0).fit(*rows)


@pytest.fixture(scope="session")
def run(rows):
    """A run with all that it may leave behind, behind a transformer of its own."""
    return KIPDistiller(
        ipc=1,
        max_iter=12,
        snapshots=[0, 3, 12],
        early_stopping=True,
        n_iter_no_change=10,
        preprocess=StandardScaler(),
        image_shape=SHAPE,
        random_state=0,
    ).fit(*rows)


@pytest.fixture(scope="session")
def wine():
    data = load_wine(as_frame=True)
    names = data.target_names[data.target]
    pipeline = make_pipeline(StandardScaler(), LabelSolver(ipc=2, random_state=0))
    return pipeline.fit(data.data, names), data.data


@pytest.fixture(scope="session")
def regressor():
    return KIPRegressor(n_support=6, max_iter=2, reg=1e-2, random_state=0).fit(
        *load_diabetes(return_X_y=True)
    )
