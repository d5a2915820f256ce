"""Comparisons of reduced sets. Oracles: hand-written loops, scipy's ranks, and counted fits."""

from __future__ import annotations

import builtins
import math
import signal
from collections import Counter

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.evaluation import compare, summary

pytestmark = pytest.mark.usefixtures("quick_compilation")

SETTINGS = ["reducer", "model", "ipc", "seed", "split"]
COLUMNS = [
    *SETTINGS,
    "n_rows",
    "labels",
    "accuracy",
    "reduce_seconds",
    "fit_seconds",
    "error",
    "full_fit_seconds",
    "speed_up",
    "speed_up_with_reduction",
]
NN = KNeighborsClassifier(1)
RESULT = [*SETTINGS, "n_rows", "labels", "accuracy", "error"]  # all that no clock enters

# Fits of the stubs below, by name.
FITS: Counter[str] = Counter()


class Sample(BaseEstimator):
    """Some random rows of each class."""

    def __init__(self, ipc=2, random_state=None, name="sample", fails=False):
        self.ipc = ipc
        self.random_state = random_state
        self.name = name
        self.fails = fails

    def fit_resample(self, X, y):
        FITS[self.name] += 1
        if self.fails:
            raise RuntimeError("no\nrows, sorry")
        rng = np.random.RandomState(self.random_state)
        rows = [rng.permutation(np.flatnonzero(y == c))[: self.ipc] for c in np.unique(y)]
        return X[np.concatenate(rows)], y[np.concatenate(rows)]


class SampleWithSoftLabels(Sample):
    """As a distiller whose class labels come with other rows than the soft ones."""

    def fit_distill(self, X, y):
        X_s, y_s = self.fit_resample(X, y)
        self.classes_ = np.unique(y)
        return X_s[1:], (y_s[1:, None] == self.classes_) - 0.25


class Model(ClassifierMixin, BaseEstimator):
    """Predicts one class; counts its fits, and on a given one kills the run."""

    def __init__(self, name="model", predicts=0, kill_at=None, fails=False, random_state=None):
        self.name = name
        self.predicts = predicts
        self.kill_at = kill_at
        self.fails = fails
        self.random_state = random_state

    def fit(self, X, y):
        FITS[self.name] += 1
        if FITS[self.name] == KILL.get(self.name):
            raise KeyboardInterrupt
        if self.fails:
            raise ValueError('too few,\n"rows"')
        return self

    def predict(self, X):
        return np.full(len(X), self.predicts)


class SoftModel(Model):
    """Takes soft labels; keeps what it was given."""

    seen: list = []

    def __init__(self, classes=None):
        super().__init__("soft")
        self.classes = classes

    def fit(self, X, y):
        self.seen.append((X, y, self.classes))
        self.fitted_ = True  # a Pipeline asks
        return self

    def predict(self, X):
        return np.full(len(X), self.classes[0] if self.classes is not None else 0)


KILL: dict[str, int] = {}


@pytest.fixture(autouse=True)
def nothing_counted():
    FITS.clear()
    KILL.clear()
    SoftModel.seen = []


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1, 2], 30)
    return rng.normal(size=(90, 4)) + 2 * np.eye(4)[y], y


def same(one, other):
    for name in RESULT:
        assert_array_equal(list(map(str, one[name])), list(map(str, other[name])), name)


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
    # Compiled otherwise in this process: see `quick_compilation`.
    assert_allclose(one["accuracy"], two["accuracy"], atol=0.01)
    for name in set(RESULT) - {"accuracy"}:
        assert_array_equal(one[name], two[name])


def counted(path, blobs, **params):
    reducers = {"all": None, "a": Sample(name="a"), "b": Sample(name="b")}
    models = {"one": Model("one"), "two": Model("two"), "three": Model("three", predicts=1)}
    return compare(reducers, models, *blobs, path=path, seeds=[0, 1], **params)


def test_a_killed_run_goes_on(blobs, tmp_path):
    path = tmp_path / "results.csv"
    KILL["two"] = 3  # seed 0, reducer b
    with pytest.raises(KeyboardInterrupt):
        counted(path, blobs)
    assert FITS == {"a": 1, "b": 1, "one": 3, "two": 3, "three": 2}
    assert len(path.read_text().splitlines()) == 1 + 7
    FITS.clear()
    KILL.clear()
    resumed = counted(path, blobs)
    assert FITS == {"a": 1, "b": 2, "one": 3, "two": 4, "three": 4}
    same(resumed, counted(None, blobs))
    FITS.clear()
    again = counted(path, blobs)
    assert not FITS
    assert_array_equal(again.values[:, 7:10], resumed.values[:, 7:10])  # the times too


@pytest.mark.parametrize("torn", [1, 30, 200])
def test_a_torn_line_is_dropped(torn, blobs, tmp_path):
    path = tmp_path / "results.csv"
    whole = counted(path, blobs)
    lines = path.read_bytes().splitlines(keepends=True)
    if torn < 200:
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-torn])
    else:
        path.write_bytes(lines[0][:20])
    FITS.clear()
    same(counted(path, blobs), whole)
    expected = {"b": 1, "three": 1}
    if torn == 200:
        expected = {"a": 2, "b": 2, "one": 6, "two": 6, "three": 6}
    assert expected == FITS
    assert len(path.read_bytes().splitlines()) == len(lines)


def test_a_comparison_grows(blobs, tmp_path):
    path = tmp_path / "results.csv"
    X, y = blobs
    compare({"a": Sample(name="a")}, {"one": Model("one")}, X, y, path=path, seeds=[0])
    grown = counted(path, blobs, ipc=[2, 3])
    assert FITS["a"] == 1 + 4 and FITS["one"] == 1 + 9  # ipc=2 is the default: reduced again
    assert len(grown) == 30
    part = compare({"a": Sample(name="a")}, {"one": Model("one")}, X, y, path=path, seeds=[1])
    assert FITS["a"] == 5 and len(part) == 1


@pytest.mark.parametrize(
    "what, change",
    [
        ("data", {"X": 1.0}),
        ("data", {"y": True, "models": {"new": Model()}}),  # also where no name is the same
        ("split", {"cv": 2}),
        ("preprocess", {"preprocess": StandardScaler()}),
        ("reducer", {"reducers": {"a": Sample(fails=True)}}),
        ("model", {"models": {"one": Model(predicts=2)}}),
        ("reducer and another model", {"reducers": {"a": Sample(name="b")}, "models": {"one": NN}}),
    ],
)
def test_a_file_of_another_comparison_is_refused(what, change, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "results.csv"
    given = {"reducers": {"a": Sample()}, "models": {"one": Model()}, "seeds": [0], "path": path}
    compare(X=X, y=y, **given)
    before = path.read_bytes()
    change = dict(change)
    X = X + change.pop("X", 0)
    y = y[::-1] if change.pop("y", False) else y
    message = (
        f"results.csv' belongs to another comparison: for reducer 'a', model 'one', ipc 2, seed 0, "
        f"split 0 it had another {what}. Compare what it was made with"
    )
    with pytest.raises(ValueError, match=message):
        compare(X=X, y=y, **{**given, **change})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content, why",
    [
        (b"a,b\n1,2\n", "first line"),
        (b"some notes", "first line"),
        ("é".encode("latin1"), "first line"),
        (None, r"line 3 is damaged"),
    ],
)
def test_a_foreign_file_is_refused_and_kept(content, why, blobs, tmp_path):
    path = tmp_path / "results.csv"
    if content is None:
        counted(path, blobs)
        lines = path.read_bytes().splitlines(keepends=True)
        content = b"".join([*lines[:2], b"a,b,c\n", *lines[2:]])
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"has no results of a comparison: .*{why}.* Delete it"):
        counted(path, blobs)
    assert path.read_bytes() == content


def test_names_with_commas_quotes_and_accents_come_back(blobs, tmp_path):
    names = ['a, "b"', "é", " c "]
    args = {name: Sample() for name in names}, {name: Model() for name in names}, *blobs
    first = compare(*args, path=tmp_path / "r.csv")
    FITS.clear()
    same(first, compare(*args, path=tmp_path / "r.csv"))
    assert not FITS


def test_failures_are_rows(blobs, tmp_path):
    reducers = {"all": None, "bad": Sample(fails=True), "good": Sample()}
    models = {"bad": Model(fails=True), "good": Model()}
    path = tmp_path / "results.csv"
    with pytest.warns(FitFailedWarning) as caught:
        results = compare(reducers, models, *blobs, seeds=[0], path=path)
    of_model, of_reducer = (
        'model: ValueError: too few, "rows"',
        "before the model: RuntimeError: no rows, sorry",
    )
    assert list(results["error"]) == [of_model, "", of_reducer, of_reducer, of_model, ""]
    assert list(results["accuracy"].isna()) == [error != "" for error in results["error"]]
    assert len(caught) == 4
    assert str(caught[0].message).startswith("reducer 'all', model 'bad', seed 0, split 0: model")
    assert caught[0].filename == __file__
    FITS.clear()
    with pytest.warns(FitFailedWarning) as caught:  # what failed is tried again
        same(results, compare(reducers, models, *blobs, seeds=[0], path=path))
    assert len(caught) == 4 and FITS["model"] == 2
    assert list(summary(results)["n_failed"]) == [1, 0, 1, 1, 1, 0]


def test_a_failed_row_is_replaced(blobs, tmp_path):
    path = tmp_path / "results.csv"
    FAILING.append(True)
    with pytest.warns(FitFailedWarning):
        compare({"s": Sample()}, {"m": Sometimes()}, *blobs, seeds=[0], path=path)
    FAILING.clear()
    results = compare({"s": Sample()}, {"m": Sometimes()}, *blobs, seeds=[0], path=path)
    assert list(results["error"]) == [""]
    FITS.clear()
    same(results, compare({"s": Sample()}, {"m": Sometimes()}, *blobs, seeds=[0], path=path))
    assert not FITS


FAILING: list[bool] = []


class Sometimes(Model):
    def fit(self, X, y):
        if FAILING:
            raise MemoryError
        return super().fit(X, y)


@pytest.mark.parametrize("where", ["reducer", "model"])
def test_ctrl_c_that_a_fit_survives_ends_the_comparison(where, blobs, tmp_path, monkeypatch):
    """A set, or a network, of an interrupted run is no result."""

    def interrupted(original):
        def fit(self, X, y):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                return original(self, X, y)

        return fit

    path = tmp_path / "results.csv"
    # A process that was started in the background may ignore the signal.
    handler = signal.default_int_handler
    inherited = signal.signal(signal.SIGINT, handler)
    if where == "reducer":
        monkeypatch.setattr(Sample, "fit_resample", interrupted(Sample.fit_resample))
    else:
        monkeypatch.setattr(Model, "fit", interrupted(Model.fit))
    try:
        with pytest.raises(KeyboardInterrupt):
            compare({"s": Sample()}, {"m": Model()}, *blobs, path=path)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert len(path.read_text().splitlines()) == 1


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


def test_without_pandas_it_is_a_dict_of_lists(blobs, monkeypatch):
    args = {"all": None, "s": Sample()}, {"1-NN": NN, "m": Model()}, *blobs
    frame = compare(*args)
    original = builtins.__import__

    def without_pandas(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    columns = compare(*args)
    assert isinstance(columns, dict) and list(columns) == COLUMNS
    assert columns["ipc"][::2] == [None, 2] * 3
    table = summary(columns)
    assert isinstance(table, dict)
    monkeypatch.undo()
    assert_array_equal(frame["accuracy"], columns["accuracy"])
    expected = summary(frame)
    for name in ("accuracy", "deviation", "n_rows", "rank", "average_rank"):
        assert_array_equal(table[name], expected[name])


def test_summary_equals_pandas_and_scipy():
    """Oracles: groupby for means, rankdata for ranks."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    keys = [
        (data, reducer, model, seed)
        for data in ("digits", "wine")
        for reducer in "abc"
        for model in ("SVC", "tree")
        for seed in range(3)
    ]
    frame = pd.DataFrame(keys, columns=["data", "reducer", "model", "seed"])
    frame["accuracy"] = rng.integers(0, 5, len(frame)) / 4
    frame["fit_seconds"] = rng.uniform(size=len(frame))
    table = summary(frame)
    groups = frame.groupby(["data", "reducer", "model"])
    assert_allclose(table["accuracy"], groups["accuracy"].mean())
    assert_allclose(table["deviation"], groups["accuracy"].std(ddof=0))
    assert_allclose(table["fit_seconds"], groups["fit_seconds"].mean())
    wide = groups["accuracy"].mean().unstack("reducer")
    ranks = pd.DataFrame(rankdata(-wide, axis=1), wide.index, wide.columns)
    for line in table.to_dict("records"):
        assert line["rank"] == ranks.loc[(line["data"], line["model"]), line["reducer"]]
        assert_allclose(line["average_rank"], ranks[line["reducer"]].mean())
    assert table["speed_up"].isna().all() and table["ipc"].isna().all()


def test_ranks_are_among_sets_of_one_size():
    """Reducers without an ipc take part for each; what failed is last."""
    table = summary(
        {
            "reducer": ["all", "a", "a", "b", "b", "bad"],
            "ipc": [None, 1, 10, 1, 10, None],
            "model": ["SVC"] * 6,
            "accuracy": [0.9, 0.5, 0.95, 0.6, 0.7, math.nan],
        }
    )
    assert list(table["rank"]) == [1.5, 3, 1, 2, 3, 4]
    assert list(table["average_rank"]) == list(table["rank"])
    assert math.isnan(table["accuracy"][5]) and table["n_failed"][5] == 1


def test_a_bar_is_shown(blobs, tmp_path, capsys):
    counted(tmp_path / "r.csv", blobs, verbose=1)
    assert "18/18" in capsys.readouterr().err
    counted(tmp_path / "r.csv", blobs)
    assert not capsys.readouterr().err


def test_samplers_in_a_pipeline_are_a_reducer(blobs):
    samplers = [RandomUnderSampler(sampling_strategy=dict.fromkeys(range(3), n)) for n in (9, 4)]
    pipeline = make_imblearn_pipeline(*samplers)
    assert list(compare({"p": pipeline}, {"m": Model()}, *blobs)["n_rows"]) == [12] * 3


@pytest.mark.parametrize(
    "change, message",
    [
        ({"reducers": {}}, "'reducers' parameter of compare must be a dict of names"),
        ({"reducers": [None]}, "'reducers' parameter of compare must be a dict of names"),
        ({"reducers": {1: None}}, "'reducers' parameter of compare must be a dict of names"),
        ({"reducers": {"a\nb": None}}, "strings of one line"),
        ({"reducers": {"": None}}, "strings of one line"),
        ({"reducers": {"a": Sample}}, r"reducers\['a'\].*None or an estimator with fit_resample"),
        ({"reducers": {"a": NN}}, r"reducers\['a'\].*transformers go into 'preprocess'"),
        (
            {"reducers": {"a": make_pipeline(StandardScaler(), KIPDistiller())}},
            r"reducers\['a'\].*transformers go into 'preprocess'",
        ),
        (
            {"reducers": {"a": make_imblearn_pipeline(StandardScaler(), Sample())}},
            r"reducers\['a'\].*transformers go into 'preprocess'",
        ),
        ({"models": {"m": StandardScaler()}}, r"models\['m'\].*must be a classifier"),
        ({"models": {"m": DummyClassifier}}, r"models\['m'\].*must be a classifier"),
        ({"models": NN}, "'models' parameter of compare must be a dict"),
        ({"seeds": 3}, "'seeds'.*different integers >= 0, in a list. Got 3"),
        ({"seeds": []}, "'seeds'.*different integers >= 0, in a list"),
        ({"seeds": [0, 0]}, "'seeds'.*different integers >= 0, in a list"),
        ({"seeds": [-1]}, "'seeds'.*an integer >= 0 or a list of these. Got -1"),
        ({"ipc": 0}, "'ipc'.*an integer >= 1 or a list of these. Got 0"),
        ({"ipc": "auto"}, "'ipc'.*an integer >= 1 or a list of these. Got 'auto'"),
        ({"ipc": [2, 2]}, "'ipc'.*different integers >= 1"),
        ({"ipc": 1, "reducers": {"all": None}}, "None, as no reducer has a parameter 'ipc'"),
        ({"preprocess": NN}, "'preprocess'.*None or a transformer"),
        ({"test": np.ones((2, 4))[:, :1], "cv": None}, r"'test'.*a tuple \(X_test, y_test\)"),
        ({"test": (np.ones((2, 4)), [0, 1]), "cv": 3}, "'cv'.*None with 'test'"),
        ({"test": (np.ones((2, 3)), [0, 1])}, r"X_test must have as many features as X, 4"),
        ({"X": np.ones((90, 2, 2))}, r"pass X\.reshape\(len\(X\), -1\)"),
        ({"y": np.linspace(0, 1, 90)}, "Unknown label type"),
    ],
)
def test_bad_input(change, message, blobs):
    given = {"reducers": {"a": Sample()}, "models": {"m": Model()}, "X": blobs[0], "y": blobs[1]}
    with pytest.raises(ValueError, match=message):
        compare(**{**given, **change})


def test_a_folder_that_is_not_there_is_told_before_the_first_fit(blobs, tmp_path):
    with pytest.raises(FileNotFoundError):
        counted(tmp_path / "nowhere" / "r.csv", blobs)
    assert not FITS
