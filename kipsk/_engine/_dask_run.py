"""One pass over blocks on a dask cluster whose workers may die, hang, join late or lose results.

dask itself runs again what a dead worker was computing, or had computed. What it does not do is
done here: notice a worker that hangs, and results that were announced and never come.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import jax
import numpy as np

from kipsk._engine._base import Block, to_numpy
from kipsk._engine._dask_worker import NotPlacedError, compute, dumps

_LOGGER = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Seconds and numbers after which something is done.

    Attributes
    ----------
    tick : float
        Between two looks at the cluster: a message of a kilobyte for each worker. Longer for more
        than a hundred of them.
    silent : float
        After which a worker that does not tell of itself, as all do every few seconds, is given
        nothing more.
    result : float
        For bringing a result that is there: it is less than a megabyte or a few.
    straggler, times : float
        A block is sent to a second worker when it takes longer than both, in seconds and in
        multiples of the usual time. The first block of a worker takes up to a minute to compile.
    idle : float
        The same in seconds, where that worker has nothing else to do.
    losses : int
        Of one block in one pass. dask tries each of them on four workers.
    no_workers : float
        Without any worker: the time that a queue of a cluster may take to give another.
    stall : float
        Without any result.
    """

    tick: float = 1.0
    silent: float = 15.0
    result: float = 15.0
    straggler: float = 60.0
    times: float = 3.0
    idle: float = 5.0
    losses: int = 3
    no_workers: float = 600.0
    stall: float = 3600.0


# Tasks under way for each thread of the cluster: one runs, one waits, so that none is idle.
_PER_THREAD = 2
# Passes remember the times of as many blocks.
_N_TIMES = 1000
# Results that wait for one before them, in multiples of the tasks under way.
_WAITING = 16


def check_open(client: Any) -> None:
    """Raise RuntimeError if nothing can be sent any more."""
    if client.status in ("closed", "closing"):
        raise RuntimeError(
            f"The dask client of joblib.parallel_config is {client.status}, or its scheduler is "
            "gone. Open one, client = distributed.Client(...), and call "
            "joblib.parallel_config('dask') with it open. A fit with 'checkpoint_path' goes on "
            "from its last save."
        )


def workers_of(client: Any, silent: float) -> tuple[dict[str, int], int]:
    """Return the threads of the workers that tell of themselves, and the number of all workers."""
    info = client.scheduler_info(n_workers=-1).get("workers", {})
    newest = max((worker["last_seen"] for worker in info.values()), default=0.0)
    alive = {
        address: worker["nthreads"]
        for address, worker in info.items()
        if newest - worker["last_seen"] < silent
    }
    return alive, len(info)


@dataclass
class History:
    """What the passes of a fit have seen.

    Attributes
    ----------
    abandoned : list of Future
        Attempts that another one has beaten. They are not cancelled: a worker that hangs is given
        nothing more as long as it seems busy.
    seconds : dict of str to deque of float
        How long blocks of a function took.
    """

    abandoned: list[Any] = field(default_factory=list)
    seconds: dict[str, deque[float]] = field(default_factory=dict)


@dataclass
class _Task:
    """A block that is under way.

    Attributes
    ----------
    payload : bytes
    shared : Future or None
        What its first attempt waits for.
    attempts : dict of Future to float
        When each was sent.
    n_sent, n_lost : int
    """

    payload: bytes
    shared: Any = None
    attempts: dict[Any, float] = field(default_factory=dict)
    n_sent: int = 0
    n_lost: int = 0


class Run:
    """One pass over blocks.

    Parameters
    ----------
    client : distributed.Client
    limits : Limits
    history : History
    placed : str
        The name of what is placed.
    function, blocks, shared, which
        As `Engine.map` takes them.
    """

    def __init__(
        self,
        client: Any,
        limits: Limits,
        history: History,
        placed: str,
        function: Any,
        blocks: Iterator[Block],
        shared: Any,
        which: int,
    ) -> None:
        self._client, self._limits, self._abandoned = client, limits, history.abandoned
        self._placed, self._function, self._which = placed, function, which
        self._id, self._name = uuid4().hex, getattr(function, "__name__", "block").strip("_")
        self._seconds = history.seconds.setdefault(self._name, deque(maxlen=_N_TIMES))
        self._blocks, self._is_over, self._n_sent = blocks, False, 0
        self._shared = dumps(shared)
        self._future: Any = None
        # Workers that do not give what they have.
        self._doubtful: set[str] = set()
        self._open: dict[int, _Task] = {}
        self._done: dict[int, Any] = {}
        self._progress = self._seen = time.monotonic()
        self._workers: dict[str, int] = {}
        self._has_silent = False
        self._looked = -float("inf")

    def results(self) -> Iterator[Any]:
        """Yield results in the order of the blocks."""
        index = 0
        try:
            while True:
                self.send_more()
                if index in self._done:
                    yield self._done.pop(index)
                    index += 1
                    self._progress = time.monotonic()
                elif self._open:
                    self._wait()
                else:
                    return
        finally:
            attempts = [future for task in self._open.values() for future in task.attempts]
            if attempts:
                with suppress(Exception):
                    self._client.cancel(attempts)
            # Not cancelled: that would cancel what is left with a worker that hangs.
            self._future = None

    def send_more(self) -> None:
        """Send blocks until all threads of the cluster have enough of them."""
        check_open(self._client)
        if time.monotonic() - self._looked > self._limits.tick * max(1, len(self._workers) / 100):
            self._look()
        if self._future is None:
            # A task of its own, whose result workers get from each other: dask computes it again
            # if it is lost. Sent with each block, it would stay in dask's logs of messages.
            self._future = self._submit(bytes, self._shared, name="shared")
        most = _PER_THREAD * max(1, sum(self._workers.values()))
        while not self._is_over and len(self._open) < most and len(self._done) < _WAITING * most:
            block = next(self._blocks, None)
            if block is None:
                self._is_over = True
                return
            block = block._replace(own=to_numpy(block.own))
            payload = dumps((self._function, self._which, block))
            task = self._open[self._n_sent] = _Task(payload)
            self._send(self._n_sent, task)
            self._n_sent += 1

    def _send(self, index: int, task: _Task, workers: list[str] | None = None) -> None:
        """Send a block; all that it needs with it, if it has been sent before.

        A worker that hangs may be the one that holds what is shared.
        """
        if not task.n_sent and self._future.status in ("pending", "finished"):
            task.shared = self._future
        future = self._submit(
            compute,
            self._placed,
            task.payload,
            self._shared if task.n_sent or task.shared is None else task.shared,
            jax.dtypes.canonicalize_dtype(np.float64) == np.float64,
            name=f"{self._name}-{index}",
            workers=workers,
        )
        task.n_sent += 1
        task.attempts[future] = time.monotonic()

    def _submit(self, function: Any, *args: Any, name: str, workers: Any = None) -> Any:
        import dask

        if workers is None and (self._has_silent or self._doubtful):
            workers = [worker for worker in self._workers if worker not in self._doubtful]
            workers = workers or [*self._workers]
        # Blocks of rows to predict are larger than what dask thinks a task should be.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return self._client.submit(
                function,
                *args,
                key=f"kipsk-{name}-{self._id}-{uuid4().hex[:8]}",
                pure=False,
                retries=0,
                workers=workers,
                allow_other_workers=workers is not None,  # those that join later
            )

    def _wait(self) -> None:
        """Wait for a result, a failure or a while; take what has come."""
        from distributed import wait

        futures = [future for task in self._open.values() for future in task.attempts]
        # Raises for a cancelled future too, which `_collect` sees.
        # `wait` looks for the client by itself, and finds the default one if there is one.
        with suppress(TimeoutError, CancelledError, OSError), self._client.as_current():
            wait(futures, timeout=self._limits.tick, return_when="FIRST_COMPLETED")
        for index, task in list(self._open.items()):
            self._collect(index, task)
        if time.monotonic() - self._progress > self._limits.stall:
            raise RuntimeError(
                f"No block came back from the dask cluster for {self._limits.stall:.0f} seconds, "
                f"with {len(self._workers)} workers. Look at its dashboard and at the workers' "
                "logs; lower 'block_size' if blocks take that long."
            )

    def _collect(self, index: int, task: _Task) -> None:
        """Take the result of a block; send it again if it has been lost."""
        from distributed import KilledWorker

        lost = (KilledWorker, NotPlacedError, CancelledError, TimeoutError, OSError)
        for future, since in list(task.attempts.items()):
            if future.status == "pending":
                continue
            doubtful = self._doubtful and self._holders(future, {}) <= self._doubtful
            try:
                result = future.result(self._limits.tick if doubtful else self._limits.result)
            except lost as error:
                if isinstance(error, TimeoutError):  # what else lies there is not waited for
                    self._doubtful |= self._holders(future, {})
                del task.attempts[future]
                self._lose(index, task, error)
            except Exception as error:
                raise RuntimeError(
                    f"A block failed on a worker of the dask cluster: {type(error).__name__}: "
                    f"{error}"
                ) from error
            else:
                self._done[index] = result
                self._progress = time.monotonic()
                self._seconds.append(self._progress - since)
                del self._open[index], task.attempts[future]
                self._abandoned.extend(task.attempts)
                return
        if not task.attempts:
            check_open(self._client)
            self._send(index, task)

    def _lose(self, index: int, task: _Task, error: BaseException) -> None:
        task.n_lost += 1
        _LOGGER.info("block %d was lost (%s)", index, error)
        if task.n_lost >= self._limits.losses and isinstance(error, NotPlacedError):
            raise RuntimeError(
                "A worker joined the dask cluster that cannot take part: its log says why. All "
                "need the same kipsk and JAX as this process."
            ) from error
        if task.n_lost >= self._limits.losses:
            raise RuntimeError(
                f"A block was lost {task.n_lost} times on the dask cluster, the last time by "
                f"{type(error).__name__}: {error}. Workers may be killed for their memory: raise "
                "memory_limit, or lower 'block_size' or 'batch_size'. A fit with "
                "'checkpoint_path' goes on from its last save."
            ) from error

    def _look(self) -> None:
        """See what workers there are, and send what takes too long to another of them."""
        now = self._looked = time.monotonic()
        self._abandoned[:] = [future for future in self._abandoned if not future.done()]
        with suppress(OSError, TimeoutError):
            self._workers, known = workers_of(self._client, self._limits.silent)
            self._has_silent = len(self._workers) < known
        if self._workers:
            self._seen = now
        elif now - self._seen > self._limits.no_workers:
            raise RuntimeError(
                f"The dask cluster has had no worker for {self._limits.no_workers:.0f} seconds. "
                "Start some and fit again; with 'checkpoint_path' the fit goes on from its last "
                "save."
            )
        self._send_again(now)

    def _send_again(self, now: float) -> None:
        """Send to a second worker what takes too long; sooner to one that is idle."""
        limits = self._limits
        usual = limits.times * statistics.median(self._seconds) if self._seconds else 0.0
        patience = max(limits.straggler, usual)
        # An idle worker loses nothing by it, and spares all the wait for one that was started
        # again and compiles. In the first pass all do.
        sooner = max(limits.idle, usual) if self._seconds else patience
        # Twice as patient with each attempt: a long block is no hung worker.
        waited = {
            index: (now - max(task.attempts.values())) / 2 ** (len(task.attempts) - 1)
            for index, task in self._open.items()
            if task.attempts
        }
        late = [index for index in waited if waited[index] > sooner]
        if not late:
            return
        processing: dict[str, Any] = {worker: () for worker in self._workers}
        with suppress(OSError, TimeoutError):
            processing |= self._client.processing()
        stuck = {future.key for index in late for future in self._open[index].attempts}
        stuck |= {future.key for future in self._abandoned}
        for index in late:
            task = self._open[index]
            keys = {future.key for future in task.attempts}
            avoided = {worker for worker, own in processing.items() if keys & set(own)}
            if task.n_sent == 1 and task.shared is not None:
                holders = self._holders(task.shared, processing)
                if avoided - holders:
                    # Where it is, it waits for what is shared, and they do not give it.
                    avoided = holders
                    self._doubtful |= holders
                    if task.shared is self._future:
                        self._future = None  # a new one for those to come
            others = [worker for worker in self._workers if worker not in avoided]
            if waited[index] > patience:
                # The only one may wait there for what a worker that hangs does not give.
                others = others or [*self._workers]
            else:
                others = [worker for worker in others if stuck.issuperset(processing[worker])]
            if others:
                _LOGGER.info("block %d is late and sent once more", index)
                self._send(index, task, others)

    def _holders(self, future: Any, processing: dict[str, Any]) -> set[str]:
        """Return the workers that have a result, or compute it."""
        holders = {worker for worker, own in processing.items() if future.key in own}
        with suppress(OSError, TimeoutError):
            holders.update(*self._client.who_has([future]).values())
        return holders
