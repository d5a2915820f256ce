"""The labels of a support set for all targets, from sums over blocks of them."""

from __future__ import annotations

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from kipsk._closed_form import _label_solve, _ridge
from kipsk._engine import current, sum_rows
from kipsk._engine._blas import single_threaded_blas
from kipsk._engine._sizes import block_bytes, block_size_for
from kipsk._jax import own_settings
from kipsk._types import Float64s, Floats
from kipsk.kernels._base import KernelFunction, evaluate


@jax.jit
def _normal_equations(
    function: KernelFunction,
    X_s: jax.Array,
    regularised: jax.Array,
    X_t: jax.Array,
    y_t: jax.Array,
    w_t: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    K_st = function.cross(function.prepare(X_s), function.prepare(X_t)).astype(jnp.float64)
    y_t = y_t.astype(jnp.float64)
    if w_t is not None:
        root = jnp.sqrt(w_t.astype(jnp.float64))
        K_st, y_t = K_st * root, y_t * root[:, None]
    A_transposed = _ridge.solve(regularised, K_st)
    return A_transposed @ A_transposed.T, A_transposed @ y_t


def solve_labels_over(
    function: KernelFunction,
    X_s: Floats,
    X: Floats,
    y: Floats,
    reg: float,
    label_reg: float | None,
    block_size: int | str = "auto",
    verbose: int = 0,
    weight: Floats | None = None,
) -> tuple[Float64s, float]:
    """Return the best labels of a support set for all targets, in memory of (n_s, n_s).

    Parameters
    ----------
    function : KernelFunction
    X_s : ndarray of shape (n_s, n_features)
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n, n_outputs)
    reg : float
        Relative ridge of the prediction.
    label_reg : float or None
        Relative ridge of the labels; None chooses it by generalised cross-validation.
    block_size : int or "auto"
        Rows of X in one block.
    verbose : int
        Whether a progress bar is shown.
    weight : ndarray of shape (n,) or None
        How much each row counts; None is 1.

    Returns
    -------
    y_s : ndarray of shape (n_s, n_outputs)
    label_reg : float
    """
    n_features = X.shape[1]
    row_size = n_features + function.row_size(n_features)
    pair_size = function.pair_size(n_features)
    size = block_size_for(block_size, len(X_s), row_size, X.itemsize, pair_size)
    with own_settings():
        K_ss = np.asarray(evaluate(function, X_s.astype(np.float64)))
        ridge = reg * np.trace(K_ss) / len(K_ss)
        # This raises an error that tells the reason if the matrix cannot be factored.
        _ridge.fit_alpha(K_ss, np.ones((len(K_ss), 1)), ridge)
        regularised = _ridge.add_to_diagonal(K_ss, ridge)
        sums = Partial(_normal_equations, function, X_s, regularised)
        is_slow = function.is_slow(n_features)
        # A worker's BLAS has one thread, and the number of threads may change the last bit.
        with single_threaded_blas if is_slow else nullcontext():
            normal, moments = sum_rows(
                sums,
                (X, y) if weight is None else (X, y, weight),
                size,
                engine=current(is_slow),
                task_bytes=block_bytes(size, len(X_s), row_size, X.itemsize),
                progress="labels" if verbose else None,
            )
    if label_reg is None:
        squares = np.sum(np.square(y, dtype=np.float64), axis=1)
        y_squared = float(np.sum(squares if weight is None else weight * squares))
        label_reg = _label_solve.best_label_reg(normal, moments, regularised, y_squared, len(y))
    return _label_solve.solve_labels(normal, moments, regularised, label_reg), label_reg
