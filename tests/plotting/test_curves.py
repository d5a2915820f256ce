"""Curves of runs, by the data of what is drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline

from kipsk.plotting import DistillationCurveDisplay


def test_curves(run):
    display = DistillationCurveDisplay.from_estimator({"a": run, "b": make_pipeline(run)})
    assert len(display.axes_) == 2
    for name in "ab":
        assert_array_equal(display.loss_lines_[name].get_ydata(), run.loss_curve_)
        assert_array_equal(display.score_lines_[name].get_xdata(), run.validation_steps_)
        assert_array_equal(display.score_lines_[name].get_ydata(), run.validation_scores_)
        assert display.best_[name].get_xdata() == run.best_iter_
    colours = {display.loss_lines_[name].get_color() for name in "ab"}
    assert len(colours) == 2
    assert display.axes_[1].get_ylabel() == "accuracy"
    assert [t.get_text() for t in display.axes_[0].get_legend().get_texts()] == ["a", "b"]


def test_curves_on_given_axes(run):
    _, (one, other) = plt.subplots(1, 2)
    assert DistillationCurveDisplay.from_estimator(run, ax=one).score_lines_ == {}
    assert DistillationCurveDisplay.from_estimator(run, ax=one, show="score").loss_lines_ == {}
    display = DistillationCurveDisplay.from_estimator(run, ax=[one, other])
    assert display.axes_ == [one, other] and display.ax_ is one
    with pytest.raises(ValueError, match=r"'ax' parameter .* as many Axes as there are plots"):
        display.plot([one, other], show="loss")


def test_curve_without_scores(regressor):
    display = DistillationCurveDisplay.from_estimator(regressor)
    assert len(display.axes_) == 1 and display.ax_.get_legend() is None
    with pytest.raises(ValueError, match=r"no scores to show.*early_stopping=True"):
        display.plot(show="score")


def test_curve_of_what_has_no_run(solver):
    with pytest.raises(ValueError, match=r"Got a LabelSolver without loss_curve_"):
        DistillationCurveDisplay.from_estimator(solver)
