"""A block that is under way, and the attempts at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Future


@dataclass(eq=False)
class Task:
    """A block that is under way.

    Attributes
    ----------
    index : int
        The block's number in the pass.
    payload : bytes
        What is sent of it to a worker.
    attempts : list of Attempt
        The attempts that may still bring its result, oldest first.
    n_lost : int
        How often it was lost.
    missing_since : float
        When a worker first reported that it lacks what is placed; 0 if none has.
    """

    index: int
    payload: bytes
    attempts: list[Attempt] = field(default_factory=list)
    n_lost: int = 0
    missing_since: float = 0.0

    def waited(self, now: float) -> float:
        """Return the seconds since the last attempt, halved for each attempt before it.

        A block that takes long does not mean that its worker hangs, so each further attempt is
        given twice the time.
        """
        return (now - self.attempts[-1].since) / 2 ** (len(self.attempts) - 1)


@dataclass(eq=False)
class Attempt:
    """A block as it was sent to one worker.

    Attributes
    ----------
    task : Task
        The block.
    worker : str
        The worker's address.
    since : float
        When the block was sent, by `time.monotonic`.
    future : distributed.Future
        Its result to come; `Cluster.submit` sets it.
    """

    task: Task
    worker: str
    since: float
    future: Future = None  # type: ignore[assignment]
