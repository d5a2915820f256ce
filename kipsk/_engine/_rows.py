"""Rows in blocks of bounded memory: map a function over them, or sum it in block order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jax import Array

from kipsk._bar import tqdm
from kipsk._engine._base import Block, Engine
from kipsk._engine._local import LOCAL
from kipsk._engine._sizes import slices
from kipsk._types import AnyArray, Float64s, PyTree


def map_rows(
    function: Callable[[AnyArray], Array],
    X: AnyArray,
    block_size: int,
    *,
    engine: Engine = LOCAL,
    task_bytes: int = 0,
    progress: str | None = None,
) -> AnyArray:
    """Return ``concatenate([function(block) for each block of rows])`` as numpy.

    A block that is shorter than the others is padded with zero rows, by an eighth at most, so that
    calls with any number of rows share a few compiled shapes.

    Parameters
    ----------
    function : callable
        It has to be a `jax.tree_util.Partial` of a module's function unless `engine` is `LOCAL`.
    X : ndarray of shape (n, n_features)
    block_size : int
        How many rows a block has, at most.
    engine : Engine
        Where blocks are computed.
    task_bytes : int
        The memory that a block takes.
    progress : str or None
        The name of a progress bar; None shows none.
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
    function: Callable[..., PyTree],
    arrays: tuple[AnyArray, ...],
    block_size: int,
    *,
    engine: Engine = LOCAL,
    task_bytes: int = 0,
    progress: str | None = None,
) -> PyTree:
    """Return the sum of ``function(*blocks)`` over the blocks of rows, as numpy.

    `arrays` have the same number of rows; the other parameters are those of `map_rows`, and sums
    are those of `sum_blocks`.
    """
    n = len(arrays[0])
    blocks = (tuple(array[s] for array in arrays) for s in slices(n, block_size))
    return sum_blocks(function, blocks, n, engine=engine, task_bytes=task_bytes, progress=progress)


def sum_blocks(
    function: Callable[..., PyTree],
    blocks: Iterable[tuple[AnyArray, ...]],
    n_rows: int,
    *,
    engine: Engine = LOCAL,
    task_bytes: int = 0,
    progress: str | None = None,
) -> PyTree:
    """Return the sum of ``function(*block)`` over blocks, which are read when they are needed.

    Each leaf of the results is summed in float64, in the order of the blocks. `n_rows` is how many
    rows they have together, for the bar; the other parameters are those of `map_rows`.
    """
    total: PyTree = None
    with (
        engine.place([function], task_bytes=task_bytes) as placed,
        tqdm(total=n_rows, disable=progress is None, desc=progress, unit="row") as bar,
    ):
        sizes: deque[int] = deque()

        def noted() -> Iterator[Block]:
            for own in blocks:
                sizes.append(len(own[0]))
                yield Block(own=own)

        for part in engine.map(_call, placed, noted()):
            if total is None:
                total = jax.tree.map(lambda leaf: np.array(leaf, np.float64), part)
            else:
                jax.tree.map(_add, total, part)
            bar.update(min(sizes.popleft(), n_rows - bar.n))
    return total


def _add(total: Float64s, part: AnyArray) -> None:
    np.add(total, part, out=total)


def _call(
    function: Callable[..., PyTree], _: None, blocks: tuple[AnyArray, ...], shared: None
) -> PyTree:
    return function(*blocks)


def _shown(
    X: AnyArray, block_size: int, results: Iterable[PyTree], progress: str | None
) -> Iterator[tuple[slice, PyTree]]:
    """Yield slices of X with their results, and show a bar if `progress` names one."""
    with tqdm(total=len(X), disable=progress is None, desc=progress, unit="row") as bar:
        for s, result in zip(slices(len(X), block_size), results, strict=True):
            yield s, result
            bar.update(s.stop - s.start)
