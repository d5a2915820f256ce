"""The closed forms against numpy in float64 and against brute force."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from kipsk._closed_form import _label_solve, _ridge
from kipsk.kernels import FullyConnected

pytestmark = pytest.mark.optimised

N_S, N_T, N_OUT = 8, 40, 3


def gram(n, rank=None, seed=0, offset=0.1):
    """A positive definite matrix with eigenvalues of one magnitude, or one of lower rank."""
    F = np.random.default_rng(seed).standard_normal((n, rank or 2 * n))
    return F @ F.T / F.shape[1] + (0 if rank else offset) * np.eye(n)


def matrix(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def labels(K_ss, K_ts, y_t, reg, label_reg=0.0):
    regularised = _ridge.add_to_diagonal(K_ss, reg * np.trace(K_ss) / len(K_ss))
    A = np.linalg.solve(regularised, K_ts.T).T
    return _label_solve.solve_labels(A.T @ A, A.T @ y_t, regularised, label_reg)


def tall(K_ss, K_ts, reg):
    """The matrix from support labels to predictions: ``K_ts (K_ss + ridge I)^-1``, in numpy."""
    ridge = reg * np.trace(K_ss) / len(K_ss)
    return np.linalg.solve(K_ss + ridge * np.eye(len(K_ss)), K_ts.T).T


@pytest.mark.parametrize("reg", [0.0, 1e-3, 0.5])
def test_pieces_equal_numpy(reg, close):
    K_ss, K_ts, y_s = gram(N_S), matrix(N_T, N_S), matrix(N_S, N_OUT, seed=2)
    regularised = K_ss + reg * np.trace(K_ss) / N_S * np.eye(N_S)
    alpha = np.linalg.solve(regularised, y_s)
    with jax.enable_x64(True):
        close(_ridge.regularise(jnp.asarray(K_ss), reg), regularised)
        close(_ridge.solve(jnp.asarray(regularised), jnp.asarray(y_s)), alpha)
        close(_ridge.predict(jnp.asarray(K_ts.T), jnp.asarray(alpha)), K_ts @ alpha)
        single = _ridge.predict(jnp.asarray(K_ts.T, jnp.float32), jnp.asarray(alpha))
        close(single, K_ts @ alpha, dtype="float32")
        assert single.dtype == jnp.float32


@pytest.mark.parametrize("reg", [1e-12, 1e-3, 10.0])
def test_fit_alpha_equals_numpy_and_sklearn(reg, close):
    K_ss, y_s = gram(N_S), matrix(N_S, N_OUT)
    ridge = reg * np.trace(K_ss) / N_S
    alpha = _ridge.fit_alpha(K_ss, y_s, ridge)
    assert type(alpha) is np.ndarray
    close(alpha, np.linalg.solve(K_ss + ridge * np.eye(N_S), y_s))
    oracle = KernelRidge(kernel="precomputed", alpha=ridge).fit(K_ss, y_s)
    close(alpha, oracle.dual_coef_)
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_matrix(bad):
    K_ss = gram(N_S)
    K_ss[1, 2] = K_ss[2, 1] = bad
    with pytest.raises(ValueError, match=r"2 of the 64 entries of K_mine \(8 x 8\) are NaN or inf"):
        _ridge.fit_alpha(K_ss, matrix(N_S, 1), 0.1, what="K_mine")


def test_indefinite_matrix_names_eigenvalues_and_size():
    K_ss = np.diag([1.0, 2.0, -0.5])
    with pytest.raises(ValueError, match=r"K_ss \(3 x 3\).*eigenvalues -0.5 to 2 ") as error:
        _ridge.fit_alpha(K_ss, matrix(3, 1), 0.1)
    assert "ridge 0.1 = reg * 0.833" in str(error.value)
    assert "another kernel" in str(error.value)


@pytest.mark.parametrize("seed", range(6))
def test_contradicting_duplicates_without_ridge_say_what_to_raise(seed):
    """Rounding may let the factorisation pass; the answer would be some 1e15 large."""
    twice = [0, *range(N_S)]
    K_ss = gram(N_S, seed=seed)[np.ix_(twice, twice)]
    with pytest.raises(ValueError, match=r"not positive definite.*raise 'reg', remove dupl"):
        _ridge.fit_alpha(K_ss, matrix(N_S + 1, 1), 0.0)


def test_duplicates_with_a_ridge_share_the_coefficient(close):
    """Oracle: minimising over the sum of both rows' coefficients splits it evenly."""
    twice = [0, *range(N_S)]
    alpha = _ridge.fit_alpha(gram(N_S)[np.ix_(twice, twice)], np.ones((N_S + 1, 1)), 1e-3)
    close(alpha[0], alpha[1])


@pytest.mark.parametrize("kernel_rank", [None, 4])
def test_leave_one_out_equals_refits(kernel_rank, close):
    """Oracle: fit without each row in turn, for each ridge."""
    n, ridges = 12, np.array([1e-3, 0.1, 5.0])
    K, y = gram(n, kernel_rank), matrix(n, N_OUT)
    residuals, alphas = _ridge.leave_one_out(K, y, ridges)
    for ridge, residual, alpha in zip(ridges, residuals, alphas, strict=True):
        close(alpha, np.linalg.solve(K + ridge * np.eye(n), y), times=10)
        for i in range(n):
            rest = np.delete(np.arange(n), i)
            without = np.linalg.solve(K[np.ix_(rest, rest)] + ridge * np.eye(n - 1), y[rest])
            close(residual[i], y[i] - K[i, rest] @ without, times=10)


def test_leave_one_out_does_not_see_the_unit_of_the_kernel(close):
    """Oracle: the kernel itself, which is not singular. A small one is not either."""
    K, y, ridges = gram(12), matrix(12, N_OUT), np.array([0.0, 1e-3])
    expected, _ = _ridge.leave_one_out(K, y, ridges)
    close(_ridge.leave_one_out(1e-9 * K, y, 1e-9 * ridges)[0], expected, times=10)


@pytest.mark.parametrize("rank", [4, 11])
def test_leave_one_out_of_a_singular_matrix_is_infinite(rank):
    residuals, alphas = _ridge.leave_one_out(gram(12, rank), matrix(12, 2), np.array([0.0, 0.1]))
    assert np.isinf(residuals[0]).all()
    assert np.isnan(alphas[0]).all()
    assert np.isfinite(residuals[1]).all()


@pytest.mark.parametrize("reg", [1e-6, 1e-2, 1.0])
def test_solve_labels_equals_lstsq(reg, close):
    K_ss, K_ts, y_t = gram(N_S), matrix(N_T, N_S), matrix(N_T, N_OUT, seed=2)
    oracle = np.linalg.lstsq(tall(K_ss, K_ts, reg), y_t)[0]
    close(labels(K_ss, K_ts, y_t, reg), oracle)


def test_leverage_is_the_diagonal_of_the_hat_matrix(close):
    """Oracle: numpy's matrix from targets to predictions, and alpha of refits without each row."""
    reg, label_reg = 1e-2, 0.1
    K_ss, K_ts, y_t = gram(N_S), matrix(N_T, N_S), matrix(N_T, N_OUT, seed=2)
    regularised = _ridge.add_to_diagonal(K_ss, reg * np.trace(K_ss) / N_S)
    penalty = label_reg * np.sum(K_ts**2) / np.trace(regularised)

    def fit(rows):
        matrix = K_ts[rows].T @ K_ts[rows] + penalty * regularised
        return np.linalg.solve(matrix, K_ts[rows].T @ y_t[rows])

    H = K_ts @ np.linalg.solve(K_ts.T @ K_ts + penalty * regularised, K_ts.T)
    with jax.enable_x64(True):
        alpha, leverage = _label_solve.solved_alpha_and_leverage(
            jnp.asarray(K_ts.T), jnp.asarray(y_t), jnp.asarray(regularised), label_reg
        )
    close(alpha, fit(np.arange(N_T)))
    close(leverage, np.diag(H))
    residuals = (y_t - K_ts @ np.asarray(alpha)) / (1 - np.asarray(leverage))[:, None]
    for t in range(N_T):
        without = fit(np.delete(np.arange(N_T), t))
        close(residuals[t], y_t[t] - K_ts[t] @ without, times=10)


def test_mean_leverage_is_the_mean_of_all(close):
    """Oracle: the leverage of each target."""
    K_ss, K_ts, y_t = gram(N_S), matrix(N_T, N_S), matrix(N_T, N_OUT, seed=2)
    with jax.enable_x64(True):
        alpha, leverage = _label_solve.solved_alpha_and_leverage(
            jnp.asarray(K_ts.T), jnp.asarray(y_t), jnp.asarray(K_ss), 0.1
        )
        means = jnp.asarray(K_ts.T @ K_ts / N_T), jnp.asarray(K_ts.T @ y_t / N_T)
        found, mean = _label_solve.solved_alpha_and_mean_leverage(
            *means, jnp.asarray(K_ss), 0.1, N_T
        )
    close(found, alpha)
    close(mean, np.mean(np.asarray(leverage)))


@pytest.mark.parametrize("which", [0, 1])
def test_labels_of_what_is_not_finite(which):
    given = [gram(N_S), matrix(N_S, N_OUT)]
    given[which][1, 1] = np.nan
    with pytest.raises(ValueError, match=r"\(K_st\) is not finite. Scale the features"):
        _label_solve.solve_labels(*given, gram(N_S), 0.0)


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_best_label_reg_minimises_generalised_cross_validation(noise):
    """Oracle: the criterion from numpy's hat matrix, over a grid."""
    K_ss, K_ts = gram(N_S), matrix(N_T, N_S)
    y_t = K_ts @ matrix(N_S, N_OUT, seed=2) + noise * matrix(N_T, N_OUT, seed=3)
    regularised = _ridge.add_to_diagonal(K_ss, 1e-2 * np.trace(K_ss) / N_S)
    A = np.linalg.solve(regularised, K_ts.T).T

    def criterion(label_reg):
        penalty = label_reg * np.sum(K_ts**2) / np.trace(regularised)
        H = K_ts @ np.linalg.solve(K_ts.T @ K_ts + penalty * regularised, K_ts.T)
        return np.sum((y_t - H @ y_t) ** 2) / (N_T - np.trace(H)) ** 2

    best = _label_solve.best_label_reg(A.T @ A, A.T @ y_t, regularised, np.sum(y_t**2), N_T)
    grid = np.geomspace(1e-12, 1, 241)
    errors = [criterion(label_reg) for label_reg in grid]
    assert grid[0] < best < grid[-1]
    assert criterion(best) <= min(errors) * (1 + 1e-6)
    # There is something to find: the ends of the grid are worse.
    assert min(errors) * 1.001 < min(errors[0], errors[-1])


def test_solve_labels_of_duplicated_support_rows_are_the_smallest(close):
    """Oracle: the pseudo-inverse of the tall matrix; equal rows get equal labels."""
    twice = [0, 0, *range(N_S), 3]
    K_ss, K_ts, y_t = gram(N_S)[np.ix_(twice, twice)], matrix(N_T, N_S)[:, twice], matrix(N_T, 2)
    y_s = labels(K_ss, K_ts, y_t, 0.1)
    close(y_s, np.linalg.pinv(tall(K_ss, K_ts, 0.1), rcond=1e-8) @ y_t)
    close(y_s[0], y_s[2])
    close(y_s[5], y_s[-1])


def test_solve_labels_of_fewer_targets_than_support_rows_are_the_smallest(close):
    """Oracle: the pseudo-inverse of the flat matrix, which reproduces the targets."""
    K_ss, K_ts, y_t = gram(N_S), matrix(3, N_S), matrix(3, N_OUT, seed=2)
    y_s = labels(K_ss, K_ts, y_t, 0.1)
    close(y_s, np.linalg.pinv(tall(K_ss, K_ts, 0.1)) @ y_t)
    close(tall(K_ss, K_ts, 0.1) @ y_s, y_t)


def test_solve_labels_loss_equals_lstsqs_on_a_real_kernel(digits):
    """Oracle: numpy's lstsq. The labels themselves are not determined to many digits here."""
    X, _, y, _ = digits
    kernel = FullyConnected()
    K_ss, K_ts = kernel(X[:60]), kernel(X[:600], X[:60])
    y_t = np.eye(10)[y[:600]] - 0.1
    A = tall(K_ss, K_ts, 1e-6)
    best = np.sum((A @ np.linalg.lstsq(A, y_t)[0] - y_t) ** 2)
    loss = np.sum((A @ labels(K_ss, K_ts, y_t, 1e-6) - y_t) ** 2)
    assert best <= loss * (1 + 1e-12)
    assert loss <= best * (1 + 1e-6)


def test_solve_labels_keeps_the_difference_of_nearly_equal_rows():
    """Oracle: the loss of numpy's lstsq. Singular values of 1e-4 are 1e-8 in normal equations."""
    K_ss, K_ts, y_t = gram(N_S), matrix(N_T, N_S), matrix(N_T, N_OUT, seed=2)
    K_ts[:, 1] = K_ts[:, 0] + 1e-4 * K_ts[:, 1]
    A = tall(K_ss, K_ts, 1e-3)
    best = np.sum((A @ np.linalg.lstsq(A, y_t)[0] - y_t) ** 2)
    loss = np.sum((A @ labels(K_ss, K_ts, y_t, 1e-3) - y_t) ** 2)
    assert loss <= best * (1 + 1e-6)


@pytest.mark.parametrize("label_reg", [1e-4, 0.1, 10.0])
def test_penalised_labels_equal_explicit_least_squares(label_reg, close):
    """Oracle: ``|y_t - A y_s|^2 + penalty y_s^T (K_ss + ridge)^-1 y_s`` as one lstsq problem."""
    reg = 1e-2
    K_ss, K_ts, y_t = gram(N_S), matrix(N_T, N_S), matrix(N_T, N_OUT, seed=2)
    regularised = K_ss + reg * np.trace(K_ss) / N_S * np.eye(N_S)
    penalty = label_reg * np.sum(K_ts**2) / np.trace(regularised)
    # y_s^T regularised^-1 y_s = |L^-1 y_s|^2 with regularised = L L^T
    root = np.linalg.inv(np.linalg.cholesky(regularised))
    stacked = np.vstack([tall(K_ss, K_ts, reg), np.sqrt(penalty) * root])
    oracle = np.linalg.lstsq(stacked, np.vstack([y_t, np.zeros((N_S, N_OUT))]))[0]
    close(labels(K_ss, K_ts, y_t, reg, label_reg), oracle)


def test_small_penalty_tends_to_the_exact_labels(close):
    K_ss, K_ts, y_t = gram(N_S), matrix(N_T, N_S), matrix(N_T, N_OUT, seed=2)
    exact = labels(K_ss, K_ts, y_t, 0.1)
    close(labels(K_ss, K_ts, y_t, 0.1, 1e-12), exact, times=100)


def test_best_label_reg_with_no_more_targets_than_labels():
    """Oracle: labels fit their targets whatever the ridge, so the criterion has to be finite."""
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(6, 6)), rng.normal(size=(6, 2))
    regularised = np.eye(6) + 0.1
    for n in (4, 6):
        B, t = A[:n], y[:n]
        best = _label_solve.best_label_reg(B.T @ B, B.T @ t, regularised, float(np.sum(t**2)), n)
        assert np.isfinite(best) and 0 < best <= 1
