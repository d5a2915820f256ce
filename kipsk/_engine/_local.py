"""Blocks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kipsk._engine._base import Block, Placed, to_numpy


class Local:
    """The engine without workers."""

    @contextmanager
    def place(
        self, constants: Sequence[Any], trees: Sequence[Any] = (), *, task_bytes: int = 0
    ) -> Iterator[Placed]:
        """Keep everything where it is."""
        yield Placed(constants, trees)

    def map(
        self,
        function: Any,
        placed: Placed,
        blocks: Iterable[Block],
        shared: Any = None,
        which: int = 0,
    ) -> Iterator[Any]:
        """Yield the results of the blocks."""
        for block in blocks:
            arguments = placed.arguments(block)
            yield to_numpy(function(placed.constants[which], *arguments, shared))


#: Local has no state.
LOCAL = Local()
