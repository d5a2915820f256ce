"""Label Solve. Oracle: numpy's lstsq or pinv on the whole training set, float64, no blocks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk._data._labels import one_hot
from kipsk.kernels import RBF, FullyConnected

KERNELS = {"fc1": FullyConnected(), "rbf": RBF(length_scale=3.0)}
SUPPORT = [3, 40, 77, 10, 55, 91]


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 120)
    return rng.normal(size=(120, 4)) + 2 * np.eye(4)[codes], codes


def numpy_system(kernel, X_s, X, reg):
    """``A = K_ts (K_ss + ridge)^-1``, the predictions being ``A y_s``, and what is inverted."""
    K_ss = kernel(X_s)
    regularised = K_ss + reg * np.trace(K_ss) / len(X_s) * np.eye(len(X_s))
    return np.linalg.solve(regularised, kernel(X_s, X)).T, regularised


@pytest.mark.parametrize("reg", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("name", KERNELS)
def test_labels_equal_numpy_lstsq(name, reg, blobs, close):
    """Oracle: lstsq."""
    X, y = blobs
    solver = LabelSolver(KERNELS[name], support=SUPPORT, reg=reg, dtype="float64").fit(X, y)
    A, _ = numpy_system(KERNELS[name], X[SUPPORT], X, reg)
    expected = np.linalg.lstsq(A, one_hot(y, 3), rcond=None)[0]
    close(solver.y_s_, expected, times=100)  # normal equations square the condition of A
    assert solver.reg_ == reg
    assert_allclose(solver.decision_function(X), A @ expected, atol=1e-9)


def test_penalised_labels_equal_numpy_lstsq(blobs, close):
    """Oracle: lstsq on rows augmented by the root of the penalty (see `_ridge.solved_alpha`)."""
    X, y = blobs
    kernel, label_reg = KERNELS["fc1"], 0.1
    solver = LabelSolver(kernel, support=SUPPORT, reg=1e-2, label_reg=label_reg, dtype="float64")
    A, regularised = numpy_system(kernel, X[SUPPORT], X, 1e-2)
    K_ts = kernel(X, X[SUPPORT])
    # alpha^T R alpha with alpha = R^-1 y_s is |L^-1 y_s|^2 for R = L L^T.
    penalty = label_reg * np.sum(K_ts**2) / np.trace(regularised)
    rows = np.sqrt(penalty) * np.linalg.inv(np.linalg.cholesky(regularised))
    targets = np.concatenate([one_hot(y, 3), np.zeros((len(SUPPORT), 3))])
    expected = np.linalg.lstsq(np.concatenate([A, rows]), targets, rcond=None)[0]
    close(solver.fit(X, y).y_s_, expected, times=100)


def test_float32_labels_are_near_float64(blobs):
    """Oracle: lstsq in float64; a ridge of 1e-2 magnifies float32's rounding by about 100."""
    X, y = blobs
    solver = LabelSolver("fc1", support=SUPPORT, reg=1e-2).fit(X, y)
    A, _ = numpy_system(KERNELS["fc1"], X[SUPPORT], X, 1e-2)
    expected = np.linalg.lstsq(A, one_hot(y, 3), rcond=None)[0]
    assert solver.X_s_.dtype == np.float32 and solver.y_s_.dtype == np.float64
    assert_allclose(solver.y_s_, expected, atol=1e-3)


@pytest.mark.parametrize("block_size", [1, 7, 100])
def test_blocks_equal_dense(block_size, blobs, close):
    """Oracle: one block."""
    X, y = blobs
    params = {"support": SUPPORT, "reg": 1e-2, "dtype": "float64"}
    dense = LabelSolver(block_size=10**6, **params).fit(X, y)
    blocks = LabelSolver(block_size=block_size, **params).fit(X, y)
    close(blocks.y_s_, dense.y_s_, times=10)
    close(blocks.decision_function(X), dense.decision_function(X), times=10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reg", [1e-6, 1e-3])
def test_duplicate_support_rows_equal_numpy_pinv(reg, dtype, blobs):
    """Oracle: pinv, the smallest labels; equal rows share theirs."""
    X, y = blobs[0].astype(dtype), blobs[1]
    support = [*SUPPORT, 3, 3, 40]
    solver = LabelSolver("fc1", support=support, reg=reg, dtype=dtype).fit(X, y)
    A, _ = numpy_system(KERNELS["fc1"], X[support].astype(float), X.astype(float), reg)
    smallest = np.linalg.pinv(A, rcond=1e-7) @ one_hot(y, 3)
    assert_allclose(solver.y_s_, smallest, atol=1e-3 if dtype == "float32" else 1e-6)
    assert_allclose(solver.y_s_[[0, 0, 1]], solver.y_s_[6:], atol=1e-5)


def test_whole_training_set_as_support(blobs):
    """Oracle: a zero training loss, of a support that can interpolate."""
    X, y = blobs
    solver = LabelSolver("fc1", support=np.arange(120), dtype="float64").fit(X, y)
    assert solver.X_s_.shape == (120, 4) and solver.y_s_.shape == (120, 3)
    assert_allclose(solver.decision_function(X), one_hot(y, 3), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ill_conditioned_kernel(dtype):
    """Oracle: lstsq without the directions that float64 sums of squares cannot tell.

    A smooth kernel on few features: K_ss has eigenvalues down to 1e-16 of the largest.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    y = (np.sin(3 * X[:, 0]) + X[:, 1] > 0).astype(int)
    solver = LabelSolver("rbf", support=np.arange(200), reg=1e-8, dtype=dtype).fit(X, y)
    targets, K_ts = one_hot(y, 2), solver.kernel_(X, X[:200])
    alpha = np.linalg.lstsq(K_ts, targets, rcond=1e-6)[0]
    best = np.mean((K_ts @ alpha - targets) ** 2)
    A, _ = numpy_system(solver.kernel_, X[:200], X, solver.reg_)
    assert np.mean((A @ solver.y_s_ - targets) ** 2) < 1.05 * best


@pytest.mark.parametrize("support", [SUPPORT, tuple(SUPPORT), np.array(SUPPORT, np.int32)])
def test_indices_as_support(support, blobs):
    X, y = blobs
    solver = LabelSolver(support=support, ipc=None).fit(X, y)
    assert_array_equal(solver.support_indices_, SUPPORT)
    assert_array_equal(solver.X_s_, X[SUPPORT].astype(np.float32))


def test_sampled_support_is_real_rows_sorted_by_class(blobs):
    X, y = blobs
    solver = LabelSolver(ipc=4, random_state=0).fit(X, y)
    assert_array_equal(y[solver.support_indices_], np.repeat([0, 1, 2], 4))
    assert_array_equal(solver.X_s_, X[solver.support_indices_].astype(np.float32))
    again = LabelSolver(ipc=4, random_state=0).fit(X, y)
    other = LabelSolver(ipc=4, random_state=1).fit(X, y)
    assert_array_equal(solver.y_s_, again.y_s_)
    assert not np.array_equal(solver.support_indices_, other.support_indices_)


def test_kmeans_support(blobs):
    """Oracle: with one centre a class, numpy's means."""
    X, y = blobs
    solver = LabelSolver(support="kmeans", ipc=1).fit(X, y)
    assert solver.support_indices_ is None
    assert_allclose(solver.X_s_, [X[y == c].mean(axis=0) for c in range(3)], rtol=1e-5)


@pytest.mark.parametrize("reg", [1e-6, 1e-2, 1.0])
def test_training_loss_is_no_higher_than_with_the_true_labels(reg, blobs):
    """Oracle: the loss formula in numpy."""
    X, y = blobs
    solver = LabelSolver(ipc=4, reg=reg, random_state=0).fit(X, y)
    A, _ = numpy_system(KERNELS["fc1"], X[solver.support_indices_], X, reg)
    targets = one_hot(y, 3)
    true_labels = one_hot(y[solver.support_indices_], 3)
    assert np.mean((A @ solver.y_s_ - targets) ** 2) < np.mean((A @ true_labels - targets) ** 2)


@pytest.mark.parametrize("ipc", [1, 10])
def test_better_than_the_same_rows_with_their_own_labels_on_digits(ipc, digits):
    """Oracle: kernel ridge regression on the subset; measured .77 against .63, .97 against .90."""
    X, X_test, y, y_test = digits
    solver = LabelSolver(ipc=ipc, random_state=0).fit(X, y)
    rows = solver.support_indices_
    subset = KernelRidgeNTKClassifier().fit(X[rows], y[rows])
    assert solver.score(X_test, y_test) > subset.score(X_test, y_test) + 0.03


def test_predicts_as_a_distiller_does(blobs):
    X, y = blobs
    names = np.array(["a", "b"])[(y == 0).astype(int)]
    solver = LabelSolver(ipc=3, random_state=0).fit(X, names)
    assert solver.decision_function(X).shape == (120,)
    assert_array_equal(solver.predict(X) == "b", solver.decision_function(X) > 0)
    X_s, y_s = LabelSolver(ipc=3, random_state=0).fit_distill(X, names)
    assert_array_equal(X_s, solver.X_s_)
    assert_array_equal(y_s, solver.y_s_)
    X_s, y_hard = LabelSolver(ipc=3, random_state=0).fit_resample(X, names)
    assert_array_equal(y_hard, solver.classes_[y_s.argmax(axis=1)])


def test_distiller_with_solved_labels_ends_with_label_solve(blobs, close):
    """Oracle: LabelSolver's lstsq above, on the rows that KIP learned."""
    X, y = blobs
    params = {"reg": 1e-2, "label_reg": 1e-3, "dtype": "float64"}
    kip = KIPDistiller(labels="solved", targets="given", ipc=2, max_iter=5, random_state=0)
    kip.set_params(**params).fit(X, y)
    A, regularised = numpy_system(KERNELS["fc1"], kip.X_s_, X, 1e-2)
    K_ts = A @ regularised
    penalty = 1e-3 * np.sum(K_ts**2) / np.trace(regularised)
    alpha = np.linalg.solve(K_ts.T @ K_ts + penalty * regularised, K_ts.T @ one_hot(y, 3))
    close(kip.y_s_, regularised @ alpha, times=100)


def test_ridge_of_noisy_labels_is_chosen_from_the_training_rows():
    """Oracle: rows held out, in five draws.

    A quarter of the labels are wrong, and support labels without a ridge fit that.
    """
    errors = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(320, 4))
        codes = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)
        codes = np.where(rng.uniform(size=320) < 0.25, 1 - codes, codes)
        for label_reg in (0, "auto"):
            solver = LabelSolver(ipc=20, label_reg=label_reg, random_state=0)
            scores = solver.fit(X[:120], codes[:120])._predict_targets(X[120:])
            errors.append(np.mean((scores - one_hot(codes[120:], 2)) ** 2))
            assert 1e-3 < solver.label_reg_ < 1 if label_reg == "auto" else not solver.label_reg_
    exact, auto = np.reshape(errors, (5, 2)).T
    assert (auto < exact).all()
    assert auto.mean() < 0.9 * exact.mean()
