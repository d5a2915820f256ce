"""What an engine is: it computes one function of many blocks, and yields results in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import numpy as np

from kipsk._types import Ints, PyTree

#: What an engine computes of a block: ``function(constant, rows, own, shared) -> result``. It is
#: pure JAX, so that it can be traced, and belongs to a module, so that it can be sent.
Function: TypeAlias = Callable[[PyTree, PyTree, PyTree, PyTree], PyTree]

#: What an engine's `place` gives and its `map` takes; each engine has its own kind.
Handle: TypeAlias = Any


class EngineError(RuntimeError):
    """The error for blocks that cannot be computed where they should be."""


class Block(NamedTuple):
    """The part of the work that one task is.

    Attributes
    ----------
    rows : ndarray of int or None
        Numbers of the rows of a placed tree that this block takes, if it takes any.
    tree : int
        The number of that tree.
    own : pytree of arrays
        Arrays that this block alone is given.
    """

    rows: Ints | None = None
    tree: int = 0
    own: PyTree = None


class Placed(NamedTuple):
    """Everything that the tasks of a fit share, brought to where they run.

    Attributes
    ----------
    constants : sequence of pytrees
        Each call of `Engine.map` uses one of them, such as a kernel function.
    trees : sequence of pytrees of arrays
        Rows that blocks are taken from. All leaves of a tree have the same number of rows.
    """

    constants: Sequence[PyTree]
    trees: Sequence[PyTree] = ()

    def arguments(self, block: Block) -> tuple[PyTree, PyTree]:
        """Return the rows that a block takes, and the arrays that it alone is given."""
        if block.rows is None:
            return None, block.own
        return take(self.trees[block.tree], block.rows), block.own


class Engine(Protocol):
    """Where blocks are computed.

    How rows are cut into blocks depends on shapes and memory, never on the number of workers. So
    the results are those of the same calls in this process. They agree to the last bit where code
    is compiled alike (on machines of the same kind with as many cores for each process), and to
    rounding on several devices.
    """

    def place(
        self, constants: Sequence[PyTree], trees: Sequence[PyTree] = (), *, task_bytes: int = 0
    ) -> AbstractContextManager[Handle]:
        """Bring to all workers what tasks share; forget it when the context ends.

        Parameters
        ----------
        constants, trees : sequences
            As in `Placed`.
        task_bytes : int
            The memory that a task needs besides what is placed.
        """

    def map(
        self,
        function: Function,
        placed: Handle,
        blocks: Iterable[Block],
        shared: PyTree = None,
        which: int = 0,
    ) -> Iterator[PyTree]:
        """Yield ``function(constants[which], rows, own, shared)`` of each block, as numpy.

        Wherever a block runs, JAX's settings have to be what they are here (`own_settings`): they
        are those of the thread.

        Parameters
        ----------
        function : Function
        placed : Handle
            From `place`.
        blocks : iterable of Block
            Each block is taken when a worker is free for it.
        shared : pytree of arrays
            Arrays that the blocks of this call share. They are sent to each worker once.
        which : int
            The number of the placed constant that `function` gets.
        """


def take(tree: PyTree, rows: Ints) -> PyTree:
    """Return these rows of every leaf."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def to_numpy(tree: PyTree) -> PyTree:
    """Return the pytree with numpy arrays as leaves."""
    return jax.tree.map(np.asarray, tree)


def indices(n_rows: int, block_size: int) -> list[Ints]:
    """Return the row numbers of blocks that all have the same size, at most `block_size`.

    The size is as small as the number of blocks allows. The last row fills up the last block, so
    that no code is compiled for a smaller one.
    """
    size = -(-n_rows // -(-n_rows // block_size))
    starts = range(0, n_rows, size)
    return [np.minimum(np.arange(start, start + size), n_rows - 1) for start in starts]
