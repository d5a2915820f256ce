from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import label_binarize

from kipsk._data._labels import decision, one_hot
from kipsk._data._splits import balanced_batches


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_hot_is_label_binarize_minus_the_mean(n_classes, dtype):
    """Oracle: scikit-learn's label_binarize (with a class of no rows for two classes)."""
    codes = np.random.default_rng(0).integers(0, n_classes, 20)
    targets = one_hot(codes, n_classes, dtype)
    expected = label_binarize(codes, classes=np.arange(max(n_classes, 3)))[:, :n_classes]
    np.testing.assert_allclose(targets, expected - 1 / n_classes, rtol=1e-6)
    assert targets.dtype == dtype
    np.testing.assert_allclose(targets.sum(axis=1), 0, atol=1e-6)


def test_decision_is_one_dimensional_if_binary():
    scores = np.array([[0.2, 0.5], [1.0, -1.0], [0.0, 0.0]])
    assert_array_equal(decision(scores), [0.3, -2.0, 0.0])
    wide = np.arange(6.0).reshape(2, 3)
    assert decision(wide) is wide


COUNTS = {
    "balanced": [30] * 10,
    "imbalanced": [200, 50, 11, 3],
    "one row of a class": [60, 1],
    "two rows": [1, 1],
    "ten classes": [44, 13, 9, 10, 12, 6, 16, 7, 1, 22],
}


def make_codes(counts, seed=0):
    codes = np.repeat(np.arange(len(counts)), counts)
    return np.random.RandomState(seed).permutation(codes)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 100, 263, 5000])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_batches_cover_all_rows_without_repeats(counts, batch_size):
    codes = make_codes(counts)
    n = len(codes)
    batches = balanced_batches(codes, batch_size, np.random.RandomState(1))
    assert len(batches) == -(-n // batch_size)  # as few as can be
    assert len({len(rows) for rows in batches}) == 1
    assert len(batches[0]) <= batch_size
    for rows in batches:
        assert len(np.unique(rows)) == len(rows)
    assert_array_equal(np.unique(np.concatenate(batches)), np.arange(n))
    # Rows that stand in two batches only fill up the last one.
    assert sum(map(len, batches)) - n < len(batches[0])
    assert len(np.unique(np.concatenate([[n], *batches[:-1]]))) == 1 + sum(map(len, batches[:-1]))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_batches_hold_the_classes_in_proportion(counts, seed):
    """Oracle: each class's share of the whole set."""
    codes = make_codes(counts, seed)
    counts = np.array(counts)
    rng = np.random.RandomState(seed)
    for rows in balanced_batches(codes, rng.randint(2, len(codes) + 1), rng):
        share = counts * len(rows) / len(codes)
        deviation = np.abs(np.bincount(codes[rows], minlength=len(counts)) - share)
        # Ends of a batch fall between rows of other classes: one row if all are equally frequent.
        assert deviation.max() < (1 if np.ptp(counts) == 0 else 2)


def test_balanced_set_in_batches_that_divide_it_is_exactly_balanced():
    codes = make_codes([30] * 10)
    for rows in balanced_batches(codes, 100, np.random.RandomState(0)):
        assert_array_equal(np.bincount(codes[rows]), 10)


def test_one_batch_holds_all_rows_and_draws_nothing():
    codes = make_codes([20, 10])
    rng = np.random.RandomState(0)
    (rows,) = balanced_batches(codes, 30, rng)
    assert_array_equal(rows, np.arange(30))
    assert rng.randint(2**31) == np.random.RandomState(0).randint(2**31)


def test_batches_are_determined_by_the_random_state():
    codes = make_codes([40, 25, 12])

    def draw(seed):
        return np.array(balanced_batches(codes, 20, np.random.RandomState(seed)))

    assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
