"""The workers of a dask cluster, as the passes of a fit see them: who there is, and who does what.

Blocks are sent to a worker of our choice, two for each of its threads. So what lies with one that
dies or hangs is known without asking, and so is who has nothing to do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4


class Limits(NamedTuple):
    """Seconds and numbers after which something is done.

    Attributes
    ----------
    tick : float
        Between two looks at the cluster: a message of a kilobyte for each worker. Longer for more
        than a hundred of them.
    silent : float
        After which a worker that does not tell of itself, as all do every few seconds, is given
        nothing more, and its blocks go to others. Longer for more than two hundred of them, which
        tell of themselves more rarely.
    result : float
        For bringing a result that is there: it is less than a megabyte or a few. Twice as long
        after each that took longer.
    straggler, times : float
        A block is sent to a second worker when it takes longer than both, in seconds and in
        multiples of the usual time. The first block of a worker takes up to a minute to compile.
    idle : float
        The same in seconds, where that worker has nothing else to do.
    losses : int
        Of one block in one pass.
    no_workers : float
        Without any worker: the time that a queue of a cluster may take to give another.
    stall : float
        Without any result.
    """

    tick: float = 1.0
    silent: float = 15.0
    result: float = 5.0
    straggler: float = 60.0
    times: float = 3.0
    idle: float = 5.0
    losses: int = 12
    no_workers: float = 600.0
    stall: float = 3600.0


# Blocks under way for each thread: one runs, one waits, so that none is idle.
_PER_THREAD = 2
# Passes remember the times of as many blocks.
_N_TIMES = 1000
# From so many workers on, dask has them tell of themselves more rarely.
_MANY = 200


@dataclass(eq=False)
class Attempt:
    """A block as it was sent to one worker.

    Attributes
    ----------
    task : object
        The block, as its pass knows it.
    worker : str
        An address.
    since : float
    future : Future
    """

    task: Any
    worker: str
    since: float
    future: Any = None


@dataclass(eq=False)
class Cluster:
    """The workers of a client.

    Attributes
    ----------
    threads : dict of str to int
        Of those that can be given something.
    alive : set of str
        Those that tell of themselves and give what they have; some may be busy with their memory.
    seconds : dict to deque of float
        How long blocks took, by function and constant.
    """

    client: Any
    limits: Limits
    threads: dict[str, int] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    seconds: dict[tuple[str, int], deque[float]] = field(default_factory=dict)
    # Oldest first: as many of them as the worker has threads run, the others wait.
    _attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    _last_seen: dict[str, float] = field(default_factory=dict)
    # When those that did not give a result had last told of themselves.
    _doubtful: dict[str, float] = field(default_factory=dict)
    _call: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self, name: str, which: int) -> deque[float]:
        return self.seconds.setdefault((name, which), deque(maxlen=_N_TIMES))

    @property
    def most(self) -> int:
        """Blocks under way at most."""
        return _PER_THREAD * max(1, sum(self.threads.values()))

    def info(self) -> dict[str, Any]:
        """Return what the scheduler tells of each worker."""
        # Not `Client.scheduler_info`, which a thread of the client cuts short now and then.
        identity = self.client.sync(self.client.scheduler.identity, n_workers=-1)
        return dict(identity["workers"])

    def look(self) -> None:
        """See what workers there are."""
        with suppress(OSError, TimeoutError):
            info = self.info()
            self._last_seen = {address: worker["last_seen"] for address, worker in info.items()}
            newest = max(self._last_seen.values(), default=0.0)
            silent = self.limits.silent * max(1.0, len(info) / _MANY)
            self.alive = {
                address
                for address, seen in self._last_seen.items()
                if newest - seen < silent and seen > self._doubtful.get(address, -1.0)
            }
            self.threads = {
                address: worker["nthreads"]
                for address, worker in info.items()
                if address in self.alive and worker["nthreads"] and worker["status"] == "running"
            }
            # An adaptive cluster starts workers for tasks that have none.
            if self.threads:
                self._call = None
            elif self._call is None or self._call.done():
                self._call = self.client.submit(bool, pure=False)
        with self._lock:
            gone = self._attempts.keys() - self._last_seen.keys()
            lost = [attempt for worker in gone for attempt in self._attempts.pop(worker)]
        self._cancel(lost)

    @property
    def n_silent(self) -> int:
        return len(self._last_seen) - len(self.alive)

    def is_gone(self, worker: str) -> bool:
        return worker not in self._last_seen

    def doubt(self, worker: str) -> None:
        """Give a worker nothing more until it tells of itself again."""
        self._doubtful[worker] = self._last_seen.get(worker, 0.0)
        self.alive.discard(worker)
        self.threads.pop(worker, None)

    def free(self) -> str | None:
        """Return the worker with the least to do that can be given a block."""
        if not self.threads:
            return None
        worker = min(self.threads, key=self._load)
        return worker if self._load(worker) < _PER_THREAD else None

    def is_idle(self, worker: str) -> bool:
        return not self._attempts.get(worker)

    def _load(self, worker: str) -> float:
        return len(self._attempts.get(worker, ())) / self.threads[worker]

    def submit(
        self, attempt: Attempt, call: tuple[Any, ...], name: str, ended: Callable[[Attempt], None]
    ) -> None:
        """Send a block; `ended` is called from another thread when it is done or has failed."""
        import dask

        # Blocks of rows to predict are larger than what dask thinks a task should be.
        with _CONFIG, dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            attempt.future = self.client.submit(
                *call,
                key=f"kipsk-{name}-{uuid4().hex}",
                pure=False,
                retries=0,
                workers=[attempt.worker],
            )
        with self._lock:
            self._attempts.setdefault(attempt.worker, []).append(attempt)

        def is_done(_: Any) -> None:
            with self._lock:
                self._remove(attempt)
            ended(attempt)

        attempt.future.add_done_callback(is_done)

    def take_waiting(self, wanted: Callable[[Attempt], bool]) -> Attempt | None:
        """Take back the last block of the worker with the most to do, if it has not begun it."""
        with self._lock:
            loads = {
                worker: self._load(worker)
                for worker, own in self._attempts.items()
                if len(own) > self.threads.get(worker, len(own)) and wanted(own[-1])
            }
            if not loads:
                return None
            attempt = self._attempts[max(loads, key=lambda worker: loads[worker])].pop()
        self._cancel([attempt])
        return attempt

    def drop(self, attempts: list[Attempt]) -> None:
        """Do without attempts; what has not been begun is taken back.

        What runs cannot be ended. It counts until it is done, so that a worker that hangs is given
        nothing more.
        """
        back = []
        with self._lock:
            for attempt in reversed(attempts):
                own = self._attempts.get(attempt.worker, [])
                if attempt not in own or own.index(attempt) >= self.threads.get(attempt.worker, 1):
                    self._remove(attempt)
                    back.append(attempt)
        self._cancel(back)

    def clear(self) -> None:
        """Take everything back."""
        with self._lock:
            back = [attempt for own in self._attempts.values() for attempt in own]
            self._attempts.clear()
        self._cancel(back)

    def _cancel(self, attempts: list[Attempt]) -> None:
        if attempts:
            with suppress(Exception):  # the client may be closed
                self.client.cancel([attempt.future for attempt in attempts])

    def _remove(self, attempt: Attempt) -> None:
        own = self._attempts.get(attempt.worker, [])
        if attempt in own:
            own.remove(attempt)


# dask's settings are those of the process.
_CONFIG = threading.Lock()
