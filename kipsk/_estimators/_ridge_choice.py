"""Kernel ridge regression solved with the best of several ridges, by its leave-one-out error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kipsk._closed_form import _ridge
from kipsk._types import Float64s, Ints

# Relative ridges among which "auto" chooses, besides what the kernel recommends, and of how many
# rows, whose matrix needs an eigendecomposition. How much of y is noise does not depend on n.
_REGS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_LEAVE_ONE_OUT_ROWS = 2000
# Ridges below it may be too small for a kernel matrix that was computed in float32.
_ROUNDING = 1e-4


class Solved(NamedTuple):
    """Dual coefficients, and the ridge that they have.

    Attributes
    ----------
    alpha : ndarray of shape (n, n_outputs)
    reg : float
        The relative ridge.
    errors : ndarray of shape (n_regs,) or None
        The mean squared leave-one-out error of each ridge; None if there was no choice.
    """

    alpha: Float64s
    reg: float
    errors: Float64s | None


def searched_regs(recommended: float) -> list[float]:
    """Return the relative ridges among which the leave-one-out error chooses."""
    return sorted({recommended, *_REGS})


def solved(
    K: Float64s, targets: Float64s, mean: float, root: Float64s, regs: Float64s, is_auto: bool
) -> Solved:
    """Return the dual coefficients under the best ridge.

    Parameters
    ----------
    K, targets : ndarrays of shape (n, n) and (n, n_outputs)
        Scaled by the roots of the weights.
    mean : float
        What the ridges are relative to.
    root : ndarray of shape (n,)
        The roots of the weights.
    regs : ndarray of shape (n_regs,)
    is_auto : bool
        Whether the user named no ridges. Then at most 2000 of the rows decide, and a matrix that a
        large ridge alone makes positive definite is refused.
    """
    if len(regs) == 1:
        return Solved(_ridge.fit_alpha(K, targets, regs[0] * mean), float(regs[0]), None)
    rows: slice | Ints = slice(None)
    if is_auto and len(K) > _LEAVE_ONE_OUT_ROWS:
        rows = np.random.RandomState(0).permutation(len(K))[:_LEAVE_ONE_OUT_ROWS]
    residuals, alphas = _ridge.leave_one_out(K[rows][:, rows], targets[rows], regs * mean)
    total = np.sum(root[rows] ** 2) * targets.shape[1]
    errors = np.sum(residuals**2, axis=(1, 2)) / total
    best = int(np.argmin(errors))
    # "auto" does not hide with a large ridge that a matrix is no kernel's; beyond rounding.
    largest = int(np.argmax(regs))
    needed = int(np.searchsorted(regs, _ROUNDING)) if is_auto else largest
    if not np.isfinite(errors[needed]):
        raise _ridge.not_positive_definite(K, regs[needed] * mean, "K_ss")
    reg = float(regs[best])
    if len(residuals[best]) < len(K):
        return Solved(_ridge.fit_alpha(K, targets, reg * mean), reg, errors)
    return Solved(alphas[best], reg, errors)
