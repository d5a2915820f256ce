"""The run that every KIP estimator is: one way down and one way up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import jax
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state

from kipsk._checks import refuse
from kipsk._data._coding import Data
from kipsk._distil import _objective, _run
from kipsk._distil._history import Params
from kipsk._distil._label_solve import solve_labels_over
from kipsk._distil._objective import Objective
from kipsk._distil._run import Problem, Watch
from kipsk._engine._threads import single_threaded_blas
from kipsk._estimators._distiller import BaseDistiller, is_same_kernel
from kipsk._kip._callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from kipsk._kip._diagnosis import diagnose
from kipsk._kip._parameters import Settings, check_settings
from kipsk._kip._start import (
    Start,
    as_rows,
    batches_of,
    check_augmentation,
    check_batches,
    check_start,
    hold_out,
    in_steps,
    objectives_of,
    params_of,
    start_of,
)
from kipsk._storage._checkpoint import Checkpoint
from kipsk._storage._describe import describe, fingerprint
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel

# Parameters whose value does not change the result: a checkpoint is good for any.
_FREE = {"checkpoint_path", "checkpoint_interval", "downstream", "verbose"}

# Attributes that only some fits have.
_NOT_ALWAYS = (
    "_stream",
    "best_iter_",
    "frozen_",
    "kernels_",
    "label_reg_",
    "preprocess_",
    "snapshots_",
    "stage_",
    "stage_scores_",
    "temperature_",
    "validation_scores_",
    "validation_steps_",
)


class BaseKIP(CallbackSupportMixin, BaseDistiller):
    """Kernel Inducing Points, whatever y is.

    Subclasses have the parameters that `kipsk._settings` checks, and a `_coding` that says what
    targets y stands for.
    """

    kernel_weights: Any
    labels: str
    loss: str = "mse"
    preprocess: Any
    predict_kernel: Any
    early_stopping: bool
    n_iter_no_change: int
    snapshots: Any
    warm_start: bool
    checkpoint_path: str | os.PathLike[str] | None
    checkpoint_interval: int
    random_state: Any

    @with_callbacks
    def fit(self, X: Any, y: Any) -> Self:
        """Learn the support set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images as flattened rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels of any type in one dimension; of a regressor, numbers.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter breaks its rule, alone or with others or with these data; if X is not a
            finite matrix; if y is not for this estimator (one class, soft labels); if the kernel
            matrix of the start cannot be used; or if the file at `checkpoint_path` is of another
            fit or damaged. The message says what to change.
        """
        settings = self._settings()
        data = self._validate(X, y)
        checkpoint, saved, rng = self._open_checkpoint(data)
        tasks = FitTasks(self, len(settings.rates), X, data.labels())
        rows, held_out = hold_out(self, data, rng)
        data, transformer = self._fit_preprocess(rows)  # in the units that the kernel sees
        if checkpoint is not None:
            checkpoint.expect("what 'preprocess' made of X", fingerprint(data.X), saved)
        held_out = held_out._replace(X=self._transformed(transformer, held_out.X))
        start = start_of(self, settings, data, rng)
        settings = self._tuned(settings, start, data, rng)
        check_batches(self, settings, data, start)
        with jax.enable_x64(True), single_threaded_blas:
            check_augmentation(self, settings, rows)
            check_start(settings, start)
            preprocess = in_steps(self, settings, transformer, rows, data)
            objectives = objectives_of(self, settings, start, preprocess)
            attributes = partial(
                self._attributes, objectives[0], start, transformer, data, held_out
            )

            def after(params: Callable[[], Params]) -> bool:
                return tasks.after_step(lambda: attributes(params()))

            watch = Watch(
                self.verbose,
                held_out=as_rows(held_out) if self.early_stopping else None,
                score_every=settings.score_every,
                patience=self.n_iter_no_change,
                snapshots=settings.snapshots,
                checkpoint=checkpoint,
                checkpoint_every=self.checkpoint_interval,
                after=after if tasks.are_watched else None,
            )
            rows = rows if settings.augmentation is not None else data
            problem = Problem(
                objectives,
                settings.weights,
                settings.optimizer,
                params_of(start, objectives[0]),
                batches_of(objectives[0], rows, settings.batch_size, rng),
                settings.rates,
                rng,
                self.block_size,
            )
            history = _run.descend(problem, watch, saved)
            message = diagnose(history, problem, self)
            if message:
                warn(f"{type(self).__name__} {message}", ConvergenceWarning)
            self._publish_run(settings, start, attributes(history.params))
            self.n_iter_, self.loss_curve_ = history.n_steps, history.loss_curve()
            if self.snapshots is not None:
                self.snapshots_ = {
                    step: (X_s, data.coding.published(y_s))
                    for step, params in sorted(history.snapshots.items())
                    # The loss of the last one is known after it was taken.
                    if not history.failed or step < history.n_good
                    for X_s, y_s, _ in [self._support(objectives[0], start, data, params)]
                }
        if self.early_stopping:
            self.validation_steps_ = np.array(history.scored)
            self.validation_scores_ = np.array(history.scores)
            self.best_iter_ = history.best_step
        tasks.end()
        return self

    def _kernels(self) -> list[Any]:
        """Return the members of the family, or the one kernel."""
        if not isinstance(self.kernel, list | tuple):
            return [self.kernel]
        if not self.kernel:
            raise refuse(type(self).__name__, "kernel", "a kernel or a list of them", self.kernel)
        return list(self.kernel)

    def _fitted_kernel(self, given: Any) -> JaxKernel:
        # After `load_support` only the first is known.
        fitted = getattr(self, "kernels_", [self.kernel_])
        for own, kernel in zip(self._kernels(), fitted, strict=False):
            if is_same_kernel(given, own):
                return kernel
        return super()._fitted_kernel(given)

    def _settings(self) -> Settings:
        """Return what the parameters stand for; raise ValueError for one that breaks its rule."""
        self._kernel_and_reg()  # checks what all distillers have
        predict = None if self.predict_kernel is None else self._get_kernel(self.predict_kernel)
        kernels = [self._get_kernel(kernel) for kernel in self._kernels()]
        return check_settings(self, kernels, predict)

    def _tuned(
        self, settings: Settings, start: Start, data: Data, rng: np.random.RandomState
    ) -> Settings:
        """Return the settings with what "auto" stands for on these data."""
        return settings

    def _open_checkpoint(
        self, data: Data
    ) -> tuple[Checkpoint | None, dict[str, NDArray[Any]] | None, np.random.RandomState]:
        """Return the file, what it holds, and the generator as it was before the first draw."""
        rng = check_random_state(self.random_state)
        if self.checkpoint_path is None:
            return None, None, rng
        params = self.get_params(deep=False)
        facts = {f"'{name}'": describe(params[name]) for name in params.keys() - _FREE}
        facts |= {"X": describe(data.X), "y": describe(data.labels())}
        if self.warm_start and hasattr(self, "X_s_"):
            facts["the support to start from"] = describe((self.X_s_, self.y_s_))
        checkpoint = Checkpoint(self.checkpoint_path, facts)
        saved = checkpoint.load()
        if saved is not None:
            state = json.loads(str(saved["rng"]))
            rng = np.random.RandomState(getattr(np.random, state["bit_generator"])())
            rng.set_state(state)
        state = json.dumps(rng.get_state(legacy=False), default=np.ndarray.tolist)
        checkpoint.always = {"rng": np.array(state)}
        return checkpoint, saved, rng

    def _fit_preprocess(self, data: Data) -> tuple[Data, Any]:
        """Return the data in the units that the kernel sees, and the fitted `preprocess`."""
        if self.preprocess is None:
            return data, None
        transformer = clone(self.preprocess).fit(data.X, data.labels())
        return data._replace(X=self._transformed(transformer, data.X)), transformer

    def _transformed(self, transformer: Any, X: NDArray[Any]) -> NDArray[Any]:
        if transformer is None or not len(X):
            return X
        return check_array(transformer.transform(X), dtype=self.dtype, input_name="X")

    def _into_space(self, X: NDArray[Any]) -> NDArray[Any]:
        return self._transformed(getattr(self, "preprocess_", None), X)

    def _support(
        self, objective: Objective, start: Start, data: Data, params: Params
    ) -> tuple[NDArray[Any], NDArray[Any], float | None]:
        """Return X_s, its targets, and the ridge of solved labels, which are those of all rows."""
        X_s = np.asarray(_objective.support(objective, params))
        if self.labels == "solved":
            function = start.predict_kernel.function()
            y_s, label_reg = solve_labels_over(
                function,
                X_s,
                data.X,
                data.y,
                objective.reg,
                objective.label_reg,
                self.block_size,
                self.verbose,
            )
            return X_s, y_s, label_reg
        y_s = params.get("y", start.y_s)
        if self.loss == "platt":
            # Softmax does not see what all classes have in common; other models would.
            y_s = y_s - y_s.mean(axis=1, keepdims=True)
        return X_s, y_s.astype(np.float64), None

    def _attributes(
        self,
        objective: Objective,
        start: Start,
        transformer: Any,
        data: Data,
        held_out: Data,
        params: Params,
    ) -> dict[str, Any]:
        """Return the fitted attributes that predictions with some parameters need."""
        X_s, y_s, label_reg = self._support(objective, start, data, params)
        attributes = self._fitted(
            X_s, y_s, data.coding, start.kernels[0], float(objective.reg), start.predict_kernel
        )
        if label_reg is not None:
            attributes["label_reg_"] = label_reg
        if transformer is not None:
            attributes["preprocess_"] = transformer
        return attributes

    def _publish_run(self, settings: Settings, start: Start, attributes: dict[str, Any]) -> None:
        """Store what a run led to, and nothing of an earlier one."""
        for name in _NOT_ALWAYS:
            self.__dict__.pop(name, None)
        self.__dict__.update(attributes)
        self.learning_rate_ = settings.learning_rate
        self.batch_size_ = settings.batch_size
        self.kernels_ = start.kernels
        self._size, self._regs = settings.size, settings.regs
        if start.frozen is not None:
            self.frozen_ = start.frozen
