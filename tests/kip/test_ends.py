"""How a run ends in other ways than by its last step, and what a warm start keeps."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from kipsk import KIPDistiller, KIPRegressor
from kipsk._descent import _step
from kipsk._distil import _run

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


@pytest.mark.skipif(os.name != "posix", reason="sends a signal as a terminal does")
def test_a_signal_within_the_only_call_keeps_the_run():
    """The whole run is one call of compiled code, which the host waits for."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 400)).astype(np.float32)
    y = np.arange(6000) % 3
    params = {"ipc": 20, "max_iter": 30, "batch_size": 6000, "random_state": 0}
    descend, seconds = _run.descend, []

    def timed(*given):
        start = time.perf_counter()
        result = descend(*given)
        seconds.append(time.perf_counter() - start)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "descend", timed)
        for _ in range(2):  # the first one compiles
            KIPDistiller(**params).fit(X, y)
    timer = threading.Timer(seconds[1] / 2, os.kill, (os.getpid(), signal.SIGINT))

    def begun(*given):
        timer.start()
        return descend(*given)

    # A process that was started in the background may ignore the signal.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_run, "descend", begun)
            with pytest.warns(ConvergenceWarning, match="interrupted after"):
                distiller = KIPDistiller(**params).fit(X, y)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert distiller.predict(X[:5]).shape == (5,)


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
