"""What is decided before KIP's first step, and the objective and batches made of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from kipsk._checks import refuse
from kipsk._closed_form import _ridge
from kipsk._data._coding import Data
from kipsk._data._splits import balanced_batches, held_out_rows
from kipsk._data._support import INITS, gaussian_noise
from kipsk._distil._objective import Objective, Targets
from kipsk._engine._sizes import slices
from kipsk._kip._parameters import START_LABEL_REG, Settings
from kipsk._kip._preprocess import as_function, check_function
from kipsk.augment import _apply
from kipsk.kernels._base import PRNG, JaxKernel, evaluate, prepare

#: Start of log(s) in the loss "platt": learned from 0 the first hundred steps are slower, and it
#: ends between 1.5 and 2 on images.
_LOG_SCALE = 1.5


class Start(NamedTuple):
    """Plain numbers and arrays, so that it can be stored.

    Attributes
    ----------
    kernels : list of JaxKernel
        With their data-dependent parameters set.
    predict_kernel : JaxKernel
    scale : float
        Deviation of the features.
    X_s, y_s : ndarrays of shapes (n_s, n_features) and (n_s, n_outputs)
        The initial support, with its targets.
    frozen : ndarray of bool of shape (n_s, n_features), or None
        Entries of X_s that stay.
    seeds : tuple of int
        Of the networks and of the augmentation of each step.
    """

    kernels: list[JaxKernel]
    predict_kernel: JaxKernel
    scale: float
    X_s: NDArray[Any]
    y_s: NDArray[Any]
    frozen: NDArray[np.bool_] | None
    seeds: tuple[int, int]


def hold_out(estimator: Any, data: Data, rng: np.random.RandomState) -> tuple[Data, Data]:
    """Return the rows to train on and `validation_fraction` of each stratum, if it is needed."""
    fraction, is_stopped = estimator.validation_fraction, estimator.early_stopping
    held_out = np.zeros(len(data.X), bool)
    if fraction and (is_stopped or estimator.loss == "platt"):
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
    estimator: Any,
    settings: Settings,
    data: Data,
    rng: np.random.RandomState,
    goes_on: bool | None = None,
) -> Start:
    """Draw all that is drawn once.

    Parameters
    ----------
    estimator : KIPDistiller or KIPRegressor
    settings : Settings
    data : Data
        In the units that the kernel sees.
    rng : RandomState
    goes_on : bool
        Whether to start from the support of the last fit; by default what `warm_start` says.
    """
    goes_on = (estimator.warm_start if goes_on is None else goes_on) and hasattr(estimator, "X_s_")
    kernels = [kernel.resolve(data.X) for kernel in settings.kernels]
    predict_kernel = kernels[0].for_prediction()
    if settings.predict_kernel is not None:
        predict_kernel = settings.predict_kernel.resolve(data.X)
    is_drawn = False
    if goes_on:
        X_s, y_s = _last_support(estimator, settings, data, rng)
    elif isinstance(estimator.init, str):
        X_s, y_s, _ = data.coding.draw(data, settings.size, estimator.init, rng)
        is_drawn = True
    else:
        X_s, y_s = _given_support(type(estimator).__name__, estimator.init, data, estimator.dtype)
    seeds = _draw_seeds(kernels, settings.augmentation, rng)
    frozen = None
    if goes_on and settings.corruption and hasattr(estimator, "frozen_"):
        if len(estimator.frozen_) != len(X_s):
            raise ValueError(
                f"With corruption a warm start has to have the {data.coding.size_name} of the last "
                f"fit, whose noise stays. Got {data.coding.size_name}={settings.size} instead of "
                f"{estimator._size}: use a clone."
            )
        frozen = estimator.frozen_
    elif settings.corruption:
        frozen = rng.uniform(size=X_s.shape) < settings.corruption
        if is_drawn:
            # Nothing of any one row is left in such an entry.
            X_s = np.where(frozen, gaussian_noise(data.X, len(X_s), rng), X_s)
    return Start(kernels, predict_kernel, _deviation(data.X), X_s, y_s, frozen, seeds)


def _given_support(
    owner: str, init: Any, data: Data, dtype: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return rows and targets that are given as arrays, checked."""
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
    return X_s, check_array(y_s, dtype=dtype, input_name="init[1]", copy=True)


def _last_support(
    estimator: Any, settings: Settings, data: Data, rng: np.random.RandomState
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the support of the last fit, with rows added or taken away for another size."""
    dtype, last = estimator.dtype, data.coding.of_fitted(estimator)
    X_s, y_s = estimator.X_s_.astype(dtype), data.coding.given(estimator.y_s_, dtype).astype(dtype)
    if X_s.shape[1] != data.X.shape[1] or not last.is_like(data.coding):
        raise ValueError(
            f"To go on from the last fit the data must have its {X_s.shape[1]} features and "
            f"{last}. Got {data.X.shape[1]} features and {data.coding} instead: set "
            "warm_start=False, or use a clone."
        )
    if settings.size == getattr(estimator, "_size", settings.size):
        return X_s, y_s
    init = estimator.init if isinstance(estimator.init, str) else "sample"
    return data.coding.resize(X_s, y_s, data, settings.size, init, rng)


def _draw_seeds(
    kernels: list[JaxKernel], augmentation: Any, rng: np.random.RandomState
) -> tuple[int, int]:
    """Draw what each step's draws start from, if there are any."""
    is_random = any(kernel.function().is_random for kernel in kernels)
    seed = int(rng.randint(2**31)) if is_random else 0
    return seed, int(rng.randint(2**31)) if augmentation is not None else 0


def _deviation(X: NDArray[Any]) -> float:
    """Return the root mean square of all entries about their features' means; 1 if they are."""
    mean = X.mean(axis=0, dtype=np.float64)
    # In blocks: no second copy of the data.
    squares = [np.sum(np.square(X[s] - mean)) for s in slices(len(X), 4096)]
    return float(np.sqrt(np.sum(squares) / X.size)) or 1.0


def objectives_of(
    estimator: Any, settings: Settings, start: Start, preprocess: Any
) -> list[Objective]:
    """Return the loss under each kernel; `preprocess` is that of augmented rows, or None."""
    functions = [kernel.function() for kernel in start.kernels]
    augmentation = settings.augmentation
    is_random = any(function.is_random for function in functions)
    label_reg = settings.label_reg if estimator.labels == "solved" else 0.0
    keys = [jax.random.key(seed, impl=PRNG) for seed in start.seeds]
    shape, frozen = estimator.image_shape, start.frozen
    return [
        Objective(
            function,
            reg,
            label_reg,
            start.scale,
            y_s=None if estimator.labels == "learned" else jnp.asarray(start.y_s),
            solves_labels=estimator.labels == "solved",
            loss=estimator.loss,
            score_name=estimator._coding.score_name,
            key=keys[0] if function.is_random else None,
            frozen=None if frozen is None else (jnp.asarray(frozen), jnp.asarray(start.X_s)),
            takes_rows=augmentation is not None or len(functions) > 1 or is_random,
            augment_key=None if augmentation is None else keys[1],
            augmentation=augmentation,
            image_shape=None if shape is None else tuple(int(n) for n in shape),
            preprocess=preprocess,
        )
        for function, reg in zip(functions, settings.regs, strict=True)
    ]


def check_start(settings: Settings, start: Start) -> None:
    """Raise ValueError if the initial support's matrix under any kernel cannot be factored.

    Now, and not after the last step.
    """
    kernels = list(zip(start.kernels, settings.regs, strict=True))
    if start.predict_kernel is not start.kernels[0]:
        kernels.append((start.predict_kernel, settings.regs[0]))
    for kernel, reg in kernels:
        K_ss = np.asarray(evaluate(kernel.function(), start.X_s.astype(np.float64)))
        _ridge.fit_alpha(K_ss, start.y_s.astype(np.float64), reg * np.trace(K_ss) / len(K_ss))


def in_steps(
    estimator: Any, settings: Settings, transformer: Any, rows: Data | None, data: Data | None
) -> Any:
    """Return the fitted `preprocess` as a function of augmented rows; None if it is not needed.

    Raises ValueError for one that does not turn `rows` into `data` in JAX.
    """
    if settings.augmentation is None or transformer is None:
        return None
    owner = type(estimator).__name__
    function = as_function(owner, transformer, estimator.dtype)
    if rows is not None and data is not None:
        check_function(owner, function, rows.X[:64], data.X[:64])
    return function


def check_batches(estimator: Any, settings: Settings, data: Data, start: Start) -> None:
    """Refuse solved labels without a ridge on batches that they fit whatever they hold."""
    n_rows, n_support = min(settings.batch_size, len(data.X)), len(start.X_s)
    label_reg = settings.label_reg
    is_free = estimator.labels == "solved" and label_reg is not None and label_reg < 1e-10
    if is_free and n_rows <= n_support:
        rule = f"'auto' or at least 1e-10 with batches of {n_rows} rows for {n_support} labels"
        raise refuse(type(estimator).__name__, "label_reg", rule, label_reg)


def params_of(start: Start, objective: Objective) -> dict[str, jax.Array]:
    """Return what is learned, at its start."""
    dtype = start.X_s.dtype
    params = {"X": jnp.asarray(start.X_s / dtype.type(start.scale))}
    if objective.solves_labels:
        if objective.label_reg is None:
            params["log_label_reg"] = jnp.asarray(np.log(START_LABEL_REG), dtype)
    elif objective.y_s is None:
        params["y"] = jnp.asarray(start.y_s)
    if objective.loss == "platt":
        params["log_scale"] = jnp.asarray(_LOG_SCALE, dtype)
    return params


def check_augmentation(estimator: Any, settings: Settings, data: Data) -> None:
    """Raise ValueError for an augmentation that does not keep rows and targets what they are."""
    if settings.augmentation is not None:
        owner = type(estimator).__name__
        some = as_rows(data.rows(np.arange(min(64, len(data.X)))))
        _apply.check(owner, settings.augmentation, *some, estimator.image_shape)


def batches_of(
    objective: Objective, data: Data, batch_size: int, rng: np.random.RandomState
) -> list[Targets]:
    """Return the target batches on the device, with what the kernel needs of each row."""
    indices = balanced_batches(data.codes, batch_size, rng)
    # A single batch is all rows in their order: no copy.
    parts = [data] if len(indices) == 1 else (data.rows(rows) for rows in indices)
    return [as_targets(objective, part) for part in parts]


def as_targets(objective: Objective, data: Data) -> Targets:
    """Return rows on the device, prepared once unless every step does that anew."""
    rows = as_rows(data)
    if objective.takes_rows:
        return rows
    return Targets(prepare(objective.function, rows.prepared), rows.y_t)


def as_rows(data: Data) -> Targets:
    """Return rows on the device as they are."""
    return Targets(jnp.asarray(data.X), jnp.asarray(data.y))
