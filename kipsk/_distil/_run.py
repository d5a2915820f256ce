"""A run of KIP: its steps, what is looked at between them, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from kipsk._closed_form._quadratic import Quadratic
from kipsk._descent import _loop, _step
from kipsk._descent._loop import Bar, Ended, Plan, Take
from kipsk._descent._step import State
from kipsk._distil import _block_step
from kipsk._distil._history import History, Params
from kipsk._distil._objective import Batch, score
from kipsk._distil._problem import Problem, Turn, drawn_kernels, drawn_turns
from kipsk._engine import EngineError
from kipsk._storage._checkpoint import Checkpoint
from kipsk._types import AnyArray, Floats, PyTree

#: The most steps of one call of compiled code: after so many the host may look.
MAX_STEPS_PER_CALL = 32


class Watch(NamedTuple):
    """What is looked at on the way; none of it changes what a step computes.

    Attributes
    ----------
    verbose : int
        Whether a progress bar is shown.
    held_out : Targets, Quadratic or None
        Rows that the kernel sees, to score the support on. None: nothing is scored, and no score
        ends the run.
    score_every, patience : int
        Steps between two scores, and without a better one until the run ends.
    snapshots : set of int
        Steps done at which the support is kept.
    checkpoint : Checkpoint or None
    checkpoint_every : int
        Steps between two saves.
    after : callable or None
        Called after each step with a function that returns the parameters; ends the run if it
        returns True.
    keeps_at_interrupt : bool
        Whether Ctrl-C ends the run as its last step would. If not, it is raised.
    """

    verbose: int = 0
    held_out: Batch | None = None
    score_every: int = 1
    patience: int = 1
    snapshots: frozenset[int] = frozenset()
    checkpoint: Checkpoint | None = None
    checkpoint_every: int = 1
    after: Callable[[Callable[[], Params]], bool] | None = None
    keeps_at_interrupt: bool = True

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


class Looks(NamedTuple):
    """The looks at one run.

    Attributes
    ----------
    problem : Problem
    first : Targets or Quadratic
        The batch that solved labels come from, for a score.
    watch : Watch
    history : History
        Where scores and snapshots go.
    n_steps : int
        Steps of the whole run.
    stops : collection of int
        Numbers of steps after which something is due.
    """

    problem: Problem
    first: Batch
    watch: Watch
    history: History
    n_steps: int
    stops: Collection[int] = ()

    def __call__(self, state: State, done: int) -> bool:
        """Do what is due after so many steps; return whether the run is to end."""
        watch = self.watch
        is_known = self.problem.has_slow_pairs(self.problem.objectives[0])  # steps in blocks wait
        if (is_known or done in self.stops or done == self.n_steps) and state.failed:
            return True  # the step was not taken: there is nothing new to look at
        self.record(state, done)
        if done == self.n_steps or done % watch.checkpoint_every == 0:
            self.save(state, done)
        is_over = watch.after is not None and watch.after(lambda: _numpy(state.params))
        return is_over or self.history.is_stale(watch.patience)

    def record(self, state: State, done: int) -> None:
        """Keep the snapshot and the score that are due, if an interrupted run has not already."""
        watch, history = self.watch, self.history
        if done in watch.snapshots and done not in history.snapshots:
            history.snapshots[done] = _numpy(state.params)
        if watch.held_out is None or done in history.scored:
            return
        if done == self.n_steps or done % watch.score_every == 0:
            objective = self.problem.objectives[0].with_memory(state.memory)
            value = score(objective, state.params, self.first, watch.held_out)
            history.add_score(done, float(value), _numpy(state.params))

    def save(self, state: State, done: int) -> None:
        """Save the run, unless an interrupt came between a step and the note of it."""
        checkpoint = self.watch.checkpoint
        if checkpoint is None or int(state.n_steps) > done:
            return
        leaves = {f"state {i}": leaf for i, leaf in enumerate(_step.leaves(state))}
        checkpoint.save({**leaves, **self.history.to_arrays()})


def descend(
    problem: Problem,
    batches: Sequence[Batch],
    rates: Floats,
    watch: Watch,
    saved: dict[str, AnyArray] | None = None,
) -> History:
    """Take all steps, or those that are left after `saved`, and return what they led to.

    Ctrl-C (`KeyboardInterrupt`) ends the run as its last step would, or is raised when the run is
    saved: ``watch.keeps_at_interrupt``.

    Parameters
    ----------
    problem : Problem
    batches : sequence of Targets or of Quadratic
        Each epoch visits all of them, or a step takes the moments of its kernel. A single batch
        is stepped on `MAX_STEPS_PER_CALL` times a call, unless its steps go through blocks. Of
        several batches each gets one step a call, so that no batch is ever copied.
    rates : ndarray of shape (n_steps,)
        The size of every step.
    watch : Watch
    saved : dict of arrays or None
        What a checkpoint holds. ``problem.rng`` is then as it was before the first step, and the
        draws of the steps that are done are repeated.
    """
    state = problem.initial_state()
    history, done = History(), 0
    if saved is not None:
        n_leaves = sum(key.startswith("state ") for key in saved)
        stored = [saved[f"state {i}"] for i in range(n_leaves)]
        history, state = History.from_arrays(saved), _step.restore(state, stored)
        done = len(saved["losses"])
    looks = Looks(problem, batches[0], watch, history, len(rates), watch.stops(len(rates)))
    if not state.failed:
        looks.record(state, done)
    if not (state.failed or history.is_stale(watch.patience)):
        with _block_step.stepper(problem, batches) as take:
            state = _steps(take, looks, batches, rates, state, done)
    history.n_good, history.failed = int(state.n_steps), bool(state.failed)
    history.params = history.best or good_params(state)
    return history


def _steps(
    take: Take,
    looks: Looks,
    batches: Sequence[Batch],
    rates: Floats,
    state: State,
    done: int,
) -> State:
    """Take all steps that are left; return the last state."""
    problem, watch, history = looks.problem, looks.watch, looks.history
    first = problem.objectives[0]
    is_single = len(batches) == len(problem.objectives) == 1 and not problem.has_slow_pairs(first)
    # On a CPU the gradient by the weights of a convolution is slow inside of a compiled loop.
    is_single = is_single and not first.function.is_trained
    per_call = MAX_STEPS_PER_CALL if is_single else 1
    turns = drawn_turns(problem, batches)
    for _ in range(0 if is_single else done):
        next(turns)
    plan = Plan(rates, per_call, looks.stops, done)
    score_name = "R2" if isinstance(batches[0], Quadratic) else first.score_name
    bar = Bar("KIP", bool(watch.verbose), score_name, partial(_best_score, history))
    ended = _loop.run(take, turns, state, plan, history.losses, bar=bar, look=looks.__call__)
    state, error = ended.state, ended.error
    if error is None and not (state.failed or (ended.early and history.best)):
        try:
            first_turn = Turn(0, batches[0], 0)
            state = jax.block_until_ready(_loop.look_again(take, first_turn, state, per_call))
        except KeyboardInterrupt as raised:
            error = raised.with_traceback(None)
        except EngineError as raised:
            error = raised
    if error is not None:
        if isinstance(error, KeyboardInterrupt | EngineError):  # a cluster that is gone
            looks.save(state, ended.done)
        if not (isinstance(error, KeyboardInterrupt) and watch.keeps_at_interrupt):
            raise error
        history.interrupted = True
    return state


def _best_score(history: History) -> dict[str, str]:
    return {"held out": f"{max(history.scores):.3f}"} if history.scores else {}


def pass_over(
    problem: Problem, state: State, batches: Iterable[Batch], rates: Floats, verbose: int = 0
) -> tuple[Ended, list[Floats]]:
    """Take one step on each of some batches, which come when they are needed.

    Returns
    -------
    ended : Ended
        After an error of a cluster, the state is that of the last step; else the last step's loss
        is known, too.
    losses : list of arrays
        The loss before each step.
    """
    losses: list[Floats] = []
    turns: Iterator[Turn] = map(Turn, drawn_kernels(problem), batches)
    with _block_step.stepper(problem) as take:
        bar = Bar("KIP", bool(verbose))
        ended = _loop.run(take, turns, state, Plan(rates), losses, bar=bar)
        if losses and not isinstance(ended.error, Exception):
            ended = _looked_at(take, ended)
    return ended, losses


def _looked_at(take: Take, ended: Ended) -> Ended:
    """Return the end of a pass whose last loss is known, unless Ctrl-C comes first.

    The optimiser's state stays as it is: the next pass goes on from it.
    """
    try:
        looked = jax.block_until_ready(_loop.look_again(take, ended.turn, ended.state))
    except KeyboardInterrupt as raised:
        return ended._replace(error=raised.with_traceback(None))
    return ended._replace(state=ended.state._replace(good=looked.good, failed=looked.failed))


def good_params(state: State) -> Params:
    """Return the last parameters of finite loss."""
    return _numpy(state.good)


def _numpy(params: PyTree) -> Params:
    return {name: np.asarray(value) for name, value in params.items()}
