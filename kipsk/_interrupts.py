"""Ctrl-C is noted as well as raised, because Python may drop what is raised."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted_interrupts() -> Iterator[list[int]]:
    """Yield a list that gets the number of each SIGINT of the block that interrupts it.

    A `KeyboardInterrupt` that is raised in a callback of Python's garbage collector, of which JAX
    has one, is dropped there, and code in the block may catch one and go on. The handler is called
    as ever; one that does not raise `KeyboardInterrupt` interrupts nothing. Signals are handled in
    the main thread: in others, and where SIGINT has no handler in Python, the list stays empty.
    """
    interrupts: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield interrupts
        return

    def note(number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt:
            interrupts.append(number)
            raise

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
