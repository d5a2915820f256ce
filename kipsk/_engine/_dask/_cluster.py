"""The workers of a dask cluster, as a fit sees them: which there are, and what each of them does.

The fit itself chooses the worker that a block is sent to, and sends two blocks for each of a
worker's threads. So it knows without asking which blocks a worker that dies or hangs has, and which
workers have nothing to do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from kipsk._engine._dask._tasks import Attempt
from kipsk._types import PyTree

if TYPE_CHECKING:
    from distributed import Client, Future


class Limits(NamedTuple):
    """How long, in seconds, or how often a fit waits before it acts.

    Attributes
    ----------
    tick : float
        Seconds between two looks at the cluster. A look is a message of a kilobyte for each worker,
        so with more than a hundred workers looks are rarer.
    silent : float
        Workers send a heartbeat every few seconds. One that has sent none for this long is given no
        more blocks, and its blocks go to others. With more than two hundred workers the time is
        longer, because their heartbeats are rarer.
    result : float
        How long bringing a result that is there may take; results have a few megabytes at most.
        The time doubles whenever one takes longer.
    straggler : float
        A block is also sent to a second worker when it has taken longer than this and longer than
        `times` the usual time. The first block of a worker takes up to a minute to compile.
    times : float
        See `straggler`.
    idle : float
        Used in place of `straggler` where the second worker has nothing else to do.
    losses : int
        How often one block may be lost in one pass before the fit gives up.
    no_workers : float
        How long the cluster may have no worker before the fit gives up; the queue of a cluster
        takes some time to start one.
    stall : float
        How long no result may come before the fit gives up.
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


# How many blocks each thread of a worker is given: one runs and one waits, so that no thread idles.
_PER_THREAD = 2
# The number of blocks whose times are remembered.
_N_TIMES = 1000
# With more workers than this, dask has them send heartbeats more rarely.
_MANY = 200


@dataclass(eq=False)
class Cluster:
    """The workers of a client.

    Attributes
    ----------
    threads : dict of str to int
        The number of threads of each worker that can be given blocks, by address.
    alive : set of str
        Addresses of the workers that send heartbeats and hand over their results. A paused worker
        is one of them: it is short of memory and cannot be given blocks.
    seconds : dict to deque of float
        How long blocks took, by the name of the function and the number of the constant.
    """

    client: Client
    limits: Limits
    threads: dict[str, int] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    seconds: dict[tuple[str, int], deque[float]] = field(default_factory=dict)
    # The attempts of each worker, oldest first. As many as the worker has threads run, others wait.
    _attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    _last_seen: dict[str, float] = field(default_factory=dict)
    # For workers that did not hand over a result: their last heartbeat before that.
    _doubtful: dict[str, float] = field(default_factory=dict)
    # A task that makes an adaptive cluster start a worker.
    _call: Future | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self, name: str, which: int) -> deque[float]:
        """Return how long the last blocks of a function took; new times are appended to it."""
        return self.seconds.setdefault((name, which), deque(maxlen=_N_TIMES))

    @property
    def most(self) -> int:
        """How many blocks may be under way."""
        return _PER_THREAD * max(1, sum(self.threads.values()))

    def info(self) -> dict[str, Any]:
        """Return what the scheduler knows of each worker, by address."""
        # Not `Client.scheduler_info`: a thread of the client sometimes cuts its result short.
        identity = self.client.sync(self.client.scheduler.identity, n_workers=-1)
        return dict(identity["workers"])

    def look(self) -> None:
        """Ask the scheduler which workers there are; give up attempts on workers that are gone."""
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
            # An adaptive cluster starts workers when there are tasks for which it has none.
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
        """How many workers the scheduler lists that are not alive."""
        return len(self._last_seen) - len(self.alive)

    def is_gone(self, worker: str) -> bool:
        """Return whether the scheduler no longer lists a worker."""
        return worker not in self._last_seen

    def doubt(self, worker: str) -> None:
        """Give a worker no more blocks until it has sent another heartbeat."""
        self._doubtful[worker] = self._last_seen.get(worker, 0.0)
        self.alive.discard(worker)
        self.threads.pop(worker, None)

    def free(self) -> str | None:
        """Return the worker with the least to do; None if all have as many blocks as they may."""
        if not self.threads:
            return None
        worker = min(self.threads, key=self._load)
        return worker if self._load(worker) < _PER_THREAD else None

    def is_idle(self, worker: str) -> bool:
        """Return whether a worker has no block."""
        return not self._attempts.get(worker)

    def _load(self, worker: str) -> float:
        return len(self._attempts.get(worker, ())) / self.threads[worker]

    def submit(
        self,
        attempt: Attempt,
        call: tuple[PyTree, ...],
        name: str,
        ended: Callable[[Attempt], None],
    ) -> None:
        """Send a block to its worker.

        Parameters
        ----------
        attempt : Attempt
        call : tuple
            The function to call on the worker, and its arguments.
        name : str
            What dask's dashboard shows.
        ended : callable
            Called with the attempt, from another thread, when the block is done or has failed.
        """
        import dask

        # dask warns of large tasks, and blocks of rows to predict are large.
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

        def is_done(_: Future) -> None:
            with self._lock:
                self._remove(attempt)
            ended(attempt)

        attempt.future.add_done_callback(is_done)

    def take_waiting(self, wanted: Callable[[Attempt], bool]) -> Attempt | None:
        """Take back a block that waits on the worker with the most to do, and return it.

        Only blocks for which `wanted` returns True are taken. None if there is no such block.
        """
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
        """Give up attempts; those whose blocks still wait on a worker are taken back.

        A block that runs cannot be ended. It counts as one of its worker's blocks until it is done,
        so that a worker that hangs is given no more.
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
        """Give up all attempts."""
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


# dask's settings are global to the process, so only one thread may change them at a time.
_CONFIG = threading.Lock()
