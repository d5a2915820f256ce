"""Kernel ridge regression in closed form: regularise, factor, solve, predict.

Notation: ``K_ss`` (n_s, n_s) between support rows, ``K_st`` (n_s, n_t) from support to target rows
(the transpose of the K_ts of the papers: kernels fill it row by row, and the gradient with respect
to the support is then a plain product), ``y_s`` (n_s, n_outputs), ``alpha`` the dual coefficients.
The ridge is relative, ``reg * trace(K_ss) / n_s``. All solves are in float64.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve

from kipsk._closed_form import _cholesky
from kipsk._closed_form._products import matmul
from kipsk._types import Float64s


def regularise(K_ss: Array, reg: Array | float) -> Array:
    """Return ``K_ss + reg * trace(K_ss) / n_s * I``."""
    n_s = len(K_ss)
    return K_ss + (reg * jnp.trace(K_ss) / n_s) * jnp.eye(n_s, dtype=K_ss.dtype)


def solve(matrix: Array, right_side: Array) -> Array:
    """Solve with a symmetric positive definite float64 matrix; NaN where it is not that."""
    return cho_solve(cho_factor(matrix, lower=True), right_side.astype(matrix.dtype))


def predict(K_st: Array, alpha: Array) -> Array:
    """Return ``K_ts alpha``, of shape (n_t, n_outputs), in the precision of K_st."""
    return matmul(K_st.T, alpha.astype(K_st.dtype))


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
    try:
        alpha = _cholesky.solve(_cholesky.factor(regularised.copy()), y_s)
    except np.linalg.LinAlgError:
        raise not_positive_definite(K_ss, ridge, what) from None
    # Rounding may let the factorisation of a singular matrix pass; the result then is no solution.
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
        advice = "raise 'reg', remove duplicate rows, or, if features are far from zero or of very "
        advice += "different scale, put StandardScaler in front"
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
