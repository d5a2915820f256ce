"""Kernel ridge regression in closed form: regularise, factor, solve, predict.

Notation: ``K_ss`` (n_s, n_s) between support rows, ``K_st`` (n_s, n_t) from support to target rows
(the transpose of the K_ts of the papers: kernels fill it row by row, and the gradient with respect
to the support is then a plain product), ``y_s`` (n_s, n_outputs), ``alpha`` the dual coefficients.
The ridge is relative, ``reg * trace(K_ss) / n_s``. All solves are in float64.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

# Logarithms of the relative ridges of labels that are searched: from rounding to one.
_LOG_LABEL_REGS = (-30.0, 0.0)

Float64s = NDArray[np.float64]


def regularise(K_ss: Array, reg: Array | float) -> Array:
    """Return ``K_ss + reg * trace(K_ss) / n_s * I``."""
    n_s = len(K_ss)
    return K_ss + (reg * jnp.trace(K_ss) / n_s) * jnp.eye(n_s, dtype=K_ss.dtype)


def solve(matrix: Array, right_side: Array) -> Array:
    """Solve with a symmetric positive definite float64 matrix; NaN where it is not that."""
    return cho_solve(cho_factor(matrix, lower=True), right_side.astype(matrix.dtype))


def predict(K_st: Array, alpha: Array) -> Array:
    """Return ``K_ts alpha``, of shape (n_t, n_outputs), in the precision of K_st."""
    # Accelerators round float32 products to fewer bits unless told not to.
    return jnp.matmul(K_st.T, alpha.astype(K_st.dtype), precision=jax.lax.Precision.HIGHEST)


def penalised(products: Array, regularised: Array, label_reg: Array | float) -> Array:
    """Return the matrix whose inverse times ``K_st y_t`` gives the best labels' coefficients.

    The minimiser over y_s of ``1/2 |y_t - K_ts alpha|^2 + penalty/2 alpha^T (K_ss + ridge) alpha``
    with ``y_s = (K_ss + ridge) alpha``: regularised Label Solve, which is Nystroem ridge
    regression with the norm of the kernel's function space as its penalty. The penalty is
    relative, ``label_reg * trace(products) / trace(regularised)``.

    Parameters
    ----------
    products : Array of shape (n_s, n_s)
        ``K_st K_ts``.
    regularised : Array of shape (n_s, n_s)
        ``K_ss + ridge``.
    label_reg : float
    """
    penalty = label_reg * jnp.trace(products) / jnp.trace(regularised)
    return products + penalty * regularised


def solved_alpha(
    products: Array, moments: Array, regularised: Array, label_reg: Array | float
) -> Array:
    """Return the dual coefficients of the best labels, from `penalised` and ``K_st y_t``."""
    return solve(penalised(products, regularised, label_reg), moments)


def solved_alpha_and_leverage(
    K_st: Array, y_t: Array, regularised: Array, label_reg: Array | float
) -> tuple[Array, Array]:
    """Return the dual coefficients of the best labels for some targets, and their leverages.

    The leverage of target t is ``h_t = k_t^T M^-1 k_t`` with k_t its column of K_st and M the
    `penalised` matrix: the residual of labels solved without it is its residual over ``1 - h_t``
    (Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", eq. 7.64).

    Returns
    -------
    alpha : Array of shape (n_s, n_outputs)
    leverage : Array of shape (n_t,)
    """
    matrix = penalised(K_st @ K_st.T, regularised, label_reg)
    solved = solve(matrix, jnp.concatenate([K_st @ y_t, K_st], axis=1))
    alpha, inverse = solved[:, : y_t.shape[1]], solved[:, y_t.shape[1] :]
    return alpha, jnp.sum(K_st * inverse, axis=0)


_solve = jax.jit(solve)
_solved_alpha = jax.jit(solved_alpha)


def fit_alpha(K_ss: Float64s, y_s: Float64s, ridge: float, *, what: str = "K_ss") -> Float64s:
    """Solve ``(K_ss + ridge I) alpha = y_s`` on concrete arrays, or say why it cannot be.

    Raises
    ------
    ValueError
        If the matrix is not finite or not positive definite. The message tells its size,
        its extreme eigenvalues and what to raise.
    """
    check_finite_gram(K_ss, what)
    regularised = add_to_diagonal(K_ss, ridge)
    with jax.enable_x64(True):
        alpha = np.asarray(_solve(regularised, y_s))
    # Rounding may let the factorisation of a singular matrix pass; it then solves nothing.
    error = np.abs(regularised @ alpha - y_s).max(initial=0)
    if not error <= 1e-3 * np.abs(y_s).max(initial=0):
        raise not_positive_definite(K_ss, ridge, what)
    return alpha


def add_to_diagonal(K: Float64s, ridge: float) -> Float64s:
    """Return ``K + ridge I``."""
    result = K.copy()
    result.flat[:: len(K) + 1] += ridge
    return result


def check_finite_gram(K_ss: Float64s, what: str) -> None:
    """Raise ValueError if a kernel matrix has NaN or infinite entries."""
    n_bad = int(np.sum(~np.isfinite(K_ss)))
    if n_bad:
        raise ValueError(
            f"The kernel returned a non-finite matrix: {n_bad} of the {K_ss.size} entries of "
            f"{what} ({K_ss.shape[0]} x {K_ss.shape[1]}) are NaN or infinite. Check the kernel's "
            "parameters and scale the features (for instance with StandardScaler)."
        )


def not_positive_definite(K_ss: Float64s, ridge: float, what: str) -> ValueError:
    """Return the error for a failed Cholesky factorisation."""
    eigenvalues = np.linalg.eigvalsh(K_ss)
    mean = np.trace(K_ss) / len(K_ss)
    smallest, largest = eigenvalues[0], eigenvalues[-1]
    condition = abs(largest) / max(abs(smallest), np.finfo(float).tiny)
    if mean == 0:
        advice = "its mean diagonal entry, which 'reg' multiplies, is zero: the rows are "
        advice += "zero for this kernel; check the features, or give it biases (b_std > 0)"
    elif smallest < -1e-6 * max(abs(largest), abs(mean)):
        advice = (
            "the kernel is not positive semi-definite on these rows; use another kernel or other "
            "kernel parameters"
        )
    else:
        advice = "raise 'reg', or remove duplicate rows"
    return ValueError(
        f"The regularised {what} ({len(K_ss)} x {len(K_ss)}) is not positive definite: eigenvalues "
        f"{smallest:.3g} to {largest:.3g} (condition about {condition:.1g}) and ridge {ridge:.3g} "
        f"= reg * {mean:.3g}. Next step: {advice}."
    )


def leave_one_out(K: Float64s, y: Float64s, ridges: Float64s) -> tuple[Float64s, Float64s]:
    """Return the leave-one-out residuals of kernel ridge regression for a grid of ridges.

    One eigendecomposition ``K = Q diag(lambda) Q^T`` serves the whole grid. With
    ``G = (K + ridge I)^-1`` the residual of row i, fitted without it, is ``alpha_i / G_ii``
    (Rifkin & Lippert 2007, "Notes on regularized least squares", eq. 4).

    Parameters
    ----------
    K : ndarray of shape (n, n)
    y : ndarray of shape (n, n_outputs)
    ridges : ndarray of shape (n_ridges,)
        Absolute ridges.

    Returns
    -------
    residuals : ndarray of shape (n_ridges, n, n_outputs)
    alphas : ndarray of shape (n_ridges, n, n_outputs)
    """
    eigenvalues, Q = np.linalg.eigh(K)
    Q_y = Q.T @ y
    residuals, alphas = [], []
    for ridge in ridges:
        shifted = eigenvalues + ridge
        # Rounding leaves eigenvalues of either sign where the exact one is zero.
        if shifted[0] <= len(K) * np.finfo(float).eps * abs(eigenvalues[-1]):
            residuals.append(np.full_like(y, np.inf))
            alphas.append(np.full_like(y, np.nan))
            continue
        alpha = Q @ (Q_y / shifted[:, None])
        inverse_diagonal = (Q * Q) @ (1 / shifted)
        residuals.append(alpha / inverse_diagonal[:, None])
        alphas.append(alpha)
    return np.array(residuals), np.array(alphas)


def solve_labels(
    normal: Float64s, moments: Float64s, regularised: Float64s, label_reg: float
) -> Float64s:
    """Return the support labels that minimise the loss over all targets (Label Solve).

    With A = K_ts (K_ss + ridge I)^-1, the predictions' dependence on the labels, they are
    ``y_s = A^+ y_t = (A^T A)^+ A^T y_t`` (arXiv 2107.13034, eq. 5). The pseudo-inverse gives the
    smallest labels where several are equally good (duplicate support rows, fewer targets than
    support rows). ``label_reg > 0`` adds the penalty of `penalised`.

    Parameters
    ----------
    normal : ndarray of shape (n_s, n_s)
        ``A^T A`` summed over all targets. Not ``K_st K_ts``: its condition number would be that of
        A times the square of that of K_ss.
    moments : ndarray of shape (n_s, n_outputs)
        ``A^T y_t``.
    regularised : ndarray of shape (n_s, n_s)
        ``K_ss + ridge I``.
    label_reg : float
    """
    if not (np.isfinite(normal).all() and np.isfinite(moments).all()):
        raise ValueError(
            "The kernel between support and training rows (K_st) is not finite. Scale the features "
            "(for instance with StandardScaler), or use dtype='float64'."
        )
    if label_reg > 0:
        products = regularised @ normal @ regularised
        with jax.enable_x64(True):
            alpha = _solved_alpha(products, regularised @ moments, regularised, label_reg)
        labels = regularised @ np.asarray(alpha)
        if np.isfinite(labels).all():
            return labels
        # A penalty below rounding: its limit, the exact labels.
    # Eigenvalues of A^T A are squared singular values, rounded at eps of the largest.
    rtol = len(normal) * np.finfo(float).eps
    return np.asarray(np.linalg.pinv(normal, rtol=rtol, hermitian=True) @ moments)


def best_label_reg(
    normal: Float64s, moments: Float64s, regularised: Float64s, y_squared: float, n_rows: int
) -> float:
    """Return the relative ridge of the labels with the smallest generalised cross-validation error.

    Leave-one-out with every leverage replaced by their mean (Golub, Heath & Wahba 1979,
    "Generalized cross-validation as a method for choosing a good ridge parameter"), which needs no
    second pass over the targets: ``|residuals|^2 / (n - trace H)^2`` from the eigenvalues lambda of
    ``L^-1 K_st K_ts L^-T`` with ``K_ss + ridge = L L^T``.

    Parameters
    ----------
    normal, moments, regularised : ndarrays
        As in `solve_labels`.
    y_squared : float
        Sum of the squares of all targets.
    n_rows : int
        Targets.
    """
    L = np.linalg.cholesky(regularised)
    eigenvalues, Q = np.linalg.eigh(L.T @ normal @ L)
    squares = np.sum((Q.T @ (L.T @ moments)) ** 2, axis=1)
    kept = eigenvalues > len(eigenvalues) * np.finfo(float).eps * eigenvalues[-1]
    eigenvalues, explained = eigenvalues[kept], squares[kept] / eigenvalues[kept]
    # What no labels explain; nothing where there are no more targets than directions.
    left = max(n_rows - len(eigenvalues), 0)
    unexplained = max(y_squared - np.sum(explained), 0.0) if left else 0.0
    unit = np.trace(regularised @ normal @ regularised) / np.trace(regularised)

    def error(log_reg: Any) -> float:
        penalty = np.exp(log_reg) * unit
        shrunk = penalty / (eigenvalues + penalty)
        residual = unexplained + np.sum(explained * shrunk**2)
        return float(residual / (left + np.sum(shrunk)) ** 2)

    return float(np.exp(minimize_scalar(error, bounds=_LOG_LABEL_REGS, method="bounded").x))
