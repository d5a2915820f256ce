"""`fit_resample`: which stage of a run trains another model.

Oracle: a model trained by hand on each stage.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, SVR

from kipsk import KIPDistiller, RegularizedZCA
from kipsk._kip import _stages
from kipsk._kip._stages import (
    best_stage,
    models_of,
    random_rows,
    rows_to_try,
    rows_within,
    wards,
)
from kipsk.baselines import CoresetSampler
from kipsk.kernels import RBF

FAST = {"ipc": 2, "max_iter": 40, "random_state": 0, "kernel": ["rbf", "laplace"]}


class Answers(ClassifierMixin, BaseEstimator):
    """Answers with the first row it was trained on, or with the second."""

    def __init__(self, row=0):
        self.row = row

    def fit(self, X, y):
        self.answers_ = X[self.row]
        return self

    def predict(self, X):
        return self.answers_


Y = np.repeat([0, 1], [10, 30])


def right_but(*wrong):
    """Return the right answers to all rows but some."""
    answers = Y.copy()
    answers[list(wrong)] = 1 - answers[list(wrong)]
    return answers


def chosen(*stages):
    """Return what `best_stage` says of pairs (step, answers), or (step, answers of two models)."""
    models = [Answers(row) for row in range(len(stages[0]) - 1)]
    labels = np.array([0, 1])
    stages = {step: (np.array([*rows, rows[0]])[:2], labels) for step, *rows in stages}
    return best_stage(stages, models, np.zeros((len(Y), 1)), Y)


def test_the_best_stage_by_balanced_accuracy():
    zeros, ones = range(10), range(10, 40)
    step, accuracies = chosen(
        (0, right_but(*ones)), (4, right_but(*ones[::2])), (8, right_but(*zeros))
    )
    assert (step, accuracies) == (4, pytest.approx({0: 0.5, 4: 0.75, 8: 0.5}))


def test_the_start_unless_another_is_better_by_a_standard_error():
    # Two more right and one less, of one class: 1 of 30, with a standard error of sqrt(3) of 30.
    assert chosen((0, right_but(10, 11)), (4, right_but(12)))[0] == 0
    # Four and one: 3 against sqrt(5).
    assert chosen((0, right_but(10, 11, 13, 14)), (4, right_but(12)))[0] == 4


def test_several_models_count_equally_and_none_may_lose():
    one, other = (0, right_but(10, 11, 13, 14), right_but()), right_but(15)
    step, accuracies = chosen(one, (2, right_but(), other))  # loses 1 of 60
    assert (step, accuracies) == (0, pytest.approx({0: 1 - 2 / 60, 2: 1 - 0.5 / 60}))
    # The same without a loss.
    assert chosen(one, (2, right_but(), right_but()))[0] == 2


def test_a_stage_of_one_class_is_not_an_error():
    X, y = np.arange(6.0).reshape(-1, 1), np.array([0, 0, 0, 0, 1, 1])
    stages = {0: (X[:2], y[:2]), 1: (X[3:5], y[3:5])}
    step, accuracies = best_stage(stages, [SVC()], X, y)
    assert (step, accuracies) == (1, {0: 0.5, 1: 1.0})


def test_own_rows_count_where_a_class_has_few_others():
    """The start holds most of the first class and half of the second one."""
    own = {0: (np.arange(40) < 25) & (np.arange(40) > 3)}
    labels = np.array([0, 1])
    answers = {0: right_but(30), 2: np.ones(40)}
    stages = {step: (np.array([rows] * 2), labels) for step, rows in answers.items()}
    step, accuracies = best_stage(stages, [Answers()], np.zeros((40, 1)), Y, own)
    assert (step, accuracies) == (0, pytest.approx({0: (1 + 14 / 15) / 2, 2: 0.5}))


def test_chance_does_not_choose_where_the_start_leaves_few_rows():
    """Labels are noise, and two rows of each class are not in the start."""
    X = np.random.RandomState(0).randn(60, 5)
    y = np.random.RandomState(1).permutation(np.repeat([0, 1], 30))
    kept = np.sort(np.concatenate([np.flatnonzero(y == code)[:28] for code in (0, 1)]))
    params = {"init": (X[kept], y[kept]), "max_iter": 8, "downstream": KNeighborsClassifier(1)}
    distiller = KIPDistiller("rbf", random_state=0, **params)
    with may_warn():
        distiller.fit_resample(X, y)
    assert distiller.stage_ == 0 and "random" not in distiller.stage_scores_


def test_solved_labels_do_not_take_classes_from_other_rows():
    """The labels of a few rows of noise are all of the larger class."""
    X, y = np.random.RandomState(0).randn(200, 5), np.repeat([0, 1], [170, 30])
    params = {"ipc": 3, "max_iter": 2, "labels": "solved", "random_state": 0}
    distiller = KIPDistiller("rbf", downstream=KNeighborsClassifier(1), **params)
    with may_warn():
        y_s = distiller.fit_resample(X, y)[1]
    assert distiller.stage_ in ("random", "agglomerative", "medoids")
    np.testing.assert_array_equal(np.bincount(y_s), [3, 3])


def test_rows_to_try_are_as_many_of_each_class():
    codes = np.repeat([0, 1, 2], [9000, 40, 3000])
    rows = rows_to_try(codes, np.random.RandomState(0))
    np.testing.assert_array_equal(np.bincount(codes[rows]), [1666, 40, 1666])
    assert len(np.unique(rows)) == len(rows) and np.std(rows[:1666]) > 2000


@pytest.fixture(scope="module")
def few(digits):
    """So few that all runs of a file take seconds, and of one shape, so that they compile once."""
    return digits[0][:600], digits[2][:600]


@contextmanager
def may_warn():
    """Four steps need not lead to anything better."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "KIPDistiller.fit_resample learned no better")
        yield


def run_by_hand(params, steps, X, y, given=()):
    """Return the run of `fit_resample` as a `fit`."""
    changed = {"init": "kmeans", "labels": "fixed", "snapshots": steps, "targets": "given"}
    return KIPDistiller(**{**params, **changed, **dict(given)}).fit(X, y)


def test_auto_is_the_stage_that_trains_the_models_best(few):
    X, y = few
    params = {**FAST, "max_iter": 32}
    distiller = KIPDistiller(**params)
    X_s, y_s = distiller.fit_resample(X, y)
    run = run_by_hand(params, [0, 2, 4, 8, 16, 32], X, y)
    assert list(distiller.snapshots_) == list(run.snapshots_)
    np.testing.assert_array_equal(X_s, run.snapshots_[distiller.stage_][0])
    np.testing.assert_array_equal(y_s, np.repeat(np.arange(10), 2))
    for step, (rows, labels) in run.snapshots_.items():
        models = models_of("auto")
        predictions = [model.fit(rows, labels.argmax(axis=1)).predict(X) for model in models]
        scores = [balanced_accuracy_score(y, prediction) for prediction in predictions]
        assert distiller.stage_scores_[step] == pytest.approx(np.mean(scores), abs=1e-12)
    assert distiller.stage_scores_[distiller.stage_] > distiller.stage_scores_[0]
    # The estimator is what the whole run led to, and its parameters are what they were.
    np.testing.assert_array_equal(distiller.X_s_, run.X_s_)
    assert distiller.get_params() == KIPDistiller(**params).get_params()
    assert clone(distiller).fit(X, y).score(X, y) > 0.7


@pytest.mark.parametrize(
    ("kernel", "family"),
    [
        ("fc1", ["fc1", "fc3", "rbf", "laplace"]),
        ("rbf", ["rbf", "fc3", "laplace"]),
        (RBF(), [RBF(), "fc3", "laplace"]),
        (RBF(2.0), [RBF(2.0), "fc3", "rbf", "laplace"]),
        (["rbf", "fc1"], ["rbf", "fc1"]),
    ],
)
def test_the_kernel_and_its_companions(kernel, family, digits, monkeypatch):
    class Fitted(Exception):
        pass

    def fit(self, X, y):
        raise Fitted(self.kernel)

    monkeypatch.setattr(KIPDistiller, "fit", fit)
    with pytest.raises(Fitted) as fitted:
        KIPDistiller(kernel).fit_resample(digits[0], digits[2])
    assert fitted.value.args == (family,)


@pytest.mark.parametrize(
    "given",
    [{"kernel": ["laplace", "rbf"]}, {"init": "noise"}, {"labels": "solved"}],
)
def test_what_the_user_says_of_the_run_stays(given, few):
    X, y = few
    params = {**FAST, "ipc": 1, "max_iter": 4, "downstream": KNeighborsClassifier(1), **given}
    distiller = KIPDistiller(**params)
    with may_warn():
        distiller.fit_resample(X, y)
    run = run_by_hand(params, [0, 2, 4], X, y, given)
    np.testing.assert_array_equal(distiller.X_s_, run.X_s_)
    np.testing.assert_array_equal(distiller.y_s_, run.y_s_)


def test_features_in_other_units_do_no_harm():
    """A step is as long in every feature, so small ones are lost at once; the start stays."""
    X, y = load_wine(return_X_y=True)
    distiller = KIPDistiller(["rbf", "laplace"], ipc=3, max_iter=20, random_state=0)
    with pytest.warns(UserWarning, match=r"no better training set.*StandardScaler"):
        X_s, y_s = distiller.fit_resample(X, y)
    forest = RandomForestClassifier(30, random_state=1)
    start = distiller.snapshots_[0][0]
    assert forest.fit(X_s, y_s).score(X, y) >= forest.fit(start, y_s).score(X, y) - 0.02


NONE_BETTER = "fit_resample learned no better training set. The rows returned are "


def test_a_start_that_stays_is_told(few):
    """Steps as short as these are lost in rounding."""
    X, y = few[0] + 100, few[1]
    distiller = KIPDistiller(**{**FAST, "max_iter": 2, "learning_rate": 1e-9})
    with pytest.warns(UserWarning, match=f"{NONE_BETTER}those that the run started from") as told:
        X_s, _ = distiller.fit_resample(X, y)
    assert "StandardScaler), pass your model as 'downstream', raise 'ipc'" in str(told[0].message)
    assert distiller.stage_ == 0
    np.testing.assert_array_equal(X_s, distiller.snapshots_[0][0])
    distiller.set_params(downstream=KNeighborsClassifier(1))
    with pytest.warns(UserWarning, match=NONE_BETTER) as told:
        distiller.fit_resample(X, y)
    assert "'downstream'" not in str(told[0].message)


@pytest.mark.parametrize("as_frame", [False, True])
def test_random_rows_stand_where_they_are_better(as_frame, few):
    """Noise that learned next to nothing trains no model. Oracle: the model, by hand."""
    X, y = few
    given = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)]) if as_frame else X
    model = KNeighborsClassifier(1)
    params = {**FAST, "max_iter": 2, "init": "noise", "downstream": model}
    distiller = KIPDistiller(**params)
    with pytest.warns(UserWarning, match=f"{NONE_BETTER}random rows of X, which trained"):
        X_s, y_s = distiller.fit_resample(given, y)
    assert distiller.stage_ == "random" and isinstance(X_s, pd.DataFrame) == as_frame
    np.testing.assert_array_equal(y_s, np.repeat(np.arange(10), 2))
    rows = [np.flatnonzero((np.float32(X) == row).all(axis=1)) for row in np.asarray(X_s)]
    assert all(y[found[0]] == label for found, label in zip(rows, y_s, strict=True))
    # The rows themselves are not tried on.
    rest = np.setdiff1d(np.arange(len(X)), np.concatenate(rows))
    trained = model.fit(np.asarray(X_s), y_s)
    score = balanced_accuracy_score(y[rest], trained.predict(np.float32(X[rest])))
    assert distiller.stage_scores_["random"] == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("as_frame", [False, True])
def test_wards_clusters_stand_beside_the_stages(as_frame, few):
    """Oracles: the sampler's centres of the same clusters, and the model, by hand."""
    X, y = few
    given = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)]) if as_frame else X
    model = KNeighborsClassifier(1)
    params = {**FAST, "max_iter": 2, "learning_rate": 1e-9, "downstream": model}
    distiller = KIPDistiller(**params)
    with may_warn():
        y_s = distiller.fit_resample(given, y)[1]
    centres, labels = CoresetSampler("agglomerative", ipc=2).fit_resample(X, y)
    trained = clone(model).fit(np.float32(centres), labels)
    score = balanced_accuracy_score(y, trained.predict(np.float32(X)))
    assert distiller.stage_scores_["agglomerative"] == pytest.approx(score, abs=1e-12)
    found = wards(distiller, given, y, np.bincount(y_s), np.random.RandomState(0))
    np.testing.assert_allclose(found["agglomerative"].X, centres, atol=1e-5)
    np.testing.assert_array_equal(found["agglomerative"].codes, labels)
    medoids, _ = CoresetSampler("agglomerative_medoids", ipc=2).fit_resample(X, y)
    np.testing.assert_array_equal(found["medoids"].X, np.float32(medoids))
    with may_warn():
        distiller.set_params(init="kmeans").fit_resample(given, y)
    assert "agglomerative" not in distiller.stage_scores_  # the user has chosen the start


def test_wards_clusters_of_single_rows_are_left_out(few):
    """Models would be tried on the rows themselves."""
    X, y = few
    n = np.bincount(y).min() // 2 + 1
    distiller = KIPDistiller(**{**FAST, "ipc": n, "max_iter": 2})
    distiller.set_params(downstream=KNeighborsClassifier(1))
    with may_warn():
        distiller.fit_resample(X, y)
    assert "agglomerative" not in distiller.stage_scores_


def test_wards_clusters_are_returned_where_they_are_better(few, monkeypatch):
    X, y = few
    all_rows = _stages.Candidate(np.float32(X) + 0.3, y)
    monkeypatch.setattr(_stages, "wards", lambda *given: {"agglomerative": all_rows})
    distiller = KIPDistiller(**{**FAST, "ipc": 1}, downstream=KNeighborsClassifier(1))
    with pytest.warns(UserWarning, match=f"{NONE_BETTER}the centres of Ward's clusters"):
        X_s, _ = distiller.fit_resample(X, y)
    assert distiller.stage_ == "agglomerative" and len(X_s) == len(X)


def test_random_rows_are_as_many_of_each_class():
    codes = np.repeat([0, 1, 2], [50, 5, 40])
    rows = random_rows(codes, np.array([10, 5, 12]), np.random.RandomState(0))
    np.testing.assert_array_equal(np.bincount(codes[rows]), [10, 2, 12])
    assert len(np.unique(rows)) == len(rows)
    alone = np.array([0, 0, 1])
    assert not len(random_rows(alone, np.array([1, 1]), np.random.RandomState(0)))


def test_rows_of_a_set_are_found_once_each():
    X = np.random.RandomState(0).randn(20, 3).astype(np.float32)
    X[7] = X[3]  # a row that is there twice is in the set once
    X_s = np.concatenate([X[[3, 5]] + 1e-5, X[[8, 9]].mean(axis=0, keepdims=True)])
    np.testing.assert_array_equal(np.flatnonzero(rows_within(X_s, X)), [3, 5])


def test_a_start_is_not_tried_on_its_own_rows():
    """Labels are noise: a nearest neighbour is right by chance, but on the rows that it holds."""
    rng = np.random.RandomState(0)
    X, y = rng.randn(120, 5), np.repeat([0, 1], 60)
    params = {"init": (X[20:100], y[20:100]), "max_iter": 2, "learning_rate": 1e-9}
    distiller = KIPDistiller("rbf", downstream=KNeighborsClassifier(1), random_state=0, **params)
    with may_warn():
        distiller.fit_resample(X, y)
    rest = np.r_[:20, 100:120]
    by_hand = KNeighborsClassifier(1).fit(X[20:100], y[20:100]).score(X[rest], y[rest])
    assert distiller.stage_scores_[0] == pytest.approx(by_hand, abs=1e-6)


def test_a_class_of_one_row_has_no_random_rows(few):
    X, y = few[0], np.where(few[1] < 5, 0, 1)
    y[0] = 2
    distiller = KIPDistiller(**{**FAST, "ipc": 3, "max_iter": 2})
    with may_warn(), pytest.warns(UserWarning, match="Fewer rows than ipc"):
        distiller.fit_resample(X, y)
    assert list(distiller.stage_scores_) == [0, 2]


def test_a_short_run(few):
    X, y = few
    distiller = KIPDistiller(**{**FAST, "max_iter": 3}, downstream=KNeighborsClassifier(1))
    with may_warn():
        distiller.fit_resample(X, y)
    assert list(distiller.stage_scores_) == [0, 2, 3, "agglomerative", "medoids", "random"]


def test_last_is_the_fit_itself(few):
    X, y = few
    distiller = KIPDistiller(**FAST, downstream="last")
    X_s, y_s = distiller.fit_resample(X, y)
    fitted = KIPDistiller(**FAST).fit(X, y)
    np.testing.assert_array_equal(X_s, fitted.X_s_)
    np.testing.assert_array_equal(y_s, fitted.classes_[fitted.y_s_.argmax(axis=1)])
    assert not hasattr(distiller, "stage_")


def test_a_classifier_is_the_one_that_is_tried(few):
    X, y = few
    names = np.array([f"digit {code}" for code in y])
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    model = KNeighborsClassifier(1)
    distiller = KIPDistiller(**FAST, downstream=model)
    X_s, y_s = distiller.fit_resample(frame, names)
    assert list(X_s.columns) == list(frame.columns)
    assert set(y_s) == set(names)
    assert not hasattr(model, "classes_")  # a clone was trained
    for step, (rows, labels) in distiller.snapshots_.items():
        trained = clone(model).fit(rows, distiller.classes_[labels.argmax(axis=1)])
        score = balanced_accuracy_score(names, trained.predict(X.astype(np.float32)))
        assert distiller.stage_scores_[step] == pytest.approx(score, abs=1e-12)


def test_a_model_that_names_columns(few):
    X, y = few
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    some = ColumnTransformer([("some", "passthrough", [f"pixel {i}" for i in range(10, 50)])])
    distiller = KIPDistiller(**FAST, downstream=make_pipeline(some, KNeighborsClassifier(1)))
    with may_warn():
        distiller.fit_resample(frame, y)
    assert max(distiller.stage_scores_.values()) > 0.5


def test_an_earlier_fit_is_no_start(few):
    X, y = few
    params = {**FAST, "max_iter": 8, "downstream": KNeighborsClassifier(1)}
    distiller = KIPDistiller(**params, warm_start=True).fit(X, y)
    with may_warn():
        X_s, _ = distiller.fit_resample(X, y)
        fresh = KIPDistiller(**params)
        expected, _ = fresh.fit_resample(X, y)
    np.testing.assert_array_equal(X_s, expected)
    np.testing.assert_array_equal(distiller.X_s_, fresh.X_s_)
    assert distiller.warm_start


def test_snapshots_of_the_user_stay(few):
    X, y = few
    distiller = KIPDistiller(**FAST, snapshots=[3, 20], downstream=KNeighborsClassifier(1))
    distiller.fit_resample(X, y)
    assert list(distiller.snapshots_) == [0, 2, 3, 4, 8, 16, 20, 32, 40]
    assert set(distiller.stage_scores_) == {
        0,
        2,
        4,
        8,
        16,
        32,
        40,
        "agglomerative",
        "medoids",
        "random",
    }


def test_a_run_that_diverges_gives_no_stage_of_infinite_loss(few):
    X, y = few
    distiller = KIPDistiller(**{**FAST, "kernel": ["fc1"]}, learning_rate=1e20)
    with may_warn(), pytest.warns(ConvergenceWarning, match="last finite support"):
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


@pytest.mark.parametrize("downstream", ["first", None, SVC, 3, SVR()])
def test_bad_downstream(downstream, few):
    X, y = few
    with pytest.raises(ValueError, match="The 'downstream' parameter of KIPDistiller must be"):
        KIPDistiller(**FAST, downstream=downstream).fit_resample(X, y)


class Column(KNeighborsClassifier):
    """Predicts a column, as CatBoost does."""

    def predict(self, X):
        return super().predict(X)[:, None]


class Codes(KNeighborsClassifier):
    """Predicts the numbers of the classes in place of their names."""

    def predict(self, X):
        return np.searchsorted(self.classes_, super().predict(X))


@pytest.mark.filterwarnings("ignore:KIPDistiller.fit_resample learned no better:UserWarning")
def test_predictions_of_another_shape_or_type(few):
    """Oracle: the model that predicts one label a row."""
    X, y = few
    names = np.array([f"digit {code}" for code in y])
    params = {**FAST, "max_iter": 2}
    column, oracle = (
        KIPDistiller(**params, downstream=model(1)) for model in (Column, KNeighborsClassifier)
    )
    for distiller in (column, oracle):
        distiller.fit_resample(X, names)
    assert column.stage_scores_ == oracle.stage_scores_
    message = r"'downstream' model Codes\(.*must predict class labels of y, such as 'digit \d'. Got"
    with pytest.raises(ValueError, match=message):
        KIPDistiller(**params, downstream=Codes(1)).fit_resample(X, names)


def test_a_model_that_cannot_learn_the_set(few):
    X, y = few
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 2]}, cv=3)
    distiller = KIPDistiller(**{**FAST, "ipc": 1, "max_iter": 1}, downstream=search)
    with pytest.raises(ValueError, match="cannot be trained on 10 rows of 10 classes: n_splits=3"):
        distiller.fit_resample(X, y)
