"""A run of KIP: steps, and on the way scores, snapshots, checkpoints and the way out of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from kipsk import _block_step, _optimize
from kipsk._checkpoint import Checkpoint
from kipsk._engine import EngineError
from kipsk._history import History, Params
from kipsk._losses import Objective, Targets, mse, score


class Problem(NamedTuple):
    """What is descended on.

    Attributes
    ----------
    objectives : sequence of Objective
        One for each kernel of a family.
    weights : ndarray of shape (len(objectives),) or None
        Probabilities of drawing each.
    optimizer : optax.GradientTransformation
    params : dict of Arrays
        To start from.
    batches : sequence of Targets
    rates : ndarray of shape (n_steps,)
    rng : RandomState
        Draws the order of batches and kernels.
    block_size : int or "auto"
        Targets of a block of a slow kernel.
    """

    objectives: Sequence[Objective]
    weights: NDArray[np.float64] | None
    optimizer: Any
    params: dict[str, jax.Array]
    batches: Sequence[Targets]
    rates: NDArray[np.floating]
    rng: np.random.RandomState
    block_size: int | str = "auto"


class Watch(NamedTuple):
    """What is looked at on the way; none of it changes what a step computes.

    Attributes
    ----------
    verbose : int
    held_out : Targets or None
        Rows that the kernel sees, to score the support on; None scores nothing and never ends.
    score_every, patience : int
        Steps between two scores, and without a better one until the run ends.
    snapshots : set of int
        Steps done at which the support is kept.
    checkpoint : Checkpoint or None
    checkpoint_every : int
        Steps between two of them.
    after : callable or None
        Called after each step with a function that returns the parameters; ends the run if it
        returns True.
    """

    verbose: int = 0
    held_out: Targets | None = None
    score_every: int = 1
    patience: int = 1
    snapshots: frozenset[int] = frozenset()
    checkpoint: Checkpoint | None = None
    checkpoint_every: int = 1
    after: Callable[[Callable[[], Params]], bool] | None = None

    def stops(self, n_steps: int) -> set[int]:
        """Return the numbers of steps after which the host has to look."""
        stops = set(self.snapshots)
        if self.held_out is not None:
            stops.update(range(self.score_every, n_steps, self.score_every))
        if self.checkpoint is not None:
            stops.update(range(self.checkpoint_every, n_steps, self.checkpoint_every))
        if self.after is not None:
            stops.update(range(1, n_steps))
        return stops


def descend(
    problem: Problem, watch: Watch, saved: dict[str, NDArray[Any]] | None = None
) -> History:
    """Run the steps, all or those that are left after `saved`, and return what they led to.

    `KeyboardInterrupt` ends the run as its last step would.
    """
    state = _optimize.initial_state(problem.optimizer, problem.params)
    history, done = History(), 0
    if saved is not None:
        stored = [
            saved[f"state {i}"] for i in range(sum(key.startswith("state ") for key in saved))
        ]
        history, state = History.from_arrays(saved), _optimize.restore(state, stored)
        done = len(saved["losses"])
    if not state.failed:
        _record(problem, watch, history, state, done)
    try:
        if not (state.failed or history.is_stale(watch.patience)):
            given = problem.objectives, problem.batches, problem.params, problem.block_size
            with _block_step.stepper(*given) as (stepper, batches):
                state = _steps(problem, watch, history, state, done, stepper, batches)
    except _Interrupted as interruption:
        state, history.interrupted = interruption.state, True
    history.n_good, history.failed = int(state.n_steps), bool(state.failed)
    history.params = history.best or good_params(state)
    return history


class _Interrupted(Exception):
    """The user ended the run; carries the last state."""

    def __init__(self, state: _optimize.State) -> None:
        self.state = state


def _steps(
    problem: Problem,
    watch: Watch,
    history: History,
    state: _optimize.State,
    done: int,
    stepper: Any,
    batches: Sequence[Any],
) -> _optimize.State:
    """Take all steps that are left; return the last state."""
    n_steps = len(problem.rates)
    function, n_features = problem.objectives[0].function, problem.params["X"].shape[1]
    is_slow = function.pair_size(n_features) > 1
    look_every = 1 if is_slow else _optimize.LOOK_EVERY
    stops = watch.stops(n_steps)
    calls = _optimize.run(
        problem.objectives,
        problem.optimizer,
        state,
        batches,
        problem.rates,
        problem.rng,
        weights=problem.weights,
        stops=stops,
        done=done,
        one_a_call=is_slow,
        stepper=stepper,
    )
    disable = not watch.verbose
    with tqdm(total=n_steps, initial=done, disable=disable, desc="KIP", unit="step") as bar:
        try:
            for call, (state, (loss, value), n) in enumerate(calls):
                history.losses.append(loss[:n])
                done += n
                bar.update(n)
                if n > 1 or call % look_every == 0 or done in stops or done == n_steps:
                    if watch.verbose and n:
                        name = problem.objectives[0].score_name
                        shown = {"loss": f"{loss[n - 1]:.5f}", name: f"{value[n - 1]:.3f}"}
                        if history.scores:
                            shown["held out"] = f"{max(history.scores):.3f}"
                        bar.set_postfix(shown)
                    if state.failed:
                        break
                if n and _look(problem, watch, history, state, done):
                    if not history.best:
                        state, *_ = calls.send(True)
                    break
        except KeyboardInterrupt:
            _save(watch, history, state, done)
            raise _Interrupted(state) from None
        except EngineError:  # a cluster that is gone
            _save(watch, history, state, done)
            raise
    return state


def _look(
    problem: Problem, watch: Watch, history: History, state: _optimize.State, done: int
) -> bool:
    """Do what is due after so many steps; return whether the run is to end."""
    _record(problem, watch, history, state, done)
    if done == len(problem.rates) or done % watch.checkpoint_every == 0:
        _save(watch, history, state, done)
    is_over = watch.after is not None and watch.after(lambda: _numpy(state.params))
    return is_over or history.is_stale(watch.patience)


def _record(
    problem: Problem, watch: Watch, history: History, state: _optimize.State, done: int
) -> None:
    """Keep the snapshot and the score that are due; a run that was interrupted lacks its last."""
    if done in watch.snapshots and done not in history.snapshots:
        history.snapshots[done] = _numpy(state.params)
    if watch.held_out is None or done in history.scored:
        return
    if done == len(problem.rates) or done % watch.score_every == 0:
        value = score(problem.objectives[0], state.params, problem.batches[0], watch.held_out)
        history.add_score(done, float(value), _numpy(state.params))


def _save(watch: Watch, history: History, state: _optimize.State, done: int) -> None:
    # An interrupt may come between a step and the note of it: that state is not saved.
    if watch.checkpoint is None or int(state.n_steps) > done:
        return
    leaves = {f"state {i}": leaf for i, leaf in enumerate(_optimize.leaves(state))}
    watch.checkpoint.save({**leaves, **history.to_arrays()})


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
    state = _optimize.initial_state(problem.optimizer, problem.params)
    nowhere, batch = np.zeros(1, np.float32), problem.batches[0]
    weights = np.ones(len(problem.objectives)) if problem.weights is None else problem.weights
    losses = [
        # A step of length zero is compiled already.
        _optimize.steps(objective, problem.optimizer, state, batch, nowhere, 1)[1][0]
        for objective, weight in zip(problem.objectives, weights, strict=True)
        if weight > 0
    ]
    return [float(loss[0]) for loss in losses]


def good_params(state: _optimize.State) -> Params:
    """Return the last parameters of finite loss."""
    return _numpy(state.good)


def _numpy(params: Any) -> Params:
    return {name: np.asarray(value) for name, value in params.items()}
