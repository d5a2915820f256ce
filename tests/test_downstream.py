"""`fit_resample`: which stage of a run trains another model.

Oracle: a model trained by hand on each stage.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from kipsk import KIPDistiller, RegularizedZCA
from kipsk._downstream import best_stage

pytestmark = pytest.mark.usefixtures("quick_compilation")

FAST = {"ipc": 2, "max_iter": 40, "random_state": 0}


class Constant(ClassifierMixin, BaseEstimator):
    """Predicts the first row's first feature, whatever it is asked."""

    def fit(self, X, y):
        self.value_ = X[0, 0]
        return self

    def predict(self, X):
        return np.full(len(X), self.value_)


def stages_of(*values):
    return {step: (np.full((2, 1), value), np.array([0, 1])) for step, value in values}


def test_the_best_stage():
    y = np.repeat([0, 1], [10, 30])
    stages = stages_of((0, 0.0), (4, 1.0), (8, 7.0))
    step, accuracies = best_stage(stages, Constant(), np.zeros((40, 1)), y)
    assert (step, accuracies) == (4, {0: 0.25, 4: 0.75, 8: 0.0})


def test_the_start_unless_another_is_better_by_a_standard_error():
    # 21 against 19 of 40: a difference of .05 with a standard error of .16.
    y = np.repeat([0, 1], [19, 21])
    step, _ = best_stage(stages_of((0, 0.0), (4, 1.0)), Constant(), np.zeros((40, 1)), y)
    assert step == 0


def test_a_stage_of_one_class_is_not_an_error():
    X, y = np.arange(6.0).reshape(-1, 1), np.array([0, 0, 0, 0, 1, 1])
    stages = {0: (X[:2], y[:2]), 1: (X[3:5], y[3:5])}
    step, accuracies = best_stage(stages, SVC(), X, y)
    assert accuracies[0] == 4 / 6
    assert step in (0, 1)


def test_auto_is_an_early_stage_from_class_centres(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(**FAST)
    X_s, y_s = distiller.fit_resample(X, y)
    centres = KIPDistiller(**FAST, init="kmeans", snapshots=[0, 8]).fit(X, y)
    np.testing.assert_array_equal(X_s, centres.snapshots_[8][0])
    np.testing.assert_array_equal(y_s, np.repeat(np.arange(10), 2))
    assert distiller.stage_ == 8
    assert list(distiller.snapshots_) == [0, 1, 2, 4, 8, 16, 32, 40]
    # The estimator is what the whole run led to, and its parameters are what they were.
    np.testing.assert_array_equal(distiller.X_s_, centres.X_s_)
    assert distiller.get_params() == KIPDistiller(**FAST).get_params()
    assert clone(distiller).fit(X, y).score(X, y) > 0.8


def test_a_run_shorter_than_the_stage(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(ipc=1, max_iter=3, random_state=0)
    distiller.fit_resample(X, y)
    assert distiller.stage_ == 3


def test_last_is_the_fit_itself(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(**FAST, downstream="last")
    X_s, y_s = distiller.fit_resample(X, y)
    fitted = KIPDistiller(**FAST).fit(X, y)
    np.testing.assert_array_equal(X_s, fitted.X_s_)
    np.testing.assert_array_equal(y_s, fitted.classes_[fitted.y_s_.argmax(axis=1)])
    assert not hasattr(distiller, "stage_")


def test_a_classifier_is_tried_on_held_out_rows(digits):
    X, X_test, y, y_test = digits
    names = np.array([f"digit {code}" for code in y])
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    model = KNeighborsClassifier(1)
    distiller = KIPDistiller(**FAST, downstream=model, validation_fraction=0.3)
    X_s, y_s = distiller.fit_resample(frame, names)
    assert list(X_s.columns) == list(frame.columns)
    assert set(distiller.stage_scores_) == {0, 1, 2, 4, 8, 16, 32, 40}
    assert not hasattr(model, "classes_")  # a clone was trained
    start_X, start_y = distiller.snapshots_[0]
    start = clone(model).fit(start_X, distiller.classes_[start_y.argmax(axis=1)])
    chosen = clone(model).fit(X_s.to_numpy(), y_s)
    names_test = np.array([f"digit {code}" for code in y_test])
    assert chosen.score(X_test, names_test) >= start.score(X_test, names_test) - 0.02
    # Rows that are held out train nothing: without them the run is the same.
    again = KIPDistiller(**FAST, downstream=model, validation_fraction=0.3)
    np.testing.assert_array_equal(again.fit_resample(frame, names)[0], X_s)


def test_with_preprocess_the_model_is_tried_in_its_units(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(
        **FAST, preprocess=RegularizedZCA(), downstream=KNeighborsClassifier(1)
    )
    distiller.fit_resample(X, y)
    assert max(distiller.stage_scores_.values()) > 0.6


@pytest.mark.parametrize("downstream", ["first", None, SVC, 3])
def test_bad_downstream(downstream, digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match="The 'downstream' parameter of KIPDistiller must be"):
        KIPDistiller(**FAST, downstream=downstream).fit_resample(X, y)


def test_no_row_to_try_on(digits):
    X, _, y, _ = digits
    with pytest.raises(ValueError, match="holds no row out"):
        KIPDistiller(**FAST, downstream=SVC(), validation_fraction=0.05).fit_resample(
            X[:60], y[:60]
        )
