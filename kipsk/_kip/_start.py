"""What is drawn once, before the first step: held-out rows, the initial support, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from kipsk._checks import refuse
from kipsk._closed_form import _ridge
from kipsk._data import _support
from kipsk._data._coding import Coding, Data
from kipsk._data._splits import held_out_rows
from kipsk._data._support import INITS, Support, gaussian_noise
from kipsk._engine._sizes import slices
from kipsk._estimators._rounding import warn_of_kernel, warn_of_outliers, warn_of_size
from kipsk._kip._settings import Settings
from kipsk._types import AnyArray, Float64s, Floats
from kipsk.kernels._base import JaxKernel, evaluate


class Start(NamedTuple):
    """The start of a run: plain numbers and arrays, which `partial_fit` keeps between calls.

    Attributes
    ----------
    kernels : list of JaxKernel
        With their data-dependent parameters set.
    predict_kernel : JaxKernel
    scale : float
        Deviation of the features.
    support : Support
        The initial support.
    seeds : tuple of two int
        Seeds of the sampled networks and of the augmentation; 0 where nothing is drawn.
    """

    kernels: list[JaxKernel]
    predict_kernel: JaxKernel
    scale: float
    support: Support
    seeds: tuple[int, int]


class Last(NamedTuple):
    """The support of an earlier fit, from which a run goes on.

    Attributes
    ----------
    X, y : ndarrays
        As the estimator published them.
    coding : Coding
        What y stands for.
    size : int or None
        The size that was asked for then; None after a load, when any will do.
    frozen : ndarray of bool of shape (n_s, n_features), or None
        The entries of X that stayed at noise.
    """

    X: Floats
    y: AnyArray
    coding: Coding
    size: int | None
    frozen: NDArray[np.bool_] | None


def hold_out(settings: Settings, data: Data, rng: np.random.RandomState) -> tuple[Data, Data]:
    """Return the rows to train on and `validation_fraction` of each stratum, if it is needed."""
    fraction, is_stopped = settings.looking.validation_fraction, settings.looking.early_stopping
    held_out = np.zeros(len(data.X), bool)
    if fraction and (is_stopped or settings.goal.loss == "platt"):
        held_out = held_out_rows(data.codes, fraction, rng)
    if held_out.any():
        return data.rows(~held_out), data.rows(held_out)
    if is_stopped:
        raise ValueError(
            f"validation_fraction={fraction} of {len(data.X)} rows holds no row out, rounded down, "
            "so early_stopping has nothing to score on: raise it, or set early_stopping=False."
        )
    return data, data.rows(held_out)


def start_of(
    settings: Settings, data: Data, rng: np.random.RandomState, last: Last | None = None
) -> Start:
    """Draw all that is drawn once.

    Parameters
    ----------
    settings : Settings
    data : Data
        In the units that the kernel sees.
    rng : RandomState
    last : Last or None
        The support to go on from; None draws one, or takes the arrays that `init` is.
    """
    warn_of_outliers(settings.owner, data.X)
    warn_of_size(settings.owner, data.X)
    kernels = [kernel.resolve(data.X) for kernel in settings.kernels.members]
    warn_of_kernel(settings.owner, kernels[0], data.X)
    predict_kernel = kernels[0].for_prediction()
    if settings.kernels.predict is not None:
        predict_kernel = settings.kernels.predict.resolve(data.X)
    init, size = settings.beginning.init, settings.beginning.size
    is_drawn = last is None and isinstance(init, str)
    if last is not None:
        support = _resumed(settings, last, data, rng)
    elif is_drawn:
        support = _support.draw(data, size, init, rng)
    else:
        support = _given(settings, data)
    seeds = _draw_seeds(kernels, settings.rows.augmentation is not None, rng)
    if settings.beginning.corruption:
        support = _corrupted(settings, support, last, data, is_drawn, rng)
    return Start(kernels, predict_kernel, _deviation(data.X), support, seeds)


def start_of_moments(
    settings: Settings,
    kernels: list[JaxKernel],
    seen: tuple[Float64s, Float64s],
    coding: Coding,
    rng: np.random.RandomState,
    last: Last | None,
) -> Start:
    """Return the start of a run that sees moments and no rows.

    Parameters
    ----------
    settings : Settings
    kernels : list of JaxKernel
        Those of the moments.
    seen : tuple of two ndarrays of shape (n_features,)
        Mean and deviation of the features; NaN where private moments do not tell them.
    coding : Coding
    rng : RandomState
    last : Last or None
        The support to go on from.
    """
    owner, init, dtype = settings.owner, settings.beginning.init, settings.rows.dtype
    if settings.beginning.corruption:
        raise refuse(owner, "corruption", "0 in fit_moments", settings.beginning.corruption)
    mean, deviations = seen
    d, k = len(mean), coding.n_outputs
    empty = Data(np.zeros((0, d), dtype), coding, np.zeros(0, np.intp), np.zeros((0, k), dtype))
    if last is not None:
        if last.size not in (None, settings.beginning.size):
            name = coding.size_name
            raise refuse(
                owner, name, f"{last.size} as before: no rows can be added", settings.beginning.size
            )
        support = _resumed(settings, last, empty, rng)
    elif not isinstance(init, str):
        support = _given(settings, empty)
    elif init in ("sample", "noise") and np.isfinite(mean).all():  # "sample" is the default
        codes_s = np.repeat(np.arange(coding.n_strata), settings.beginning.size)
        noise = rng.standard_normal((len(codes_s), d))
        X_s = (mean + deviations * noise).astype(dtype)
        support = Support(X_s, coding.made_targets(empty, X_s, codes_s, "noise"))
        if settings.goal.labels == "fixed" and not support.y.any():
            rule = (
                '"learned" or "solved" in fit_moments from noise, whose targets are the mean of y'
            )
            raise refuse(owner, "labels", rule, "fixed")
    else:
        rule = (
            'a tuple (X, y) of arrays, or "noise" unless the moments are private, in fit_moments, '
        )
        raise refuse(owner, "init", rule + "which sees no rows", init)
    scale = float(np.sqrt(np.mean(deviations**2))) if np.isfinite(mean).all() else 0.0
    if not scale:
        scale = _deviation(support.X)
    predict_kernel = kernels[0].for_prediction()
    if settings.kernels.predict is not None:
        predict_kernel = settings.kernels.predict
        if predict_kernel.resolve(support.X) != predict_kernel:
            rule = "a resolved kernel in fit_moments, which sees no rows: call its resolve(X)"
            raise refuse(owner, "predict_kernel", rule, predict_kernel)
    return Start(kernels, predict_kernel, scale, support, (0, 0))


def _given(settings: Settings, data: Data) -> Support:
    """Return the support that `init` gives as arrays, checked."""
    owner, init, dtype = settings.owner, settings.beginning.init, settings.rows.dtype
    try:
        X_init, y_init = init
    except (TypeError, ValueError):
        rule = f"one of {list(INITS)} or a tuple (X, y) of arrays"
        raise refuse(owner, "init", rule, init) from None
    X_s = check_array(X_init, dtype=dtype, input_name="init[0]", copy=True)
    y_s = data.coding.given(np.asarray(y_init), dtype)
    if X_s.shape[1] != data.X.shape[1] or y_s.shape != (len(X_s), data.coding.n_outputs):
        raise ValueError(
            f"The 'init' parameter of {owner} must hold X of shape (n_support, "
            f"{data.X.shape[1]}) and y of {data.coding.given_rule}. Got X of shape {X_s.shape} "
            f"and y of shape {y_s.shape} instead."
        )
    return Support(X_s, check_array(y_s, dtype=dtype, input_name="init[1]", copy=True))


def _resumed(settings: Settings, last: Last, data: Data, rng: np.random.RandomState) -> Support:
    """Return the support of the last fit, with rows added or taken away for another size."""
    dtype = settings.rows.dtype
    X_s, y_s = last.X.astype(dtype), data.coding.given(last.y, dtype).astype(dtype)
    if X_s.shape[1] != data.X.shape[1] or not last.coding.is_like(data.coding):
        raise ValueError(
            f"To go on from the last fit the data must have its {X_s.shape[1]} features and "
            f"{last.coding}. Got {data.X.shape[1]} features and {data.coding} instead: set "
            "warm_start=False, or use a clone."
        )
    support, size = Support(X_s, y_s), settings.beginning.size
    if last.size is None or size == last.size:
        return support
    init = settings.beginning.init if isinstance(settings.beginning.init, str) else "sample"
    return _support.resize(support, data, size, init, rng)


def _corrupted(
    settings: Settings,
    support: Support,
    last: Last | None,
    data: Data,
    is_drawn: bool,
    rng: np.random.RandomState,
) -> Support:
    """Return the support with the entries that stay: those of the last fit, or drawn now."""
    beginning, X_s = settings.beginning, support.X
    if last is not None and last.frozen is not None:
        if len(last.frozen) != len(X_s):
            name = data.coding.size_name
            raise ValueError(
                f"With corruption a warm start has to have the {name} of the last fit, whose noise "
                f"stays. Got {name}={beginning.size} instead of {last.size}: use a clone."
            )
        return Support(X_s, support.y, support.indices, last.frozen)
    frozen = rng.uniform(size=X_s.shape) < beginning.corruption
    if is_drawn:
        # Such an entry keeps nothing of any one row.
        X_s = np.where(frozen, gaussian_noise(data.X, len(X_s), rng), X_s)
    return Support(X_s, support.y, support.indices, frozen)


def _draw_seeds(
    kernels: Sequence[JaxKernel], is_augmented: bool, rng: np.random.RandomState
) -> tuple[int, int]:
    """Draw the seeds of what every step draws, if it draws anything."""
    is_random = any(kernel._step_function().is_random for kernel in kernels)
    seed = int(rng.randint(2**31)) if is_random else 0
    return seed, int(rng.randint(2**31)) if is_augmented else 0


def _deviation(X: Floats) -> float:
    """Return the root mean square of all entries about their features' means; 1 if it is zero."""
    mean = X.mean(axis=0, dtype=np.float64)
    # In blocks: no second copy of the data.
    squares = [np.sum(np.square(X[s] - mean)) for s in slices(len(X), 4096)]
    return float(np.sqrt(np.sum(squares) / X.size)) or 1.0


def check_start(settings: Settings, start: Start) -> None:
    """Raise ValueError if the initial support's matrix under any kernel cannot be factored.

    The check comes before the first step, so that nobody waits for a run that cannot be published.
    """
    mosaic = settings.beginning.mosaic
    if mosaic is not None and len(start.support.X) % mosaic.n_tiles:
        rule = (
            f"1 for {len(start.support.X)} support rows, of which {mosaic.n_tiles} share one image"
        )
        raise refuse(settings.owner, "factor", rule, mosaic.factor)
    kernels = list(zip(start.kernels, settings.kernels.regs, strict=True))
    if start.predict_kernel is not start.kernels[0]:
        kernels.append((start.predict_kernel, settings.kernels.regs[0]))
    _check_trained(settings, start)
    X_s, y_s = (array.astype(np.float64) for array in (start.support.X, start.support.y))
    for kernel, reg in kernels:
        K_ss = np.asarray(evaluate(kernel._step_function(), X_s))
        _ridge.fit_alpha(K_ss, y_s, reg * np.trace(K_ss) / len(K_ss))


def _check_trained(settings: Settings, start: Start) -> None:
    """Refuse a kernel whose networks are trained where it is one of many, or has no labels yet."""
    given = settings.kernels.given
    is_trained = any(kernel._step_function().is_trained for kernel in start.kernels)
    if is_trained and len(start.kernels) > 1:
        rule = "one kernel, and no list, if networks are trained with the support"
        raise refuse(settings.owner, "kernel", rule, given)
    is_trained |= start.predict_kernel._step_function().is_trained
    if is_trained and settings.goal.labels == "solved":
        rule = '"learned" or "fixed" for TrainedFeatures, whose networks are trained on the labels'
        raise refuse(settings.owner, "labels", rule, "solved")
