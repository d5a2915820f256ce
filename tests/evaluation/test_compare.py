"""Comparisons of reduced sets. Oracles: hand-written loops, the splitters, and counted fits."""

from __future__ import annotations

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, StratifiedShuffleSplit, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.evaluation import compare

from ._stubs import COLUMNS, FITS, NN, RESULT, SETTINGS, Model, Sample, SoftModel, counted, same


class SampleWithSoftLabels(Sample):
    """As a distiller whose class labels come with other rows than the soft ones."""

    def fit_distill(self, X, y):
        X_s, y_s = self.fit_resample(X, y)
        self.classes_ = np.unique(y)
        return X_s[1:], (y_s[1:, None] == self.classes_) - 0.25


def test_accuracy_equals_a_loop(blobs):
    """Oracle: the loop that a user would write."""
    X, y = blobs
    reducers = {"all": None, "sample": Sample(), "imblearn": RandomUnderSampler()}
    models = {"1-NN": NN, "tree": DecisionTreeClassifier()}
    results = compare(reducers, models, X, y, ipc=[1, 4], seeds=[3, 5])
    expected = []
    for seed in (3, 5):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.2, stratify=y, random_state=seed
        )
        for name, given in reducers.items():
            for ipc in [1, 4] if name == "sample" else [None]:
                X_s, y_s = X_train, y_train
                if given is not None:
                    reducer = clone(given).set_params(random_state=seed)
                    if ipc is not None:
                        reducer.set_params(ipc=ipc)
                    X_s, y_s = reducer.fit_resample(X_train, y_train)
                for model_name, model in models.items():
                    model = clone(model)
                    if model_name == "tree":
                        model.set_params(random_state=seed)
                    score = model.fit(X_s, y_s).score(X_test, y_test)
                    expected.append((name, model_name, ipc, seed, 0, len(X_s), score))
    assert list(results.columns) == COLUMNS
    assert len(results) == len(expected) == 16
    found = results[[*SETTINGS, "n_rows", "accuracy"]].astype(object).where(results.notna(), None)
    assert [tuple(row) for row in found.values] == expected
    assert set(results["labels"]) == {"hard"} and set(results["error"]) == {""}
    assert results["accuracy"].nunique() > 3


def test_soft_and_hard_sets_are_made_once_each(blobs):
    X, y = blobs
    models = {
        "hard": Model(),
        "soft": SoftModel(),
        "pipe": make_pipeline("passthrough", SoftModel()),
    }
    reducers = {"soft": SampleWithSoftLabels(ipc=3), "hard": Sample(ipc=3)}
    results = compare(reducers, models, X, y, seeds=[0])
    assert list(results["labels"]) == ["hard", "soft", "soft", "hard", "hard", "hard"]
    assert list(results["n_rows"]) == [9, 8, 8, 9, 9, 9]
    assert FITS["sample"] == 3
    for X_s, y_s, classes in SoftModel.seen[:2]:
        assert X_s.shape == (8, 4) and y_s.shape == (8, 3)
        assert_array_equal(classes, [0, 1, 2])
    for X_s, y_s, classes in SoftModel.seen[2:]:
        assert X_s.shape == (9, 4) and y_s.shape == (9,) and classes is None


def test_distillers_and_kernel_ridge(digits):
    """Oracle: fit_distill and fit_resample by hand."""
    X_train, X_test, y_train, y_test = digits
    scaler = StandardScaler().fit(X_train)
    Z_train, Z_test = scaler.transform(X_train), scaler.transform(X_test)
    reducers = {
        "KIP": KIPDistiller(max_iter=5, downstream="last"),
        "KIP, scaled inside": KIPDistiller(
            max_iter=5, preprocess=StandardScaler(), downstream="last"
        ),
        "Label Solve": LabelSolver(),
    }
    names = np.array(list("abcdefghij"))  # labels are of any type
    models = {"kernel ridge": KernelRidgeNTKClassifier(), "1-NN": NN}
    results = compare(
        reducers,
        models,
        Z_train,
        names[y_train],
        test=(Z_test, names[y_test]),
        ipc=2,
        seeds=[1],
    )
    expected = []
    for name, reducer in reducers.items():
        reducer = clone(reducer).set_params(ipc=2, random_state=1)
        X_s, y_s = reducer.fit_distill(Z_train, y_train)
        Z = Z_test
        if name == "KIP, scaled inside":
            Z = reducer.preprocess_.transform(Z_test)
        soft = KernelRidgeNTKClassifier(classes=range(10)).fit(X_s, y_s)
        hard = clone(NN).fit(X_s, y_s.argmax(axis=1))
        expected += [soft.score(Z, y_test), hard.score(Z, y_test)]
    assert_allclose(results["accuracy"], expected, rtol=1e-12)
    assert results["accuracy"].min() > 0.4
    assert list(results["labels"]) == ["soft", "hard"] * 3


def test_preprocess_is_fitted_on_training_rows(blobs):
    """Oracle: a Pipeline; the features' units differ a million times."""
    X, y = blobs[0] * [1, 1, 1, 1e6], blobs[1]
    results = compare({"all": None}, {"1-NN": NN}, X, y, preprocess=StandardScaler(), seeds=[0])
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), NN).fit(X_train, y_train)
    assert list(results["accuracy"]) == [pipeline.score(X_test, y_test)]
    assert pipeline.score(X_test, y_test) != clone(NN).fit(X_train, y_train).score(X_test, y_test)


@pytest.mark.parametrize(
    "cv, splits",
    [
        (3, lambda s: StratifiedKFold(3, shuffle=True, random_state=s)),
        (KFold(3), lambda s: KFold(3)),
        (
            StratifiedShuffleSplit(3, test_size=9),
            lambda s: StratifiedShuffleSplit(3, test_size=9, random_state=s),
        ),
    ],
    ids=["folds", "splitter", "random splitter"],
)
def test_splits(cv, splits, blobs):
    """Oracle: the splitter by itself."""
    X, y = blobs
    models = {"1-NN": NN}
    results = compare({"all": None}, models, X, y, cv=cv, seeds=[0, 7])
    expected = [
        clone(NN).fit(X[train], y[train]).score(X[test], y[test])
        for seed in (0, 7)
        for train, test in splits(seed).split(X, y)
    ]
    assert_allclose(results["accuracy"], expected)
    assert list(results["split"]) == [0, 1, 2] * 2
    assert len(set(expected)) > 1


def test_pairs_of_rows_are_splits_for_every_seed(blobs):
    X, y = blobs
    pairs = list(StratifiedKFold(2).split(X, y))
    one, other = (compare({"all": None}, {"1-NN": NN}, X, y, cv=cv) for cv in (pairs, iter(pairs)))
    assert len(one) == 6
    same(one, other)


def test_random_states_inside_are_the_seed(blobs):
    """The tree in a Pipeline, and the user's objects stay as they are."""
    X, y = blobs
    inside = make_pipeline("passthrough", DecisionTreeClassifier(max_features=1))
    plain = DecisionTreeClassifier(max_features=1)
    sample = Sample()
    results = compare({"s": sample}, {"in": inside, "plain": plain}, X, y, ipc=5)
    accuracies = results.pivot(index="seed", columns="model", values="accuracy")
    assert_array_equal(accuracies["in"], accuracies["plain"])
    assert accuracies["plain"].nunique() > 1
    assert sample.random_state is plain.random_state is None and sample.ipc == 2


def test_several_processes_are_as_one(blobs, tmp_path):
    X, y = blobs
    reducers = {"all": None, "some": RandomUnderSampler()}
    models = {"1-NN": NN, "logistic": LogisticRegression(), "bad": KNeighborsClassifier(1000)}
    with pytest.warns(FitFailedWarning, match="model 'bad', seed ., split 0: model: ValueError"):
        one = compare(reducers, models, X, y)
    with pytest.warns(FitFailedWarning, match="model 'bad'"):
        two = compare(reducers, models, X, y, n_jobs=2, path=tmp_path / "results.csv")
    same(one, two)
    with pytest.warns(FitFailedWarning, match="model 'bad'"):
        again = compare(reducers, models, X, y, path=tmp_path / "results.csv")
    same(one, again)
    kept = again["error"] == ""
    assert_array_equal(again["fit_seconds"][kept], two["fit_seconds"][kept])


@pytest.mark.slow
def test_distillers_in_several_processes(digits):
    X_train, X_test, y_train, y_test = digits
    reducers = {"KIP": KIPDistiller(max_iter=20), "Label Solve": LabelSolver()}
    models = {"1-NN": NN, "kernel ridge": KernelRidgeNTKClassifier()}
    args = reducers, models, X_train, y_train
    one, two = (compare(*args, test=(X_test, y_test), ipc=1, n_jobs=n) for n in (1, 2))
    # Compiled otherwise in this process: see `compilation` in conftest.py.
    assert_allclose(one["accuracy"], two["accuracy"], atol=0.01)
    for name in set(RESULT) - {"accuracy"}:
        assert_array_equal(one[name], two[name])


def test_speed_ups(blobs):
    reducers = {"sample": Sample(), "all": None}
    results = compare(reducers, {"1-NN": NN, "tree": DecisionTreeClassifier()}, *blobs, cv=2)
    for _, group in results.groupby(["seed", "split", "model"]):
        sample, full = group.to_dict("records")
        assert full["reducer"] == "all" and full["reduce_seconds"] == 0
        assert full["speed_up"] == full["speed_up_with_reduction"] == 1
        seconds = full["fit_seconds"]
        assert sample["full_fit_seconds"] == full["full_fit_seconds"] == seconds
        assert_allclose(sample["speed_up"], seconds / sample["fit_seconds"])
        both = sample["reduce_seconds"] + sample["fit_seconds"]
        assert_allclose(sample["speed_up_with_reduction"], seconds / both)
    without = compare({"sample": Sample()}, {"1-NN": NN}, *blobs)
    assert without["full_fit_seconds"].isna().all() and without["speed_up"].isna().all()


def test_a_bar_is_shown(blobs, tmp_path, capsys):
    counted(tmp_path / "r.csv", blobs, verbose=1)
    assert "18/18" in capsys.readouterr().err
    counted(tmp_path / "r.csv", blobs)
    assert not capsys.readouterr().err


def test_samplers_in_a_pipeline_are_a_reducer(blobs):
    samplers = [RandomUnderSampler(sampling_strategy=dict.fromkeys(range(3), n)) for n in (9, 4)]
    pipeline = make_imblearn_pipeline(*samplers)
    assert list(compare({"p": pipeline}, {"m": Model()}, *blobs)["n_rows"]) == [12] * 3


class Shaped(ClassifierMixin, BaseEstimator):
    """Knows the answer of a nearest neighbour, and gives it in some form."""

    def __init__(self, form="column"):
        self.form = form

    def fit(self, X, y):
        self.model_ = KNeighborsClassifier(1).fit(X, y)
        return self

    def predict(self, X):
        labels = self.model_.predict(X)
        match self.form:
            case "column":
                return labels[:, None]
            case "codes":
                return np.searchsorted(self.model_.classes_, labels)
        return self.model_.predict_proba(X)


def test_predictions_of_another_shape_or_type(blobs):
    """Oracle: the nearest neighbour itself. What is no label is an error, not an accuracy of 0."""
    X, y = blobs
    names = np.array(["ant", "bee", "cat"])[y]
    models = {"1-NN": NN, **{form: Shaped(form) for form in ("column", "codes", "probabilities")}}
    models["numbers"] = KNeighborsRegressor(30)
    with pytest.warns(FitFailedWarning):
        of_names = compare({"all": None}, models, X, names, seeds=[0])
        of_numbers = compare({"all": None}, models, X, y, seeds=[0])
    for results, failed in ((of_names, [2, 3, 4]), (of_numbers, [3, 4])):
        accuracies = results["accuracy"].to_numpy()
        assert accuracies[0] == accuracies[1] > 0.5
        assert np.isnan(accuracies[failed]).all()
    assert "class labels of y, such as 'ant'. Got 1 instead" in of_names["error"][2]
    assert "one class label a row, 18 in all" in of_names["error"][3]
    assert "class labels of y" in of_numbers["error"][4]
    assert of_numbers["accuracy"][2] == of_numbers["accuracy"][0]  # there codes are the labels
