"""Farthest first, medoids and forgetting events against exhaustive loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk._data import _coresets
from kipsk._data._coresets import farthest_first, forgetting_events, medoids, most_forgotten


def rows_of(n, seed=0, n_features=3):
    return np.random.default_rng(seed).normal(size=(n, n_features))


def distances(rows):
    return np.linalg.norm(rows[:, None] - rows[None], axis=2)


def cost(rows, chosen):
    """The sum of all rows' distances to their nearest medoid."""
    return distances(rows)[:, chosen].min(axis=1).sum()


def naive_farthest_first(rows, n):
    chosen = [int(np.argmin(np.linalg.norm(rows - rows.mean(axis=0), axis=1)))]
    D = distances(rows)
    while len(chosen) < n:
        free = [i for i in range(len(rows)) if i not in chosen]
        chosen.append(max(free, key=lambda i: min(D[i, c] for c in chosen)))
    return chosen


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_farthest_first_equals_a_naive_loop(n, shift):
    rows = rows_of(40) + shift
    assert farthest_first(rows, n) == (naive_farthest_first(rows, n) if n else [])


def test_farthest_first_is_at_most_twice_the_best_radius():
    """Oracle: all subsets of three rows."""
    for seed in range(5):
        rows = rows_of(12, seed)
        D = distances(rows)
        best = min(D[:, list(s)].min(axis=1).max() for s in combinations(range(12), 3))
        assert best <= D[:, farthest_first(rows, 3)].min(axis=1).max() <= 2 * best


def test_nearest_medoids_in_blocks(monkeypatch):
    """Oracle: all distances."""
    rows, few = rows_of(500), rows_of(40, 1)
    monkeypatch.setattr(_coresets, "_BLOCK_MIB", 0.01)  # 32 rows
    expected = np.linalg.norm(rows[:, None] - few, axis=2).argmin(axis=1)
    assert_array_equal(_coresets._nearest(rows, few), expected)


def run_medoids(rows, n, seed=0):
    return medoids(rows, n, np.random.RandomState(seed))


def test_one_medoid_is_the_row_of_the_smallest_sum():
    """Oracle: all sums of distances."""
    rows = rows_of(30)
    assert run_medoids(rows, 1) == [int(np.argmin(distances(rows).sum(axis=0)))]


def test_medoids_of_separated_clusters_are_each_cluster_s_own():
    """Oracle: the exhaustive sums of each cluster; and the smallest cost of all subsets."""
    centres = np.array([[0.0, 0, 0], [50, 0, 0], [0, 50, 0]])
    rows = np.concatenate([centres[c] + rows_of(5, c) for c in range(3)])
    expected = [5 * c + int(np.argmin(distances(rows[5 * c : 5 * c + 5]).sum(0))) for c in range(3)]
    found = run_medoids(rows, 3)
    assert sorted(found) == expected
    best = min(cost(rows, list(subset)) for subset in combinations(range(15), 3))
    assert cost(rows, found) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_medoids_are_where_alternating_ends(seed):
    """Oracle: a naive round changes nothing, and the cost is below that of random rows."""
    rows = rows_of(40, seed)
    found = run_medoids(rows, 4, seed)
    assert len(set(found)) == 4
    D = distances(rows)
    cluster = D[:, found].argmin(axis=1)
    for c, medoid in enumerate(found):
        members = np.flatnonzero(cluster == c)
        sums = D[np.ix_(members, members)].sum(axis=1)
        assert sums[members == medoid][0] == pytest.approx(sums.min())
    rng = np.random.default_rng(seed)
    random = [cost(rows, rng.choice(40, 4, replace=False)) for _ in range(20)]
    assert cost(rows, found) < np.quantile(random, 0.1)


def test_medoids_where_rows_repeat_are_different_rows():
    rows = np.repeat(rows_of(3), 4, axis=0)
    found = run_medoids(rows, 5)
    assert len(set(found)) == 5 and cost(rows, found) == pytest.approx(0, abs=1e-6)
    assert run_medoids(rows, 0) == []
    assert sorted(run_medoids(rows, 12)) == list(range(12))


def test_medoids_of_a_large_class_are_nearly_as_good(monkeypatch):
    """Oracle: the cost with all distances."""
    rows = rows_of(400)
    whole = cost(rows, run_medoids(rows, 5))
    monkeypatch.setattr(_coresets, "_MAX_MEDOID_ROWS", 100)
    assert cost(rows, run_medoids(rows, 5)) < 1.05 * whole


def test_forgetting_events_of_a_sequence_by_hand():
    sequences = {"0110": 1, "1111": 0, "0000": np.inf, "1010": 2, "0001": 0, "1000": 1, "0101": 1}
    correct = np.array([[mark == "1" for mark in marks] for marks in sequences]).T
    assert_array_equal(forgetting_events(correct), list(sequences.values()))


def test_most_forgotten_come_first_and_equals_at_random():
    events = np.array([0, 2, np.inf, 1, 2, 0.0])
    found = [most_forgotten(events, 4, np.random.RandomState(seed)) for seed in range(20)]
    assert {tuple(order) for order in found} == {(2, 1, 4, 3), (2, 4, 1, 3)}
    last = {most_forgotten(events, 5, np.random.RandomState(seed))[4] for seed in range(20)}
    assert last == {0, 5}
