"""How a run ends in other ways than by its last step, and what a warm start keeps."""

from __future__ import annotations

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from kipsk import KIPDistiller, KIPRegressor
from kipsk._descent import _loop, _step

from ._runs import FAST


def test_an_interrupt_of_the_last_look_keeps_the_run(blobs, monkeypatch):
    """Oracle: the losses of the run that was not interrupted."""
    expected = KIPDistiller(**FAST).fit(*blobs)
    steps = _step.steps

    def interrupted(objective, optimizer, state, batch, rates, n_steps):
        if not np.any(rates):
            raise KeyboardInterrupt
        return steps(objective, optimizer, state, batch, rates, n_steps)

    monkeypatch.setattr(_step, "steps", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted after 20 of 20 steps"):
        distiller = KIPDistiller(**FAST).fit(*blobs)
    assert_array_equal(distiller.loss_curve_, expected.loss_curve_)


def test_an_interrupt_of_the_wait_for_the_only_call_keeps_the_run(blobs, monkeypatch):
    """The run is one call of compiled code, for whose end the host waits. Oracle: that run."""
    expected = KIPDistiller(**FAST).fit(*blobs)
    wait, waits = jax.block_until_ready, []

    def interrupted(state):
        waits.append(state)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return wait(state)

    monkeypatch.setattr(_loop.jax, "block_until_ready", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted after 20 of 20 steps"):
        distiller = KIPDistiller(**FAST).fit(*blobs)
    monkeypatch.undo()
    assert_array_equal(distiller.loss_curve_, expected.loss_curve_)
    assert distiller.score(*blobs) > 0.9


def test_a_step_that_failed_is_not_looked_at(blobs):
    """An augmentation that gives NaN at one step; a score is due in the call behind it."""

    def sometimes(key, rows):
        bad = jax.random.uniform(key) < 0.05
        return jnp.where(bad, jnp.nan, 1.0) * rows

    params = {**FAST, "max_iter": 200, "early_stopping": True, "n_iter_no_change": 200}
    distiller = KIPDistiller(augment=sometimes, **params)
    with pytest.warns(ConvergenceWarning, match="no longer finite"):
        distiller.fit(*blobs)
    assert 0 < distiller.n_iter_ < 200
    assert distiller.validation_steps_.max() <= distiller.n_iter_
    assert distiller.best_iter_ <= distiller.n_iter_


def test_an_interrupted_fit_keeps_no_batch_alive(blobs, monkeypatch):
    alive = []
    steps = _step.steps

    def interrupted(objective, optimizer, state, batch, rates, n_steps):
        alive.append(weakref.ref(batch.y_t))
        if len(alive) == 2:
            raise KeyboardInterrupt
        return steps(objective, optimizer, state, batch, rates, n_steps)

    monkeypatch.setattr(_step, "steps", interrupted)
    gc.collect()
    gc.disable()
    try:
        with pytest.warns(ConvergenceWarning, match="interrupted"):
            KIPDistiller(batch_size=40, **FAST).fit(*blobs)
        assert len(alive) == 2 and all(one() is None for one in alive)
    finally:
        gc.enable()


def test_a_warm_start_keeps_labels_in_the_units_of_y():
    """Oracle: the same support given as `init`."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 4)), rng.normal(size=80)
    still = {"max_iter": 1, "learning_rate": 1e-12, "random_state": 0}
    regressor = KIPRegressor(n_support=6, warm_start=True, reg=1e-3, **still).fit(X, y)
    before = regressor.X_s_, regressor.y_s_
    regressor.fit(X, 3 * y + 5)
    assert_allclose(regressor.y_s_, before[1], atol=1e-5)
    given = KIPRegressor(init=before, reg=1e-3, **still).fit(X, 3 * y + 5)
    assert_allclose(regressor.y_s_, given.y_s_, atol=1e-6)
