"""One pass over blocks on a dask cluster whose workers may die, hang, join late or lose results."""

from __future__ import annotations

import asyncio
import logging
import queue
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jax
import numpy as np

from kipsk._engine._base import Block, EngineError, to_numpy
from kipsk._engine._dask._cluster import Attempt, Cluster
from kipsk._engine._dask._worker import SHARED, NotPlacedError, compute, dumps

_LOGGER = logging.getLogger(__name__)
# Results that wait for one before them, in multiples of the blocks under way.
_WAITING = 16
# Results that are brought at a time, until one does not come.
_TOGETHER = 16


def check_open(client: Any) -> None:
    """Raise EngineError if nothing can be sent any more."""
    if client.status in ("closed", "closing"):
        raise EngineError(
            f"The dask client of joblib.parallel_config is {client.status}, or its scheduler is "
            "gone. Open one, client = distributed.Client(...), and call "
            "joblib.parallel_config('dask') with it open. A fit with 'checkpoint_path' goes on "
            "from its last save."
        )


@dataclass(eq=False)
class _Task:
    """A block that is under way.

    Attributes
    ----------
    index : int
    payload : bytes
    attempts : list of Attempt
        Oldest first.
    n_lost : int
    missing_since : float
        When a worker first lacked what is placed.
    """

    index: int
    payload: bytes
    attempts: list[Attempt] = field(default_factory=list)
    n_lost: int = 0
    missing_since: float = 0.0

    def waited(self, now: float) -> float:
        """Return the seconds since the last attempt; half for each more of them.

        A long block is no hung worker.
        """
        return (now - self.attempts[-1].since) / 2 ** (len(self.attempts) - 1)


class Run:
    """One pass over blocks.

    Parameters
    ----------
    cluster : Cluster
    placed : str
        The name of what is placed.
    function, blocks, shared, which
        As `Engine.map` takes them.
    """

    def __init__(
        self,
        cluster: Cluster,
        placed: str,
        function: Any,
        blocks: Iterator[Block],
        shared: Any,
        which: int,
    ) -> None:
        self._cluster, self._client, self._limits = cluster, cluster.client, cluster.limits
        self._placed, self._function, self._which = placed, function, which
        self._id, self._name = uuid4().hex, getattr(function, "__name__", "block").strip("_")
        self._seconds = cluster.times(self._name, which)
        self._blocks, self._is_over, self._n_sent = blocks, False, 0
        self._shared = dumps(shared)
        self._open: dict[int, _Task] = {}
        self._done: dict[int, Any] = {}
        # To be sent once more: to any worker, and to one that has nothing else to do.
        self._again: deque[_Task] = deque()
        self._late: deque[_Task] = deque()
        self._ended: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        # Done, on workers that do not give results for now.
        self._kept: list[Attempt] = []
        self._patience, self._together = self._limits.result, _TOGETHER
        self._progress = self._seen = time.monotonic()
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
        """Send blocks until all workers have enough of them."""
        check_open(self._client)
        n_workers = len(self._cluster.threads)
        if time.monotonic() - self._looked > self._limits.tick * max(1, n_workers / 100):
            self._look()
        while (worker := self._cluster.free()) is not None:
            task = self._next(worker)
            if task is None:
                return
            self._send(task, worker)

    def _next(self, worker: str) -> _Task | None:
        """Return the block that a worker should do."""
        task = self._of(self._again, worker) or self._new()
        if task is None and self._cluster.is_idle(worker):
            attempt = self._cluster.take_waiting(lambda one: self._is_open(one.task))
            if attempt is not None:
                task = attempt.task
                task.attempts.remove(attempt)
                return task
            # A worker loses nothing by it, and spares all the wait for one that was started again
            # and compiles.
            task = self._of(self._late, worker)
        return task

    def _of(self, tasks: deque[_Task], worker: str) -> _Task | None:
        """Return the first of some blocks that is not done, nor with that worker."""
        while tasks:
            task = tasks.popleft()
            if self._is_open(task) and all(one.worker != worker for one in task.attempts):
                return task
        return None

    def _new(self) -> _Task | None:
        most = self._cluster.most
        if self._is_over or len(self._open) >= most or len(self._done) >= _WAITING * most:
            return None
        block = next(self._blocks, None)
        if block is None:
            self._is_over = True
            return None
        block = block._replace(own=to_numpy(block.own))
        task = _Task(self._n_sent, dumps((self._function, self._which, block)))
        if not self._n_sent:
            self._share()
        self._open[task.index] = task
        self._n_sent += 1
        return task

    def _share(self) -> None:
        """Give the scheduler what the blocks share: each worker asks it once, and none another.

        Sent with each block, it would stay in dask's logs of messages.
        """
        with suppress(OSError, TimeoutError):  # workers that miss it tell
            self._client.set_metadata([SHARED, self._placed, self._id], self._shared)

    def _send(self, task: _Task, worker: str) -> None:
        x64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        call = (compute, self._placed, task.payload, self._id, x64)
        attempt = Attempt(task, worker, time.monotonic())
        task.attempts.append(attempt)
        self._cluster.submit(attempt, call, f"{self._name}-{task.index}", self._ended.put)

    def _is_open(self, task: _Task) -> bool:
        return self._open.get(task.index) is task

    def _wait(self) -> None:
        """Wait for a block to end, or a while; take what has come."""
        with suppress(queue.Empty):
            self._kept.append(self._ended.get(timeout=self._limits.tick))
            while len(self._kept) < self._together:
                self._kept.append(self._ended.get_nowait())
        ended, self._kept = self._kept, []
        there: list[Attempt] = []
        for attempt in ended:
            if not self._is_open(attempt.task) or attempt not in attempt.task.attempts:
                continue  # another one was first, or it was given up
            (there if self._is_there(attempt) else self._kept).append(attempt)
        self._take(there)
        if time.monotonic() - self._progress > self._limits.stall:
            raise EngineError(
                f"No block came back from the dask cluster for {self._limits.stall:.0f} seconds, "
                f"with {len(self._cluster.alive)} workers. Look at its dashboard and at the "
                "workers' logs; lower 'block_size' if blocks take that long."
            )

    def _is_there(self, attempt: Attempt) -> bool:
        """Return whether a result can be had; else its worker will be seen again, or be gone."""
        is_done = attempt.future.status in ("finished", "error", "cancelled")
        return is_done and attempt.worker in self._cluster.alive

    def _bring(self, attempts: list[Attempt], patience: float) -> list[Any]:
        """Return results; raise TimeoutError if they do not come in time, or are there no more."""
        keys = [attempt.future.key for attempt in attempts]

        async def gather() -> list[Any]:
            # `Client.gather` would let calls wait for each other, and a worker that hangs be
            # waited for in all of them.
            response = await self._client.scheduler.gather(keys=keys)
            if response["status"] != "OK":
                raise ConnectionError(f"the result is not on {attempts[0].worker}")
            return [response["data"][key] for key in keys]

        call = asyncio.run_coroutine_threadsafe(gather(), self._client.loop.asyncio_loop)
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
        """Bring results of blocks; several at once as long as nothing is wrong."""
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
        """Bring the result of a block; if it is lost, send it again."""
        from distributed import KilledWorker

        try:
            if attempt.future.status == "finished":
                (result,) = self._bring([attempt], self._patience)
            else:
                result = attempt.future.result(self._limits.tick)  # raises what it failed with
        except Exception as error:
            lost = (KilledWorker, NotPlacedError, ImportError)  # of kipsk, where it is missing
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

    def _keep(self, attempt: Attempt, result: Any) -> None:
        task = attempt.task
        self._done[task.index] = result
        self._progress = time.monotonic()
        self._seconds.append(self._progress - attempt.since)
        del self._open[task.index]
        task.attempts.remove(attempt)
        self._cluster.drop(task.attempts)

    def _lose(self, attempt: Attempt, error: BaseException) -> None:
        """Have a block sent again, unless that happens too often."""
        task = attempt.task
        task.attempts.remove(attempt)
        self._cluster.drop([attempt])
        check_open(self._client)
        _LOGGER.info("block %d was lost (%s)", task.index, error)
        self._again.append(task)
        if isinstance(error, NotPlacedError | ImportError):
            self._share()  # a cluster that is restarted forgets it
            self._cluster.doubt(attempt.worker)  # or it would be given one after the other
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
        """See what workers there are, and what takes too long."""
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
        # All compile in the first pass.
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
