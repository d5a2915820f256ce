from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans

from kipsk._data import _support
from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Data
from kipsk._data._labels import one_hot
from kipsk._data._support import Support, gaussian_noise, rows_per_stratum

INITS = ["sample", "herding", "noise", "kmeans"]
CLASSES = np.array(["ant", "bee", "cat"])


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    X = rng.normal(size=(60, 4)) + 10 * codes[:, None]
    return X.astype(np.float32), codes


def as_data(X, codes, classes=CLASSES):
    return Data(X, ClassCoding(classes), codes, one_hot(codes, len(classes)))


def initial_support(X, codes, classes, ipc, init, state):
    """The rows, the class of each, and their indices."""
    support = _support.draw(as_data(X, codes, classes), ipc, init, state)
    return support.X, support.y.argmax(axis=1), support.indices


def draw(data, init, ipc=3, seed=0):
    return initial_support(*data, CLASSES, ipc, init, np.random.RandomState(seed))


def codes_of(n_classes, ipc):
    return np.repeat(np.arange(n_classes), ipc)


@pytest.mark.parametrize("init", INITS)
def test_each_class_has_ipc_rows_sorted_by_class(init, data):
    X_s, codes_s, indices = draw(data, init)
    assert X_s.shape == (9, 4) and X_s.dtype == np.float32
    assert_array_equal(codes_s, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert (indices is None) == (init in ("noise", "kmeans"))


@pytest.mark.parametrize("init", INITS)
def test_determined_by_the_random_state(init, data):
    same, again, other = (draw(data, init, seed=seed)[0] for seed in (5, 5, 6))
    assert_array_equal(same, again)
    assert np.array_equal(same, other) == (init == "herding")


@pytest.mark.parametrize("init", ["sample", "herding"])
def test_real_rows_are_different_and_of_the_right_class(init, data):
    X, codes = data
    X_s, codes_s, indices = draw(data, init, ipc=10)
    assert len(set(indices)) == 30
    assert_array_equal(X_s, X[indices])
    assert_array_equal(codes_s, codes[indices])


def correlated_rows(n):
    """Features of very different deviations, means and correlations, two of them dependent."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(4, 3)) @ np.diag([1, 0.1, 20]) @ rng.normal(size=(3, 4))
    return rng.exponential(size=(n, 4)) @ mixing + [0, 50, -3, 1e3]


def assert_moments(noise, X, n_rows):
    """Compare noise with the moments of X, to four standard errors of n_rows draws."""
    deviation = X.std(axis=0)
    assert_allclose((noise.mean(axis=0) - X.mean(axis=0)) / deviation, 0, atol=4 / np.sqrt(n_rows))
    # The variance of a product of two Gaussians of correlation r is 1 + r^2, at most 2.
    scale = np.outer(deviation, deviation)
    error = (np.cov(noise.T) - np.cov(X.T)) / scale
    assert_allclose(error, 0, atol=4 * np.sqrt(2 / n_rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_has_the_mean_and_covariance_of_the_rows(dtype):
    """Oracle: numpy's mean and cov."""
    X = correlated_rows(500).astype(dtype)
    noise = gaussian_noise(X, 20_000, np.random.RandomState(0))
    assert noise.shape == (20_000, 4) and noise.dtype == dtype
    assert_moments(noise.astype(float), X.astype(float), 20_000)


def test_noise_is_gaussian():
    """Oracle: the kurtosis of a Gaussian, 3, and its standard error, sqrt(24 / n)."""
    noise = gaussian_noise(correlated_rows(500), 20_000, np.random.RandomState(0))
    z = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    assert_allclose((z**4).mean(axis=0), 3, atol=4 * np.sqrt(24 / 20_000))


def test_noise_of_many_rows_follows_a_random_part_of_them(monkeypatch):
    monkeypatch.setattr(_support, "_MAX_NOISE_ROWS", 1000)
    monkeypatch.setattr(_support, "_NOISE_BLOCK", 300)
    X = correlated_rows(3000)
    X = X[np.argsort(X[:, 0])]  # the first 1000 would be no sample
    original = X.copy()
    noise = gaussian_noise(X, 5000, np.random.RandomState(0))
    assert_array_equal(X, original)
    # An exponential's fourth moment is 9, a Gaussian's 3: the errors of 1000 rows, four times.
    assert_moments(noise, X, 250)


def test_initial_noise_is_the_same_for_all_classes():
    X, codes = correlated_rows(2000), np.arange(2000) % 2
    X[codes == 1] += 1000
    state = np.random.RandomState(0)
    noise, codes_s, _ = initial_support(X, codes, CLASSES[:2], 1000, "noise", state)
    for code in (0, 1):
        assert_moments(noise[codes_s == code], X, 1000)


def naive_herding(rows, n):
    """Each row in turn: which one brings the mean of the chosen nearest?"""
    mean, chosen = np.mean(rows, axis=0), []
    for _ in range(n):
        free = [i for i in range(len(rows)) if i not in chosen]
        off = [np.linalg.norm(np.mean(rows[[*chosen, i]], axis=0) - mean) for i in free]
        chosen.append(free[int(np.argmin(off))])
    return chosen


def test_herding_equals_a_naive_loop(data):
    X, codes = data[0].astype(np.float64), data[1]
    _, _, indices = draw((X, codes), "herding", ipc=10)
    centred = X - X.mean(axis=0)
    for code in range(3):
        members = np.flatnonzero(codes == code)
        expected = members[naive_herding(centred[members], 10)]
        assert_array_equal(indices[10 * code : 10 * code + 10], expected)


def test_herding_begins_with_the_rows_of_a_smaller_set(data):
    small, large = (draw(data, "herding", ipc)[2].reshape(3, ipc) for ipc in (3, 8))
    assert_array_equal(small, large[:, :3])


@pytest.mark.parametrize("ipc", [3, 10])
def test_herded_rows_have_their_class_mean(ipc, digits):
    """Oracle: random rows, whose mean is off by the deviation over sqrt(ipc)."""
    X, _, codes, _ = digits
    state = np.random.RandomState(0)
    X_s, _, _ = initial_support(X, codes, np.arange(10), ipc, "herding", state)
    nearer = 0
    for code in range(10):
        rows = X[codes == code]
        off = np.linalg.norm(X_s[codes_of(10, ipc) == code].mean(0) - rows.mean(0))
        nearer += off < 0.8 * np.sqrt(rows.var(axis=0).sum() / ipc)
    assert nearer >= 9


def test_kmeans_one_centre_is_the_class_mean(data, close):
    """Oracle: numpy's mean."""
    X, codes = data
    X_s, _, _ = draw(data, "kmeans", ipc=1)
    close(X_s, [X[codes == code].mean(axis=0) for code in range(3)], np.float32)


def test_kmeans_finds_separated_clusters(close):
    """Oracle: the clusters' means."""
    rng = np.random.default_rng(0)
    truth = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    cluster = np.repeat(np.arange(4), 25)
    X = truth[cluster] + rng.normal(size=(100, 2))
    state = np.random.RandomState(0)
    X_s, _, _ = initial_support(X, cluster // 2, CLASSES[:2], 2, "kmeans", state)
    means = np.array([X[cluster == c].mean(axis=0) for c in range(4)])
    for code in (0, 2):
        found = X_s[code : code + 2]
        close(found[np.argsort(found[:, 0])], means[code : code + 2], np.float32)


@pytest.mark.parametrize("init", INITS)
def test_scarce_classes_give_all_their_rows_and_a_warning(init, data):
    with pytest.warns(UserWarning) as record:
        X_s, codes_s, _ = draw(data, init, ipc=25)
    (warning,) = record
    assert str(warning.message) == (
        "Fewer rows than ipc=25 in 2 of 3 classes, which contribute all their rows: bee (20), "
        "cat (10). Lower 'ipc' for classes of equal size."
    )
    assert_array_equal(np.bincount(codes_s), [25, 20, 10])
    assert np.isfinite(X_s).all() and len(X_s) == 55


def test_warning_lists_ten_classes_at_most():
    codes = np.arange(15)
    with pytest.warns(
        UserWarning, match=r"in 15 of 15 classes.* 9 \(1\), \.\.\.\. Lower"
    ) as record:
        rows_per_stratum(codes, ClassCoding(codes), 2, np.random.RandomState(0))
    assert "10 (1)" not in str(record[0].message)


def test_kmeans_keeps_a_value_that_a_cluster_shares_to_the_bit():
    """Rounding of the centres would be a difference between them that trees split on."""
    rng = np.random.default_rng(0)
    shared = rng.choice([0.1, 0.7, -7.3], size=(400, 1)) * [1, 1 / 3, 30]
    X = np.concatenate([rng.normal(size=(400, 2)) / 9, shared], axis=1)
    centres = _support.centres_of(X, X[:25], np.random.RandomState(0))
    assert set(map(tuple, centres[:, 2:])) == set(map(tuple, shared))
    assert len(np.unique(centres[:, :2], axis=0)) == 25


def test_kmeans_with_fewer_distinct_rows_than_centres_fills_up_with_rows():
    rng = np.random.default_rng(0)
    distinct = np.array([[0.0, 1.0], [7.0, 2.0]])
    X = np.concatenate([distinct[np.arange(10) % 2], rng.normal(size=(10, 2)) - 50])
    codes = np.repeat([0, 1], 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X_s, codes_s, _ = initial_support(
            X, codes, CLASSES[:2], 4, "kmeans", np.random.RandomState(0)
        )
    assert_array_equal(np.bincount(codes_s), [4, 4])
    assert {tuple(row) for row in X_s[:4]} == {tuple(row) for row in distinct}


def test_kmeans_takes_a_sample_of_a_large_class(monkeypatch, data):
    monkeypatch.setattr(_support, "_MAX_KMEANS_ROWS", 8)
    sizes = []
    fit = KMeans.fit
    monkeypatch.setattr(KMeans, "fit", lambda self, X: sizes.append(len(X)) or fit(self, X))
    X_s, codes_s, _ = draw(data, "kmeans")
    assert sizes == [8, 8, 8]
    assert_allclose(X_s.mean(axis=1), 10 * codes_s, atol=3)


@pytest.fixture
def support():
    """Learned rows, not sorted by class: two of "ant", three of "bee", one of "cat"."""
    rng = np.random.default_rng(3)
    codes_s = np.array([1, 0, 1, 2, 0, 1])
    y_s = rng.uniform(size=(6, 3)) + one_hot(codes_s, 3)
    return rng.normal(size=(6, 4)).astype(np.float32), y_s, codes_s


def resize(support, data, ipc, init="sample", state=None):
    """The rows, labels and classes of a support set of another size."""
    state = state or np.random.RandomState(0)
    resized = _support.resize(Support(*support[:2]), as_data(*data), ipc, init, state)
    return resized.X, resized.y, resized.y.argmax(axis=1)


def test_resize_to_fewer_rows_keeps_the_first_of_each_class(support, data):
    X_s, y_s, codes_s = resize(support, data, 1)
    assert_array_equal(codes_s, [0, 1, 2])
    assert_array_equal(X_s, support[0][[1, 0, 3]])
    assert_array_equal(y_s, support[1][[1, 0, 3]])


def test_resize_to_the_same_size_sorts_by_class_and_draws_nothing(support, data):
    support = tuple(array[[0, 1, 2, 3, 4]] for array in support)  # two, two and one
    support = tuple(np.concatenate([array, array[3:4]]) for array in support)
    state = np.random.RandomState(0)
    X_s, y_s, codes_s = resize(support, data, 2, "kmeans", state)
    order = [1, 4, 0, 2, 3, 5]
    for actual, given in zip((X_s, y_s, codes_s), support, strict=True):
        assert_array_equal(actual, given[order])
    assert state.randint(2**31) == np.random.RandomState(0).randint(2**31)


@pytest.mark.parametrize("init", INITS)
def test_resize_to_more_rows_fills_up_with_new_ones(init, support, data):
    X_s, y_s, codes_s = resize(support, data, 4, init)
    assert_array_equal(codes_s, codes_of(3, 4))
    assert X_s.dtype == np.float32 and y_s.dtype == np.float64
    kept, given = [0, 1, 4, 5, 6, 8], [1, 4, 0, 2, 5, 3]
    assert_array_equal(X_s[kept], support[0][given])
    assert_array_equal(y_s[kept], support[1][given])
    new = np.setdiff1d(np.arange(12), kept)
    assert_array_equal(y_s[new], one_hot(codes_s[new], 3))
    drawn, _, _ = draw(data, init, ipc=4)
    assert_array_equal(X_s[new], drawn[new])  # the last of each class, at their own places


def test_resize_grows_some_classes_and_cuts_others(support, data):
    X_s, y_s, codes_s = resize(support, data, 2)
    assert_array_equal(codes_s, codes_of(3, 2))
    assert_array_equal(X_s[:5], support[0][[1, 4, 0, 2, 3]])
    assert_array_equal(y_s[5], one_hot(np.array([2]), 3)[0])
    assert (X_s[5] == data[0][data[1] == 2]).all(axis=1).any()


def test_resize_draws_all_rows_of_a_missing_class(support, data):
    present = support[2] != 2
    X_s, y_s, codes_s = resize(tuple(array[present] for array in support), data, 2)
    assert_array_equal(codes_s, codes_of(3, 2))
    assert_array_equal(y_s[4:], one_hot(np.array([2, 2]), 3))
    for row in X_s[4:]:
        assert (row == data[0][data[1] == 2]).all(axis=1).any()


def test_resize_with_a_scarce_class_warns(support, data):
    """A class of 10 rows ends with 10, those of the given support among them."""
    with pytest.warns(UserWarning, match=r"ipc=12 in 1 of 3 classes.* cat \(10\)\. Lower"):
        X_s, _, codes_s = resize(support, data, 12)
    assert_array_equal(np.bincount(codes_s), [12, 12, 10])
    assert_array_equal(X_s[24], support[0][3])


def test_resize_keeps_more_rows_than_a_scarce_class_has(support, data):
    X, codes = data
    one_cat = np.concatenate([np.flatnonzero(codes != 2), np.flatnonzero(codes == 2)[:1]])
    support = tuple(np.concatenate([array, array[3:4]]) for array in support)
    with pytest.warns(UserWarning, match=r"cat \(1\)"):
        _, _, codes_s = resize(support, (X[one_cat], codes[one_cat]), 4)
    assert_array_equal(np.bincount(codes_s), [4, 4, 2])
