"""Rows in blocks of bounded memory: map a function over them, or sum it in block order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

# Bytes that one block's rows and kernel entries may take. Blocks of this size keep every core
# busy; larger ones only take memory.
_BLOCK_BYTES = 128 * 2**20
# Live copies of a kernel block: the matrix and the intermediate results of its entries.
_COPIES = 6


def block_size_for(block_size: int | str, n_columns: int, n_features: int, itemsize: int) -> int:
    """Return the rows of a block; "auto" depends on shapes and memory only."""
    if block_size != "auto":
        return int(block_size)
    row = (n_features + _COPIES * n_columns) * itemsize
    return max(1, _BLOCK_BYTES // row)


def slices(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield consecutive slices of `block_size` rows; the last one may have fewer."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))


def map_rows(function: Callable[[Any], Any], X: Any, block_size: int) -> np.ndarray:
    """Return ``concatenate([function(block) for each block of rows])`` as numpy.

    A short block is padded with zero rows to a power of two, so that calls with any number of rows
    share a few compiled shapes.
    """
    results = []
    for s in slices(len(X), block_size):
        block = X[s]
        n_rows = min(block_size, 1 << (len(block) - 1).bit_length())
        padded = np.concatenate([block, np.zeros((n_rows - len(block), *X.shape[1:]), X.dtype)])
        results.append(np.asarray(function(padded))[: len(block)])
    return np.concatenate(results)


def sum_rows(function: Callable[..., Any], arrays: tuple[Any, ...], block_size: int) -> Any:
    """Return the sum, leaf by leaf in block order, of ``function(*blocks)`` as numpy."""
    total: Any = None
    for s in slices(len(arrays[0]), block_size):
        part = jax.tree.map(np.asarray, function(*(array[s] for array in arrays)))
        total = part if total is None else jax.tree.map(np.add, total, part)
    return total
