"""Rows in blocks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

# Bytes that one block's rows and kernel entries may take. Blocks of this size keep every core
# busy; larger ones only take memory.
_BLOCK_BYTES = 128 * 2**20
# Live copies of a kernel block: the matrix and the intermediate results of its entries.
_COPIES = 6
# Numbers that the pairs of a block may go through: a second or two of two cores, so that a step
# has blocks for many workers, and sending one (milliseconds) costs next to nothing.
_BLOCK_WORK = 2**30


def block_size_for(
    block_size: int | str, n_columns: int, n_features: int, itemsize: int, pair_size: int = 1
) -> int:
    """Return the rows of a block; "auto" depends on shapes and memory only.

    Parameters
    ----------
    block_size : int or "auto"
    n_columns : int
        Columns of the kernel matrix.
    n_features : int
        Numbers that a row is, raw and prepared.
    itemsize : int
        Bytes of a number.
    pair_size : int
        Numbers that one kernel entry goes through.
    """
    if block_size != "auto":
        return int(block_size)
    row = (n_features + _COPIES * n_columns) * itemsize
    return max(1, min(_BLOCK_BYTES // row, _BLOCK_WORK // (n_columns * pair_size)))


def pair_block_for(n_rows: int, n_features: int, itemsize: int, pair_size: int) -> tuple[int, int]:
    """Return the most rows of either side of a block of a slow kernel.

    As square as can be: the fewest rows to bring there for as many pairs.

    Parameters
    ----------
    n_rows : int
        Rows of the first side in all.
    n_features, itemsize, pair_size : int
        As in `block_size_for`.
    """
    n_pairs = max(1, _BLOCK_WORK // pair_size)
    side = min(n_rows, math.isqrt(n_pairs))
    most = _BLOCK_BYTES // ((n_features + _COPIES * side) * itemsize)
    return side, max(1, min(n_pairs // side, most))


def block_bytes(block_size: int, n_columns: int, n_features: int, itemsize: int) -> int:
    """Return the memory of a block, with the rows of its columns; parameters as above."""
    row = (n_features + _COPIES * n_columns) * itemsize
    return block_size * row + n_columns * n_features * itemsize


def slices(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield consecutive slices of `block_size` rows; the last one may have fewer."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))
