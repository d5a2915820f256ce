"""One pass over training rows that need not fit in memory: `partial_fit`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.validation import validate_data

from kipsk._checks import check_labels, check_not_images, refuse
from kipsk._data._classes import ClassCoding, known_codes
from kipsk._data._coding import Data
from kipsk._data._containers import is_frame, taken
from kipsk._data._labels import encode, one_hot
from kipsk._data._splits import balanced_batches
from kipsk._data._weights import row_weights
from kipsk._descent import _step
from kipsk._distil import _run
from kipsk._distil._history import Params
from kipsk._distil._targets import Targets
from kipsk._engine import EngineError
from kipsk._engine._blas import single_threaded_blas
from kipsk._estimators._rounding import warn_of_rounding
from kipsk._jax import own_settings
from kipsk._kip import _preprocess
from kipsk._kip._interrupts import is_one_of_many
from kipsk._kip._objectives import check_augmentation, problem_of
from kipsk._kip._result import Run
from kipsk._kip._settings import ALL_ROWS, Settings, Steps
from kipsk._kip._start import Last, Start, check_start, start_of
from kipsk._storage._describe import describe
from kipsk._types import AnyArray, Estimator, Float64s, Floats, Given, Ints, MatrixLike
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


# Attributes that validation of the rows sets.
_NAMES = ("n_features_in_", "feature_names_in_")


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
    leaves: list[AnyArray]
    rng: np.random.RandomState
    facts: dict[str, str]

    def check(self, owner: str, params: dict[str, Given]) -> None:
        """Refuse parameters that are not what they were in the first call."""
        for name, now in sorted(facts_of(params).items()):
            if now != self.facts[name]:
                rule = f"what it was in the first call of partial_fit, {self.facts[name]}"
                raise ValueError(
                    f"{refuse(owner, name, rule, params[name])} Begin anew with a clone, or with "
                    "`fit`."
                )


def facts_of(params: dict[str, Given]) -> dict[str, str]:
    """Return descriptions of the parameters that must not change between calls."""
    return {name: describe(params[name]) for name in sorted(params.keys() - _FREE)}


class Passed(NamedTuple):
    """What a pass led to.

    Attributes
    ----------
    run : Run
    params : dict of ndarrays
        The last parameters of finite loss.
    stream : Stream
        What the next pass goes on from.
    losses : ndarray of shape (n_iter,)
        Those of earlier passes, too.
    n_iter : int
        The steps of all passes.
    names : dict
        The attributes that validation set.
    failed : bool
        Whether a loss was not finite.
    error : BaseException or None
        What ended the pass: Ctrl-C, or a cluster that is gone.
    """

    run: Run
    params: Params
    stream: Stream
    losses: Float64s
    n_iter: int
    names: dict[str, Any]
    failed: bool
    error: BaseException | None

    def tell(self) -> None:
        """Raise the error of a cluster that is gone; warn of any other end before the last row.

        Ctrl-C is raised, too, where this pass is one of many.
        """
        if isinstance(self.error, EngineError) or (self.error and is_one_of_many()):
            raise self.error
        settings = self.run.settings
        if self.failed:
            what = (
                "met a loss that is not finite and takes no more steps. The last finite support is "
                f"kept. Lower 'learning_rate' (now {settings.steps.learning_rate:.3g}) or raise "
                "'reg', and begin again with a clone"
            )
        elif self.error is not None:
            what = "was interrupted. The support reached by then is kept"
        else:
            return
        warn(f"{settings.owner}, after {self.n_iter} steps, {what}.", ConvergenceWarning)


class Reader:
    """Validated batches of one call's rows.

    Parameters
    ----------
    estimator : KIPDistiller
        A copy of it: validation sets its attributes.
    X : array-like of shape (n_samples, n_features)
        A memory-mapped array stays on the disk.
    y : array-like of shape (n_samples,)
    classes : array-like or None
        As the call was given them.
    known : ndarray or None
        The classes of an earlier call.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,)
    """

    def __init__(
        self,
        estimator: Estimator,
        X: MatrixLike,
        y: MatrixLike,
        classes: ArrayLike | None,
        known: AnyArray | None,
    ) -> None:
        name = type(estimator).__name__
        check_not_images("X", X)
        self._estimator = estimator
        # Arrays of h5py and zarr have a shape and are indexed too.
        is_array = hasattr(X, "shape") and hasattr(X, "dtype") and not issparse(X)
        if not (is_array or is_frame(X)):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)
        self._X = X
        check_labels(y)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
        if not len(y):
            raise ValueError(f"{name}.partial_fit needs at least 1 row. Got X of shape {X.shape}.")
        if known is None and classes is None:
            raise refuse(name, "classes", "given in the first call of partial_fit", None)
        given: AnyArray = known if classes is None else encode(name, np.asarray(classes))[0]  # type: ignore[assignment]
        if known is not None and not np.array_equal(given, known):
            raise refuse(name, "classes", f"those of the first call, {known.tolist()}", classes)
        self.codes = known_codes(y, given, "the classes of the first call of partial_fit")
        self.classes = given
        self._weight = row_weights(name, estimator.class_weight, given, self.codes)
        if self._weight is not None:
            self._weight /= self._weight.mean()

    @property
    def names(self) -> dict[str, Any]:
        """The attributes that validation has set."""
        own = vars(self._estimator)
        return {name: own[name] for name in _NAMES if name in own}

    def read(self, index: Ints, reset: bool = False) -> Data:
        """Return some rows, in the order of the file.

        Of the first rows of an estimator that is not fitted, `reset` takes over the number and the
        names of the features; other rows must have the same.
        """
        index = np.sort(index)
        given = taken(self._X, index) if is_frame(self._X) else self._X[index]
        estimator = self._estimator
        part = validate_data(estimator, given, dtype=estimator.dtype, reset=reset)
        if reset:  # later rows would repeat it
            names = getattr(estimator, "feature_names_in_", None)
            warn_of_rounding(type(estimator).__name__, given, part, names)
        codes = self.codes[index]
        targets = one_hot(codes, len(self.classes), part.dtype)
        weight = None if self._weight is None else self._weight[index].astype(part.dtype)
        return Data(part, ClassCoding(self.classes), codes, targets, weight)


def check_streaming(owner: str, params: dict[str, Given]) -> None:
    """Refuse parameters that need all data at once."""
    if isinstance(params["batch_size"], str) and params["batch_size"] == ALL_ROWS:
        rule = 'an integer >= 1 or "auto" in partial_fit, which sees a batch at a time (for rows '
        rule += "that do not fit in memory collect Moments, and call fit_moments)"
        raise refuse(owner, "batch_size", rule, ALL_ROWS)
    if isinstance(params.get("class_weight"), str):
        rule = (
            "None or a dict of weights in partial_fit, which never sees how many rows a class has"
        )
        raise refuse(owner, "class_weight", rule, params["class_weight"])
    if params["targets"] == "smoothed":
        rule = '"auto" or "given" in partial_fit, which never sees all rows'
        raise refuse(owner, "targets", rule, params["targets"])
    for parameter, off in (
        ("early_stopping", False),
        ("checkpoint_path", None),
        ("snapshots", None),
    ):
        value = params[parameter]
        if value is not None and value is not False:
            rule = f"{off} in partial_fit, which sees no other rows and is saved by pickling"
            raise refuse(owner, parameter, rule, value)


def streaming_rates(steps: Steps, done: int, n_steps: int) -> Floats:
    """Return the sizes of the next steps: constant, unless the schedule is a function."""
    if steps.is_rate_free:
        return np.full(n_steps, steps.rates[0])
    if steps.schedule is None:
        return np.full(n_steps, steps.learning_rate)
    factors = [float(steps.schedule(step)) for step in range(done, done + n_steps)]
    return steps.learning_rate * np.array(factors)


def streamed(
    estimator: Estimator, X: MatrixLike, y: MatrixLike, classes: ArrayLike | None
) -> Passed:
    """Take one step on every batch of X and return what it led to; see `partial_fit`.

    The estimator stays as it is.
    """
    settings, params = estimator._settings(), estimator.get_params(deep=False)
    check_streaming(settings.owner, params)
    stream: Stream | None = getattr(estimator, "_stream", None)
    last = estimator._last()
    if stream is not None:
        stream.check(settings.owner, params)
    known = None if last is None else estimator.classes_
    reader = Reader(copy.copy(estimator), X, y, classes, known)
    rng = copy.deepcopy(stream.rng) if stream else check_random_state(estimator.random_state)
    indices = balanced_batches(reader.codes, settings.steps.batch_size, rng)
    with own_settings(), single_threaded_blas:
        transformer = getattr(estimator, "preprocess_", None)
        if stream is None:
            first = reader.read(
                np.unique(np.concatenate(indices[:_START_BATCHES])), reset=last is None
            )
            start, transformer = _begun(estimator, settings, first, last, transformer, rng)
        else:
            start = stream.start
        in_steps = _preprocess.in_steps(settings, transformer, None, None)
        problem = problem_of(settings, start, in_steps, rng)
        state = problem.initial_state()
        losses: Float64s = np.zeros(0)
        if stream is not None:
            state, losses = _step.restore(state, stream.leaves), estimator.loss_curve_

        def batches() -> Iterator[Targets]:
            for index in indices:
                X_t, y_t, weight = (rows := reader.read(index)).X, rows.y, rows.weight
                if problem.form.change is None:
                    X_t = _preprocess.transformed(transformer, X_t, settings.rows.dtype)
                yield problem.form(X_t, y_t, weight)

        rates = streaming_rates(settings.steps, int(state.n_steps), len(indices))
        verbose = settings.looking.verbose
        ended, more = _run.pass_over(problem, state, batches(), rates, verbose)
    error, state = ended.error, ended.state
    if isinstance(error, Exception) and not (isinstance(error, EngineError) and more):
        raise error
    empty = Data(
        start.support.X[:0], ClassCoding(reader.classes), reader.codes[:0], start.support.y[:0]
    )
    return Passed(
        Run(settings, start, problem.objectives[0], empty, empty, transformer),
        _run.good_params(state),
        Stream(start, _step.leaves(state), rng, facts_of(params)),
        np.concatenate([losses, *map(np.asarray, more)])[: int(state.n_steps)],
        int(state.n_steps),
        reader.names,
        bool(state.failed),
        error,
    )


def _begun(
    estimator: Estimator,
    settings: Settings,
    rows: Data,
    last: Last | None,
    transformer: Estimator | None,
    rng: np.random.RandomState,
) -> tuple[Start, Estimator | None]:
    """Return the start, from the first rows or the last fit, and the fitted `preprocess`."""
    estimator._check_image_shape(rows.X)
    check_augmentation(settings, rows.X, rows.y)
    if last is None:
        data, transformer = _preprocess.fitted(settings, rows)
    else:
        data = rows._replace(X=_preprocess.transformed(transformer, rows.X, settings.rows.dtype))
    start = start_of(settings, data, rng, last)
    check_start(settings, start)
    _preprocess.in_steps(settings, transformer, rows.X, data.X)  # raises if they differ
    return start, transformer
