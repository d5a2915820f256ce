"""What went wrong in a run, in words for its user."""

from __future__ import annotations

from typing import Any

import numpy as np

from kipsk._descent import _step
from kipsk._distil._history import History
from kipsk._distil._objective import mse
from kipsk._distil._run import Problem


def diagnose(history: History, problem: Problem, estimator: Any) -> str | None:
    """Return what went wrong in a run, in words for its user; None if nothing did.

    Raises
    ------
    ValueError
        If there is no good support at all.
    """
    n_steps, done = len(problem.rates), history.n_steps
    if history.failed and not history.n_good:
        label_reg = ", label_reg" if estimator.labels == "solved" else ""
        raise ValueError(
            "The loss of the initial support, or its gradient, is not finite. Scale the "
            f"features (for instance with StandardScaler), or raise 'reg'{label_reg} or "
            f"'batch_size'; check that the kernel {estimator.kernel!r} is finite and "
            "differentiable on them."
        )
    if history.interrupted:
        return (
            f"was interrupted after {done} of {n_steps} steps. The support reached by then is kept."
        )
    first, last = map(float, history.loss_curve()[[0, -1]])
    y_t = problem.batches[0].y_t

    def is_worse_than(first: float) -> bool:
        # Clearly worse than no prediction at all; or as bad, where a learned scale went to zero.
        if estimator.loss == "platt":
            return bool(last > max(first, 0.999 * np.log(y_t.shape[1])))
        return bool(last > 1.1 * max(first, float(mse(0.0, y_t))))

    diverged = is_worse_than(first)
    if diverged and not history.failed and len(problem.objectives) > 1:
        # The last step may be of another kernel than the first, whose losses are higher.
        first = max([first, *_losses_at_start(problem)])
        diverged = is_worse_than(first)
    if not (history.failed or diverged):
        return None
    what = f"diverged: its loss went from {first:.3g} to {last:.3g}"
    if history.failed:
        what = f"stopped after {done} of {n_steps} steps: its loss was no longer finite"
    advice = "'max_iter' or use smaller steps"
    if isinstance(estimator.optimizer, str):
        advice = f"'learning_rate' (now {np.max(problem.rates):.3g})"
    return (
        f"{what}. The last finite support is kept. Lower {advice}, or raise 'reg' (now "
        f"{problem.objectives[0].reg:.3g})."
    )


def _losses_at_start(problem: Problem) -> list[float]:
    """Return the start's loss under each kernel that is drawn, on the first batch."""
    state = _step.initial_state(problem.optimizer, problem.params)
    nowhere, batch = np.zeros(1, np.float32), problem.batches[0]
    weights = np.ones(len(problem.objectives)) if problem.weights is None else problem.weights
    losses = [
        # A step of length zero is compiled already.
        _step.steps(objective, problem.optimizer, state, batch, nowhere, 1)[1][0]
        for objective, weight in zip(problem.objectives, weights, strict=True)
        if weight > 0
    ]
    return [float(loss[0]) for loss in losses]
