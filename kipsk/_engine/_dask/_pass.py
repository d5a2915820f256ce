"""One pass over blocks on a cluster whose workers may die, hang, join late or lose results."""

from __future__ import annotations

import asyncio
import logging
import queue
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import jax
import numpy as np

from kipsk._engine._base import Block, EngineError, Function, to_numpy
from kipsk._engine._dask._cluster import Cluster
from kipsk._engine._dask._tasks import Attempt, Task
from kipsk._engine._dask._worker import SHARED, NotPlacedError, compute, dumps
from kipsk._types import PyTree

if TYPE_CHECKING:
    from distributed import Client

_LOGGER = logging.getLogger(__name__)
# How many results may wait for one before them, in multiples of the blocks under way.
_WAITING = 16
# How many results are brought at a time, until one of them does not come; then one by one.
_TOGETHER = 16


def check_open(client: Client) -> None:
    """Raise EngineError if the client cannot send anything any more."""
    if client.status in ("closed", "closing"):
        raise EngineError(
            f"The dask client of joblib.parallel_config is {client.status}, or its scheduler is "
            "gone. Open one, client = distributed.Client(...), and call "
            "joblib.parallel_config('dask') with it open. A fit with 'checkpoint_path' goes on "
            "from its last save."
        )


class Run:
    """One pass over blocks.

    Parameters
    ----------
    cluster : Cluster
    placed : str
        The name of what is placed.
    function, blocks, shared, which
        The arguments of `Engine.map`.
    """

    def __init__(
        self,
        cluster: Cluster,
        placed: str,
        function: Function,
        blocks: Iterator[Block],
        shared: PyTree,
        which: int,
    ) -> None:
        self._cluster, self._client, self._limits = cluster, cluster.client, cluster.limits
        self._placed, self._function, self._which = placed, function, which
        self._id, self._name = uuid4().hex, getattr(function, "__name__", "block").strip("_")
        self._seconds = cluster.times(self._name, which)
        self._blocks, self._is_over, self._n_sent = blocks, False, 0
        self._shared = dumps(shared)
        self._open: dict[int, Task] = {}
        self._done: dict[int, PyTree] = {}
        # Blocks to be sent again: to any worker, and only to one that has nothing else to do.
        self._again: deque[Task] = deque()
        self._late: deque[Task] = deque()
        self._ended: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        # Attempts that are done, but whose workers do not hand over results for now.
        self._kept: list[Attempt] = []
        self._patience, self._together = self._limits.result, _TOGETHER
        self._progress = self._seen = time.monotonic()
        self._looked = -float("inf")

    def results(self) -> Iterator[PyTree]:
        """Yield the results in the order of the blocks."""
        index = 0
        try:
            while True:
                self.send_more()
                if index in self._done:
                    yield self._done.pop(index)
                    index += 1
                    self._progress = self._seen = time.monotonic()
                elif self._open or not self._is_over:
                    self._wait()
                else:
                    return
        except Exception:
            check_open(self._client)
            raise
        finally:
            self._cluster.drop([one for task in self._open.values() for one in task.attempts])
            if self._client.status == "running":
                with suppress(Exception):
                    self._client.set_metadata([SHARED, self._placed, self._id], None)

    def send_more(self) -> None:
        """Send blocks until each worker has as many as it may have."""
        check_open(self._client)
        n_workers = len(self._cluster.threads)
        if time.monotonic() - self._looked > self._limits.tick * max(1, n_workers / 100):
            self._look()
        while (worker := self._cluster.free()) is not None:
            task = self._next(worker)
            if task is None:
                return
            self._send(task, worker)

    def _next(self, worker: str) -> Task | None:
        """Return the next block for a worker; None if there is nothing for it to do."""
        task = self._of(self._again, worker) or self._new()
        if task is None and self._cluster.is_idle(worker):
            attempt = self._cluster.take_waiting(lambda one: self._is_open(one.task))
            if attempt is not None:
                task = attempt.task
                task.attempts.remove(attempt)
                return task
            # It costs an idle worker nothing to repeat the block of another one, and it spares the
            # pass a wait for a worker that was restarted and has to compile.
            task = self._of(self._late, worker)
        return task

    def _of(self, tasks: deque[Task], worker: str) -> Task | None:
        """Return the first block that is not done and that the worker does not have yet."""
        while tasks:
            task = tasks.popleft()
            if self._is_open(task) and all(one.worker != worker for one in task.attempts):
                return task
        return None

    def _new(self) -> Task | None:
        """Return the next block of the pass; None if there is none, or enough are under way."""
        most = self._cluster.most
        if self._is_over or len(self._open) >= most or len(self._done) >= _WAITING * most:
            return None
        block = next(self._blocks, None)
        if block is None:
            self._is_over = True
            return None
        block = block._replace(own=to_numpy(block.own))
        task = Task(self._n_sent, dumps((self._function, self._which, block)))
        if not self._n_sent:
            self._share()
        self._open[task.index] = task
        self._n_sent += 1
        return task

    def _share(self) -> None:
        """Give the scheduler what the blocks share, so that each worker asks for it once.

        If it were sent with each block, dask's logs of messages would keep all the copies.
        """
        with suppress(OSError, TimeoutError):  # a worker that finds nothing raises NotPlacedError
            self._client.set_metadata([SHARED, self._placed, self._id], self._shared)

    def _send(self, task: Task, worker: str) -> None:
        x64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        call = (compute, self._placed, task.payload, self._id, x64)
        attempt = Attempt(task, worker, time.monotonic())
        task.attempts.append(attempt)
        self._cluster.submit(attempt, call, f"{self._name}-{task.index}", self._ended.put)

    def _is_open(self, task: Task) -> bool:
        return self._open.get(task.index) is task

    def _wait(self) -> None:
        """Wait until a block ends or a tick is over, and take the results that are there."""
        with suppress(queue.Empty):
            self._kept.append(self._ended.get(timeout=self._limits.tick))
            while len(self._kept) < self._together:
                self._kept.append(self._ended.get_nowait())
        ended, self._kept = self._kept, []
        there: list[Attempt] = []
        for attempt in ended:
            if not self._is_open(attempt.task) or attempt not in attempt.task.attempts:
                continue  # another attempt was first, or this one was given up
            (there if self._is_there(attempt) else self._kept).append(attempt)
        self._take(there)
        if time.monotonic() - self._progress > self._limits.stall:
            raise EngineError(
                f"No block came back from the dask cluster for {self._limits.stall:.0f} seconds, "
                f"with {len(self._cluster.alive)} workers. Look at its dashboard and at the "
                "workers' logs; lower 'block_size' if blocks take that long."
            )

    def _is_there(self, attempt: Attempt) -> bool:
        """Return whether the result can be brought now.

        If not, its worker either sends a heartbeat later or will be found gone.
        """
        is_done = attempt.future.status in ("finished", "error", "cancelled")
        return is_done and attempt.worker in self._cluster.alive

    def _bring(self, attempts: list[Attempt], patience: float) -> list[PyTree]:
        """Return the results of attempts.

        Raises TimeoutError if they do not come in `patience` seconds, ConnectionError if they are
        no longer on their workers.
        """
        keys = [attempt.future.key for attempt in attempts]

        async def gather() -> list[PyTree]:
            # Not `Client.gather`, whose calls wait for each other: all of them would wait for one
            # worker that hangs.
            response = await self._client.scheduler.gather(keys=keys)
            if response["status"] != "OK":
                raise ConnectionError(f"the result is not on {attempts[0].worker}")
            return [response["data"][key] for key in keys]

        call = asyncio.run_coroutine_threadsafe(gather(), self._client.loop.asyncio_loop)  # type: ignore[union-attr]
        end = time.monotonic() + patience
        try:
            while True:
                with suppress(TimeoutError):
                    return call.result(min(patience, self._limits.tick))
                if time.monotonic() >= end or not all(map(self._is_there, attempts)):
                    raise TimeoutError(f"it did not come in {patience:.0f} seconds")
        finally:
            call.cancel()

    def _take(self, attempts: list[Attempt]) -> None:
        """Bring the results of attempts, several at once unless that went wrong before."""
        if len(attempts) > 1 and all(one.future.status == "finished" for one in attempts):
            try:
                results = self._bring(attempts, self._limits.tick)
            except Exception:
                self._together = 1
            else:
                for attempt, result in zip(attempts, results, strict=True):
                    if self._is_open(attempt.task):
                        self._keep(attempt, result)
                return
        for attempt in attempts:
            if self._is_open(attempt.task) and self._is_there(attempt):
                self._take_one(attempt)
            elif self._is_open(attempt.task):
                self._kept.append(attempt)

    def _take_one(self, attempt: Attempt) -> None:
        """Bring the result of an attempt; if it is lost, have its block sent again."""
        from distributed import KilledWorker

        try:
            if attempt.future.status == "finished":
                (result,) = self._bring([attempt], self._patience)
            else:
                result = attempt.future.result(self._limits.tick)  # raises the block's own error
        except Exception as error:
            lost = (KilledWorker, NotPlacedError, ImportError)  # the last where kipsk is missing
            if attempt.future.status == "error" and not isinstance(error, lost):
                raise EngineError(
                    f"A block failed on a worker of the dask cluster: {type(error).__name__}: "
                    f"{error}"
                ) from error
            if isinstance(error, TimeoutError) and self._is_there(attempt):
                self._cluster.doubt(attempt.worker)
                self._patience *= 2
            self._lose(attempt, error)
        else:
            self._keep(attempt, result)

    def _keep(self, attempt: Attempt, result: PyTree) -> None:
        """Store a result, and give up the other attempts at its block."""
        task = attempt.task
        self._done[task.index] = result
        self._progress = time.monotonic()
        self._seconds.append(self._progress - attempt.since)
        del self._open[task.index]
        task.attempts.remove(attempt)
        self._cluster.drop(task.attempts)

    def _lose(self, attempt: Attempt, error: BaseException) -> None:
        """Have a block sent again; raise EngineError if it has been lost too often."""
        task = attempt.task
        task.attempts.remove(attempt)
        self._cluster.drop([attempt])
        check_open(self._client)
        _LOGGER.info("block %d was lost (%s)", task.index, error)
        self._again.append(task)
        if isinstance(error, NotPlacedError | ImportError):
            self._share()  # a cluster that was restarted has lost it
            self._cluster.doubt(attempt.worker)  # else it would be given block after block
            task.missing_since = task.missing_since or time.monotonic()
            if time.monotonic() - task.missing_since > self._limits.straggler:
                raise EngineError(
                    "Workers joined the dask cluster that cannot take part: their logs say why. "
                    "All need the same kipsk and JAX as this process."
                ) from error
            return
        task.n_lost += 1
        if task.n_lost >= self._limits.losses:
            raise EngineError(
                f"A block was lost {task.n_lost} times on the dask cluster, the last time by "
                f"{type(error).__name__}: {error}. Workers may be killed for their memory: raise "
                "memory_limit, or lower 'block_size' or 'batch_size'. A fit with "
                "'checkpoint_path' goes on from its last save."
            ) from error

    def _look(self) -> None:
        """See which workers there are, and find the blocks that are lost or take too long."""
        now = self._looked = time.monotonic()
        self._cluster.look()
        attempts = [one for task in self._open.values() for one in task.attempts]
        for attempt in attempts:
            if self._cluster.is_gone(attempt.worker):
                self._lose(attempt, ConnectionError(f"the worker {attempt.worker} is gone"))
        if self._cluster.alive:
            self._seen = now
        elif now - self._seen > self._limits.no_workers:
            raise EngineError(
                f"The dask cluster has had no worker for {self._limits.no_workers:.0f} seconds. "
                "Start some and fit again; with 'checkpoint_path' the fit goes on from its last "
                "save."
            )
        limits = self._limits
        usual = limits.times * statistics.median(self._seconds) if self._seconds else 0.0
        patience = max(limits.straggler, usual)
        # In the first pass every worker compiles, and no time is usual yet.
        sooner = max(limits.idle, usual) if self._seconds else patience
        self._again.clear()
        self._late.clear()
        for task in self._open.values():
            alive = [one for one in task.attempts if one.worker in self._cluster.alive]
            if any(one.future.done() for one in alive):
                continue  # its result is about to be brought
            if not alive or task.waited(now) > patience:
                self._again.append(task)
            elif task.waited(now) > sooner:
                self._late.append(task)
