"""How many rows of each class a sampler returns."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from imblearn.under_sampling import RandomUnderSampler
from imblearn.utils import check_sampling_strategy
from numpy.testing import assert_array_equal

from kipsk.baselines import CoresetSampler
from kipsk.baselines._sizes import class_sizes, in_proportion

NAMES = np.array(["ant", "bee", "cat"])
COUNTS = [60, 35, 20]
METHODS = ["random", "agglomerative", "herding", "k_means", "rp_cholesky"]


def labels_of(counts, names=NAMES):
    codes = np.repeat(np.arange(len(counts)), counts)
    return names[np.random.default_rng(0).permutation(codes)]


@pytest.fixture(scope="module")
def table():
    y = labels_of(COUNTS)
    X = np.random.default_rng(1).normal(size=(115, 4)) + 2 * (y == "bee")[:, None]
    return X, y


def sizes_of(strategy, y, ipc=10):
    classes, codes = np.unique(y, return_inverse=True)
    return class_sizes("CoresetSampler", strategy, ipc, classes, codes, y).tolist()


def by_imbalanced_learn(strategy, y):
    """What imbalanced-learn would draw, with the classes that it leaves as they are."""
    classes, counts = np.unique(y, return_counts=True)
    targets = check_sampling_strategy(strategy, y, "under-sampling")
    named = {str(label): size for label, size in targets.items()}
    return [named.get(str(label), count) for label, count in zip(classes, counts, strict=True)]


STRATEGIES = [
    "auto",
    "all",
    "majority",
    "not majority",
    "not minority",
    {"ant": 17, "cat": 20},
    {"bee": 0},
    {},
    lambda y: {name: int(np.sum(y == name)) // 2 for name in ("bee", "ant")},
]


@pytest.mark.parametrize("counts", [COUNTS, [20, 60, 60], [30, 12, 12], [5, 5, 5]])
@pytest.mark.parametrize("strategy", STRATEGIES[:5])
def test_names_are_those_of_imbalanced_learn(strategy, counts):
    y = labels_of(counts)
    assert sizes_of(strategy, y) == by_imbalanced_learn(strategy, y)


@pytest.mark.parametrize("strategy", STRATEGIES[5:], ids=["dict", "none of one", "empty", "call"])
def test_dicts_and_functions_are_those_of_imbalanced_learn(strategy):
    y = labels_of(COUNTS)
    assert sizes_of(strategy, y) == by_imbalanced_learn(strategy, y)


@pytest.mark.parametrize("ratio", [1.0, 1, 0.7, 0.5, 1 / 3, 0.3, np.float32(0.25)])
@pytest.mark.parametrize("counts", [[60, 15], [15, 60], [61, 61]])
def test_ratios_are_those_of_imbalanced_learn(ratio, counts):
    y = labels_of(counts)
    if ratio < min(counts) / max(counts):
        with pytest.raises(ValueError, match="at least 1, the ratio of the 61 rows"):
            sizes_of(ratio, y)
        with pytest.raises(ValueError, match="increase the ratio"):
            by_imbalanced_learn(ratio, y)
    else:
        assert sizes_of(ratio, y) == by_imbalanced_learn(ratio, y)


@pytest.mark.parametrize("names", [np.array([0, 1, 2]), np.array([0.5, 1.5, 2.5]), NAMES])
def test_labels_of_any_type_name_their_class(names):
    y = labels_of(COUNTS, names)
    for label in (names[1], names[1].item()):
        assert sizes_of({label: 3}, y) == [60, 3, 20]


def nearest_sizes(counts, total):
    """All positive sizes of this sum, and the least sum of squares."""
    shares = total * np.array(counts) / sum(counts)
    everything = product(range(1, total + 1), repeat=len(counts))
    return min(np.sum((np.array(s) - shares) ** 2) for s in everything if sum(s) == total)


@pytest.mark.parametrize("counts", [[60, 35, 20], [97, 2, 1], [50, 50, 1], [7, 7, 7], [4, 3, 3]])
@pytest.mark.parametrize("total", [3, 4, 7, 10])
def test_proportions_are_the_nearest_ones(counts, total):
    """Oracle: all sizes of the same sum."""
    sizes = in_proportion(np.array(counts), total)
    assert sizes.sum() == total and sizes.min() >= 1 and np.all(sizes <= counts)
    shares = total * np.array(counts) / sum(counts)
    assert np.sum((sizes - shares) ** 2) == pytest.approx(nearest_sizes(counts, total))


def test_proportions_of_many_classes():
    """Oracle: one row after the other to the class that lacks most, which is the best."""
    counts = np.random.default_rng(0).integers(1, 400, size=100)
    for total in (100, 137, 1000, int(counts.sum())):
        shares, expected = total * counts / counts.sum(), np.ones(100, int)
        for _ in range(total - 100):
            expected[np.argmax(shares - expected)] += 1
        found = in_proportion(counts, total)
        assert np.sum((found - shares) ** 2) == pytest.approx(np.sum((expected - shares) ** 2))
        assert found.sum() == total and np.all(found <= counts)


@pytest.mark.parametrize("method", METHODS)
def test_stratified_has_ipc_rows_per_class_on_average(method, table):
    X, y = table
    sampler = CoresetSampler(method, ipc=10, sampling_strategy="stratified", random_state=0)
    X_s, y_s = sampler.fit_resample(X, y)
    assert len(X_s) == 30
    assert_array_equal(np.unique(y_s, return_counts=True)[1], [16, 9, 5])
    assert sampler.sampling_strategy_ == {"ant": 16, "bee": 9, "cat": 5}


def test_stratified_with_more_rows_than_there_are_returns_all(table):
    X, y = table
    sampler = CoresetSampler("herding", ipc=40, sampling_strategy="stratified")
    with pytest.warns(UserWarning, match="ipc=40 .* 120 rows in all. Got 115 rows") as record:
        X_s, _ = sampler.fit_resample(X, y)
    assert record[0].filename == __file__
    assert_array_equal(X_s, np.concatenate([X[y == name] for name in NAMES]))


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_is_not_named_keeps_its_rows(method, table):
    """Oracle: the rows of X; of "bee" what is returned for seven rows of each class."""
    X, y = table
    sampler = CoresetSampler(method, sampling_strategy={"bee": 7}, random_state=0)
    X_s, y_s = sampler.fit_resample(X, y)
    assert_array_equal(y_s, np.repeat(NAMES, [60, 7, 20]))
    for name in ("ant", "cat"):
        own = np.sort(X_s[y_s == name], axis=0)
        assert_array_equal(own, np.sort(X[y == name], axis=0))
    if method in METHODS[:2]:  # the others draw numbers for the other classes too
        few, y_few = CoresetSampler(method, ipc=7, random_state=0).fit_resample(X, y)
        assert_array_equal(X_s[y_s == "bee"], few[y_few == "bee"])


@pytest.mark.parametrize("strategy", STRATEGIES[:5], ids=str)
def test_as_many_rows_as_imbalanced_learn_s_sampler(strategy, table):
    """Oracle: RandomUnderSampler; which rows are random in both."""
    X, y = table
    _, expected = RandomUnderSampler(sampling_strategy=strategy).fit_resample(X, y)
    for method in METHODS:
        sampler = CoresetSampler(method, sampling_strategy=strategy)
        _, y_s = sampler.fit_resample(X, y)
        assert_array_equal(y_s, np.sort(expected))


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("minority", r"one of \['stratified', 'auto', .* a function .* Got 'minority'"),
        (["ant"], r"must be None, one of .* a dict .* Got \['ant'\]"),
        (True, "must be None, one of .*Got True"),
        (0.5, "a dict or one of .* for 3 classes; a number is for two. Got 0.5"),
        ({"dog": 3}, r"keys are classes of y, \['ant', 'bee', 'cat'\]. Got {'dog': 3}"),
        ({"ant": 2.5}, "an integer >= 0, its number of rows. Got {'ant': 2.5}"),
        ({"ant": -1}, "an integer >= 0, its number of rows. Got {'ant': -1}"),
        ({"cat": 21}, "more rows than a class has. Got 21 for class cat, .* 20 rows, .* lower it"),
        (lambda y: {"cat": 21}, "Got 21 for class cat"),
        (dict.fromkeys(["ant", "bee", "cat"], 0), "leaves a row of one class at least. Got {'ant'"),
        (lambda y: 3, "a function of y that returns one. Got 3"),
    ],
)
@pytest.mark.parametrize("method", ["random", "k_means"])
def test_bad_strategies(strategy, message, method, table):
    sampler = CoresetSampler(method, sampling_strategy=strategy)
    with pytest.raises(ValueError, match=f"'sampling_strategy' parameter .*{message}"):
        sampler.fit_resample(*table)


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.5, np.nan])
def test_ratios_out_of_range(ratio):
    with pytest.raises(ValueError, match=r"a number > 0 and <= 1 for two classes.* Got"):
        sizes_of(ratio, labels_of([60, 15]))
