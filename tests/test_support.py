from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans

from kipsk import _support
from kipsk._support import initial_support, rows_per_class

INITS = ["sample", "noise", "kmeans"]
CLASSES = np.array(["ant", "bee", "cat"])


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    X = rng.normal(size=(60, 4)) + 10 * codes[:, None]
    return X.astype(np.float32), codes


def draw(data, init, ipc=3, seed=0):
    return initial_support(*data, CLASSES, ipc, init, np.random.RandomState(seed))


@pytest.mark.parametrize("init", INITS)
def test_each_class_has_ipc_rows_sorted_by_class(init, data):
    X_s, codes_s, indices = draw(data, init)
    assert X_s.shape == (9, 4) and X_s.dtype == np.float32
    assert_array_equal(codes_s, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert (indices is None) == (init != "sample")


@pytest.mark.parametrize("init", INITS)
def test_determined_by_the_random_state(init, data):
    same, again, other = (draw(data, init, seed=seed)[0] for seed in (5, 5, 6))
    assert_array_equal(same, again)
    assert not np.array_equal(same, other)


def test_sample_is_different_real_rows_of_the_right_class(data):
    X, codes = data
    X_s, codes_s, indices = draw(data, "sample", ipc=10)
    assert len(set(indices)) == 30
    assert_array_equal(X_s, X[indices])
    assert_array_equal(codes_s, codes[indices])


def test_noise_has_the_features_means_and_deviations(data):
    """Oracle: the moments of X, to the standard error of 20000 draws."""
    X = np.random.default_rng(1).normal([0, 5, -3], [1, 0.1, 20], size=(20000, 3))
    codes = np.arange(20000) % 2
    rng = np.random.RandomState(0)
    noise, _, _ = initial_support(X, codes, CLASSES[:2], 10000, "noise", rng)
    assert_allclose((noise.mean(0) - X.mean(0)) / X.std(0), 0, atol=4 / np.sqrt(20000))
    assert_allclose(noise.std(0) / X.std(0), 1, atol=4 / np.sqrt(40000))


def test_kmeans_one_centre_is_the_class_mean(data):
    """Oracle: numpy's mean."""
    X, codes = data
    X_s, _, _ = draw(data, "kmeans", ipc=1)
    assert_allclose(X_s, [X[codes == code].mean(axis=0) for code in range(3)], rtol=1e-5)


def test_kmeans_finds_separated_clusters():
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
        assert_allclose(found[np.argsort(found[:, 0])], means[code : code + 2], rtol=1e-6)


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
        rows_per_class(codes, codes, 2, np.random.RandomState(0))
    assert "10 (1)" not in str(record[0].message)


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
