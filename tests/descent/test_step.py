"""Steps. Oracle: hand-written numpy optimisers on a quadratic."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import register_dataclass
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KIPDistiller
from kipsk._descent import _schedule, _step
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
    assert_allclose(_schedule.learning_rates("step", 0.3, 5), [0.3] * 3 + [0.03] * 2)


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
