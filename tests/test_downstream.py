"""`fit_resample`: which stage of a run trains another model.

Oracle: a model trained by hand on each stage.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from kipsk import KIPDistiller, RegularizedZCA
from kipsk._downstream import best_stage, split

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
    assert (step, accuracies) == (1, {0: 4 / 6, 1: 1.0})


def test_auto_is_an_early_stage_from_class_centres(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(**FAST)
    X_s, y_s = distiller.fit_resample(X, y)
    centres = KIPDistiller(**FAST, init="kmeans", snapshots=[0, 4]).fit(X, y)
    np.testing.assert_array_equal(X_s, centres.snapshots_[4][0])
    np.testing.assert_array_equal(y_s, np.repeat(np.arange(10), 2))
    assert distiller.stage_ == 4
    assert list(distiller.snapshots_) == [0, 4]
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
    X, _, y, _ = digits
    names = np.array([f"digit {code}" for code in y])
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    model = KNeighborsClassifier(1)
    distiller = KIPDistiller(**FAST, downstream=model, validation_fraction=0.3)
    X_s, _ = distiller.fit_resample(frame, names)
    assert list(X_s.columns) == list(frame.columns)
    assert set(distiller.stage_scores_) == {0, 1, 2, 4, 8, 16, 32, 40}
    assert not hasattr(model, "classes_")  # a clone was trained
    # By hand: rows that were not held out, from class centres; each stage tried on the rest.
    X_fit, y_fit, X_held, y_held = split("", frame, names, 0.3, np.random.RandomState(0))
    assert len(X_held) == sum(int(0.3 * n) for n in np.bincount(y))
    run = KIPDistiller(**FAST, init="kmeans", snapshots=list(distiller.snapshots_))
    run.fit(X_fit, y_fit)
    for step, (rows, labels) in run.snapshots_.items():
        np.testing.assert_array_equal(distiller.snapshots_[step][0], rows)
        trained = clone(model).fit(rows, run.classes_[labels.argmax(axis=1)])
        assert distiller.stage_scores_[step] == trained.score(X_held.to_numpy(), y_held)


def test_a_model_that_names_columns(digits):
    X, _, y, _ = digits
    frame = pd.DataFrame(X[:300], columns=[f"pixel {i}" for i in range(64)])
    some = ColumnTransformer([("some", "passthrough", [f"pixel {i}" for i in range(10, 50)])])
    distiller = KIPDistiller(**FAST, downstream=make_pipeline(some, KNeighborsClassifier(1)))
    distiller.fit_resample(frame, y[:300])
    assert max(distiller.stage_scores_.values()) > 0.5


def test_an_earlier_fit_is_no_start(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(**FAST, warm_start=True).fit(X, y)
    X_s, _ = distiller.fit_resample(X, y)
    np.testing.assert_array_equal(X_s, KIPDistiller(**FAST).fit_resample(X, y)[0])
    assert distiller.warm_start


def test_snapshots_of_the_user_stay(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(**FAST, snapshots=[3, 20])
    distiller.fit_resample(X, y)
    assert (list(distiller.snapshots_), distiller.stage_) == ([0, 3, 4, 20], 4)


def test_a_run_that_diverges_gives_no_stage_of_infinite_loss(digits):
    X, _, y, _ = digits
    distiller = KIPDistiller(ipc=1, max_iter=20, learning_rate=1e20, random_state=0)
    with pytest.warns(ConvergenceWarning, match="last finite support"):
        X_s, _ = distiller.fit_resample(X, y)
    assert np.abs(X_s).max() < 1e3


@pytest.mark.slow
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
