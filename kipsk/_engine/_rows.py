"""Rows in blocks of bounded memory: map a function over them, or sum it in block order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

from kipsk._engine._base import Block, Engine
from kipsk._engine._local import LOCAL
from kipsk._engine._sizes import slices


def map_rows(
    function: Callable[[Any], Any],
    X: Any,
    block_size: int,
    *,
    engine: Engine = LOCAL,
    task_bytes: int = 0,
    progress: str | None = None,
) -> np.ndarray:
    """Return ``concatenate([function(block) for each block of rows])`` as numpy.

    A short block is padded with zero rows, by an eighth at most, so that calls with any number of
    rows share a few compiled shapes.

    Parameters
    ----------
    function : callable
        A `jax.tree_util.Partial` of a module's function, where `engine` is not `LOCAL`.
    X : ndarray of shape (n, n_features)
    block_size : int
    engine : Engine
    task_bytes : int
        Memory of a block.
    progress : str or None
        A name for a bar of the rows that are done.
    """

    def padded(s: slice) -> Block:
        block = X[s]
        step = 1 << max(0, (len(block) - 1).bit_length() - 3)
        n_rows = min(block_size, -(-len(block) // step) * step)
        zeros = np.zeros((n_rows - len(block), *X.shape[1:]), X.dtype)
        return Block(own=(np.concatenate([block, zeros]),))

    with engine.place([function], task_bytes=task_bytes) as placed:
        blocks = map(padded, slices(len(X), block_size))
        results = engine.map(_call, placed, blocks)
        parts = [part[: s.stop - s.start] for s, part in _shown(X, block_size, results, progress)]
    return np.concatenate(parts)


def sum_rows(
    function: Callable[..., Any],
    arrays: tuple[Any, ...],
    block_size: int,
    *,
    engine: Engine = LOCAL,
    task_bytes: int = 0,
    progress: str | None = None,
) -> Any:
    """Return the sum, leaf by leaf in block order, of ``function(*blocks)`` as numpy.

    Parameters are those of `map_rows`.
    """
    total: Any = None
    with engine.place([function], task_bytes=task_bytes) as placed:
        parts = slices(len(arrays[0]), block_size)
        blocks = (Block(own=tuple(array[s] for array in arrays)) for s in parts)
        results = engine.map(_call, placed, blocks)
        for _, part in _shown(arrays[0], block_size, results, progress):
            total = part if total is None else jax.tree.map(np.add, total, part)
    return total


def _call(function: Callable[..., Any], _: None, blocks: tuple[Any, ...], shared: None) -> Any:
    return function(*blocks)


def _shown(
    X: Any, block_size: int, results: Iterable[Any], progress: str | None
) -> Iterator[tuple[slice, Any]]:
    """Yield slices with their results, and show a bar if it has a name."""
    with tqdm(total=len(X), disable=progress is None, desc=progress, unit="row") as bar:
        for s, result in zip(slices(len(X), block_size), results, strict=True):
            yield s, result
            bar.update(s.stop - s.start)
