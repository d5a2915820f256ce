"""What an engine is: it computes one function of many blocks; results come in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from numpy.typing import NDArray


class EngineError(RuntimeError):
    """Blocks cannot be computed where they should be."""


class Block(NamedTuple):
    """What one task is of.

    Attributes
    ----------
    rows : ndarray of int or None
        Rows of a placed tree.
    tree : int
        Which of them.
    own : pytree of arrays
        What this block alone is given.
    """

    rows: NDArray[np.intp] | None = None
    tree: int = 0
    own: Any = None


class Placed(NamedTuple):
    """What all tasks of a fit need, where they run.

    Attributes
    ----------
    constants : sequence of pytrees
    trees : sequence of pytrees of arrays
        The leaves of each have the same number of rows.
    """

    constants: Sequence[Any]
    trees: Sequence[Any] = ()

    def arguments(self, block: Block) -> tuple[Any, Any]:
        """Return a block's rows and what it is given."""
        if block.rows is None:
            return None, block.own
        return take(self.trees[block.tree], block.rows), block.own


class Engine(Protocol):
    """Where blocks are computed.

    What is a block depends on shapes and memory, never on the number of workers. So results are
    those of the same calls in this process: to the last bit where code is compiled alike (a
    machine of the same kind, as many cores for each process), to rounding on several devices.
    """

    def place(
        self, constants: Sequence[Any], trees: Sequence[Any] = (), *, task_bytes: int = 0
    ) -> AbstractContextManager[Any]:
        """Bring to all workers what tasks share; forget it when the context ends.

        Parameters
        ----------
        constants, trees : sequences
            As in `Placed`.
        task_bytes : int
            Memory that a task needs beside.
        """

    def map(
        self,
        function: Any,
        placed: Any,
        blocks: Iterable[Block],
        shared: Any = None,
        which: int = 0,
    ) -> Iterator[Any]:
        """Yield ``function(constants[which], rows, own, shared)`` of each block, as numpy.

        Parameters
        ----------
        function : callable
            Of a module, so that it can be sent; pure JAX, so that it can be traced.
        placed : object
            What `place` gave.
        blocks : iterable of Block
            Taken when they are needed.
        shared : pytree of arrays
            What the blocks of this call share; it comes to each worker once.
        which : int
        """


def take(tree: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of all leaves."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def to_numpy(tree: Any) -> Any:
    """Return a pytree with arrays of numpy."""
    return jax.tree.map(np.asarray, tree)


def indices(n_rows: int, block_size: int) -> list[NDArray[np.intp]]:
    """Return the rows of blocks of one shape, at most `block_size` and as even as can be.

    The last row comes again where some are missing, so that nothing is compiled for a rest.
    """
    size = -(-n_rows // -(-n_rows // block_size))
    starts = range(0, n_rows, size)
    return [np.minimum(np.arange(start, start + size), n_rows - 1) for start in starts]
