"""What all Displays have in common."""

from __future__ import annotations

import io
import pickle
import sys

import matplotlib.pyplot as plt
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import LabelSolver
from kipsk.plotting import (
    ComparisonDisplay,
    DistillationCurveDisplay,
    IntrinsicDimensionDisplay,
    LabelDisplay,
    SnapshotDisplay,
    SupportDisplay,
)

from ._data import RESULTS, SHAPE


def displays(solver, run):
    return [
        SupportDisplay.from_estimator(solver, image_shape=SHAPE),
        SupportDisplay.from_estimator(solver),
        LabelDisplay.from_estimator(solver),
        SnapshotDisplay.from_estimator(run),
        IntrinsicDimensionDisplay.from_estimator(run),
        DistillationCurveDisplay.from_estimator(run),
        ComparisonDisplay.from_results(RESULTS, baseline="random"),
    ]


def test_displays_pickle_and_draw_again_and_fit_their_figure(solver, run):
    for display in displays(solver, run):
        assert display.ax_.get_title()
        ax = display.figure_.axes[0]
        display.figure_.savefig(io.BytesIO(), format="png")
        again = pickle.loads(pickle.dumps(display))
        assert type(again.plot().ax_) is type(ax)
        _, given = plt.subplots()
        assert display.plot(given).ax_ is given
        plt.close("all")


def test_without_matplotlib(monkeypatch, solver, run):
    made = displays(solver, run)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for display in made:
        with pytest.raises(ImportError, match=r"Display.plot needs .* with its extra 'plot'"):
            display.plot()
    assert len(made[-1].worth()) == 4


@pytest.mark.parametrize("display", [SupportDisplay, SnapshotDisplay])
def test_estimators_that_are_not_for_it(display, solver, wine):
    with pytest.raises(ValueError, match=r"Got a Pipeline instead: call \w+\.from_pipeline"):
        display.from_estimator(wine[0])
    for each in (display, LabelDisplay):
        with pytest.raises(ValueError, match=r"must be a Pipeline.*call \w+\.from_estimator"):
            each.from_pipeline(solver)
    with pytest.raises(ValueError, match=r"must be a distiller .*Got LogisticRegression"):
        display.from_estimator(LogisticRegression())
    with pytest.raises(ValueError, match=r"must be a distiller"):
        display.from_pipeline(make_pipeline(StandardScaler(), LogisticRegression()))
    with pytest.raises(NotFittedError):
        display.from_estimator(LabelSolver())


@pytest.mark.parametrize(
    "draw",
    [
        SupportDisplay.from_estimator,
        SupportDisplay.from_pipeline,
        SnapshotDisplay.from_pipeline,
        LabelDisplay.from_estimator,
        DistillationCurveDisplay.from_estimator,
        IntrinsicDimensionDisplay.from_estimator,
    ],
)
def test_a_search_is_told_to_pass_its_best_estimator(draw, rows):
    search = GridSearchCV(LabelSolver(ipc=1, random_state=0), {"reg": [1e-3]}, cv=2).fit(*rows)
    with pytest.raises(ValueError, match=r"Got a GridSearchCV instead: pass search\.best_estima"):
        draw(search)
    assert SupportDisplay.from_estimator(search.best_estimator_, image_shape=SHAPE).kind_
