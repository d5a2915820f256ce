"""The loop. Oracles: sums by numpy, functions whose values are not finite beyond a point."""

from __future__ import annotations

import gc
import signal
from dataclasses import dataclass, field
from itertools import repeat

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import register_dataclass
from numpy.testing import assert_allclose, assert_array_equal

from kipsk._descent import _loop, _schedule, _step
from kipsk._distil._problem import Problem, drawn_turns


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):  # as KIPDistiller.fit does
        yield


@register_dataclass
@dataclass(frozen=True)
class Quadratic:
    """``1/2 sum(curvature * (x - batch)^2)``; its "accuracy" is the batch's first number."""

    curvature: jax.Array

    def __call__(self, params, batch, n_steps):
        return 0.5 * jnp.sum(self.curvature * (params["x"] - batch) ** 2), batch[0]


@register_dataclass
@dataclass(frozen=True)
class Cliff:
    """A slope of 1 down to zero, and no number beyond."""

    name: str = field(default="cliff", metadata={"static": True})  # see KernelFunction

    def __call__(self, params, batch, n_steps):
        x = params["x"]
        return x * jnp.where(x < 0, jnp.nan, 1.0), jnp.float32(0)


@register_dataclass
@dataclass(frozen=True)
class Root:
    """Zero below zero, with a gradient of 0 * inf there."""

    name: str = field(default="root", metadata={"static": True})

    def __call__(self, params, batch, n_steps):
        return jnp.sqrt(jnp.maximum(params["x"], 0)), jnp.float32(0)


IDENTITY = optax.identity()
CURVATURE = np.array([1.0, 0.3, 20.0])
START = np.array([2.0, -1.0, 0.5])
BATCH = jnp.asarray([0.25, 0.5, -0.5], jnp.float32)
QUADRATIC = Quadratic(jnp.asarray(CURVATURE, jnp.float32))


def run(objective, rates, start=START, optimizer=None, *, source=None, per_call=32, **params):
    """The state after a run and its last look, the losses, and the steps of each call."""
    optimizer = optimizer or _schedule.get_optimizer("adam")
    state = _step.initial_state(optimizer, {"x": jnp.asarray(start, jnp.float32)})
    counts, losses = [], []

    def take(batch, state, rates, n_steps):
        counts.append(n_steps)
        return _step.steps(objective, optimizer, state, batch, rates, n_steps)

    ended = _loop.run(
        take,
        repeat(BATCH) if source is None else source,
        state,
        _loop.Plan(rates, per_call),
        losses,
        bar=_loop.Bar("test", False),
        **params,
    )
    if ended.error is not None:
        return ended, np.concatenate(losses), counts
    state = _loop.look_again(take, ended.turn, ended.state, per_call)
    return ended._replace(state=state), np.concatenate(losses), counts[:-1]


def test_every_batch_is_visited_once_an_epoch():
    batches = list(range(5))
    problem = Problem([None], None, None, None, None, np.random.RandomState(0))
    turns = drawn_turns(problem, batches)
    visited = [next(turns).targets for _ in range(23)]
    epochs = [visited[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(epoch) == batches for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1  # a new order each time
    assert len(set(visited[20:])) == 3


@pytest.mark.parametrize("n_steps", [1, 32, 33, 70])
def test_run_does_all_steps_with_their_own_rates(n_steps):
    """Oracle: numpy, the sum of the rates (the gradient of this objective is 1)."""
    rates = np.random.default_rng(0).uniform(size=n_steps)
    ended, losses, counts = run(Cliff(), rates, 1000.0, IDENTITY)
    state = ended.state
    assert sum(counts) == len(losses) == ended.done == n_steps
    assert state.n_steps == n_steps + 1  # a last look at the loss
    assert max(counts) <= 32
    assert_allclose(losses, 1000 - np.append(0, np.cumsum(rates)[:-1]), rtol=1e-6)
    assert_allclose(state.params["x"], 1000 - rates.sum(), rtol=1e-6)
    assert state.good["x"] == state.params["x"]


def test_calls_end_at_stops():
    """Oracle: by hand."""
    rates = np.arange(10.0)
    assert list(_loop.Plan(rates, 4).ends()) == [4, 8, 10]
    assert list(_loop.Plan(rates, 4, {0, 3, 9, 10, 12}).ends()) == [3, 7, 9, 10]
    assert list(_loop.Plan(rates, 4, {5}, done=3).ends()) == [5, 9, 10]
    assert list(_loop.Plan(rates, 4, done=10).ends()) == []
    assert_array_equal(_loop.Plan(rates, 4).sizes(8, 10), [8, 9, 0, 0])


def test_result_does_not_depend_on_the_steps_per_call():
    rates = _schedule.learning_rates("cosine", 0.01, 40)
    results = [
        np.asarray(run(QUADRATIC, rates, per_call=per_call)[0].state.params["x"])
        for per_call in (32, 7, 1)
    ]
    assert_allclose(results[1], results[0], rtol=1e-6)
    assert_allclose(results[2], results[0], rtol=1e-6)


@pytest.mark.parametrize("per_call", [1, 2, 32])
@pytest.mark.parametrize(
    "objective, start, rate, expected, good",
    [
        (Cliff(), 2.5, 1.0, [2.5, 1.5, 0.5, np.nan], 0.5),
        (Root(), 1.0, 4.0, [1.0, 0.0], 1.0),
    ],
    ids=["loss", "gradient"],
)
def test_a_non_finite_value_freezes_the_state(objective, start, rate, expected, good, per_call):
    """The last entry of `expected` is where the loss or its gradient is not finite."""
    ended, losses, counts = run(objective, np.full(9, rate), start, IDENTITY, per_call=per_call)
    state, n_steps = ended.state, len(expected) - 1
    if per_call < 9:  # a call is looked at when the next one is on its way
        assert sum(counts) < 9
    assert_array_equal(losses, (expected + expected[-1:] * 9)[: len(losses)])
    assert len(losses) > n_steps
    assert state.failed and state.n_steps == n_steps
    assert state.good["x"] == good
    assert state.params["x"] == start - n_steps * rate * (
        1 if isinstance(objective, Cliff) else 0.5
    )


def test_the_last_step_is_looked_at():
    """Three steps of 1 lead from 2.5 to -0.5, where no step would have seen the loss."""
    state = run(Cliff(), np.ones(3), 2.5, IDENTITY)[0].state
    assert state.failed and state.n_steps == 3
    assert state.good["x"] == 0.5


def test_a_look_ends_the_run():
    seen = []

    def look(state, done):
        seen.append((int(state.n_steps), done))
        return done == 4

    ended, losses, _ = run(QUADRATIC, np.full(9, 0.01), per_call=2, look=look)
    assert seen == [(2, 2), (4, 4)]
    assert ended.early and ended.done == len(losses) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_of_the_source_ends_the_run_with_all_that_was_done(error):
    def source():
        yield BATCH
        yield BATCH
        raise error

    ended, losses, _ = run(QUADRATIC, np.full(9, 0.01), source=source(), per_call=1)
    assert isinstance(ended.error, error)
    assert ended.done == ended.state.n_steps == len(losses) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("at", [2, 9])
def test_an_interrupt_that_the_garbage_collector_drops_ends_the_run(at):
    """JAX has a callback in it; Python goes on after what is raised there."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(phase, info):
        gc.callbacks.remove(interrupted)
        signal.raise_signal(signal.SIGINT)

    def source():
        for i in range(9):
            if i == at - 1:
                gc.callbacks.append(interrupted)
                gc.collect()
            yield BATCH

    try:
        ended, losses, _ = run(QUADRATIC, np.full(9, 0.01), source=source(), per_call=1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert isinstance(ended.error, KeyboardInterrupt)
    assert ended.done == ended.state.n_steps == len(losses) == at


def test_a_handler_that_does_not_interrupt_lets_the_run_go_on():
    seen = []
    inherited = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))

    def source():
        for _ in range(9):
            signal.raise_signal(signal.SIGINT)
            yield BATCH

    try:
        ended, losses, _ = run(QUADRATIC, np.full(9, 0.01), source=source(), per_call=1)
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert ended.error is None and len(losses) == len(seen) == 9


def test_no_more_than_two_turns_are_alive():
    """The source is read when the call before has been dispatched, and not earlier."""
    taken, read = [], []

    def source():
        for i in range(5):
            read.append(len(taken))
            yield i

    def take(turn, state, rates, n_steps):
        taken.append(turn)
        return state, (np.zeros(1), np.zeros(1))

    state = _step.initial_state(IDENTITY, {"x": jnp.zeros(())})
    bar = _loop.Bar("test", False)
    _loop.run(take, source(), state, _loop.Plan(np.ones(5)), [], bar=bar)
    assert read == list(range(5)) == taken
