"""Blocks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from kipsk._engine._base import Block, Function, Placed, to_numpy
from kipsk._types import PyTree


class Local:
    """The engine of this process, without workers."""

    @contextmanager
    def place(
        self, constants: Sequence[PyTree], trees: Sequence[PyTree] = (), *, task_bytes: int = 0
    ) -> Iterator[Placed]:
        """Keep everything where it is."""
        yield Placed(constants, trees)

    def map(
        self,
        function: Function,
        placed: Placed,
        blocks: Iterable[Block],
        shared: PyTree = None,
        which: int = 0,
    ) -> Iterator[PyTree]:
        """Yield the results of the blocks."""
        for block in blocks:
            arguments = placed.arguments(block)
            yield to_numpy(function(placed.constants[which], *arguments, shared))


#: The only one that is needed, because `Local` has no state.
LOCAL = Local()
