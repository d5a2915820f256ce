"""What the parameters of KIPDistiller and KIPRegressor stand for, checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kipsk._checks import check_auto, check_fraction, check_integer, check_option, refuse
from kipsk._data._support import INITS
from kipsk._descent import _schedule
from kipsk.augment._augmentations import get_augmentation
from kipsk.kernels._base import JaxKernel

#: label_reg="auto" starts here, and learns from there.
START_LABEL_REG = 1e-4

#: Steps of snapshots="log": as the published sets have them, roughly logarithmic.
_LOG_STEPS = (0, 1, 2, 4, 6, 8, 12, 18, 26, 37, 54, 78, 112, 162, 233, 335, 483, 695)

# Scores on held-out rows while the best one may still be beaten: so many.
_SCORES_WITHOUT_CHANGE = 5


class Settings(NamedTuple):
    """Parameters of KIPDistiller or KIPRegressor with "auto" replaced.

    Attributes
    ----------
    kernels : list of JaxKernel
        As given; one unless it is a family.
    predict_kernel : JaxKernel or None
    weights : ndarray or None
        Probabilities of drawing each.
    regs : list of float
        Of each kernel.
    label_reg : float or None
        None learns it.
    learning_rate : float
    rates : ndarray of shape (max_iter,)
        Sizes of all steps.
    optimizer : optax.GradientTransformation
    batch_size : int
    size : int
        Support rows, of each class or of all.
    corruption : float
    augmentation : callable or None
    snapshots : frozenset of int
    score_every : int
        Steps between two scores on held-out rows.
    """

    kernels: list[JaxKernel]
    predict_kernel: JaxKernel | None
    weights: NDArray[np.float64] | None
    regs: list[float]
    label_reg: float | None
    learning_rate: float
    rates: NDArray[np.floating]
    optimizer: Any
    batch_size: int
    size: int
    corruption: float
    augmentation: Any
    snapshots: frozenset[int]
    score_every: int


def check_settings(
    estimator: Any, kernels: list[JaxKernel], predict_kernel: JaxKernel | None
) -> Settings:
    """Return what the parameters stand for; raise ValueError for one that breaks its rule."""
    name = type(estimator).__name__
    first = kernels[0]
    check_option(name, "labels", estimator.labels, ("learned", "fixed", "solved"))
    check_option(name, "loss", estimator.loss, ("mse", "platt"))
    if estimator.loss == "platt" and estimator.labels == "solved":
        raise refuse(name, "loss", '"mse" with labels="solved"', estimator.loss)
    check_fraction(name, "validation_fraction", estimator.validation_fraction)
    for switch in ("early_stopping", "warm_start"):
        if not isinstance(getattr(estimator, switch), bool | np.bool_):
            raise refuse(name, switch, "True or False", getattr(estimator, switch))
    if estimator.early_stopping and not estimator.validation_fraction:
        raise refuse(name, "validation_fraction", "a number > 0 and < 1 with early_stopping", 0)
    patience = check_integer(name, "n_iter_no_change", estimator.n_iter_no_change, minimum=1)
    check_integer(name, "checkpoint_interval", estimator.checkpoint_interval, minimum=1)
    _check_path(name, estimator.checkpoint_path)
    batch_size = first.recommended_batch_size
    if estimator.batch_size != "auto":
        batch_size = check_integer(
            name, "batch_size", estimator.batch_size, minimum=1, also=' or "auto"'
        )
    size_name = estimator._coding.size_name
    size = check_integer(name, size_name, getattr(estimator, size_name), minimum=1)
    _check_transformer(name, estimator.preprocess)
    if isinstance(estimator.init, str):
        check_option(name, "init", estimator.init, INITS, also=" or a tuple (X, y) of arrays")
    max_iter = check_integer(name, "max_iter", estimator.max_iter, minimum=1)
    label_reg = check_auto(name, "label_reg", estimator.label_reg, None, zero=True)
    learning_rate = check_auto(
        name, "learning_rate", estimator.learning_rate, first.recommended_learning_rate
    )
    optimizer, rates = _optimizer(name, estimator, learning_rate, max_iter)
    return Settings(
        kernels,
        predict_kernel,
        _weights(name, estimator.kernel_weights, len(kernels)),
        [check_auto(name, "reg", estimator.reg, k.recommended_reg, zero=True) for k in kernels],
        label_reg,
        learning_rate,
        rates,
        optimizer,
        batch_size,
        size,
        check_fraction(name, "corruption", estimator.corruption),
        get_augmentation(name, estimator.augment),
        _snapshots(name, estimator.snapshots, max_iter),
        max(1, patience // _SCORES_WITHOUT_CHANGE),
    )


def _optimizer(
    name: str, estimator: Any, learning_rate: float, max_iter: int
) -> tuple[Any, NDArray[np.floating]]:
    if not callable(estimator.schedule):
        also = " or a function of the step, such as an optax schedule"
        check_option(name, "schedule", estimator.schedule, _schedule.SCHEDULES, also=also)
    if _schedule.is_transformation(estimator.optimizer):
        return estimator.optimizer, -np.ones(max_iter)  # optax's updates are there to be added
    also = " or an optax.GradientTransformation"
    check_option(name, "optimizer", estimator.optimizer, _schedule.OPTIMIZERS, also=also)
    rates = _schedule.learning_rates(estimator.schedule, learning_rate, max_iter)
    return _schedule.get_optimizer(estimator.optimizer), rates


def _weights(name: str, weights: Any, n_kernels: int) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    rule = f"None or {n_kernels} numbers >= 0, one for each kernel, whose sum is not 0"
    try:
        values = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise refuse(name, "kernel_weights", rule, weights) from None
    good = values.shape == (n_kernels,) and np.isfinite(values).all() and (values >= 0).all()
    if not good or not values.sum():
        raise refuse(name, "kernel_weights", rule, weights)
    return values / values.sum()


def _snapshots(name: str, snapshots: Any, max_iter: int) -> frozenset[int]:
    if snapshots is None:
        return frozenset()
    if isinstance(snapshots, str):
        check_option(name, "snapshots", snapshots, ("log",), also=", None or a list of steps")
        later = range(1000, max_iter + 1, 500)
        return frozenset(step for step in (*_LOG_STEPS, *later, max_iter) if step <= max_iter)
    rule = "None, 'log' or a list of steps, integers >= 0"
    if not isinstance(snapshots, Sequence | np.ndarray | set | frozenset | range):
        raise refuse(name, "snapshots", rule, snapshots)
    for step in snapshots:
        check_integer(name, "snapshots", step, minimum=0, also=" in a list of steps")
    return frozenset(int(step) for step in snapshots if step <= max_iter)


def _check_transformer(name: str, preprocess: Any) -> None:
    methods = ("fit", "transform", "get_params")
    is_one = all(hasattr(preprocess, method) for method in methods)
    if preprocess is not None and (not is_one or isinstance(preprocess, type)):
        rule = "None or a transformer, a scikit-learn estimator with fit and transform"
        raise refuse(name, "preprocess", rule, preprocess)


def _check_path(name: str, path: Any) -> None:
    if path is None:
        return
    if not isinstance(path, str | os.PathLike):
        raise refuse(name, "checkpoint_path", "None or the path of a file", path)
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise refuse(name, "checkpoint_path", "a file in a folder that exists", os.fspath(path))
