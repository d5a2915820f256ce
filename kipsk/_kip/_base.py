"""`fit` of every KIP estimator: one way down and one way up."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kipsk._checks import check_auto, check_integer, refuse
from kipsk._closed_form._quadratic import Quadratic
from kipsk._data._coding import Data
from kipsk._data._weights import weighted
from kipsk._distil import _run
from kipsk._distil._all_rows import (
    best_ridge,
    check_definite,
    in_metric,
    of_rank,
    on_device,
    with_ridge,
)
from kipsk._distil._history import History, Params
from kipsk._distil._objective import Batch
from kipsk._distil._problem import Problem
from kipsk._distil._run import Watch
from kipsk._distil._targets import AS_ROWS
from kipsk._engine._blas import single_threaded_blas
from kipsk._estimators._distiller import BaseDistiller
from kipsk._estimators._members import Member
from kipsk._jax import own_settings
from kipsk._kip import _preprocess
from kipsk._kip._callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from kipsk._kip._checkpoint import facts_of_data, open_checkpoint
from kipsk._kip._diagnosis import diagnose
from kipsk._kip._interrupts import is_one_of_many
from kipsk._kip._moments import Moments
from kipsk._kip._moments._given import (
    check_given,
    check_like,
    check_power,
    check_settings,
    facts_of,
    warn_of_empty_classes,
)
from kipsk._kip._noise import targets_of_steps, with_found_regs
from kipsk._kip._objectives import (
    are_moments,
    batches_of,
    check_augmentation,
    check_batches,
    moments_of,
    problem_of,
)
from kipsk._kip._parameters import settings_of
from kipsk._kip._result import Run, snapshots_of, support_of
from kipsk._kip._settings import Settings
from kipsk._kip._start import (
    Last,
    check_start,
    hold_out,
    start_of,
    start_of_moments,
)
from kipsk._storage._checkpoint import Checkpoint
from kipsk._storage._describe import describe, fingerprint
from kipsk._types import AnyArray, Floats, Given, MatrixLike
from kipsk._warn import warn


class BaseKIP(CallbackSupportMixin, BaseDistiller):
    """Kernel Inducing Points, whatever y is.

    Subclasses have the parameters that `kipsk._kip._parameters` checks, and a `_coding` that says
    what targets y stands for.
    """

    kernel_weights: Given
    labels: str
    loss: str = "mse"
    targets: str
    preprocess: Given
    predict_kernel: Given
    max_iter: int
    schedule: Given
    optimizer: Given
    early_stopping: bool
    n_iter_no_change: int
    snapshots: Given
    warm_start: bool
    checkpoint_path: str | os.PathLike[str] | None
    checkpoint_interval: int
    random_state: Given

    # Whether reg="auto" is what suits the noise of the rows.
    _regs_suit_noise = False

    @with_callbacks
    def fit(self, X: MatrixLike, y: MatrixLike) -> Self:
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
        data = weighted(settings.owner, settings.goal.class_weight, self._validate(X, y))
        facts = {} if self.checkpoint_path is None else facts_of_data(data)
        checkpoint, saved, rng = open_checkpoint(self, facts)
        tasks = FitTasks(self, len(settings.steps.rates), X, data.labels())
        rows, held_out = hold_out(settings, data, rng)
        data, transformer = _preprocess.fitted(settings, rows)  # in the units that the kernel sees
        if checkpoint is not None:
            checkpoint.expect("what 'preprocess' made of X", fingerprint(data.X), saved)
        held_out = held_out._replace(
            X=_preprocess.transformed(transformer, held_out.X, settings.rows.dtype)
        )
        start = start_of(settings, data, rng, self._last() if settings.beginning.is_warm else None)
        finds_own = self._regs_suit_noise and isinstance(self.reg, str)
        if finds_own:
            settings = with_found_regs(settings, start, data)
        check_batches(settings, data, start)
        with own_settings(), single_threaded_blas:
            check_augmentation(settings, rows.X, rows.y)
            check_start(settings, start)
            targets = targets_of_steps(settings, start, data, finds_own)
            data, rows = data._replace(y=targets), rows._replace(y=targets)
            in_steps = _preprocess.in_steps(settings, transformer, rows.X, data.X)
            problem = problem_of(settings, start, in_steps, rng)
            rows = data if problem.form.change is None else rows
            moments: list[Quadratic] | None = None
            batches: Sequence[Batch]
            if are_moments(settings, problem):
                moments = moments_of(settings, problem, rows)
                batches = _in_steps(settings, moments)
            else:
                batches = batches_of(problem, rows, settings.steps.batch_size)
            first = None if moments is None else moments[0]
            run = Run(settings, start, problem.objectives[0], data, held_out, transformer, first)
            watch = self._watch(run, checkpoint, tasks)
            self._descend(run, problem, batches, watch, saved)
        tasks.end()
        return self

    def fit_moments(
        self,
        moments: Moments | Sequence[Moments],
        held_out: Moments | None = None,
        ridge: float | str = "auto",
        power: float | str = "auto",
        rank: int | None = None,
    ) -> Self:
        """Learn the support set from the moments of a training set, without a row of it.

        A step costs the same however many rows there were. Where `fit` would look at rows,
        ``init="sample"`` stands for "noise" here, and ``reg="auto"`` for the kernel's recommended
        value: `ridge` keeps the support set from following noise. No callbacks are called.

        Parameters
        ----------
        moments : Moments, or a list of them
            Those of all rows under this estimator's kernel; of a family one for each kernel.
            Augmentation and `preprocess` are in them: here `augment` has to be None, and
            `preprocess` None or theirs.
        held_out : Moments, default=None
            Those of other rows, for `early_stopping`, whose score is then R2 on them, since moments
            tell no accuracy; and for `ridge`.
        ridge : float or "auto", default="auto"
            The loss has ``ridge trace(H)/p |w|^2`` added for the linear model w of the features
            that the support set stands for, so that it does not follow the noise of the rows.
            "auto" is what predicts `held_out` best or, without it, what generalised
            cross-validation chooses, both of ridge regression on all rows. With 0 the result is
            that of ``fit`` with ``batch_size="all"`` on the same rows, from the same start.
            Published as ``ridge_``.
        power : float or "auto", default="auto"
            The steps measure the distance of w to the w* of ridge regression on all rows by
            ``(w - w*)^T H^power (w - w*)``. With 1 it is the error over all rows, in which a few
            directions count a thousand times as much as the others; with 0.5 a support set comes
            near w* in a fifth of the steps; 0.25 is better yet for thousands of features of
            images (:doc:`/million`). "auto" is 0.5, and 1 without a ridge. `loss_curve_` is
            this distance and the error of w*, halved. Below 1 learned labels are solved once more
            at the end, for the error itself.
        rank : int, default=None
            The steps see H by its so many largest eigenvalues alone, so that a step's product
            with it costs ``rank / p`` of its time twice. It is for many features and few support
            rows, whose own features cost little. None is all of H.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            As `fit`; for a loss other than "mse"; for moments of another kernel, `preprocess` or
            classes; for moments that no rows have; and for an `init` that takes rows.
        """
        settings = self._settings()
        own = self.preprocess
        given = check_given(settings.owner, moments, list(settings.kernels.members), own)
        warn_of_empty_classes(settings.owner, given[0])
        check_settings(settings, held_out is not None)
        if held_out is not None:
            (held_out,) = check_given(settings.owner, held_out, [given[0].kernel_], own)
            check_like(given[0], held_out, "held_out")
        if rank is not None:
            check_integer(settings.owner, "rank", rank, minimum=1, also=" or None")
        penalty: float | None = check_auto(settings.owner, "ridge", ridge, None, zero=True)
        exponent = check_power(settings.owner, power, penalty)
        coding = given[0].coding()
        if not isinstance(coding, self._coding):
            raise ValueError(
                f"{settings.owner} cannot learn from moments of {coding}: give Moments of class "
                "labels ('classes') to KIPDistiller and of numbers to KIPRegressor."
            )
        facts = facts_of(given if held_out is None else [*given, held_out])
        facts |= {"ridge": describe(ridge), "power": describe(power), "rank": describe(rank)}
        checkpoint, saved, rng = open_checkpoint(self, facts)
        kernels = [one.kernel_ for one in given]
        last = self._last() if settings.beginning.is_warm else None
        start = start_of_moments(settings, kernels, given[0].features_seen(), coding, rng, last)
        settings = settings.seeing_all()
        with own_settings():
            check_start(settings, start)
            problem = problem_of(settings, start, None, rng)
        # Algebra of p x p matrices, on all cores.
        quadratics = [one.quadratic(coding) for one in given]
        for one in quadratics:
            check_definite(one)
        scored = None if held_out is None else held_out.quadratic(coding)
        if penalty is None:
            penalty = best_ridge(quadratics[0], scored, given[0].least_ridge())
        quadratics = [with_ridge(one, penalty) for one in quadratics]
        seen = [in_metric(one, exponent) for one in quadratics]
        if rank is not None:
            seen = [of_rank(one, rank) for one in seen]
        with own_settings(), single_threaded_blas:
            empty = Data(start.support.X[:0], coding, np.zeros(0, np.intp), start.support.y[:0])
            objective, transformer = problem.objectives[0], copy.deepcopy(given[0].preprocess)
            run = Run(settings, start, objective, empty, empty, transformer, quadratics[0])
            is_one = settings.goal.labels == "learned" and len(quadratics) == 1
            run = run._replace(solves_last=is_one and exponent < 1)
            watch = self._watch(run, checkpoint, None)
            if scored is not None:
                watch = watch._replace(held_out=_in_steps(settings, [scored])[0])
            self._descend(run, problem, _in_steps(settings, seen), watch, saved)
        self.ridge_ = penalty
        self._take_names(given[0])
        return self

    def _descend(
        self,
        run: Run,
        problem: Problem,
        batches: Sequence[Batch],
        watch: Watch,
        saved: dict[str, AnyArray] | None,
    ) -> None:
        """Take all steps and publish what they led to."""
        settings = run.settings
        history = _run.descend(problem, batches, settings.steps.rates, watch, saved)
        message = diagnose(history, problem, batches, settings, run.data.X)
        if message:
            warn(f"{settings.owner} {message}", ConvergenceWarning)
        self._publish_run(run, history.params)
        self._publish_history(run, history)

    def _watch(self, run: Run, checkpoint: Checkpoint | None, tasks: FitTasks | None) -> Watch:
        """Return what a fit looks at on its way."""
        looking, held_out = run.settings.looking, run.held_out

        def after(params: Callable[[], Params]) -> bool:
            if tasks is None:
                return False
            return tasks.after_step(lambda: self._attributes(run, params()))

        return Watch(
            looking.verbose,
            held_out=(
                AS_ROWS(held_out.X, held_out.y, held_out.weight) if looking.early_stopping else None
            ),
            score_every=looking.score_every,
            patience=looking.patience,
            snapshots=looking.snapshots,
            checkpoint=checkpoint,
            checkpoint_every=looking.checkpoint_every,
            after=after if tasks is not None and tasks.are_watched else None,
            keeps_at_interrupt=not is_one_of_many(),
        )

    def _kernels(self) -> list[Any]:
        """Return the members of the family, or the one kernel."""
        if not isinstance(self.kernel, list | tuple):
            return [self.kernel]
        if not self.kernel:
            raise refuse(type(self).__name__, "kernel", "a kernel or a list of them", self.kernel)
        return list(self.kernel)

    def _settings(self) -> Settings:
        """Return what the parameters stand for; raise ValueError for one that breaks its rule."""
        self._kernel_and_reg()  # checks what all distillers have
        predict = None if self.predict_kernel is None else self._get_kernel(self.predict_kernel)
        return settings_of(self, [self._get_kernel(kernel) for kernel in self._kernels()], predict)

    def _last(self) -> Last | None:
        """Return the support of the last fit; None if there is none."""
        if not hasattr(self, "X_s_"):
            return None
        coding = self._coding.of_attributes(vars(self))
        size, frozen = getattr(self, "_size", None), getattr(self, "frozen_", None)
        return Last(self.X_s_, self.y_s_, coding, size, frozen)

    def _into_space(self, X: Floats) -> Floats:
        return _preprocess.transformed(getattr(self, "preprocess_", None), X, self.dtype)

    def _attributes(self, run: Run, params: Params) -> dict[str, Any]:
        """Return the fitted attributes that predictions with some parameters need."""
        start = run.start
        support, label_reg = support_of(run, params)
        members = [
            Member(given, kernel, reg)
            for given, kernel, reg in zip(
                self._kernels(), start.kernels, run.settings.kernels.regs, strict=True
            )
        ]
        attributes = self._fitted(support, run.data.coding, members, start.predict_kernel)
        if label_reg is not None:
            attributes["label_reg_"] = label_reg
        if run.transformer is not None:
            attributes["preprocess_"] = run.transformer
        return attributes

    def _publish_run(self, run: Run, params: Params) -> None:
        """Store what a run led to, and nothing of an earlier one."""
        self._publish(self._attributes(run, params))
        self.learning_rate_ = run.settings.steps.learning_rate
        self.batch_size_ = run.settings.steps.batch_size
        self.kernels_ = run.start.kernels
        self._size = run.settings.beginning.size
        if run.objective.mosaic is not None:
            self._mosaic = run.objective.mosaic
            self.mosaics_ = np.asarray(params["X"] * run.objective.scale)
        if run.start.support.frozen is not None:
            self.frozen_ = run.start.support.frozen

    def _publish_history(self, run: Run, history: History) -> None:
        """Store what a fit saw on its way."""
        self.n_iter_, self.loss_curve_ = history.n_steps, history.loss_curve()
        if self.snapshots is not None:
            self.snapshots_ = snapshots_of(run, history)
        if run.settings.looking.early_stopping:
            self.validation_steps_ = np.array(history.scored)
            self.validation_scores_ = np.array(history.scores)
            self.best_iter_ = history.best_step


def _in_steps(settings: Settings, moments: Sequence[Quadratic]) -> list[Quadratic]:
    """Return moments as the steps see them.

    Labels are solved from H in float64: their equations are as ill-conditioned as the square of
    the kernel matrix.
    """
    are_solved = settings.goal.labels == "solved"
    dtype = "float64" if are_solved else settings.rows.dtype
    return [on_device(one, dtype) for one in moments]
