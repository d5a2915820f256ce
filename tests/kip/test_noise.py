"""Few noisy rows: targets of the steps that have no noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, KIPDistiller, KIPRegressor, Moments
from kipsk._data._coding import Data
from kipsk._data._numbers import RealCoding
from kipsk._kip import _noise
from kipsk._kip._noise import MAX_FEW_ROWS, smoothed
from kipsk.kernels import RBF, ConvNet, FullyConnected, Landmarks, RandomFeatures, get_kernel


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test), y_train, y_test


def with_wrong_labels(n, seed=0):
    """Two classes; a fifth of the labels that are given is wrong. Returns X, given, y."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    X = rng.normal(size=(n, 10)) + 0.8 * (2 * y[:, None] - 1)
    return X, np.where(rng.uniform(size=n) < 0.2, 1 - y, y), y


@pytest.fixture(scope="module")
def flipped():
    X_train, given, _ = with_wrong_labels(300)
    X_test, _, y_test = with_wrong_labels(400, seed=1)
    return X_train, X_test, given, y_test


def data_of(X, y):
    return Data(X, *RealCoding.encode("test", y, X.dtype))


@pytest.mark.parametrize("kernel", [FullyConnected(), RBF(2.0)], ids=["fc1", "rbf"])
def test_smoothed_targets_by_hand(kernel, diabetes):
    X, _, y, _ = diabetes
    data = data_of(X[:60], np.stack([y[:60], y[60:120]], axis=1))
    K = kernel(data.X)
    ridge = 0.1 * np.trace(K) / len(K)
    expected = K @ np.linalg.solve(K + ridge * np.eye(len(K)), data.y)
    assert_allclose(smoothed(kernel, 0.1, data), expected, rtol=1e-8, atol=1e-10)


def test_a_regressor_that_does_not_learn_noise_predicts_as_all_rows_do(diabetes):
    X_train, X_test, y_train, y_test = diabetes
    scores = {
        targets: KIPRegressor(n_support=100, targets=targets, random_state=0)
        .fit(X_train, y_train)
        .score(X_test, y_test)
        for targets in ("auto", "given")
    }
    mean = y_train.mean()
    whole = KernelRidgeNTK().fit(X_train, y_train - mean).score(X_test, y_test - mean)
    assert scores["auto"] > scores["given"] + 0.05
    assert abs(scores["auto"] - whole) < 0.02


def test_a_classifier_does_not_learn_wrong_labels(flipped):
    X_train, X_test, y_train, y_test = flipped
    scores = {
        targets: KIPDistiller(ipc=20, targets=targets, random_state=0)
        .fit(X_train, y_train)
        .score(X_test, y_test)
        for targets in ("auto", "given")
    }
    assert scores["auto"] > scores["given"] + 0.05


def test_labels_without_noise_stay(digits):
    X_train, _, y_train, _ = digits
    sets = [
        KIPDistiller(ipc=1, max_iter=5, targets=targets, random_state=0).fit(X_train, y_train)
        for targets in ("auto", "given")
    ]
    assert_array_equal(sets[0].X_s_, sets[1].X_s_)
    assert_array_equal(sets[0].y_s_, sets[1].y_s_)
    assert sets[0].reg_ == 1e-6


@pytest.mark.parametrize("change", ["rows", "kernel", "loss"])
def test_what_auto_leaves_as_it_is(change, flipped):
    X, _, y, _ = flipped
    params = {"ipc": 2, "max_iter": 2, "learning_rate": 0.01, "random_state": 0}
    if change == "rows":
        X, y, _ = with_wrong_labels(MAX_FEW_ROWS + 1)
    elif change == "kernel":
        params["kernel"] = RandomFeatures("fc1", 2, 32)
    else:
        params["loss"] = "platt"
    sets = [KIPDistiller(targets=t, **params).fit(X, y) for t in ("auto", "given")]
    assert_array_equal(sets[0].X_s_, sets[1].X_s_)


def test_more_rows_are_smoothed_on_request():
    X, y, _ = with_wrong_labels(MAX_FEW_ROWS + 1)
    params = {"ipc": 2, "max_iter": 2, "random_state": 0}
    given, smooth = (
        KIPDistiller(targets=targets, **params).fit(X, y) for targets in ("given", "smoothed")
    )
    assert not np.array_equal(given.X_s_, smooth.X_s_)


def test_the_first_kernel_that_is_used_smooths(flipped):
    """A family whose first kernel is never drawn. Oracle: the same without it."""
    X, _, y, _ = flipped
    params = {"ipc": 2, "max_iter": 1, "learning_rate": 1e-9, "random_state": 0}
    family = ["rbf", "fc1"]
    sets = [
        KIPDistiller(family, kernel_weights=weights, targets="smoothed", **params).fit(X, y)
        for weights in ([0, 1], [1, 0])
    ]
    alone = [KIPDistiller(k, targets="smoothed", **params).fit(X, y) for k in ("fc1", "rbf")]
    losses = [model.loss_curve_[0] for model in (*sets, *alone)]
    assert_allclose(losses[:2], losses[2:], rtol=1e-5)
    assert abs(losses[0] / losses[1] - 1) > 0.01


def test_a_dear_kernel_smooths_only_where_no_other_does():
    X, y, _ = with_wrong_labels(24)
    dear = ConvNet(1, image_shape=(2, 5, 1))
    for family, teacher in (([dear, "fc1"], "fc1"), ([dear], dear)):
        params = {"ipc": 1, "max_iter": 1, "learning_rate": 1e-9, "random_state": 0}
        seen = KIPDistiller(family, targets="smoothed", **params).fit(X, y)
        kernel = get_kernel(teacher)
        codes = np.eye(2)[y] - 0.5
        reg = KernelRidgeNTK(kernel, reg=[kernel.recommended_reg, *10.0 ** np.arange(-4, 1)])
        targets = reg.fit(X, codes).predict(X)
        # So small a learning rate leaves the support where it started.
        alpha = KernelRidgeNTK(seen.kernel_, reg=seen.reg_).fit(seen.X_s_, seen.y_s_)
        expected = 0.5 * np.mean((alpha.predict(X) - targets) ** 2)
        assert_allclose(seen.loss_curve_[0], expected, rtol=1e-3)


def test_smoothed_targets_need_rows(flipped, monkeypatch):
    X, _, y, _ = flipped
    message = '\'targets\' parameter of KIPDistiller must be "auto" or "given" in '
    distiller = KIPDistiller(targets="smoothed", ipc=1, max_iter=1)
    with pytest.raises(ValueError, match=message + "partial_fit"):
        distiller.partial_fit(X, y)
    moments = Moments(Landmarks("fc1", 20).resolve(X), classes=[0, 1]).fit(X, y)
    with pytest.raises(ValueError, match=message + "fit_moments"):
        distiller.set_params(kernel=moments.kernel_).fit_moments(moments)
    sampled = KIPDistiller(RandomFeatures("fc1", 2, 32), targets="smoothed", ipc=1, max_iter=1)
    with pytest.raises(ValueError, match="where every kernel is sampled anew"):
        sampled.fit(X, y)
    monkeypatch.setattr(_noise, "MAX_SMOOTHED_ROWS", 200)
    with pytest.raises(ValueError, match=r"for more than 200 rows, here 300\. Got 'smoothed'"):
        distiller.set_params(kernel="fc1").fit(X, y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"targets": "soft"}, "'targets' parameter .* one of .*'smoothed'.* Got 'soft'"),
        ({"targets": "smoothed", "loss": "platt"}, "'loss' parameter .*\"mse\" with targets="),
    ],
)
def test_bad_input(params, message, flipped):
    X, _, y, _ = flipped
    with pytest.raises(ValueError, match=message):
        KIPDistiller(**params).fit(X, y)
