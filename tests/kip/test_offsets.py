"""Fits of rows far from zero, in the float32 that estimators compute in by default.

Oracles: the same fit in float64; the same rows about zero, for kernels of differences.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from kipsk import KIPDistiller, KIPRegressor, LabelSolver

N = 80

# What this module is about is rounding, and not what is left to a kernel of angles.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.* can hardly tell rows apart",
    "ignore:.* may learn little of X",
    "ignore:.* has learned next to nothing",
)


def curved(offset):
    """Two classes that no plane divides, of features far from zero, as float32 has them."""
    Z = np.random.default_rng(0).standard_normal((2 * N, 3))
    X = (Z + offset).astype(np.float32)
    y = (Z[:, 0] + Z[:, 1] ** 2 > 1).astype(int)
    return X[:N], X[N:], y[:N], y[N:]


@pytest.mark.parametrize("kernel", ["fc1", "rbf"])
def test_kip_in_float32_is_that_in_float64(kernel):
    X, X_test, y, y_test = curved(2500)
    single, double = (
        KIPDistiller(kernel, ipc=4, max_iter=4, dtype=dtype, random_state=0).fit(X, y)
        for dtype in ("float32", "float64")
    )
    # The support is learned in units of the deviation, which rounds it once more.
    np.testing.assert_allclose(single.loss_curve_, double.loss_curve_, rtol=0.02)
    assert abs(single.score(X_test, y_test) - double.score(X_test, y_test)) <= 0.03


@pytest.mark.parametrize("kernel", ["fc1", "rbf"])
def test_label_solve_in_float32_is_that_in_float64(kernel):
    X, X_test, y, _ = curved(2500)
    single, double = (
        LabelSolver(kernel, ipc=8, dtype=dtype, random_state=0).fit(X, y).decision_function(X_test)
        for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single, double, atol=0.01 * np.abs(double).max())


def test_rbf_does_not_see_where_zero_is():
    X, _, y, _ = curved(4096)
    far, near = (
        KIPDistiller("rbf", ipc=4, max_iter=3, random_state=0).fit(X - np.float32(shift), y)
        for shift in (0, 4096)
    )
    np.testing.assert_allclose(far.loss_curve_, near.loss_curve_, rtol=0.02)
    np.testing.assert_allclose(far.X_s_ - 4096, near.X_s_, atol=0.01)


def test_a_column_of_years():
    rng = np.random.default_rng(0)
    year = rng.uniform(1990, 2024, (2 * N, 1))
    y = np.sin(year[:, 0] / 4)
    model = KIPRegressor("rbf", n_support=10, max_iter=20, learning_rate=0.01, random_state=0)
    assert model.fit(year[:N], y[:N]).score(year[N:], y[N:]) > 0.9


SECONDS = 1.7e9 + np.arange(60.0)
LABELS = np.arange(60) % 2


def one_column(values):
    other = np.random.default_rng(0).standard_normal(len(values))
    return pd.DataFrame({"other": other, "time": values})


def fit(X, **parameters):
    return LabelSolver(ipc=2, random_state=0, **parameters).fit(X, LABELS)


def test_rounding_warns_and_names_the_column():
    frame = one_column(SECONDS)
    message = (
        r"LabelSolver computes in float32.* 1 of the 2 columns of X.* column 'time': its values "
        r"are near 1\.7e\+09, their deviation is 17\.3.* by up to 59\. .*StandardScaler.*"
        r"dtype='float64'"
    )
    with pytest.warns(UserWarning, match=message):
        fit(frame)
    for given in (frame.to_numpy(), frame.to_numpy().tolist()):
        with pytest.warns(UserWarning, match="most of all for column 1: its values"):
            fit(given)
    with pytest.warns(UserWarning, match="KIPRegressor computes in float32"):
        KIPRegressor(n_support=2, max_iter=1).fit(frame, LABELS)
    with pytest.warns(UserWarning, match="KIPDistiller computes in float32"):
        KIPDistiller(ipc=2).partial_fit(frame, LABELS, classes=[0, 1])


def test_rounding_of_a_hundredth_of_the_deviation_warns():
    """Oracle: float32 rounds by up to 2^-7 between 2^17 and 2^18, and by 2^-6 above."""
    column = np.random.default_rng(1).standard_normal(60)
    column /= column.std()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(one_column(column + 2**17 + 10))
    with pytest.warns(UserWarning, match="by up to 0.01"):
        fit(one_column(column + 2**18 + 10))


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).permutation(16_000_000 + np.arange(60)),  # exact in float32
        np.full(60, 0.1 + 1e9),
        np.linspace(1990, 2024, 60),
        SECONDS.astype(np.float32),
        np.zeros(60),
    ],
    ids=["identifiers", "constant", "years", "rounded before", "zeros"],
)
def test_no_false_alarm(column):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".* (can hardly tell rows|may learn little of)")
        fit(one_column(column))


def test_no_false_alarm_on_pixels_or_in_float64():
    X, y = load_digits(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LabelSolver(ipc=2, random_state=0).fit(X * 255 / 16, y)
        fit(one_column(SECONDS), kernel="rbf", dtype="float64")
