"""Rows in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from kipsk._engine._sizes import block_bytes, block_size_for, pair_block_for, slices

SIZES = [(10, 3), (10, 10), (10, 11), (10, 1), (1, 1), (1, 7), (12, 4), (7, 6), (101, 100)]


@pytest.mark.parametrize(("n", "block"), SIZES)
def test_slices_cover_all_rows_once_and_evenly(n, block):
    parts = list(slices(n, block))
    assert [i for s in parts for i in range(n)[s]] == list(range(n))
    lengths = [s.stop - s.start for s in parts]
    assert max(lengths) <= block
    assert len(parts) == -(-n // block)  # as few as the bound allows
    assert len(set(lengths[:-1])) <= 1  # one shape, and one for the rest: two compilations


def test_no_rows_have_no_slices():
    assert list(slices(0, 5)) == []


def test_auto_block_size_bounds_memory_and_follows_shapes():
    assert block_size_for(7, 10, 10, 8) == 7
    assert block_size_for(np.int64(7), 10, 10, 8) == 7
    for n_columns, n_features, itemsize in [(100, 3072, 4), (50_000, 3072, 8), (1, 1, 4)]:
        rows = block_size_for("auto", n_columns, n_features, itemsize)
        assert type(rows) is int
        assert rows * (n_features + n_columns) * itemsize <= 2**28
    assert block_size_for("auto", 10**10, 10**6, 8) == 1
    assert block_size_for("auto", 100, 64, 4) // 2 == block_size_for("auto", 100, 64, 8)


def test_bytes_of_a_block_are_within_the_bound():
    for n_columns, n_features, itemsize in [(100, 3072, 4), (50_000, 3072, 8)]:
        rows = block_size_for("auto", n_columns, n_features, itemsize)
        size = block_bytes(rows, n_columns, n_features, itemsize)
        assert n_columns * n_features * itemsize < size <= 2**28 + n_columns * n_features * itemsize


@pytest.mark.parametrize("pair_size", [1, 2**10, 2**20, 2**26, 2**31])
@pytest.mark.parametrize("n_rows", [1, 10, 500, 5000])
def test_blocks_of_slow_kernels_are_bounded(n_rows, pair_size):
    rows, columns = pair_block_for(n_rows, 3072, 4, pair_size)
    assert 1 <= rows <= n_rows and columns >= 1
    assert rows * columns * pair_size <= 2**30 or rows == columns == 1
    assert (rows * columns + (rows + columns) * 3072) * 4 <= 2**28
