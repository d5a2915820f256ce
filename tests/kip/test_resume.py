"""Runs that are killed or interrupted: they go on as if nothing had happened."""

from __future__ import annotations

import numpy as np
import optax
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.random_projection import GaussianRandomProjection

from kipsk import KIPDistiller
from kipsk._descent import _step
from kipsk.kernels import RandomFeatures, TrainedFeatures

from ._runs import FAST, SEVERAL, assert_same_run, interrupt, noisy, raised_after, saved_steps


class Killed(BaseException):
    """Nothing in the package catches it."""


def kill(distiller, blobs, step):
    with raised_after(step, Killed), pytest.raises(Killed):
        distiller.fit(*blobs)


CASES = {
    "one batch": {},
    "several batches": {"batch_size": 40},
    "sampled networks": {
        "kernel": RandomFeatures("fc1", width=8),
        "predict_kernel": "fc1",
        "loss": "platt",
    },
    "trained networks": {
        "kernel": TrainedFeatures("fc1", 3, 8, max_age=4),
        "early_stopping": True,
        "n_iter_no_change": 20,
    },
    "a family": {"kernel": ["fc1", "rbf"], "kernel_weights": [2, 1]},
    "solved labels": {"labels": "solved"},
    "augmented": {"augment": noisy},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 15, "batch_size": 40},
    "optax, frozen entries": {"optimizer": optax.adabelief(0.05), "corruption": 0.3},
}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_interrupted_run_ends_as_if_it_had_not_been(case, blobs, path):
    """Oracle: the run without checkpoints. Killed between two saves, interrupted, and run again."""
    params = FAST | CASES[case] | {"snapshots": "log"}
    expected = KIPDistiller(**params).fit(*blobs)
    saving = params | {"checkpoint_path": path, "checkpoint_interval": 3}
    kill(KIPDistiller(**saving), blobs, 8)
    assert saved_steps(path) == 6
    interrupted = interrupt(KIPDistiller(**saving), blobs, 12)
    assert saved_steps(path) == interrupted.n_iter_ == 12
    assert_same_run(KIPDistiller(**saving).fit(*blobs), expected)
    assert expected.n_iter_ == (15 if case == "early stopping" else 20)
    assert saved_steps(path) == expected.n_iter_


@pytest.mark.parametrize("interval", [1, 7, 1000])
@pytest.mark.parametrize("params", [FAST, SEVERAL], ids=["one batch", "several batches"])
def test_interval_does_not_matter(params, interval, blobs, path):
    """Oracle: the run without checkpoints, many steps a call where it can."""
    expected = KIPDistiller(**params).fit(*blobs)
    saving = params | {"checkpoint_path": path, "checkpoint_interval": interval}
    assert_same_run(KIPDistiller(**saving).fit(*blobs), expected)
    path.unlink()
    stopped = KIPDistiller(snapshots=[8], **saving)  # a call ends there, to be killed after
    kill(stopped, blobs, 8)
    assert path.exists() == (interval < 8)
    assert list(stopped.fit(*blobs).snapshots_) == [8]
    del stopped.snapshots_[8]
    assert_same_run(stopped, expected)


LONGER = {
    "constant": {"schedule": "constant"},
    "function": {"schedule": lambda step: 1 / (1 + step), "batch_size": 40},
    "optax, snapshots": {"optimizer": optax.adam(0.05), "snapshots": [2, 7, 15]},
    "networks": {"kernel": RandomFeatures("fc1", width=8), "schedule": "constant"},
    "trained": {"kernel": TrainedFeatures("fc1", 3, 8, max_age=4), "schedule": "constant"},
}


@pytest.mark.parametrize("case", LONGER)
def test_run_that_is_over_is_prolonged(case, blobs, path):
    """Oracle: the longer run without checkpoints."""
    params = {**FAST, **LONGER[case]}
    saving = {**params, "checkpoint_path": path, "checkpoint_interval": 3}
    KIPDistiller(**{**saving, "max_iter": 8}).fit(*blobs)
    assert saved_steps(path) == 8
    longer = KIPDistiller(**saving).fit(*blobs)
    assert_same_run(longer, KIPDistiller(**params).fit(*blobs))
    assert saved_steps(path) == longer.n_iter_ == 20
    with pytest.raises(ValueError, match=r"'max_iter' .*must be at least 20, the steps in .* 19"):
        KIPDistiller(**{**saving, "max_iter": 19}).fit(*blobs)


@pytest.mark.parametrize("given", [{}, {"schedule": "constant", "early_stopping": True}])
def test_message_says_how_to_prolong_a_run(given, blobs, path):
    params = {**FAST, **given, "checkpoint_path": path}
    distiller = KIPDistiller(**params).fit(*blobs)
    with pytest.raises(ValueError, match=r"'max_iter' was 20 and is 30\..*warm_start=True"):
        KIPDistiller(**{**params, "max_iter": 30}).fit(*blobs)
    # As it says.
    distiller.fit(*blobs)
    other = path.with_name("more.npz")
    distiller.set_params(warm_start=True, max_iter=10, checkpoint_path=other).fit(*blobs)
    assert distiller.n_iter_ == 10 and distiller.loss_curve_[-1] < 0.1


def test_other_differences_come_without_this_advice(blobs, path):
    params = {**FAST, "checkpoint_path": path}
    KIPDistiller(**params).fit(*blobs)
    with pytest.raises(ValueError, match="'ipc' was 2 and is 1; 'max_iter' was 20") as raised:
        KIPDistiller(**{**params, "max_iter": 30, "ipc": 1}).fit(*blobs)
    assert "warm_start" not in str(raised.value)


def test_a_run_that_is_over_takes_no_step(blobs, path, monkeypatch):
    """From a file that has another name by now, with another interval and a progress bar."""
    expected = KIPDistiller(checkpoint_path=path, **FAST).fit(*blobs)
    moved = path.rename(path.with_name("moved.npz"))
    lengths = []
    steps = _step.steps

    def counted(objective, optimizer, state, batch, rates, n_steps):
        lengths.append(rates.max())
        return steps(objective, optimizer, state, batch, rates, n_steps)

    monkeypatch.setattr(_step, "steps", counted)
    again = KIPDistiller(checkpoint_path=str(moved), checkpoint_interval=3, verbose=1, **FAST)
    assert_same_run(again.fit(*blobs), expected)
    assert lengths == [0]  # the last, which only looks


GENERATORS = {
    "None": lambda: np.random.seed(7),  # returns None
    "RandomState": lambda: np.random.RandomState(7),
    "another bit generator": lambda: np.random.RandomState(np.random.PCG64(7)),
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_generator_goes_on_where_the_killed_run_began(kind, blobs, path):
    """Oracle: an uninterrupted run from the same state. The state at the resumption is another."""
    before = np.random.get_state()
    make = GENERATORS[kind]
    params = SEVERAL | {"checkpoint_interval": 3}
    expected = KIPDistiller(**params | {"random_state": make()}).fit(*blobs)
    params["checkpoint_path"] = path
    kill(KIPDistiller(**params | {"random_state": make()}), blobs, 8)
    later = make()
    (later or np.random).normal(size=3)
    assert_same_run(KIPDistiller(**params | {"random_state": later}).fit(*blobs), expected)
    np.random.set_state(before)


def test_failed_run_fails_again(blobs, path):
    """Oracle: the run without checkpoints, whose steps overflow."""
    params = FAST | {"learning_rate": 1e38}
    expected = KIPDistiller(**params)
    with pytest.warns(ConvergenceWarning, match="stopped after 1 of 20 steps"):
        expected.fit(*blobs)
    for _ in range(2):
        again = KIPDistiller(checkpoint_path=path, checkpoint_interval=1, **params)
        with pytest.warns(ConvergenceWarning, match="stopped after 1 of 20 steps"):
            assert_same_run(again.fit(*blobs), expected)


def test_warm_start_goes_on_with_the_same_support_only(snapshots, blobs, path):
    """Oracle: a warm start without checkpoints."""

    def warm(step, **params):
        distiller = KIPDistiller(warm_start=True, **SEVERAL, **params)
        distiller.X_s_, distiller.y_s_ = snapshots.snapshots_[step]
        distiller.classes_ = np.arange(3)
        return distiller

    saving = {"checkpoint_path": path, "checkpoint_interval": 3}
    kill(warm(5, **saving), blobs, 8)
    with pytest.raises(ValueError, match="the support to start from was tuple"):
        warm(6, **saving).fit(*blobs)
    with pytest.raises(ValueError, match=r"was tuple.* and is not there"):
        KIPDistiller(warm_start=True, **SEVERAL, **saving).fit(*blobs)
    assert_same_run(warm(5, **saving).fit(*blobs), warm(5).fit(*blobs))


def test_random_preprocess_cannot_go_on(blobs, path):
    """Another projection gives another space, where the saved support means nothing."""
    preprocess = GaussianRandomProjection(4)
    KIPDistiller(preprocess=preprocess, checkpoint_path=path, **FAST).fit(*blobs)
    again = KIPDistiller(preprocess=preprocess, checkpoint_path=path, **FAST)
    with pytest.raises(
        ValueError, match=r"'preprocess' made of X is not what it was.*random_state"
    ):
        again.fit(*blobs)
    path.unlink()
    again.set_params(preprocess=GaussianRandomProjection(4, random_state=0)).fit(*blobs)
    assert_array_equal(again.X_s_, clone(again).fit(*blobs).X_s_)
