"""Rows that a kernel chooses, against loops over the whole kernel matrix."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk.kernels import RBF, FullyConnected, Polynomial, RandomFeatures, _choice
from kipsk.kernels._choice import kernel_herding, rp_cholesky

KERNELS = [
    RBF(1.5),
    FullyConnected(depth=2),
    RandomFeatures("fc1", n_networks=2, width=8, resample=False),
]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=["rbf", "fc2", "sampled"])


def rows_of(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 4))


def state(seed=0):
    return np.random.RandomState(seed)


def naive_herding(K, n, rows):
    """The definition: the mean of all, less the mean of those taken and of one more."""
    chosen = []
    while len(chosen) < n:
        scores = K[:, rows].mean(axis=1) - K[:, chosen].sum(axis=1) / (len(chosen) + 1)
        scores[chosen] = -np.inf
        chosen.append(int(np.argmax(scores)))
    return chosen


@each_kernel
@pytest.mark.parametrize("n", [0, 1, 7, 30])
def test_kernel_herding_equals_a_naive_loop(kernel, n):
    X = rows_of(30)
    found = kernel_herding(kernel.function(), X, n, state())
    assert found.tolist() == naive_herding(kernel(X), n, np.arange(30))


def test_kernel_herding_in_blocks(monkeypatch):
    """Oracle: the naive loop, where a block has three columns, and the last one two."""
    X = rows_of(32)
    monkeypatch.setattr(_choice, "_MAX_ENTRIES", 100)
    found = kernel_herding(RBF(1.5).function(), X, 6, state())
    assert found.tolist() == naive_herding(RBF(1.5)(X), 6, np.arange(32))


def test_kernel_herding_of_a_large_class_follows_the_mean_of_a_sample(monkeypatch):
    """Oracle: the naive loop with the mean over the same ten rows."""
    X = rows_of(40)
    monkeypatch.setattr(_choice, "_MAX_MEAN_ROWS", 10)
    found = kernel_herding(RBF(1.5).function(), X, 6, state(3))
    rows = state(3).choice(40, 10, replace=False)
    assert found.tolist() == naive_herding(RBF(1.5)(X), 6, rows)
    assert found.tolist() != naive_herding(RBF(1.5)(X), 6, np.arange(40))


def test_herded_rows_have_the_mean_of_all():
    """Oracle: the maximum mean discrepancy of fifty random sets of as many rows."""
    X = rows_of(200)
    K = RBF(1.5)(X)

    def discrepancy(rows):
        return K.mean() - 2 * K[rows].mean() + K[np.ix_(rows, rows)].mean()

    rng = state()
    random = [discrepancy(rng.permutation(200)[:10]) for _ in range(50)]
    assert discrepancy(kernel_herding(RBF(1.5).function(), X, 10, rng)) < min(random)


def naive_pivots(K, n, rng):
    """Algorithm 1 with the whole of what is left of K."""
    left, chosen = K.copy(), []
    while len(chosen) < n:
        diagonal = np.maximum(np.diag(left), 0)
        diagonal[chosen] = 0
        i = rng.choice(len(K), 1, p=diagonal / diagonal.sum())[0]
        rng.uniform()  # of a block of one row the row is always taken
        left = left - np.outer(left[:, i], left[i]) / left[i, i]
        chosen.append(int(i))
    return chosen


@each_kernel
@pytest.mark.parametrize("n", [0, 1, 7])
def test_pivots_one_at_a_time_equal_a_naive_loop(kernel, n):
    X = rows_of(30)
    found = rp_cholesky(kernel.function(), X, n, state(2))
    assert found.tolist() == naive_pivots(kernel(X), n, state(2))


def test_sets_of_nearly_as_many_rows_share_what_is_compiled():
    _choice._columns.clear_cache()
    for n in (100, 105, 112):
        kernel_herding(RBF(1.5).function(), rows_of(n), 2, state())
    assert _choice._columns._cache_size() == 2  # columns of the mean, and of one row


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("choose", [kernel_herding, rp_cholesky])
def test_a_kernel_that_is_not_finite_is_refused(choose):
    X = rows_of(6)
    X[4] = 1e200
    with pytest.raises(ValueError, match=r"must be finite .* Got inf for 1 of 6 rows: scale"):
        choose(Polynomial(2).function(), X, 2, state())


def test_pivots_of_rows_that_repeat_end_with_those_that_differ():
    X = np.repeat(rows_of(3), 5, axis=0)
    found = rp_cholesky(RBF(1.5).function(), X, 10, state())
    assert_array_equal(np.sort(found // 5), [0, 1, 2])
