"""Steps and the run. Oracle: hand-written numpy optimisers on a quadratic."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import register_dataclass
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KIPDistiller
from kipsk._descent import _schedule, _step
from kipsk._distil import _loop
from kipsk.kernels import RBF


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
BATCH = np.array([0.25, 0.5, -0.5])


def adam(gradient, m, v, t):  # Kingma & Ba 2015, algorithm 1
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    return m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def adabelief(gradient, m, s, t):  # Zhuang et al. 2020, algorithm 2
    m = 0.9 * m + 0.1 * gradient
    s = 0.999 * s + 0.001 * (gradient - m) ** 2 + 1e-16
    return m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.999**t)) + 1e-16), m, s


@pytest.mark.parametrize("rule", [adam, adabelief])
def test_steps_equal_numpy(rule):
    """Oracle: the papers' updates in numpy float64."""
    rates = _schedule.learning_rates("cosine", 0.03, 6)
    x, m, v, losses = START, 0.0, 0.0, []
    for t, rate in enumerate(rates, start=1):
        losses.append(0.5 * np.sum(CURVATURE * (x - BATCH) ** 2))
        direction, m, v = rule(CURVATURE * (x - BATCH), m, v, t)
        before, x = x, x - rate * direction
    optimizer = _schedule.get_optimizer(rule.__name__)
    state = _step.initial_state(optimizer, {"x": jnp.asarray(START)})
    objective = Quadratic(CURVATURE)
    padded = np.append(rates, [9.0, 9.0])  # not to be used
    state, (loss, accuracy) = _step.steps(objective, optimizer, state, BATCH, padded, 6)
    assert_allclose(state.params["x"], x, rtol=1e-9)
    assert_allclose(state.good["x"], before, rtol=1e-9)
    assert_allclose(loss, [*losses, 0, 0], rtol=1e-6)
    assert_allclose(accuracy, [BATCH[0]] * 6 + [0] * 2)
    assert state.n_steps == 6 and not state.failed


def test_parameters_keep_their_precision():
    optimizer = _schedule.get_optimizer("adam")
    state = _step.initial_state(optimizer, {"x": jnp.asarray(START, jnp.float32)})
    state, _ = _step.steps(Quadratic(CURVATURE), optimizer, state, BATCH, np.ones(2), 2)
    assert state.params["x"].dtype == state.good["x"].dtype == jnp.float32


def test_learning_rates():
    """Oracle: optax's cosine schedule, and three values by hand."""
    assert_array_equal(_schedule.learning_rates("constant", 0.3, 4), [0.3] * 4)
    rates = _schedule.learning_rates("cosine", 0.3, 10)
    assert_allclose(rates[[0, 5]], [0.3, 0.15])
    schedule = optax.cosine_decay_schedule(0.3, 10)
    assert_allclose(rates, [schedule(i) for i in range(10)], rtol=1e-6)
    assert_allclose(_schedule.learning_rates("cosine", 0.3, 1), [0.3])


def make_run(objective, batches, rates, start=START, optimizer=None, **params):
    optimizer = optimizer or _schedule.get_optimizer("adam")
    state = _step.initial_state(optimizer, {"x": jnp.asarray(start, jnp.float32)})
    rng = np.random.RandomState(0)
    return _loop.run([objective], optimizer, state, batches, rates, rng, **params)


QUADRATIC = Quadratic(jnp.asarray(CURVATURE, jnp.float32))
ONE_BATCH = [jnp.asarray(BATCH, jnp.float32)]


def test_run_visits_every_batch_once_an_epoch():
    batches = [jnp.full(3, float(i)) for i in range(5)]
    run = make_run(QUADRATIC, batches, np.full(23, 0.01))
    visited = [float(accuracy[0]) for _, (_, accuracy), n_steps in run if n_steps == 1]
    assert len(visited) == 23
    epochs = [visited[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1  # a new order each time
    assert len(set(visited[20:])) == 3


@pytest.mark.parametrize("n_steps", [1, 32, 33, 70])
def test_run_does_all_steps_with_their_own_rates(n_steps):
    """Oracle: numpy, the sum of the rates (the gradient of this objective is 1)."""
    rates = np.random.default_rng(0).uniform(size=n_steps)
    calls = list(make_run(Cliff(), ONE_BATCH, rates, 1000.0, IDENTITY))
    state = calls[-1][0]
    losses = np.concatenate([loss[:n] for _, (loss, _), n in calls])
    counts = [n for _, _, n in calls]
    assert sum(counts) == len(losses) == n_steps
    assert counts[-1] == 0 and state.n_steps == n_steps + 1  # a last look at the loss
    assert max(counts) <= _loop.MAX_STEPS_PER_CALL
    assert_allclose(losses, 1000 - np.append(0, np.cumsum(rates)[:-1]), rtol=1e-6)
    assert_allclose(state.params["x"], 1000 - rates.sum(), rtol=1e-6)
    assert state.good["x"] == state.params["x"]


def test_result_does_not_depend_on_the_steps_per_call(monkeypatch):
    results = []
    for per_call in (32, 7, 1):
        monkeypatch.setattr(_loop, "MAX_STEPS_PER_CALL", per_call)
        rates = _schedule.learning_rates("cosine", 0.01, 40)
        *_, (state, _, _) = make_run(QUADRATIC, ONE_BATCH, rates)
        results.append(np.asarray(state.params["x"]))
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
def test_a_non_finite_value_freezes_the_state(
    objective, start, rate, expected, good, per_call, monkeypatch
):
    """The last entry of `expected` is where the loss or its gradient is not finite."""
    monkeypatch.setattr(_loop, "MAX_STEPS_PER_CALL", per_call)
    calls = list(make_run(objective, ONE_BATCH, np.full(9, rate), start, IDENTITY))
    state = calls[-1][0]
    losses = np.concatenate([loss[:n] for _, (loss, _), n in calls])
    n_steps = len(expected) - 1
    assert_array_equal(losses, expected + expected[-1:] * (9 - len(expected)))
    assert state.failed and state.n_steps == n_steps
    assert state.good["x"] == good
    assert state.params["x"] == start - n_steps * rate * (
        1 if isinstance(objective, Cliff) else 0.5
    )


def test_the_last_step_is_looked_at():
    """Three steps of 1 lead from 2.5 to -0.5, where no step would have seen the loss."""
    *_, (state, _, _) = make_run(Cliff(), ONE_BATCH, np.ones(3), 2.5, IDENTITY)
    assert state.failed and state.n_steps == 3
    assert state.good["x"] == 0.5


def test_optimizers_are_cached():
    assert set(_schedule.OPTIMIZERS) == {"adam", "adabelief"}
    for name in _schedule.OPTIMIZERS:
        assert _schedule.get_optimizer(name) is _schedule.get_optimizer(name)


def test_other_numbers_compile_nothing_again():
    """Oracle: the size of JAX's own compilation cache."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 4)), np.arange(40) % 2

    def fit(length_scale=1.0, **params):
        params = {"ipc": 2, "max_iter": 3} | params
        KIPDistiller(RBF(length_scale=length_scale), **params).fit(X, y)
        return _step.steps._cache_size()

    first = fit()
    assert fit(length_scale=2.0) == first
    assert fit(reg=1e-3) == first
    assert fit(learning_rate=0.1, schedule="constant", max_iter=40) == first
    assert fit(init="noise", random_state=1, label_reg=0.1) == first
    assert fit(ipc=3) == first + 1  # other shapes do: the count can tell
