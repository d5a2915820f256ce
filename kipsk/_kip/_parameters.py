"""The parameters of KIPDistiller and KIPRegressor: their rules, and what they stand for."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from kipsk._checks import check_auto, check_fraction, check_integer, check_option, refuse
from kipsk._data._support import INITS
from kipsk._data._weights import check_class_weight
from kipsk._descent import _schedule
from kipsk._distil._mosaic import Mosaic
from kipsk._distil._objective import LOSSES
from kipsk._kip._settings import (
    ALL_ROWS,
    Beginning,
    Goal,
    Kernels,
    Looking,
    Rows,
    Settings,
    Steps,
)
from kipsk._types import Estimator, Float64s, Given
from kipsk.augment._augmentations import get_augmentation
from kipsk.kernels._base import JaxKernel

#: Steps of snapshots="log": as the published sets have them, roughly logarithmic.
_LOG_STEPS = (0, 1, 2, 4, 6, 8, 12, 18, 26, 37, 54, 78, 112, 162, 233, 335, 483, 695)

# How many scores on held-out rows are taken within `n_iter_no_change` steps.
_SCORES_WITHOUT_CHANGE = 5


def settings_of(
    estimator: Estimator, members: Sequence[JaxKernel], predict: JaxKernel | None
) -> Settings:
    """Return what an estimator's parameters stand for.

    Parameters
    ----------
    estimator : KIPDistiller or KIPRegressor
        Its `kernel`, `reg`, `dtype`, `block_size` and `image_shape` are checked already.
    members : sequence of JaxKernel
        The kernels that its `kernel` names.
    predict : JaxKernel or None
        The kernel that its `predict_kernel` names.

    Raises
    ------
    ValueError
        If a parameter breaks its rule; the message says which, and what to give.
    """
    owner = type(estimator).__name__
    return Settings(
        owner,
        _kernels(owner, estimator, members, predict),
        _goal(owner, estimator),
        _beginning(owner, estimator),
        _rows(owner, estimator),
        _steps(owner, estimator, members[0]),
        _looking(owner, estimator),
        estimator.block_size,
    )


def _kernels(
    owner: str, estimator: Estimator, members: Sequence[JaxKernel], predict: JaxKernel | None
) -> Kernels:
    regs = [
        check_auto(owner, "reg", estimator.reg, kernel.recommended_reg, zero=True)
        for kernel in members
    ]
    weights = _weights(owner, estimator.kernel_weights, len(members))
    return Kernels(estimator.kernel, tuple(members), weights, tuple(regs), predict)


def _goal(owner: str, estimator: Estimator) -> Goal:
    labels = check_option(owner, "labels", estimator.labels, ("learned", "fixed", "solved"))
    loss = check_option(owner, "loss", estimator.loss, tuple(LOSSES))
    if loss != "mse" and labels == "solved":  # the closed form minimises the squared error
        raise refuse(owner, "loss", '"mse" with labels="solved"', loss)
    label_reg = check_auto(owner, "label_reg", estimator.label_reg, None, zero=True)
    targets = check_option(owner, "targets", estimator.targets, ("auto", "given", "smoothed"))
    if loss != "mse" and targets == "smoothed":  # their rows are no distributions
        raise refuse(owner, "loss", '"mse" with targets="smoothed"', loss)
    class_weight = getattr(estimator, "class_weight", None)
    check_class_weight(owner, class_weight)
    return Goal(labels, label_reg, loss, targets, estimator._coding.score_name, class_weight)


def _beginning(owner: str, estimator: Estimator) -> Beginning:
    if isinstance(estimator.init, str):
        check_option(owner, "init", estimator.init, INITS, also=" or a tuple (X, y) of arrays")
    name = estimator._coding.size_name
    size = check_integer(owner, name, getattr(estimator, name), minimum=1)
    mosaic = _mosaic(owner, estimator)
    return Beginning(
        estimator.init,
        size if mosaic is None else size * mosaic.n_tiles,
        check_fraction(owner, "corruption", estimator.corruption),
        _switch(owner, "warm_start", estimator.warm_start),
        mosaic,
    )


def _mosaic(owner: str, estimator: Estimator) -> Mosaic | None:
    """Return what support rows share their storage in, if they do."""
    factor = check_integer(owner, "factor", getattr(estimator, "factor", 1), minimum=1)
    if factor == 1:
        return None
    shape = estimator.image_shape or getattr(estimator.kernel, "image_shape", None)
    if shape is None:
        rule = "(height, width, channels) of the images whose mosaics are stored with 'factor'"
        raise refuse(owner, "image_shape", rule, None)
    if shape[0] % factor or shape[1] % factor:
        rule = f"a divisor of the sides of images, {shape[0]} and {shape[1]}"
        raise refuse(owner, "factor", rule, factor)
    for name, off in (("corruption", "0"), ("warm_start", "False")):
        if getattr(estimator, name):
            raise refuse(owner, name, f"{off} with a 'factor' > 1", getattr(estimator, name))
    height, breadth, channels = (int(n) for n in shape)
    return Mosaic((height, breadth, channels), factor)


def _rows(owner: str, estimator: Estimator) -> Rows:
    _check_transformer(owner, estimator.preprocess)
    shape = estimator.image_shape
    return Rows(
        get_augmentation(owner, estimator.augment),
        None if shape is None else tuple(int(n) for n in shape),
        estimator.preprocess,
        estimator.dtype,
    )


def _steps(owner: str, estimator: Estimator, first: JaxKernel) -> Steps:
    batch_size: int | str = estimator.batch_size
    if isinstance(batch_size, str) and batch_size == "auto":
        batch_size = first.recommended_batch_size
    elif not (isinstance(batch_size, str) and batch_size == ALL_ROWS):
        also = ', "all" or "auto"'
        batch_size = check_integer(owner, "batch_size", batch_size, minimum=1, also=also)
    max_iter = check_integer(owner, "max_iter", estimator.max_iter, minimum=1)
    auto = first.recommended_learning_rate
    rate = check_auto(owner, "learning_rate", estimator.learning_rate, auto)
    schedule, optimizer = estimator.schedule, estimator.optimizer
    if not callable(schedule):
        also = " or a function of the step, such as an optax schedule"
        check_option(owner, "schedule", schedule, _schedule.SCHEDULES, also=also)
    is_rate_free = _schedule.is_transformation(optimizer)
    if is_rate_free:
        rates = -np.ones(max_iter)  # optax's updates are there to be added
    else:
        also = " or an optax.GradientTransformation"
        check_option(owner, "optimizer", optimizer, _schedule.OPTIMIZERS, also=also)
        rates = _schedule.learning_rates(schedule, rate, max_iter)
        optimizer = _schedule.get_optimizer(optimizer)
    function = schedule if callable(schedule) else None
    return Steps(optimizer, rate, rates, function, is_rate_free, batch_size)


def _looking(owner: str, estimator: Estimator) -> Looking:
    fraction = check_fraction(owner, "validation_fraction", estimator.validation_fraction)
    is_stopped = _switch(owner, "early_stopping", estimator.early_stopping)
    if is_stopped and not fraction:
        raise refuse(owner, "validation_fraction", "a number > 0 and < 1 with early_stopping", 0)
    patience = check_integer(owner, "n_iter_no_change", estimator.n_iter_no_change, minimum=1)
    interval = estimator.checkpoint_interval
    _check_path(owner, estimator.checkpoint_path)
    return Looking(
        is_stopped,
        fraction,
        patience,
        max(1, patience // _SCORES_WITHOUT_CHANGE),
        _snapshots(owner, estimator.snapshots, estimator.max_iter),
        check_integer(owner, "checkpoint_interval", interval, minimum=1),
        estimator.verbose,
    )


def _switch(owner: str, name: str, value: Given) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise refuse(owner, name, "True or False", value)
    return bool(value)


def _weights(owner: str, weights: Given, n_kernels: int) -> Float64s | None:
    if weights is None:
        return None
    rule = f"None or {n_kernels} numbers >= 0, one for each kernel, whose sum is not 0"
    try:
        values = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise refuse(owner, "kernel_weights", rule, weights) from None
    good = values.shape == (n_kernels,) and np.isfinite(values).all() and (values >= 0).all()
    if not good or not values.sum():
        raise refuse(owner, "kernel_weights", rule, weights)
    return values / values.sum()


def _snapshots(owner: str, snapshots: Given, max_iter: int) -> frozenset[int]:
    if snapshots is None:
        return frozenset()
    if isinstance(snapshots, str):
        check_option(owner, "snapshots", snapshots, ("log",), also=", None or a list of steps")
        later = range(1000, max_iter + 1, 500)
        return frozenset(step for step in (*_LOG_STEPS, *later, max_iter) if step <= max_iter)
    rule = "None, 'log' or a list of steps, integers >= 0"
    if not isinstance(snapshots, Sequence | np.ndarray | set | frozenset | range):
        raise refuse(owner, "snapshots", rule, snapshots)
    for step in snapshots:
        check_integer(owner, "snapshots", step, minimum=0, also=" in a list of steps")
    return frozenset(int(step) for step in snapshots if step <= max_iter)


def _check_transformer(owner: str, preprocess: Given) -> None:
    methods = ("fit", "transform", "get_params")
    is_one = all(hasattr(preprocess, method) for method in methods)
    if preprocess is not None and (not is_one or isinstance(preprocess, type)):
        rule = "None or a transformer, a scikit-learn estimator with fit and transform"
        raise refuse(owner, "preprocess", rule, preprocess)


def _check_path(owner: str, path: Given) -> None:
    if path is None:
        return
    if not isinstance(path, str | os.PathLike):
        raise refuse(owner, "checkpoint_path", "None or the path of a file", path)
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise refuse(owner, "checkpoint_path", "a file in a folder that exists", os.fspath(path))
