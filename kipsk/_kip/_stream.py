"""One pass over training rows that need not fit in memory: `partial_fit`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import validate_data
from tqdm.auto import tqdm

from kipsk._checks import check_not_images, refuse
from kipsk._data._coding import ClassCoding, Data
from kipsk._data._labels import encode, one_hot
from kipsk._data._splits import balanced_batches
from kipsk._descent import _step
from kipsk._descent._schedule import is_transformation
from kipsk._distil import _block_step, _loop
from kipsk._distil._objective import Objective, Targets
from kipsk._distil._run import good_params
from kipsk._engine import EngineError
from kipsk._engine._threads import single_threaded_blas
from kipsk._kip._parameters import Settings
from kipsk._kip._start import (
    Start,
    as_targets,
    check_augmentation,
    check_start,
    in_steps,
    objectives_of,
    params_of,
    start_of,
)
from kipsk._storage._describe import describe
from kipsk._warn import warn

# Batches that the first call draws the initial support from.
_START_BATCHES = 10

# Parameters that may change between two calls.
_FREE = {
    "batch_size",
    "block_size",
    "checkpoint_interval",
    "learning_rate",
    "max_iter",
    "n_iter_no_change",
    "random_state",
    "schedule",
    "validation_fraction",
    "verbose",
    "warm_start",
}


class Stream(NamedTuple):
    """What `partial_fit` goes on from: plain objects and numpy.

    Attributes
    ----------
    start : Start
    leaves : list of ndarrays
        The optimiser's state.
    rng : RandomState
        Of the batches, as it was left.
    facts : dict of str to str
        Parameters that must stay what they were.
    """

    start: Start
    leaves: list[NDArray[Any]]
    rng: np.random.RandomState
    facts: dict[str, str]

    @classmethod
    def facts_of(cls, estimator: Any) -> dict[str, str]:
        """Return the facts of an estimator."""
        params = estimator.get_params(deep=False)
        return {name: describe(params[name]) for name in params.keys() - _FREE}

    def check(self, estimator: Any) -> None:
        """Refuse parameters that are not what they were in the first call."""
        for name, now in sorted(self.facts_of(estimator).items()):
            if now != self.facts[name]:
                rule = f"what it was in the first call of partial_fit, {self.facts[name]}"
                value = estimator.get_params(deep=False)[name]
                raise ValueError(
                    f"{refuse(type(estimator).__name__, name, rule, value)} Begin anew with a "
                    "clone, or with `fit`."
                )


class Reader:
    """Validated batches of one call's rows.

    Parameters
    ----------
    estimator : KIPDistiller
    X : array-like of shape (n_samples, n_features)
        A memory-mapped array stays on the disk.
    y : array-like of shape (n_samples,)
    classes : array-like or None
        As the call was given them.
    known : ndarray or None
        As an earlier call was.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,)
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, classes: ArrayLike | None, known: Any
    ) -> None:
        name = type(estimator).__name__
        check_not_images("X", X)
        self._estimator = estimator
        # Arrays of h5py and zarr have a shape and are indexed too.
        is_array = hasattr(X, "shape") and hasattr(X, "dtype") and not issparse(X)
        if not (is_array or hasattr(X, "iloc")):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)
        self._X = X
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        if not len(y):
            raise ValueError(f"{name}.partial_fit needs at least 1 row. Got X of shape {X.shape}.")
        if known is None and classes is None:
            raise refuse(name, "classes", "given in the first call of partial_fit", None)
        given = known if classes is None else encode(name, np.asarray(classes))[0]
        if known is not None and not np.array_equal(given, known):
            raise refuse(name, "classes", f"those of the first call, {known.tolist()}", classes)
        unknown = np.setdiff1d(y, given)
        if len(unknown):
            raise ValueError(
                f"y holds labels that are not among the classes of the first call of partial_fit: "
                f"{unknown[:5].tolist()}. Name all of them there."
            )
        self.classes = given
        self.codes = np.searchsorted(given, y)

    def read(self, index: NDArray[np.intp], reset: bool = False) -> Data:
        """Return some rows, in the order of the file."""
        index = np.sort(index)
        part = self._X.iloc[index] if hasattr(self._X, "iloc") else self._X[index]
        estimator = self._estimator
        part = validate_data(estimator, part, dtype=estimator.dtype, reset=reset)
        codes = self.codes[index]
        targets = one_hot(codes, len(self.classes), part.dtype)
        return Data(part, ClassCoding(self.classes), codes, targets)


def check_streaming(estimator: Any) -> None:
    """Refuse parameters that need all data at once."""
    name = type(estimator).__name__
    for parameter, off in (
        ("early_stopping", False),
        ("checkpoint_path", None),
        ("snapshots", None),
    ):
        value = getattr(estimator, parameter)
        if value is not None and value is not False:
            rule = f"{off} in partial_fit, which sees no other rows and is saved by pickling"
            raise refuse(name, parameter, rule, value)


def streaming_rates(
    estimator: Any, settings: Settings, done: int, n_steps: int
) -> NDArray[np.floating]:
    """Return the sizes of the next steps: constant, unless the schedule is a function."""
    if is_transformation(estimator.optimizer):
        return np.full(n_steps, settings.rates[0])
    if not callable(estimator.schedule):
        return np.full(n_steps, settings.learning_rate)
    factors = [float(estimator.schedule(step)) for step in range(done, done + n_steps)]
    return settings.learning_rate * np.array(factors)


def streamed(estimator: Any, X: Any, y: Any, classes: ArrayLike | None) -> None:
    """Take one step on every batch of X, and publish what it led to; see `partial_fit`."""
    settings = estimator._settings()
    check_streaming(estimator)
    stream: Stream | None = estimator.__dict__.get("_stream")
    is_fitted = hasattr(estimator, "X_s_")
    if stream is not None:
        stream.check(estimator)
    reader = Reader(estimator, X, y, classes, estimator.classes_ if is_fitted else None)
    rng = copy.deepcopy(stream.rng) if stream else check_random_state(estimator.random_state)
    indices = balanced_batches(reader.codes, settings.batch_size, rng)
    with jax.enable_x64(True), single_threaded_blas:
        if stream is None:
            first = np.unique(np.concatenate(indices[:_START_BATCHES]))
            start, transformer = _start_stream(
                estimator, settings, reader.read(first, reset=True), rng
            )
        else:
            start, transformer = stream.start, getattr(estimator, "preprocess_", None)
        preprocess = in_steps(estimator, settings, transformer, None, None)
        objectives = objectives_of(estimator, settings, start, preprocess)
        state = _step.initial_state(settings.optimizer, params_of(start, objectives[0]))
        losses: NDArray[np.float64] = np.zeros(0)
        if stream is not None:
            state, losses = _step.restore(state, stream.leaves), estimator.loss_curve_

        def batches() -> Iterator[Targets]:
            for index in tqdm(indices, disable=not estimator.verbose, desc="KIP", unit="step"):
                rows = reader.read(index)
                if settings.augmentation is None:
                    rows = rows._replace(X=estimator._transformed(transformer, rows.X))
                yield as_targets(objectives[0], rows)

        rates = streaming_rates(estimator, settings, int(state.n_steps), len(indices))
        state, more, ended = pass_over(
            objectives,
            settings.weights,
            settings.optimizer,
            state,
            batches(),
            rates,
            rng,
            estimator.block_size,
        )
        if isinstance(ended, EngineError) and not len(more):
            raise ended
        coding = ClassCoding(reader.classes)
        nothing = Data(start.X_s[:0], coding, reader.codes[:0], start.y_s[:0])
        params = good_params(state)
        estimator._publish_run(
            settings,
            start,
            estimator._attributes(objectives[0], start, transformer, nothing, nothing, params),
        )
    estimator.n_iter_ = int(state.n_steps)
    estimator.loss_curve_ = np.concatenate([losses, more])[: estimator.n_iter_]
    estimator._stream = Stream(start, _step.leaves(state), rng, Stream.facts_of(estimator))
    if isinstance(ended, EngineError):
        raise ended
    if state.failed or ended is not None:
        what = (
            "met a loss that is not finite and takes no more steps. The last finite support is "
            f"kept. Lower 'learning_rate' (now {settings.learning_rate:.3g}) or raise 'reg', "
            "and begin again with a clone"
            if state.failed
            else "was interrupted. The support reached by then is kept"
        )
        warn(
            f"{type(estimator).__name__}, after {estimator.n_iter_} steps, {what}.",
            ConvergenceWarning,
        )


def _start_stream(
    estimator: Any, settings: Settings, rows: Data, rng: np.random.RandomState
) -> tuple[Start, Any]:
    """Return the start, from the first rows or the last fit, and the fitted `preprocess`."""
    estimator._check_image_shape(rows.X)
    check_augmentation(estimator, settings, rows)
    if hasattr(estimator, "X_s_"):
        transformer = getattr(estimator, "preprocess_", None)
        data = rows._replace(X=estimator._transformed(transformer, rows.X))
    else:
        data, transformer = estimator._fit_preprocess(rows)
    start = start_of(estimator, settings, data, rng, goes_on=True)
    check_start(settings, start)
    in_steps(estimator, settings, transformer, rows, data)  # raises if it is not the transformer
    return start, transformer


def pass_over(
    objectives: Sequence[Objective],
    weights: NDArray[np.float64] | None,
    optimizer: Any,
    state: _step.State,
    batches: Iterable[Targets],
    rates: NDArray[np.floating],
    rng: np.random.RandomState,
    block_size: int | str = "auto",
) -> tuple[_step.State, NDArray[np.float64], BaseException | None]:
    """Take one step on each batch; end at a loss that is not finite, or an exception.

    Returns
    -------
    state : State
    losses : ndarray
        Before each step.
    ended : KeyboardInterrupt, EngineError or None
    """
    losses: list[Any] = []
    drawn = _loop.draws(len(objectives), weights, 1, rng)
    ended: BaseException | None = None
    with _block_step.stepper(objectives, [], state.params, block_size) as (step, _):
        try:
            for targets, rate in zip(batches, rates, strict=True):
                # Waits for the step before: no more than two batches are in memory.
                if state.failed:
                    break
                objective = objectives[next(drawn)[0]]
                size = np.array([rate], np.float32)
                state, (loss, _) = step(objective, optimizer, state, targets, size, 1)
                losses.append(loss)
        except (KeyboardInterrupt, EngineError) as error:
            ended = error
        if losses and not isinstance(ended, EngineError):
            # A step of length zero looks at where the last one led.
            look = np.zeros(1, np.float32)
            looked, _ = step(objective, optimizer, state, targets, look, 1)
            state = state._replace(good=looked.good, failed=looked.failed)
    return state, np.concatenate([np.zeros(0), *map(np.asarray, losses)]), ended
