"""Rows in blocks of bounded memory: map a function over them, or sum it in block order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

# Bytes that one block's rows and kernel entries may take. Blocks of this size keep every core
# busy; larger ones only take memory.
_BLOCK_BYTES = 128 * 2**20
# Live copies of a kernel block: the matrix and the intermediate results of its entries.
_COPIES = 6


# Numbers that the pairs of a block may go through: less than a minute of two cores.
_BLOCK_WORK = 2**35


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


def slices(n_rows: int, block_size: int) -> Iterator[slice]:
    """Yield consecutive slices of `block_size` rows; the last one may have fewer."""
    for start in range(0, n_rows, block_size):
        yield slice(start, min(start + block_size, n_rows))


def with_progress(n_rows: int, block_size: int, progress: str | None) -> Iterator[slice]:
    """Yield `slices`; with a name for it, show a bar of the rows that are done."""
    with tqdm(total=n_rows, disable=progress is None, desc=progress, unit="row") as bar:
        for s in slices(n_rows, block_size):
            yield s
            bar.update(s.stop - s.start)


def map_rows(
    function: Callable[[Any], Any], X: Any, block_size: int, *, progress: str | None = None
) -> np.ndarray:
    """Return ``concatenate([function(block) for each block of rows])`` as numpy.

    A short block is padded with zero rows, by an eighth at most, so that calls with any number of
    rows share a few compiled shapes.
    """
    results = []
    for s in with_progress(len(X), block_size, progress):
        block = X[s]
        step = 1 << max(0, (len(block) - 1).bit_length() - 3)
        n_rows = min(block_size, -(-len(block) // step) * step)
        padded = np.concatenate([block, np.zeros((n_rows - len(block), *X.shape[1:]), X.dtype)])
        results.append(np.asarray(function(padded))[: len(block)])
    return np.concatenate(results)


def sum_rows(
    function: Callable[..., Any],
    arrays: tuple[Any, ...],
    block_size: int,
    *,
    progress: str | None = None,
) -> Any:
    """Return the sum, leaf by leaf in block order, of ``function(*blocks)`` as numpy."""
    total: Any = None
    for s in with_progress(len(arrays[0]), block_size, progress):
        part = jax.tree.map(np.asarray, function(*(array[s] for array in arrays)))
        total = part if total is None else jax.tree.map(np.add, total, part)
    return total
