"""Few noisy rows: the ridge that suits their noise, and targets without it.

A support set has as many numbers as a small training set, so it can learn the noise of that. Kernel
ridge regression on all rows, with the ridge of the smallest leave-one-out error, does not: what it
predicts for the rows themselves are targets that have its view of them, the soft targets of a
teacher.
"""

from __future__ import annotations

import numpy as np

from kipsk._data._coding import Data
from kipsk._estimators._kernel_ridge import QUIET, KernelRidgeNTK
from kipsk._estimators._ridge_choice import searched_regs
from kipsk._kip._settings import Settings
from kipsk._kip._start import Start
from kipsk._types import Floats
from kipsk.kernels._base import JaxKernel

# Rows whose leave-one-out errors are compared: an eigendecomposition of their matrix, once a fit.
_LEAVE_ONE_OUT_ROWS = 1000

#: Rows of which targets="auto" makes targets without noise, at most: more of them, whose matrix
#: would cost as much as the steps, cannot be learned by heart.
MAX_ROWS = 3000


def with_found_regs(settings: Settings, start: Start, data: Data) -> Settings:
    """Return the settings with the relative ridges that suit the noise; as they are where dear."""
    width = data.X.shape[1]
    regs = [
        # The matrix of so many rows is too dear.
        kernel.recommended_reg if kernel._step_function().is_slow(width) else best_reg(kernel, data)
        for kernel in start.kernels
    ]
    return settings.with_regs(regs)


def targets_of_steps(settings: Settings, start: Start, data: Data) -> Floats:
    """Return y, or what is left of it without noise.

    Parameters
    ----------
    settings : Settings
    start : Start
    data : Data
        In the units that the kernel sees.

    Returns
    -------
    Y : ndarray of shape (n, n_outputs)
    """
    kernel = start.kernels[0]
    if not _are_smoothed(settings, kernel, data):
        return data.y
    reg = best_reg(kernel, data)
    # With the smallest ridge of all they would be y, but for rounding.
    return data.y if reg <= kernel.recommended_reg else smoothed(kernel, reg, data)


def best_reg(kernel: JaxKernel, data: Data) -> float:
    """Return the relative ridge with which some rows predict each other best."""
    some = np.random.RandomState(0).permutation(len(data.X))[:_LEAVE_ONE_OUT_ROWS]
    rows, regs = data.rows(some), searched_regs(kernel.recommended_reg)
    return KernelRidgeNTK(kernel, reg=regs)._fit(rows.X, rows.y, asker=QUIET).reg_


def smoothed(kernel: JaxKernel, reg: float, data: Data) -> Floats:
    """Return what kernel ridge regression on all rows predicts for these rows.

    Parameters
    ----------
    kernel : JaxKernel
    reg : float
        Relative ridge.
    data : Data

    Returns
    -------
    Y : ndarray of shape (n, n_outputs)
    """
    alpha = KernelRidgeNTK(kernel, reg=reg)._fit(data.X, data.y, asker=QUIET).dual_coef_
    ridge = reg * np.mean(kernel.diag(data.X.astype(np.float64)))
    # (K + ridge I) alpha = y, and the predictions are K alpha.
    return (data.y - ridge * alpha).astype(data.y.dtype)


def _are_smoothed(settings: Settings, kernel: JaxKernel, data: Data) -> bool:
    if settings.goal.targets != "auto":
        return settings.goal.targets == "smoothed"
    function = kernel._step_function()
    is_cheap = not function.is_random and not function.is_slow(data.X.shape[1])
    return settings.goal.loss == "mse" and is_cheap and len(data.X) <= MAX_ROWS
