"""Runs that are watched: they end as if nobody had looked."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, KIPDistiller
from kipsk._kip import _callbacks

from ._runs import FAST, SEVERAL, assert_same_run, interrupt

HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None


with_callbacks = pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn has them since 1.9")


class Recorder:
    """A callback that notes what it is told, and ends the run after some steps."""

    def __init__(self, stop=None):
        self.stop = stop
        self.told = []
        self.fitted = []

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.estimator_name} {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.told.append(f"end {context.estimator_name} {context.task_name}")
        if context.task_name == "step":
            self.fitted.append(fitted_estimator)
            return len(self.fitted) == self.stop
        return None


class Propagated(Recorder):
    """One that pipelines hand on to their steps."""

    max_propagation_depth = None


@pytest.mark.parametrize("params", [FAST, SEVERAL], ids=["one batch", "several batches"])
def test_watching_changes_nothing(params, blobs, path):
    """Oracle: the run with none of it."""
    plain = KIPDistiller(**params).fit(*blobs)
    watched = KIPDistiller(
        verbose=1, snapshots="log", checkpoint_path=path, checkpoint_interval=3, **params
    )
    if HAS_CALLBACKS:
        from sklearn.callback import ScoringMonitor

        watched.set_callbacks(ScoringMonitor(scoring="accuracy"), Recorder())
    watched.fit(*blobs)
    assert list(watched.snapshots_) == [0, 1, 2, 4, 6, 8, 12, 18, 20]
    assert_array_equal(watched.snapshots_[20][0], watched.X_s_)
    watched.snapshots_.clear()
    assert_same_run(watched, plain)


@with_callbacks
def test_callback_sees_every_step(snapshots, blobs):
    """Oracle: the support after every step, from snapshots."""
    recorder = Recorder()
    distiller = KIPDistiller(**FAST).set_callbacks(recorder).fit(*blobs)
    steps = [f"{part} KIPDistiller step" for _ in range(20) for part in ("begin", "end")]
    whole = ["setup", "begin KIPDistiller fit", *steps, "end KIPDistiller fit", "teardown"]
    assert recorder.told == whole
    for step, fitted in enumerate(recorder.fitted, start=1):
        assert_array_equal(fitted.X_s_, snapshots.snapshots_[step][0])
        assert_array_equal(fitted.y_s_, snapshots.snapshots_[step][1])
    assert fitted.score(*blobs) == distiller.score(*blobs)


@with_callbacks
@pytest.mark.parametrize("stop", [6, 20])
def test_callback_ends_the_run(stop, snapshots, blobs):
    """Oracle: the whole run's support at that step: what the callback saw is what is kept."""
    recorder = Recorder(stop)
    distiller = KIPDistiller(**FAST).set_callbacks(recorder).fit(*blobs)
    assert len(recorder.fitted) == distiller.n_iter_ == stop
    assert recorder.told[-2:] == ["end KIPDistiller fit", "teardown"]
    assert_array_equal(distiller.loss_curve_, snapshots.loss_curve_[:stop])
    assert_array_equal(distiller.X_s_, snapshots.snapshots_[stop][0])
    assert_array_equal(distiller.y_s_, snapshots.snapshots_[stop][1])


@with_callbacks
def test_callback_and_early_stopping(blobs):
    """Oracle: the best score so far decides what is kept, whoever ends the run."""
    params = SEVERAL | {"early_stopping": True, "n_iter_no_change": 15, "snapshots": range(21)}
    distiller = KIPDistiller(**params).set_callbacks(Recorder(7)).fit(*blobs)
    assert distiller.n_iter_ == 7
    assert_array_equal(distiller.validation_steps_, [0, 3, 6])
    assert_array_equal(distiller.X_s_, distiller.snapshots_[distiller.best_iter_][0])


@with_callbacks
def test_callback_is_told_of_the_steps_that_are_left(snapshots, blobs, path):
    saving = FAST | {"checkpoint_path": path, "checkpoint_interval": 5}
    interrupt(KIPDistiller(**saving), blobs, 15)
    recorder = Recorder()
    KIPDistiller(**saving).set_callbacks(recorder).fit(*blobs)
    assert len(recorder.fitted) == 5
    assert_array_equal(recorder.fitted[0].X_s_, snapshots.snapshots_[16][0])


@with_callbacks
def test_scoring_monitor_logs_each_step(snapshots, blobs):
    """Oracle: kernel ridge regression on the support after a step."""
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    # A frame: what scorers are given must still have its names.
    X = pd.DataFrame(blobs[0], columns=list("abcde"))
    distiller = KIPDistiller(**FAST).set_callbacks(monitor).fit(X, blobs[1])
    log = monitor.get_logs().data
    assert [row["task_id"] for row in log] == list(range(20))
    for step in (1, 10, 20):
        X_s, y_s = snapshots.snapshots_[step]
        ridge = KernelRidgeNTK(distiller.kernel_, reg=distiller.reg_).fit(X_s, y_s)
        hits = ridge.predict(blobs[0].astype(np.float32)).argmax(axis=1) == blobs[1]
        assert log[step - 1]["accuracy"] == hits.mean()


@with_callbacks
def test_callbacks_reach_a_distiller_in_a_pipeline(blobs):
    """Oracle: the callback on the distiller itself, after the same transformer."""
    recorder = Propagated()
    distiller = KIPDistiller(**FAST | {"max_iter": 3})
    pipeline = make_pipeline(StandardScaler(), distiller).set_callbacks(recorder)
    if not hasattr(StandardScaler, "set_callbacks"):
        pytest.skip("a transformer without callbacks warns")
    pipeline.fit(*blobs)
    assert recorder.told[0] == "setup" and recorder.told[-1] == "teardown"
    assert recorder.told.count("begin KIPDistiller step") == 3
    assert recorder.told.count("end Pipeline fit") == 1
    own = Recorder()
    X = StandardScaler().fit_transform(blobs[0])
    alone = KIPDistiller(**FAST | {"max_iter": 3}).set_callbacks(own).fit(X, blobs[1])
    for one, other in zip(recorder.fitted, own.fitted, strict=True):
        assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(pipeline[-1].X_s_, alone.X_s_)


@with_callbacks
def test_progress_bar_of_callbacks(blobs, capsys):
    pytest.importorskip("rich", reason="scikit-learn's bar needs rich")
    from sklearn.callback import ProgressBar

    KIPDistiller(**FAST).set_callbacks(ProgressBar()).fit(*blobs)
    assert "KIPDistiller - fit" in (output := capsys.readouterr().out) and "100%" in output


def test_callbacks_of_scikit_learn_are_not_needed(monkeypatch):
    """A second copy of the module, imported as with a scikit-learn that has none."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("without", _callbacks.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def fit(self):
        return self

    assert module.with_callbacks(fit) is fit
    assert module.CallbackSupportMixin.__module__ == "without"
    assert not hasattr(module.CallbackSupportMixin(), "set_callbacks")
    tasks = module.FitTasks(module.CallbackSupportMixin(), 3, None, None)
    assert not tasks.are_watched
    tasks.end()
