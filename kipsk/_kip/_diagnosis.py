"""What went wrong in a run, in words for its user."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk._closed_form._centre import centre_of
from kipsk._closed_form._quadratic import Quadratic
from kipsk._descent import _step
from kipsk._distil._history import History
from kipsk._distil._objective import LOSSES, Batch, mse
from kipsk._distil._problem import Problem
from kipsk._kip._settings import Settings
from kipsk._types import Floats

# The share of the loss of predicting nothing above which a run has learned next to nothing.
_LITTLE = 0.8


def diagnose(
    history: History, problem: Problem, batches: Sequence[Batch], settings: Settings, X: Floats
) -> str | None:
    """Return what went wrong in a run, in words for its user; None if nothing did.

    Parameters
    ----------
    history : History
    problem : Problem
    batches : sequence of Targets or of Quadratic
        What the steps of the run saw.
    settings : Settings
    X : ndarray of shape (n, n_features)
        The rows as the kernel sees them; none where moments stand for them.

    Raises
    ------
    ValueError
        If there is no good support at all.
    """
    rates = settings.steps.rates
    n_steps, done = len(rates), history.n_steps
    if history.failed and not history.n_good:
        label_reg = ", label_reg" if settings.goal.labels == "solved" else ""
        raise ValueError(
            "The loss of the initial support, or its gradient, is not finite. Scale the "
            f"features (for instance with StandardScaler), or raise 'reg'{label_reg} or "
            f"'batch_size'; check that the kernel {settings.kernels.given!r} is finite and "
            "differentiable on them."
        )
    if history.interrupted:
        return (
            f"was interrupted after {done} of {n_steps} steps. The support reached by then is kept."
        )
    diverged = _diverged(history, problem, batches, settings)
    if not (history.failed or diverged):
        return _unlearned(history, batches, settings, X)
    what = diverged or ""
    if history.failed:
        what = f"stopped after {done} of {n_steps} steps: its loss was no longer finite"
    advice = "'max_iter' or use smaller steps"
    if not settings.steps.is_rate_free:
        advice = f"'learning_rate' (now {np.max(rates):.3g})"
    return (
        f"{what}. The last finite support is kept. Lower {advice}, or raise 'reg' (now "
        f"{problem.objectives[0].reg:.3g})."
    )


def _diverged(
    history: History, problem: Problem, batches: Sequence[Batch], settings: Settings
) -> str | None:
    """Return what the loss did, if it ended above its start and above that of predicting zero."""
    first, last = map(float, history.loss_curve()[[0, -1]])
    limit, y_t = LOSSES[settings.goal.loss].limit, _targets_of(batches[0])
    diverged = last > limit(first, y_t)
    if diverged and not history.failed and len(problem.objectives) > 1:
        # The last step may be of another kernel than the first, whose losses are higher.
        first = max([first, *_losses_at_start(problem, batches)])
        diverged = last > limit(first, y_t)
    return f"diverged: its loss went from {first:.3g} to {last:.3g}" if diverged else None


def _unlearned(
    history: History, batches: Sequence[Batch], settings: Settings, X: Floats
) -> str | None:
    """Say that rows far from zero taught nothing, if the loss is nearly that of predicting zero."""
    if settings.goal.loss != "mse" or not len(X) or centre_of(X) is None:
        return None
    first, last = map(float, history.loss_curve()[[0, -1]])
    of_nothing = float(mse(0.0, _targets_of(batches[0])))
    if last <= _LITTLE * of_nothing:
        return None
    return (
        f"has learned next to nothing in {history.n_steps} steps: its loss went from {first:.3g} "
        f"to {last:.3g}, where predicting nothing has {of_nothing:.3g}. The features of X are far "
        "from zero, in units of their deviation: put StandardScaler in front, in a Pipeline."
    )


def _targets_of(batch: Batch) -> Array:
    """Return the targets of a batch, scaled by the roots of their weights.

    Of moments it is one row with the mean squares of all.
    """
    if isinstance(batch, Quadratic):
        return jnp.sqrt(jnp.maximum(batch.y_squares, 0))[None]
    return batch.y_t if batch.weight is None else jnp.sqrt(batch.weight)[:, None] * batch.y_t


def _losses_at_start(problem: Problem, batches: Sequence[Batch]) -> list[float]:
    """Return the start's loss under each kernel that is drawn, on one batch or its moments."""
    own = batches if isinstance(batches[0], Quadratic) else [batches[0]] * len(problem.objectives)
    state = problem.initial_state()
    nowhere = np.zeros(1, np.float32)
    weights = np.ones(len(problem.objectives)) if problem.weights is None else problem.weights
    losses: list[Array] = [
        # A step of length zero is compiled already.
        _step.steps(objective, problem.optimizer, state, batch, nowhere, 1)[1][0]
        for objective, batch, weight in zip(problem.objectives, own, weights, strict=True)
        if weight > 0
    ]
    return [float(loss[0]) for loss in losses]
