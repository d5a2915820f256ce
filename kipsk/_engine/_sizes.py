"""How many rows a block may have in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

# How many bytes the rows and kernel entries of one block may take. Blocks of this size keep every
# core busy; larger ones would only take memory.
_BLOCK_BYTES = 128 * 2**20
# How many copies of a kernel block are there at once: the matrix, and intermediate results.
_COPIES = 6
# How many numbers the pairs of a block may be computed through. Two cores take a second or two for
# as many. So a step has blocks for many workers, and the milliseconds that it takes to send a block
# count for next to nothing.
_BLOCK_WORK = 2**30


def block_size_for(
    block_size: int | str, n_columns: int, n_features: int, itemsize: int, pair_size: int = 1
) -> int:
    """Return how many rows a block has; "auto" depends on shapes and memory only.

    Parameters
    ----------
    block_size : int or "auto"
        The size that the user asks for.
    n_columns : int
        How many columns the kernel matrix has.
    n_features : int
        How many numbers a row has, raw and prepared together.
    itemsize : int
        How many bytes a number takes.
    pair_size : int
        How many numbers one kernel entry is computed through.
    """
    if block_size != "auto":
        return int(block_size)
    row = (n_features + _COPIES * n_columns) * itemsize
    return max(1, min(_BLOCK_BYTES // row, _BLOCK_WORK // (n_columns * pair_size)))


def pair_block_for(n_rows: int, n_features: int, itemsize: int, pair_size: int) -> tuple[int, int]:
    """Return how many rows both sides of a block of a slow kernel may have.

    The block is as square as can be, because that has the fewest rows to send for its pairs.

    Parameters
    ----------
    n_rows : int
        How many rows the first side has in all.
    n_features, itemsize, pair_size : int
        As in `block_size_for`.
    """
    n_pairs = max(1, _BLOCK_WORK // pair_size)
    side = min(n_rows, math.isqrt(n_pairs))
    most = _BLOCK_BYTES // ((n_features + _COPIES * side) * itemsize)
    return side, max(1, min(n_pairs // side, most))


def block_bytes(block_size: int, n_columns: int, n_features: int, itemsize: int) -> int:
    """Return the bytes that a block takes with the rows of its columns.

    The parameters are those of `block_size_for`.
    """
    row = (n_features + _COPIES * n_columns) * itemsize
    return block_size * row + n_columns * n_features * itemsize


def slices(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield consecutive slices of `block_size` rows; the last slice may have fewer."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))
