"""Runs that are interrupted: they end with a fitted estimator, wherever the interrupt comes."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk._descent import _loop, _step
from kipsk._distil import _problem, _run
from kipsk.evaluation import compare

from ._runs import FAST, SEVERAL, assert_same_run, interrupt, raised_after, saved_steps


@contextmanager
def interrupted_at(line):
    """Raise KeyboardInterrupt before that line of those that a run goes through on the host."""
    files = {
        sys.modules[name].__file__ for name in ("kipsk._distil._run", "kipsk._storage._checkpoint")
    }
    functions = {_loop.run.__code__, _problem.drawn_turns.__code__, _step.leaves.__code__}
    left, has_begun = line, False

    def trace(frame, event, _):
        nonlocal left, has_begun
        has_begun = has_begun or frame.f_code is _run.descend.__code__
        if not has_begun:
            return None
        if frame.f_code.co_filename not in files and frame.f_code not in functions:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_interrupt_at_any_line(stride, blobs, path):
    """Oracle: the run that was not interrupted; with scores, snapshots and saves at every step."""
    params = SEVERAL | {"max_iter": 5, "early_stopping": True, "n_iter_no_change": 5}
    params["snapshots"] = [0, 2, 3, 5]
    expected = KIPDistiller(**params).fit(*blobs)
    assert expected.n_iter_ == 5 and len(expected.validation_steps_) == 6
    params |= {"checkpoint_path": path, "checkpoint_interval": 2}
    ends, line = [], 0
    while not ends or ends[-1] != "not interrupted":
        path.unlink(missing_ok=True)
        distiller = KIPDistiller(**params)
        with warnings.catch_warnings(record=True, action="always") as caught:
            # Between a file's opening and its `with` nobody can close it.
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                with interrupted_at(line):
                    distiller.fit(*blobs)
                ends.append("published" if caught else "not interrupted")
            except KeyboardInterrupt:
                ends.append("raised")
        if ends[-1] == "published":
            (warning,) = caught
            assert warning.category is ConvergenceWarning
            assert f"interrupted after {distiller.n_iter_} of 5" in str(warning.message)
            n_steps = distiller.n_iter_
            assert_array_equal(distiller.loss_curve_, expected.loss_curve_[:n_steps])
            assert np.isfinite(distiller.decision_function(blobs[0])).all()
        resumed = KIPDistiller(**params).fit(*blobs)
        assert_same_run(resumed, expected)
        assert not Path(f"{path}.tmp").exists()
        line += stride
    # Before the first step, and in what comes after the last, there is nothing to end.
    print(f"{len(ends)} lines, {ends.count('published')} of them ended the run")
    assert ends.count("published") > 0.7 * len(ends)


def test_interrupted_fit_is_fitted(snapshots, blobs):
    """Oracle: the supports on the way of the run that was not interrupted."""
    distiller = interrupt(KIPDistiller(snapshots=range(21), **FAST), blobs, 12)
    assert distiller.n_iter_ == 12
    assert_array_equal(distiller.loss_curve_, snapshots.loss_curve_[:12])
    assert list(distiller.snapshots_) == list(range(13))
    # The last whose loss is known: that before the last step.
    assert_array_equal(distiller.X_s_, snapshots.snapshots_[11][0])
    assert distiller.score(*blobs) > 0.9


def test_interrupt_keeps_the_best_support(blobs):
    """Oracle: the snapshot with the highest score so far."""
    params = SEVERAL | {"early_stopping": True, "n_iter_no_change": 20, "snapshots": range(21)}
    params["targets"] = "given"
    # Hardly a hint of the classes, so that scores go up and down.
    X = np.random.default_rng(1).normal(size=(120, 5)) + 0.3 * np.eye(5)[blobs[1]]
    distiller = interrupt(KIPDistiller(**params), (X, blobs[1]), 12)
    scores = distiller.validation_scores_
    assert_array_equal(distiller.validation_steps_, [0, 4, 8, 12])
    assert distiller.best_iter_ == distiller.validation_steps_[np.argmax(scores)]
    assert 0 < distiller.best_iter_ < 12
    assert_array_equal(distiller.X_s_, distiller.snapshots_[distiller.best_iter_][0])


def test_interrupt_of_the_first_step(snapshots, blobs, path, monkeypatch):
    """Oracle: the support before the first step."""

    def interrupted(*_):
        raise KeyboardInterrupt

    distiller = KIPDistiller(checkpoint_path=path, **FAST)
    with monkeypatch.context() as patch:
        patch.setattr(_step, "steps", interrupted)
        with pytest.warns(ConvergenceWarning, match="interrupted after 0 of 20 steps"):
            distiller.fit(*blobs)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == saved_steps(path) == 0
    assert_array_equal(distiller.X_s_, snapshots.snapshots_[0][0])
    assert distiller.predict(blobs[0]).shape == (120,)
    distiller.fit(*blobs)
    assert_array_equal(distiller.X_s_, snapshots.X_s_)


class Interrupted(KIPDistiller):
    """Ctrl-C comes at the twelfth step."""

    def fit(self, X, y):
        fits.append(self)
        with raised_after(12, KeyboardInterrupt):
            return super().fit(X, y)


fits: list = []


@pytest.mark.parametrize(
    "search",
    [
        lambda model, X, y: GridSearchCV(model, {"reg": [1e-6, 1e-3]}, cv=2).fit(X, y),
        lambda model, X, y: cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=2),
        lambda model, X, y: BaggingClassifier(model, 2).fit(X, y),
        lambda model, X, y: OneVsRestClassifier(model).fit(X, y),
        lambda model, X, y: compare(
            {"KIP": model.set_params(downstream="last")}, {"1-NN": KNeighborsClassifier(1)}, X, y
        ),
    ],
    ids=["search", "cross-validation", "ensemble", "one against the rest", "compare"],
)
def test_an_interrupt_ends_a_search(search, blobs, path):
    """scikit-learn#2913: every fit took a Ctrl-C of its own, and its score was used."""
    fits.clear()
    with pytest.raises(KeyboardInterrupt):
        search(Interrupted(checkpoint_path=path, **SEVERAL), *blobs)
    assert len(fits) == 1
    assert saved_steps(path) == 12


def test_a_fit_in_a_pipeline_is_by_itself(blobs):
    fits.clear()
    with pytest.warns(ConvergenceWarning, match="interrupted after 12 of 20 steps"):
        model = make_pipeline(StandardScaler(), Interrupted(**SEVERAL)).fit(*blobs)
    assert model.score(*blobs) > 0.9
