"""Ward's clusters against the merging loop of their definition, and scikit-learn's."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import AgglomerativeClustering

from kipsk._data import _ward
from kipsk._data._ward import ward, ward_centres, ward_medoids


def rows_of(n, seed=0, n_features=3):
    return np.random.default_rng(seed).normal(size=(n, n_features))


def state():
    return np.random.RandomState(0)


def squares(rows):
    return np.sum(np.square(rows - rows.mean(axis=0)))


def naive_ward(rows, n):
    clusters = [[i] for i in range(len(rows))]

    def cost(pair):
        one, other = (clusters[i] for i in pair)
        return squares(rows[one + other]) - squares(rows[one]) - squares(rows[other])

    while len(clusters) > n:
        i, j = min(combinations(range(len(clusters)), 2), key=cost)
        clusters[i] += clusters.pop(j)
    return {frozenset(own) for own in clusters}


@pytest.mark.parametrize("n", [1, 2, 5, 15, 16])
def test_clusters_equal_a_naive_loop(n):
    rows = rows_of(16)
    found = ward(rows, n, state())
    assert len(found) == n
    assert {frozenset(own.tolist()) for own in found} == naive_ward(rows, n)


def test_centres_are_the_means_of_scikit_learn_s_clusters():
    rows = rows_of(60)
    labels = AgglomerativeClustering(7, linkage="ward").fit(rows).labels_
    expected = [rows[labels == c].mean(axis=0) for c in range(7)]
    assert_allclose(ward_centres(rows, 7, state()), expected)


def test_clusters_of_features_have_centres_of_rows():
    """Oracle: scikit-learn's clusters of the features."""
    rows = rows_of(60)
    features = rows[:, :1] ** 2
    labels = AgglomerativeClustering(7).fit(features).labels_
    expected = [rows[labels == c].mean(axis=0) for c in range(7)]
    assert_allclose(ward_centres(rows, 7, state(), features), expected)


def test_medoids_are_the_rows_nearest_to_the_centres_among_their_cluster():
    """Oracle: all distances within scikit-learn's clusters."""
    rows = rows_of(60)
    labels = AgglomerativeClustering(7).fit(rows).labels_
    expected = []
    for c in range(7):
        own = np.flatnonzero(labels == c)
        distances = np.linalg.norm(rows[own] - rows[own].mean(axis=0), axis=1)
        expected.append(int(own[np.argmin(distances)]))
    assert ward_medoids(rows, 7, state()) == expected


def test_no_clusters():
    assert ward_centres(rows_of(5), 0, state()).shape == (0, 3)
    assert ward_medoids(rows_of(5), 0, state()) == []


@pytest.mark.parametrize("n", [1, 3, 9])
def test_large_classes_are_seen_by_a_sample(n, monkeypatch):
    """Oracle: scikit-learn's clusters of the rows that the generator draws."""
    monkeypatch.setattr(_ward, "_ROWS", 12)
    monkeypatch.setattr(_ward, "_MAX_ROWS", 16)
    rows = rows_of(500)
    size = {1: 12, 3: 12, 9: 16}[n]  # twice as many as clusters, but at most 16
    which = np.sort(state().choice(500, size, replace=False))
    found = ward(rows, n, state())
    assert_array_equal(np.sort(np.concatenate(found)), which)
    labels = np.zeros(size, int) if n == 1 else AgglomerativeClustering(n).fit(rows[which]).labels_
    assert [own.tolist() for own in found] == [which[labels == c].tolist() for c in range(n)]


def test_more_clusters_than_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr(_ward, "_MAX_ROWS", 16)
    message = 'at most 16 clusters of a class of 500 rows.* Got 17 rows to choose.*"k_means"'
    with pytest.raises(ValueError, match=message):
        ward_centres(rows_of(500), 17, state())
    assert len(ward(rows_of(16), 16, state())) == 16  # all rows of a class that is not larger


def test_rows_that_repeat():
    rows = np.repeat(rows_of(3), 4, axis=0)
    assert ward_centres(rows, 5, state()).shape == (5, 3)
    assert len(set(ward_medoids(rows, 5, state()))) == 5
