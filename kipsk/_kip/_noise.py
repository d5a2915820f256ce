"""Few noisy rows: the ridge that suits their noise, and targets without it.

A support set has as many numbers as a small training set, so it can learn the noise of that. Kernel
ridge regression on all rows, with the ridge of the smallest leave-one-out error, does not: what it
predicts for the rows themselves are targets that have its view of them, the soft targets of a
teacher.
"""

from __future__ import annotations

import numpy as np

from kipsk._checks import refuse
from kipsk._data._coding import Data
from kipsk._estimators._kernel_ridge import QUIET, KernelRidgeNTK
from kipsk._estimators._ridge_choice import searched_regs
from kipsk._kip._settings import Settings
from kipsk._kip._start import Start
from kipsk._types import Floats
from kipsk.kernels._base import JaxKernel

# Rows whose leave-one-out errors are compared: an eigendecomposition of their matrix, once a fit.
_ROWS_OF_RIDGE = 1000

#: Rows of which targets="auto" makes targets without noise, at most: more of them, whose matrix
#: would cost as much as the steps, cannot be learned by heart.
MAX_FEW_ROWS = 3000

#: Rows of which targets="smoothed" does: their matrices take 4 GB.
MAX_SMOOTHED_ROWS = 10_000


def with_found_regs(settings: Settings, start: Start, data: Data) -> Settings:
    """Return the settings with the relative ridges that suit the noise; as they are where dear."""
    regs = [
        kernel.recommended_reg if _is_dear(kernel, data) else best_reg(kernel, data)
        for kernel in start.kernels
    ]
    return settings.with_regs(regs)


def targets_of_steps(settings: Settings, start: Start, data: Data, are_found: bool) -> Floats:
    """Return y, or what is left of it without noise.

    Parameters
    ----------
    settings : Settings
    start : Start
    data : Data
        In the units that the kernel sees.
    are_found : bool
        Whether the settings have the ridges of `with_found_regs`.

    Returns
    -------
    Y : ndarray of shape (n, n_outputs)
    """
    teacher = _teacher(settings, start, data)
    if teacher is None:
        return data.y
    kernel = start.kernels[teacher]
    is_found = are_found and not _is_dear(kernel, data)
    reg = settings.kernels.regs[teacher] if is_found else best_reg(kernel, data)
    # With so small a ridge they would be y, but for rounding.
    return data.y if reg <= kernel.recommended_reg else smoothed(kernel, reg, data)


def _teacher(settings: Settings, start: Start, data: Data) -> int | None:
    """Return the number of the kernel that smooths targets; None if they stay as they are.

    Raises
    ------
    ValueError
        If targets="smoothed" cannot be had.
    """
    wanted, n = settings.goal.targets, len(data.X)
    if wanted == "given":
        return None
    weights = settings.kernels.weights
    fixed = [
        i
        for i, kernel in enumerate(start.kernels)
        if not kernel._step_function().is_random and (weights is None or weights[i] > 0)
    ]
    cheap = next((i for i in fixed if not _is_dear(start.kernels[i], data)), None)
    if wanted == "auto":
        return cheap if settings.goal.loss == "mse" and n <= MAX_FEW_ROWS else None
    if n > MAX_SMOOTHED_ROWS or not fixed:
        rule = f'"auto" or "given" for more than {MAX_SMOOTHED_ROWS} rows, here {n}'
        if not fixed:
            rule = '"auto" or "given" where every kernel is sampled anew at every step'
        raise refuse(settings.owner, "targets", rule, wanted)
    return fixed[0] if cheap is None else cheap


def _is_dear(kernel: JaxKernel, data: Data) -> bool:
    """Return whether the matrix of so many rows costs as much as the steps."""
    return kernel._step_function().is_slow(data.X.shape[1])


def best_reg(kernel: JaxKernel, data: Data) -> float:
    """Return the relative ridge with which some rows predict each other best."""
    some = np.random.RandomState(0).permutation(len(data.X))[:_ROWS_OF_RIDGE]
    rows, regs = data.rows(some), searched_regs(kernel.recommended_reg)
    return KernelRidgeNTK(kernel, reg=regs)._fit(rows.X, rows.y, rows.weight, asker=QUIET).reg_


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
    model = KernelRidgeNTK(kernel, reg=reg)
    alpha = model._fit(data.X, data.y, data.weight, asker=QUIET).dual_coef_
    weight = np.ones(len(data.X)) if data.weight is None else data.weight
    ridge = reg * np.average(kernel.diag(data.X.astype(np.float64)), weights=weight)
    # (K + ridge W^-1) alpha = y, and the predictions are K alpha.
    return (data.y - ridge * alpha / weight[:, None]).astype(data.y.dtype)
