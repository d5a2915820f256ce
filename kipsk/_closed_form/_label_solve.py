"""Label Solve in closed form: the labels of a support set that predict the targets best."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize_scalar

from kipsk._closed_form._ridge import solve
from kipsk._jax import own_settings
from kipsk._types import Float64s

# Logarithms of the relative ridges of labels that are searched: from rounding to one.
_LOG_LABEL_REGS = (-30.0, 0.0)


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


def solved_alpha_and_mean_leverage(
    products: Array, moments: Array, regularised: Array, label_reg: Array | float, n: Array | float
) -> tuple[Array, Array]:
    """Return the dual coefficients of the best labels, and the mean of all targets' leverages.

    `products` and `moments` are means over n targets. Residuals over one minus the mean leverage
    stand for those of labels solved without each target (generalised cross-validation).
    """
    matrix = penalised(products, regularised, label_reg)
    solved = solve(matrix, jnp.concatenate([moments, products], axis=1))
    n_outputs = moments.shape[1]
    return solved[:, :n_outputs], jnp.trace(solved[:, n_outputs:]) / n


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


_solved_alpha = jax.jit(solved_alpha)


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
        ``A^T A`` summed over all targets. ``K_st K_ts`` would not do: its condition number is that
        of A^T A times the square of that of K_ss.
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
        with own_settings():
            alpha = _solved_alpha(products, regularised @ moments, regularised, label_reg)
        labels = regularised @ np.asarray(alpha)
        if np.isfinite(labels).all():
            return labels
        # The penalty is below rounding: what follows is its limit, the exact labels.
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
        The number of targets.
    """
    L = np.linalg.cholesky(regularised)
    eigenvalues, Q = np.linalg.eigh(L.T @ normal @ L)
    squares = np.sum((Q.T @ (L.T @ moments)) ** 2, axis=1)
    kept = eigenvalues > len(eigenvalues) * np.finfo(float).eps * eigenvalues[-1]
    eigenvalues, explained = eigenvalues[kept], squares[kept] / eigenvalues[kept]
    # The part of the targets that no labels explain. There is none where the targets are no more
    # than the directions.
    left = max(n_rows - len(eigenvalues), 0)
    unexplained = max(y_squared - np.sum(explained), 0.0) if left else 0.0
    unit = np.trace(regularised @ normal @ regularised) / np.trace(regularised)

    def error(log_reg: Any) -> float:
        penalty = np.exp(log_reg) * unit
        shrunk = penalty / (eigenvalues + penalty)
        residual = unexplained + np.sum(explained * shrunk**2)
        return float(residual / (left + np.sum(shrunk)) ** 2)

    return float(np.exp(minimize_scalar(error, bounds=_LOG_LABEL_REGS, method="bounded").x))
