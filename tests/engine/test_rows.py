"""Rows in blocks: the same as all rows at once, in the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from kipsk._engine import map_rows, sum_rows

SIZES = [(10, 3), (10, 10), (10, 11), (10, 1), (1, 1), (1, 7), (12, 4), (7, 6), (101, 100)]


@pytest.mark.parametrize(("n", "block"), SIZES)
def test_map_rows_equals_dense(n, block):
    X = np.random.default_rng(0).standard_normal((n, 4))
    weights = np.arange(8, dtype=np.float32).reshape(4, 2)
    seen = []

    def function(rows):
        seen.append(len(rows))
        return rows * 2 @ weights

    mapped = map_rows(function, X, block)
    assert mapped.shape == (n, 2)
    np.testing.assert_allclose(mapped, X * 2 @ weights, rtol=1e-13, atol=1e-13)
    assert max(seen) <= block
    # Short blocks are padded, by an eighth at most: few shapes there are, of four leading bits.
    assert all(size == block or size % (1 << max(0, size.bit_length() - 4)) == 0 for size in seen)
    assert sum(seen) - n <= n / 8
    assert mapped.dtype == np.float64
    assert map_rows(function, X.astype(np.float32), block).dtype == np.float32


@pytest.mark.parametrize(("n", "block"), SIZES)
def test_sum_rows_equals_dense(n, block):
    """Oracle: the same function of all rows; integers in float64, so to the last bit."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(-9, 9, (n, 4)).astype(float), rng.integers(-9, 9, (n, 2)).astype(float)

    def function(X, y):
        return {"gram": X.T @ X, "pair": (X.T @ y, np.float64(len(y)))}

    total = sum_rows(function, (X, y), block)
    np.testing.assert_array_equal(total["gram"], X.T @ X)
    np.testing.assert_array_equal(total["pair"][0], X.T @ y)
    assert total["pair"][1] == n


def test_sums_go_in_block_order():
    """Oracle: 1e16 + 1 is 1e16 in float64, so any other order gives another number."""
    terms = np.array([[1e16], [1.0], [-1e16], [1.0]])
    assert sum_rows(lambda x: x.sum(), (terms,), 1) == 1.0
    assert sum_rows(lambda x: x.sum(), (terms[[0, 2, 1, 3]],), 1) == 2.0


def test_function_results_are_not_changed_in_place():
    parts = []

    def function(x):
        parts.append(x.sum(axis=0))
        return parts[-1]

    X = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(sum_rows(function, (X,), 1), [6, 9])
    np.testing.assert_array_equal(parts, X)
