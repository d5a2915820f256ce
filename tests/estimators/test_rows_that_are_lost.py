"""Rows in which a model would find nothing, where scikit-learn's find all: they are told of.

Oracle: no warning and a good score for the same rows, standardised.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_circles
from sklearn.preprocessing import StandardScaler

from kipsk import (
    KernelRidgeNTK,
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    Moments,
    RegularizedZCA,
)
from kipsk._estimators._rounding import what_scaling_mends
from kipsk.baselines import CoresetSampler
from kipsk.kernels import RBF, FullyConnected, Landmarks, RandomFeatures
from kipsk.networks import FiniteNetworkClassifier

Y = np.arange(24) % 3
X = np.random.default_rng(0).normal(size=(24, 4)) + 4 * np.eye(3, 4)[Y]
MODELS = {
    "kip": KIPDistiller(ipc=1, max_iter=3, random_state=0),
    "solver": LabelSolver(ipc=2, random_state=0),
    "ridge": KernelRidgeNTKClassifier(),
}
each = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def with_entry(value):
    rows = X.copy()
    rows[5, 1] = value
    return rows


@each
@pytest.mark.parametrize("scale", [1e-9, 1e-20, 1e-30])
def test_tiny_features(model, scale):
    with pytest.warns(UserWarning, match=r"hardly tell rows apart: .* put StandardScaler in front"):
        model.fit(scale * X, Y)


@each
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3, 1e15])
def test_no_false_alarm(model, scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.fit(scale * X, Y).score(scale * X, Y) > 0.9
        assert model.fit(X + 1e4, Y).score(X + 1e4, Y) > 0.9


def test_far_from_zero_in_float64():
    with pytest.warns(UserWarning, match=r"KernelRidgeNTKClassifier can hardly tell rows apart"):
        KernelRidgeNTKClassifier().fit(X + 1e9, Y)


def test_a_ridge_that_outweighs_what_differs():
    y = np.sin(Y)
    with pytest.warns(UserWarning, match=r"a ridge of reg=0\.001 outweighs their differences"):
        assert KernelRidgeNTK(reg=1e-3).fit(X + 1e4, y).score(X + 1e4, y) < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelRidgeNTK(reg=1e-3).fit(X, y)
        KernelRidgeNTK(reg=1.0).fit(X[:3], y[:3])
        KernelRidgeNTK(reg=1e-6).fit(X + 1e4, y)
        KernelRidgeNTK(reg=1e-2).fit(np.full((7, 4), 1.7), y[:7])
        KernelRidgeNTK("precomputed", reg=1e-2).fit(1 + 1e-5 * X @ X.T, y)


def test_sampled_features_have_seven_digits():
    kernel = RandomFeatures("fc1", 1, 64, resample=False)
    with pytest.warns(UserWarning, match="can hardly tell rows apart"):
        KernelRidgeNTKClassifier(kernel).fit(1e-6 * X, Y)


def test_equal_rows_are_nobodys_fault():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelRidgeNTK().fit(np.ones((24, 4)), np.sin(Y))


@pytest.mark.parametrize("value", [1e4, -1e15])
def test_an_outlier(value):
    rows = with_entry(value)
    outweighs = r"has a row that outweighs all others: .*QuantileTransformer"
    for model in (*MODELS.values(), Moments(Landmarks("fc1", 9).resolve(X), classes=range(3))):
        with pytest.warns(UserWarning, match=f"{type(model).__name__} {outweighs}"):
            try:
                model.fit(rows, Y)
            except ValueError as error:  # float32 cannot square it
                assert "not finite" in str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KIPDistiller(preprocess=StandardScaler(), ipc=1, max_iter=3, random_state=0).fit(rows, Y)
        KernelRidgeNTKClassifier("rbf").fit(rows, Y)
        KernelRidgeNTKClassifier().fit(with_entry(30.0), Y)


def test_an_outlier_that_makes_the_length_scale():
    rows = with_entry(1e5)
    with pytest.warns(UserWarning, match="LabelSolver has a row that outweighs all others"):
        LabelSolver("rbf", ipc=2, random_state=0).fit(rows, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LabelSolver(RBF(2.0), ipc=2, random_state=0).fit(rows, Y)


def test_lengths_that_biases_do_not_show():
    rows, labels = make_circles(60, noise=0.05, factor=0.5, random_state=0)
    for model in MODELS.values():
        message = f"{type(model).__name__} may learn little of X: .*their angles from zero.*rbf"
        with pytest.warns(UserWarning, match=message):
            model.fit(10 * rows, labels)
    column = np.linspace(1, 50, 24)[:, None]
    with pytest.warns(UserWarning, match="of 1 columns, near 29.*their signs"):
        KernelRidgeNTK().fit(column, np.sin(column[:, 0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelRidgeNTKClassifier().fit(rows, labels)
        KernelRidgeNTKClassifier(FullyConnected(b_std=5.0)).fit(10 * rows, labels)
        KernelRidgeNTKClassifier("rbf").fit(10 * rows, labels)
        LabelSolver(Landmarks("rbf", 20), ipc=4, random_state=0).fit(10 * rows, labels)


def test_columns_of_very_different_scale():
    rows = X * [1.0, 1e5, 1.0, 1.0]
    message = r"X: its columns are of very different scale.* column 1 lie within \d\.\d+e\+05"
    for model in MODELS.values():
        with pytest.warns(UserWarning, match=message):
            model.fit(rows, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelRidgeNTKClassifier().fit(X * [1e3, 1.0, 1.0, 0.0], Y)
        components = np.tile(X, 16) * np.geomspace(1, 1e-6, 64)
        KernelRidgeNTKClassifier().fit(components, Y)
        pixels = np.tile(X, 30) * np.r_[1e5, np.ones(119)]
        KernelRidgeNTKClassifier().fit(pixels, Y)


def test_a_regressor_that_learns_nothing():
    """The one column that varies is drowned by the others."""
    rows = np.column_stack([np.full((24, 4), 1e7), np.arange(24.0), np.arange(24.0) % 2])
    model = KIPRegressor(n_support=6, max_iter=20, random_state=0)
    with pytest.warns(UserWarning, match="KIPRegressor has learned next to nothing in 20 steps"):
        score = model.fit(rows, Y % 2).score(rows, Y % 2)
    assert score < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(StandardScaler().fit_transform(rows), Y % 2)


def test_powers_that_float32_does_not_hold():
    model = KIPRegressor(n_support=6, max_iter=20, random_state=0)
    with pytest.warns(
        UserWarning, match="KIPRegressor computes in float32.* reach .*e.18, of which"
    ):
        model.fit(1e18 * X, np.sin(Y))


def test_a_mean_that_the_ridge_takes_from():
    y = np.sin(Y) + 1e6
    with pytest.warns(UserWarning, match=r"no intercept.*takes .* from the mean 1e\+06 of y"):
        model = KernelRidgeNTK(reg=1e-3).fit(X, y)
    assert model.score(X, y) < -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelRidgeNTK(reg=1e-3).fit(X, y - y.mean())
        KernelRidgeNTK(reg=1e-3).fit(X, np.full(24, 1e6))


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (1e-4 * X, "are all below"),
        (X + 1e3, "are far from zero"),
        (with_entry(1e6), "have an outlier"),
        (np.column_stack([X, np.full(24, 30.0)]), "have a column far from zero, column 4 near 30"),
    ],
    ids=["tiny", "far", "outlier", "constant"],
)
def test_networks_that_learn_nothing(rows, what):
    network = FiniteNetworkClassifier(width=8, max_iter=50, random_state=0)
    message = rf"has learned next to nothing in 50 steps.* The features of X {what}.*StandardScaler"
    with pytest.warns(UserWarning, match=message):
        network.fit(rows, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.fit(X, Y)


def test_a_bias_is_not_to_blame():
    for rows in (
        np.random.default_rng(0).uniform(size=(200, 4)),
        StandardScaler().fit_transform(X),
    ):
        assert what_scaling_mends(np.column_stack([rows, np.ones(len(rows))])) is None


def test_text_in_a_column_of_categories():
    """Scikit-learn's validation lets it through."""
    frame = pd.DataFrame(X).assign(kind=pd.Categorical(["ant", "bee"] * 12)).rename(columns=str)
    message = r"X must hold real numbers.*could not convert string to float: 'ant'.*encode"
    for call in (
        RegularizedZCA().fit,
        CoresetSampler("rp_cholesky", ipc=1).fit,
        CoresetSampler("k_means", ipc=1).fit,
        CoresetSampler("herding", ipc=1).fit,
    ):
        with pytest.raises(ValueError, match=message):
            call(frame, Y)


def test_targets_that_are_no_numbers():
    for targets in (np.array(["ant", "bee", "cat"])[Y], Y.astype("datetime64[D]")):
        with pytest.raises(ValueError, match=r"must hold numbers|needs numbers|Got dtype"):
            KernelRidgeNTK().fit(X, targets)


def test_singular_matrices_of_rows_far_from_zero_are_told_of():
    with pytest.raises(ValueError, match=re.escape("put StandardScaler in front")):
        KernelRidgeNTKClassifier(reg=1e-8).fit(X + 1e7, Y)
