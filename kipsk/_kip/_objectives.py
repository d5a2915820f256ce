"""From settings and a start to what a run descends on: objectives, their parameters, batches."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk._checks import refuse
from kipsk._closed_form._quadratic import Quadratic
from kipsk._data._coding import Data
from kipsk._data._splits import balanced_batches
from kipsk._distil._moments import Way, sums_over
from kipsk._distil._objective import LOSSES, Labels, Objective, Params
from kipsk._distil._problem import Problem
from kipsk._distil._targets import Change, Form, Targets
from kipsk._kip._settings import ALL_ROWS, Settings
from kipsk._kip._start import Start
from kipsk._types import Floats, PyTree
from kipsk.augment import _apply
from kipsk.augment._augmentations import mixes_rows, without_flip
from kipsk.kernels._base import PRNG, KernelFunction

#: label_reg="auto" is learned from here.
START_LABEL_REG = 1e-4

#: How many times an augmentation is drawn for each row of a pass over all rows.
DRAWS = 4

#: Bytes that H may take, in float64 and as the steps see it.
MAX_BYTES = 16 * 2**30


def problem_of(
    settings: Settings, start: Start, preprocess: PyTree, rng: np.random.RandomState
) -> Problem:
    """Return what a run descends on.

    Parameters
    ----------
    settings : Settings
    start : Start
    preprocess : callable pytree or None
        What augmented rows go through before the kernel sees them.
    rng : RandomState
        Draws the order of batches and kernels.
    """
    objectives = objectives_of(settings, start)
    return Problem(
        objectives,
        settings.kernels.weights,
        _form(settings, start, preprocess, [one.function for one in objectives]),
        settings.steps.optimizer,
        params_of(start, objectives[0]),
        rng,
        settings.block_size,
    )


def objectives_of(settings: Settings, start: Start) -> list[Objective]:
    """Return the loss under each kernel."""
    goal, support = settings.goal, start.support
    key = jax.random.key(start.seeds[0], impl=PRNG)
    are_solved = goal.labels == "solved"
    labels = Labels(
        fixed=None if goal.labels == "learned" else jnp.asarray(support.y),
        reg=goal.label_reg if are_solved else 0.0,
        are_solved=are_solved,
    )
    frozen = None
    if support.frozen is not None:
        frozen = jnp.asarray(support.frozen), jnp.asarray(support.X)
    return [
        Objective(
            kernel._step_function().draw(key),
            reg,
            start.scale,
            labels,
            frozen,
            loss=goal.loss,
            score_name=goal.score_name,
            mosaic=settings.beginning.mosaic,
        )
        for kernel, reg in zip(start.kernels, settings.kernels.regs, strict=True)
    ]


def params_of(start: Start, objective: Objective) -> Params:
    """Return what is learned, at its start."""
    X_s = start.support.X
    params = {"X": jnp.asarray(X_s / X_s.dtype.type(start.scale))}
    if objective.mosaic is not None:
        params["X"] = objective.mosaic.stored(params["X"])
    if objective.labels.are_solved:
        if objective.labels.reg is None:
            params["log_label_reg"] = jnp.asarray(np.log(START_LABEL_REG), X_s.dtype)
    elif objective.labels.fixed is None:
        params["y"] = jnp.asarray(start.support.y)
    for name, number in LOSSES[objective.loss].start.items():
        params[name] = jnp.asarray(number, X_s.dtype)
    return params


def _form(
    settings: Settings, start: Start, preprocess: PyTree, functions: list[KernelFunction]
) -> Form:
    """Return the form of targets: prepared once, unless rows or kernel change at every step."""
    change = None
    if settings.rows.augmentation is not None:
        key = jax.random.key(start.seeds[1], impl=PRNG)
        change = Change(key, preprocess, settings.rows.augmentation, settings.rows.image_shape)
    is_one_kernel = len(functions) == 1 and not functions[0].is_random
    return Form(functions[0] if change is None and is_one_kernel else None, change)


def batches_of(problem: Problem, data: Data, batch_size: int | str) -> list[Targets]:
    """Return the target batches on the device."""
    size = len(data.X) if batch_size == ALL_ROWS else int(batch_size)
    indices = balanced_batches(data.codes, size, problem.rng)
    # A single batch is all rows in their order: no copy.
    parts = [data] if len(indices) == 1 else (data.rows(rows) for rows in indices)
    return [problem.form(part.X, part.y, part.weight) for part in parts]


def are_moments(settings: Settings, problem: Problem) -> bool:
    """Return whether the steps see all rows by their moments."""
    n_features = problem.params["X"].shape[1]

    def has_moments(function: KernelFunction) -> bool:
        return function.is_finite and 12 * function.row_size(n_features) ** 2 <= MAX_BYTES

    are_finite = all(has_moments(objective.function) for objective in problem.objectives)
    return settings.steps.batch_size == ALL_ROWS and settings.goal.loss == "mse" and are_finite


def moments_of(settings: Settings, problem: Problem, data: Data) -> list[Quadratic]:
    """Return the error over all rows under each kernel, in float64, from one pass each."""
    ways = [way_of(objective.function, problem.form.change) for objective in problem.objectives]
    progress = "moments" if settings.looking.verbose else None
    n_outputs = data.coding.n_outputs
    augmentation, shape = settings.rows.augmentation, settings.rows.image_shape
    if augmentation is not None and mixes_rows(augmentation, data.X[:64], data.y[:64], shape):
        rule = (
            'an augmentation that leaves each row its own target with batch_size="all", where rows '
            "come in their order: give a number as 'batch_size'"
        )
        raise refuse(settings.owner, "augment", rule, augmentation)
    weight = np.ones(len(data.X)) if data.weight is None else data.weight.astype(np.float64)
    found = []
    for way, n_draws in ways:
        sums = sums_over(way, data.X, data.y, weight, n_draws=n_draws, progress=progress)
        found.append(sums.quadratic(np.zeros(n_outputs), np.ones(n_outputs)))
    return found


def way_of(
    function: KernelFunction, change: Change | None, n_draws: int = DRAWS
) -> tuple[Way, int]:
    """Return the way from rows to features, and how many times each row takes it.

    A mirror image is counted beside its image. Other changes are drawn `n_draws` times.
    """
    if change is None:
        return Way(function), 1
    share, rest = without_flip(change.augmentation)
    mirrored = change.image_shape if share else None
    n_draws = 1 if rest is None else n_draws
    if rest is None and change.preprocess is None:
        return Way(function, None, share, mirrored), n_draws
    change = replace(change, augmentation=rest or as_it_is)
    return Way(function, change, share, mirrored), n_draws


def as_it_is(key: Array, images: Array) -> Array:
    """Return the images: no augmentation."""
    return images


def check_batches(settings: Settings, data: Data, start: Start) -> None:
    """Refuse solved labels without a ridge on batches that they fit whatever they hold."""
    n_rows, n_support = len(data.X), len(start.support.X)
    if settings.steps.batch_size != ALL_ROWS:
        n_rows = min(int(settings.steps.batch_size), n_rows)
    label_reg = settings.goal.label_reg
    is_free = settings.goal.labels == "solved" and label_reg is not None and label_reg < 1e-10
    if is_free and n_rows <= n_support:
        rule = f"'auto' or at least 1e-10 with batches of {n_rows} rows for {n_support} labels"
        raise refuse(settings.owner, "label_reg", rule, label_reg)


def check_augmentation(settings: Settings, X: Floats, y: Floats) -> None:
    """Raise ValueError for an augmentation that does not keep rows and targets what they are."""
    rows = settings.rows
    if rows.augmentation is not None:
        _apply.check(settings.owner, rows.augmentation, X, y, rows.image_shape)
