"""A run of KIP: steps, and on the way scores, snapshots, checkpoints and the way out of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from kipsk._descent import _step
from kipsk._distil import _block_step, _loop
from kipsk._distil._history import History, Params
from kipsk._distil._objective import Objective, Targets, score
from kipsk._engine import EngineError
from kipsk._storage._checkpoint import Checkpoint


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
    state = _step.initial_state(problem.optimizer, problem.params)
    history, done = History(), 0
    if saved is not None:
        stored = [
            saved[f"state {i}"] for i in range(sum(key.startswith("state ") for key in saved))
        ]
        history, state = History.from_arrays(saved), _step.restore(state, stored)
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

    def __init__(self, state: _step.State) -> None:
        self.state = state


def _steps(
    problem: Problem,
    watch: Watch,
    history: History,
    state: _step.State,
    done: int,
    stepper: Any,
    batches: Sequence[Any],
) -> _step.State:
    """Take all steps that are left; return the last state."""
    n_steps = len(problem.rates)
    function, n_features = problem.objectives[0].function, problem.params["X"].shape[1]
    is_slow = function.pair_size(n_features) > 1
    look_every = 1 if is_slow else _loop.LOOK_EVERY
    stops = watch.stops(n_steps)
    calls = _loop.run(
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


def _look(problem: Problem, watch: Watch, history: History, state: _step.State, done: int) -> bool:
    """Do what is due after so many steps; return whether the run is to end."""
    _record(problem, watch, history, state, done)
    if done == len(problem.rates) or done % watch.checkpoint_every == 0:
        _save(watch, history, state, done)
    is_over = watch.after is not None and watch.after(lambda: _numpy(state.params))
    return is_over or history.is_stale(watch.patience)


def _record(
    problem: Problem, watch: Watch, history: History, state: _step.State, done: int
) -> None:
    """Keep the snapshot and the score that are due; a run that was interrupted lacks its last."""
    if done in watch.snapshots and done not in history.snapshots:
        history.snapshots[done] = _numpy(state.params)
    if watch.held_out is None or done in history.scored:
        return
    if done == len(problem.rates) or done % watch.score_every == 0:
        value = score(problem.objectives[0], state.params, problem.batches[0], watch.held_out)
        history.add_score(done, float(value), _numpy(state.params))


def _save(watch: Watch, history: History, state: _step.State, done: int) -> None:
    # An interrupt may come between a step and the note of it: that state is not saved.
    if watch.checkpoint is None or int(state.n_steps) > done:
        return
    leaves = {f"state {i}": leaf for i, leaf in enumerate(_step.leaves(state))}
    watch.checkpoint.save({**leaves, **history.to_arrays()})


def good_params(state: _step.State) -> Params:
    """Return the last parameters of finite loss."""
    return _numpy(state.good)


def _numpy(params: Any) -> Params:
    return {name: np.asarray(value) for name, value in params.items()}
