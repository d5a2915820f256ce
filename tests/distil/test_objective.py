"""KIP's loss and its gradients. Oracle: the published formula in numpy, float64, no JAX."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.metrics import log_loss, r2_score

from kipsk._closed_form import _label_solve
from kipsk._data._labels import one_hot
from kipsk._distil import _objective
from kipsk._distil._label_solve import solve_labels_over
from kipsk._distil._objective import Labels, Objective, mse, platt
from kipsk._distil._targets import Targets
from kipsk.kernels import RBF, FullyConnected, RandomFeatures

N_S, N_T, N_FEATURES, N_CLASSES = 5, 12, 3, 3
REG, LABEL_REG, SCALE = 1e-2, 1e-3, 2.5
CODES_S = np.array([0, 0, 1, 1, 2])
LABELS = ["fixed", "learned", "solved"]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def numpy_fc1(X, Y, w_std=2**0.5, b_std=0.1):
    """NTK of one hidden ReLU layer: the arc-cosine kernels of Cho & Saul 2009."""

    def dense(products):
        return w_std**2 * products / X.shape[1] + b_std**2

    a, b, k = dense(np.sum(X * X, 1))[:, None], dense(np.sum(Y * Y, 1)), dense(X @ Y.T)
    cosine = np.clip(k / np.sqrt(a * b), -1, 1)
    cosine[np.isclose(cosine, 1, rtol=0, atol=1e-14)] = 1  # arccos magnifies the rounding
    theta = np.arccos(cosine)
    nngp = np.sqrt(a * b) / (2 * np.pi) * (np.sin(theta) + (np.pi - theta) * cosine)
    return w_std**2 * (nngp + (np.pi - theta) / (2 * np.pi) * k) + b_std**2


def numpy_rbf(X, Y, length_scale=1.5):
    return np.exp(-np.sum((X[:, None] - Y) ** 2, axis=2) / (2 * length_scale**2))


KERNELS = {
    "fc1": (FullyConnected().function(), numpy_fc1),
    "rbf": (RBF(length_scale=1.5).function(), numpy_rbf),
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X_t = rng.normal(size=(N_T, N_FEATURES)) * SCALE
    y_t = one_hot(rng.integers(0, N_CLASSES, N_T), N_CLASSES)
    params = {
        "X": rng.normal(size=(N_S, N_FEATURES)),  # in units of SCALE
        "y": one_hot(CODES_S, N_CLASSES) + 0.1 * rng.normal(size=(N_S, N_CLASSES)),
    }
    return params, X_t, y_t


def numpy_prediction(kernel, params, X_t, y_t, labels):
    X_s = params["X"] * SCALE
    K_ss, K_ts = kernel(X_s, X_s), kernel(X_t, X_s)
    regularised = K_ss + REG * np.trace(K_ss) / N_S * np.eye(N_S)
    if labels != "solved":
        y_s = params["y"] if labels == "learned" else one_hot(CODES_S, N_CLASSES)
        return K_ts @ np.linalg.solve(regularised, y_s)
    # Ridge regression as ordinary least squares on more rows: |y - K a|^2 + penalty |L^T a|^2,
    # for each target without itself.
    penalty = LABEL_REG * np.sum(K_ts**2) / np.trace(regularised)
    L = np.linalg.cholesky(regularised)
    predictions = []
    for t in range(N_T):
        others = np.arange(N_T) != t
        rows = np.concatenate([K_ts[others], np.sqrt(penalty) * L.T])
        targets = np.concatenate([y_t[others], np.zeros((N_S, N_CLASSES))])
        predictions.append(K_ts[t] @ np.linalg.lstsq(rows, targets, rcond=None)[0])
    return np.array(predictions)


def numpy_loss(kernel, params, X_t, y_t, labels):
    return 0.5 * np.mean((numpy_prediction(kernel, params, X_t, y_t, labels) - y_t) ** 2)


def make(function, params, X_t, y_t, labels, dtype=np.float64):
    y_s = None if labels == "learned" else one_hot(CODES_S, N_CLASSES, dtype)
    objective = Objective(function, REG, SCALE, Labels(y_s, LABEL_REG, labels == "solved"))
    used = {"X", "y"} if labels == "learned" else {"X"}
    params = {name: jax.numpy.asarray(params[name], dtype) for name in used}
    prepared = function.prepare(jax.numpy.asarray(X_t, dtype))
    targets = Targets(prepared, y_t.astype(dtype), is_prepared=True)
    return objective, params, targets


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("name", KERNELS)
def test_value_equals_numpy(name, labels, data):
    """Oracle: numpy's solve; for solved labels lstsq on augmented rows, once for each left out."""
    function, kernel = KERNELS[name]
    loss, accuracy = jax.jit(Objective.__call__)(*make(function, *data, labels))
    prediction = numpy_prediction(kernel, *data, labels)
    assert_allclose(loss, numpy_loss(kernel, *data, labels), rtol=1e-9)
    assert_allclose(accuracy, np.mean(prediction.argmax(1) == data[2].argmax(1)), rtol=1e-6)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("name", KERNELS)
def test_gradient_equals_finite_differences(name, labels, data):
    """Oracle: central differences of the numpy loss."""
    function, kernel = KERNELS[name]
    objective, params, targets = make(function, *data, labels)
    gradient, _ = jax.jit(jax.grad(objective, has_aux=True))(params, targets)
    assert set(gradient) == set(params)
    h = 1e-5
    for key, values in gradient.items():
        expected = np.empty(values.shape)
        for at in np.ndindex(values.shape):
            ends = []
            for sign in (h, -h):
                moved = {k: v.copy() for k, v in data[0].items()}
                moved[key][at] += sign
                ends.append(numpy_loss(kernel, moved, *data[1:], labels))
            expected[at] = (ends[0] - ends[1]) / (2 * h)
        assert np.abs(expected).max() > 1e-4  # there is something to compare
        assert_allclose(values, expected, rtol=1e-6, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("labels", LABELS)
def test_float32_is_near_float64(labels, data):
    """Oracle: the same code in float64, itself tested against numpy above."""
    function, _ = KERNELS["fc1"]
    results = []
    for dtype in (np.float32, np.float64):
        objective, params, targets = make(function, *data, labels, dtype)
        derive = jax.jit(jax.value_and_grad(Objective.__call__, argnums=1, has_aux=True))
        (loss, _), gradient = derive(objective, params, targets)
        assert loss.dtype == dtype
        assert all(g.dtype == dtype for g in gradient.values())
        results.append((loss, gradient))
    (loss32, gradient32), (loss64, gradient64) = results
    assert_allclose(loss32, loss64, rtol=1e-5)
    for key, exact in gradient64.items():
        assert_allclose(gradient32[key], exact, atol=1e-4 * np.abs(exact).max(), err_msg=key)


def test_published_formula_by_hand():
    """A linear kernel of one feature, one support row, two targets: all numbers by hand.

    K_ss = 4, ridge = 0.25 * 4 = 1, y_s = (1/2, -1/2) (one-hot minus 1/C), alpha = y_s / 5;
    predictions 3 * 2 / 5 y_s = (.6, -.6) and 1 * 2 / 5 y_s = (.2, -.2).
    """
    function = FullyConnected(depth=0, w_std=1.0, b_std=0.0).function()
    y_t = one_hot(np.array([1, 0]), 2)
    targets = Targets(function.prepare(jax.numpy.array([[3.0], [1.0]])), y_t, is_prepared=True)
    objective = Objective(function, 0.25, 1.0, Labels(one_hot(np.array([0]), 2)))
    params = {"X": jax.numpy.array([[2.0]])}
    loss, accuracy = jax.jit(Objective.__call__)(objective, params, targets)
    assert_allclose(loss, 0.5 * np.mean([1.1**2, 1.1**2, 0.3**2, 0.3**2]))
    assert accuracy == 0.5


def test_mse_is_half_the_mean_over_rows_and_outputs():
    """Oracle: by hand."""
    assert mse(np.array([[1.0, 2.0], [3.0, 6.0]]), np.zeros((2, 2))) == 0.5 * (1 + 4 + 9 + 36) / 4


@pytest.mark.parametrize("label_reg", [0.0, 1e-3])
@pytest.mark.parametrize("name", KERNELS)
def test_solved_labels_minimise_the_penalised_loss(name, label_reg, data):
    """Oracle: the penalised loss in numpy is lower at y_s than at any labels near it."""
    function, kernel = KERNELS[name]
    params, X_t, y_t = data
    X_s = params["X"] * SCALE
    y_s, _ = solve_labels_over(function, X_s, X_t, y_t, REG, label_reg)
    K_ss, K_ts = kernel(X_s, X_s), kernel(X_t, X_s)
    regularised = K_ss + REG * np.trace(K_ss) / N_S * np.eye(N_S)
    penalty = label_reg * np.sum(K_ts**2) / np.trace(regularised)

    def penalised(labels):
        alpha = np.linalg.solve(regularised, labels)
        return np.sum((y_t - K_ts @ alpha) ** 2) + penalty * np.sum(alpha * labels)

    best = penalised(y_s)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            assert penalised(y_s + size * rng.normal(size=y_s.shape)) > best
    # The minimum is where it should be: no slope along any entry.
    slopes = []
    for at in np.ndindex(y_s.shape):
        step = np.zeros_like(y_s)
        step[at] = 1e-4
        slopes.append((penalised(y_s + step) - penalised(y_s - step)) / 2e-4)
    assert_allclose(slopes, 0, atol=1e-7)


def test_solved_alpha_is_the_alpha_of_the_solved_labels(data):
    """Oracle: labels solved first, dual coefficients from them by numpy's solve."""
    function, kernel = KERNELS["fc1"]
    params, X_t, y_t = data
    X_s = params["X"] * SCALE
    y_s, _ = solve_labels_over(function, X_s, X_t, y_t, REG, LABEL_REG)
    K_ss, K_ts = kernel(X_s, X_s), kernel(X_t, X_s)
    regularised = K_ss + REG * np.trace(K_ss) / N_S * np.eye(N_S)
    alpha = _label_solve.solved_alpha(K_ts.T @ K_ts, K_ts.T @ y_t, regularised, LABEL_REG)
    assert_allclose(alpha, np.linalg.solve(regularised, y_s), rtol=1e-7)


def test_platt_equals_sklearn():
    """Oracle: sklearn's log_loss of the probabilities."""
    rng = np.random.default_rng(3)
    codes, prediction = rng.integers(0, 4, 50), rng.standard_normal((50, 4))
    actual = platt(prediction, one_hot(codes, 4), np.log(3.0))
    assert_allclose(actual, log_loss(codes, softmax(3 * prediction, axis=1)), rtol=1e-9)


def test_platt_objective(data):
    """Oracle: sklearn's log_loss of numpy's prediction, and central differences by the scale."""
    function, kernel = KERNELS["fc1"]
    objective, params, targets = make(function, *data, "learned")
    objective = replace(objective, loss="platt")
    prediction = numpy_prediction(kernel, *data, "learned")

    def expected(log_scale):
        return log_loss(data[2].argmax(1), softmax(np.exp(log_scale) * prediction, axis=1))

    params["log_scale"] = jax.numpy.asarray(0.7)
    derive = jax.jit(jax.value_and_grad(objective, has_aux=True))
    (loss, _), gradient = derive(params, targets)
    assert_allclose(loss, expected(0.7), rtol=1e-9)
    slope = (expected(0.7 + 1e-5) - expected(0.7 - 1e-5)) / 2e-5
    assert_allclose(gradient["log_scale"], slope, rtol=1e-6)


def test_r2_equals_sklearn():
    """Oracle: sklearn's mean of outputs, of which one is constant and predicted as it is."""
    y_t, error = np.random.default_rng(4).standard_normal((2, 9, 3))
    y_t[:, 1] = 2.0
    for kept in ([0, 2], [0, 1, 2]):
        prediction = y_t + error * np.isin(np.arange(3), [0, 2])
        found = _objective._SCORES["R2"](prediction[:, kept], y_t[:, kept])
        assert_allclose(found, r2_score(y_t[:, kept], prediction[:, kept]), rtol=1e-9)


def test_targets_in_blocks(data, monkeypatch):
    """Oracle: all targets at once. 12 targets are blocks of 5, 5 and 2."""
    objective, params, targets = make(KERNELS["fc1"][0], *data, "learned")

    def derive():
        return jax.jit(jax.value_and_grad(objective, has_aux=True))(params, targets)

    (loss, score), gradient = derive()
    monkeypatch.setattr(_objective, "_ENTRIES", 5 * N_S + 1)
    (found, score_found), in_blocks = derive()
    assert_allclose([found, score_found], [loss, score], rtol=1e-9)
    for key, expected in gradient.items():
        assert_allclose(in_blocks[key], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("labels", ["learned", "solved"])
def test_score_of_other_rows(labels, data):
    """Oracle: numpy's predictions of rows that labels are not solved on."""
    function, kernel = KERNELS["fc1"]
    objective, params, targets = make(function, *data, labels)
    X_v = np.random.default_rng(5).normal(size=(9, N_FEATURES)) * SCALE
    y_v = one_hot(np.arange(9) % N_CLASSES, N_CLASSES)
    X_s, (_, X_t, y_t) = data[0]["X"] * SCALE, data
    y_s = data[0]["y"]
    if labels == "solved":
        y_s, _ = solve_labels_over(function, X_s, X_t, y_t, REG, LABEL_REG)
    K_ss = kernel(X_s, X_s)
    alpha = np.linalg.solve(K_ss + REG * np.trace(K_ss) / N_S * np.eye(N_S), y_s)
    prediction = kernel(X_v, X_s) @ alpha
    objective = replace(objective, score_name="R2")
    held_out = Targets(jax.numpy.asarray(X_v), y_v)
    found = _objective.score(objective, params, targets, held_out)
    assert_allclose(found, r2_score(y_v, prediction), rtol=1e-6)


def test_random_kernel_is_drawn_by_the_step(data):
    """Oracle: the objective of the kernel drawn by hand; targets carry no gradient of their own."""
    function = RandomFeatures("fc1", width=8).function()
    objective, params, targets = make(function, *data, "learned")
    X_t = jax.numpy.asarray(data[1])
    key = jax.random.key(5)
    random = replace(objective, function=function.draw(key))
    raw = Targets(X_t, targets.y_t)
    for step in (0, 3):
        drawn = replace(function.draw(jax.random.fold_in(key, step)), is_random=False)
        fixed = replace(objective, function=drawn)
        prepared = replace(targets, rows=jax.jit(lambda f, X: f.prepare(X))(drawn, X_t))
        expected = jax.jit(Objective.__call__)(fixed, params, prepared)
        actual = jax.jit(Objective.__call__)(random, params, raw, step)
        assert_allclose(actual[0], expected[0], rtol=1e-6)
    again = jax.jit(Objective.__call__)(random, params, raw, 0)
    assert abs(again[0] - actual[0]) > 1e-4  # another step, other networks
