"""Blocks on a dask cluster, whose workers may die, hang, join late or lose what they computed.

dask itself runs again what a dead worker was computing, or had computed. What it does not do is
done here: notice a worker that hangs, and results that were announced and never come.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple
from uuid import uuid4

import jax
import numpy as np

from kipsk._engine._base import Block, Placed, to_numpy
from kipsk._optimize import single_threaded_blas

_LOGGER = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Seconds and numbers after which something is done.

    Attributes
    ----------
    tick : float
        Between two looks at the cluster while no result comes: a look is a message.
    result : float
        For bringing a result that is there: it is less than a megabyte or a few.
    straggler, times : float
        A block is sent to a second worker when it takes longer than both, in seconds and in
        multiples of the usual time. The first block of a worker takes up to a minute to compile.
    losses : int
        Of one block, until its fit ends. dask tries each of them on four workers.
    no_workers : float
        Without any worker: the time that a queue of a cluster may take to give another.
    stall : float
        Without any result.
    """

    tick: float = 1.0
    result: float = 60.0
    straggler: float = 60.0
    times: float = 3.0
    losses: int = 3
    no_workers: float = 600.0
    stall: float = 3600.0


# Tasks under way for each thread of the cluster: one runs, one waits, so that none is idle.
_PER_THREAD = 2
# Memory of a worker that has imported JAX and compiled a kernel.
_PROCESS_BYTES = 450 * 2**20
# A worker pauses at 0.8 of its limit (distributed.worker.memory.pause).
_USABLE = 0.8
# Seconds for telling workers to forget what was placed. A hung worker does not answer.
_FORGET = 10.0


class Dask:
    """The engine of ``joblib.parallel_config("dask")``.

    Parameters
    ----------
    client : distributed.Client
    limits : Limits
    """

    def __init__(self, client: Any, limits: Limits | None = None) -> None:
        self.client, self.limits = client, limits or Limits()

    @contextmanager
    def place(
        self, constants: Sequence[Any], trees: Sequence[Any] = (), *, task_bytes: int = 0
    ) -> Iterator[str]:
        """Register a plugin that holds everything on each worker, also on those to come.

        Raises
        ------
        RuntimeError
            If the client is closed, or if workers do not have the same kipsk and JAX.
        ValueError
            If a worker's memory is too small for a block.
        """
        self.check_client()
        payload = _dumps(Placed(list(constants), to_numpy(list(trees))))
        self._check_memory(len(payload), task_bytes)
        # One client forgets nothing that another one needs.
        name = f"kipsk-{hashlib.blake2b(payload, digest_size=16).hexdigest()}-{self.client.id}"
        with _LOCK:
            if not _IN_USE.get(name):
                self._register(name, payload)
            _IN_USE[name] = _IN_USE.get(name, 0) + 1
        try:
            yield name
        finally:
            with _LOCK:
                _IN_USE[name] -= 1
                if not _IN_USE[name]:
                    del _IN_USE[name]
                    self._forget(name)

    def map(
        self, function: Any, placed: str, blocks: Iterable[Block], *inline: Any, which: int = 0
    ) -> Iterator[Any]:
        """Send the first blocks now; yield the results of all.

        Raises
        ------
        RuntimeError
            If a block fails, is lost too often, or if the cluster stays without workers.
        """
        run = _Run(self, placed, function, iter(blocks), to_numpy(inline), which)
        run.send_more()
        return run.results()

    def check_client(self) -> None:
        """Raise RuntimeError if nothing can be sent any more."""
        if self.client.status in ("closed", "closing"):
            raise RuntimeError(
                f"The dask client of joblib.parallel_config is {self.client.status}. Open one, "
                "client = distributed.Client(...), and call joblib.parallel_config('dask') with it "
                "open."
            )

    def _register(self, name: str, payload: bytes) -> None:
        try:
            self.client.register_plugin(_plugin(name, payload, _versions()), name=name)
        except Exception as error:
            self._forget(name)
            raise RuntimeError(
                f"Workers of the dask cluster cannot take part: {error}. All need the same kipsk "
                "and JAX as this process."
            ) from error

    def _forget(self, name: str) -> None:
        def forget() -> None:
            with suppress(Exception):  # the cluster may be gone, which forgets too
                self.client.unregister_worker_plugin(name)

        thread = threading.Thread(target=forget, daemon=True)
        thread.start()
        thread.join(_FORGET)

    def _check_memory(self, n_bytes: int, task_bytes: int) -> None:
        info = self.client.scheduler_info(n_workers=-1)["workers"]
        limits = [limit for worker in info.values() if (limit := worker.get("memory_limit"))]
        # What is placed is there as bytes and as arrays.
        needed = _PROCESS_BYTES + 2 * n_bytes + task_bytes
        if limits and _USABLE * min(limits) < needed:
            raise ValueError(
                f"A worker of the dask cluster has a memory limit of {_mib(min(limits))}, of which "
                f"{_USABLE:.0%} may be used. A block needs about {_mib(needed)}: "
                f"{_mib(_PROCESS_BYTES)} for the process, {_mib(2 * n_bytes)} for the rows that "
                f"all blocks share, {_mib(task_bytes)} for its own. Raise memory_limit, or lower "
                "'block_size' or 'batch_size'."
            )


_LOCK = threading.Lock()
#: How many runs of this process need what was placed under a name.
_IN_USE: dict[str, int] = {}


def _mib(n_bytes: float) -> str:
    return f"{n_bytes / 2**20:.0f} MiB"


def _versions() -> dict[str, str]:
    return {name: import_module(name).__version__ for name in ("kipsk", "jax")}


class _Sent:
    """What was placed on this worker."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._lock = threading.Lock()

    def placed(self) -> Placed:
        with self._lock:
            return self._placed

    @cached_property
    def _placed(self) -> Placed:
        value: Placed = pickle.loads(self._payload)
        self._payload = b""
        return value


#: On a worker: what is placed there, by name. Several workers may live in one process.
_SENT: dict[str, _Sent] = {}


def receive(name: str, payload: bytes, versions: dict[str, str], address: str) -> None:
    """Keep on a worker what is placed, or say why not."""
    own = _versions()
    if own != versions:
        both = [", ".join(f"{k} {v}" for k, v in some.items()) for some in (own, versions)]
        raise RuntimeError(f"the worker {address} has {both[0]}, this process {both[1]}")
    _SENT.setdefault(name, _Sent(payload))


def forget(name: str) -> None:
    """Drop on a worker what was placed."""
    _SENT.pop(name, None)


def _plugin(name: str, payload: bytes, versions: dict[str, str]) -> Any:
    """Return the plugin that holds what is placed.

    Its class is local, hence sent with its code: a worker without kipsk can load it and say so.
    """
    from distributed import WorkerPlugin

    class Placement(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            try:
                from kipsk._engine import _dask
            except ImportError as error:
                raise RuntimeError(f"the worker {worker.address} has no kipsk: {error}") from error
            _dask.receive(name, payload, versions, worker.address)

        def teardown(self, worker: Any) -> None:
            from kipsk._engine import _dask

            _dask.forget(name)

    return Placement()


class NotPlacedError(RuntimeError):
    """A worker lacks what was placed."""


def compute(name: str, task: bytes, x64: bool) -> Any:
    """Compute one block on a worker.

    Parameters
    ----------
    name : str
        Of what is placed.
    task : bytes
        ``(function, which, block, inline)``.
    x64 : bool
        Whether float64 is in use where the task comes from.
    """
    function, which, block, inline = pickle.loads(task)
    try:
        placed = _SENT[name].placed()
    except KeyError:
        raise NotPlacedError(f"{name} is not on this worker") from None
    with jax.enable_x64(x64), single_threaded_blas:
        arguments = placed.arguments(block)
        return to_numpy(function(placed.constants[which], *arguments, *inline))


def _dumps(value: Any) -> bytes:
    """Pickle what can be found by its name or sent as code; jitted functions by name."""
    import cloudpickle

    jitted: Any = type(jax.jit(_named))

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, jitted) and "<" not in obj.__qualname__:
                return _named, (obj.__module__, obj.__qualname__)
            return super().reducer_override(obj)

    with io.BytesIO() as file:
        try:
            Pickler(file, protocol=5).dump(value)
        except Exception as error:
            raise TypeError(
                f"The kernel cannot be sent to the workers of the dask cluster: {error}. Use one "
                "that can be pickled, or fit outside of joblib.parallel_config('dask')."
            ) from error
        return file.getvalue()


def _named(module: str, name: str) -> Any:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@dataclass
class _Task:
    """A block that is under way.

    Attributes
    ----------
    payload : bytes
    attempts : dict of Future to float
        When each was sent.
    n_lost : int
    """

    payload: bytes
    attempts: dict[Any, float] = field(default_factory=dict)
    n_lost: int = 0


class _Run:
    """One pass over blocks."""

    def __init__(
        self,
        engine: Dask,
        name: str,
        function: Any,
        blocks: Iterator[Block],
        inline: Any,
        which: int,
    ) -> None:
        self._client, self._limits, self._engine = engine.client, engine.limits, engine
        self._name, self._function, self._inline, self._which = name, function, inline, which
        self._blocks, self._is_over, self._n_sent = blocks, False, 0
        self._open: dict[int, _Task] = {}
        self._done: dict[int, Any] = {}
        self._seconds: list[float] = []
        self._id = uuid4().hex
        self._progress = self._seen = time.monotonic()
        self._workers: dict[str, int] = {}
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

    def send_more(self) -> None:
        """Send blocks until all threads of the cluster have enough of them."""
        self._engine.check_client()
        if time.monotonic() - self._looked > self._limits.tick:
            self._look()
        most = _PER_THREAD * max(1, sum(self._workers.values()))
        while not self._is_over and len(self._open) < most:
            block = next(self._blocks, None)
            if block is None:
                self._is_over = True
                return
            block = block._replace(own=to_numpy(block.own))
            payload = _dumps((self._function, self._which, block, self._inline))
            task = self._open[self._n_sent] = _Task(payload)
            self._send(self._n_sent, task)
            self._n_sent += 1

    def _send(self, index: int, task: _Task, **where: Any) -> None:
        import dask

        name = getattr(self._function, "__name__", "block").strip("_")
        # Blocks of rows to predict are larger than what dask thinks a task should be.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            future = self._client.submit(
                compute,
                self._name,
                task.payload,
                jax.dtypes.canonicalize_dtype(np.float64) == np.float64,
                key=f"kipsk-{name}-{self._id}-{index}-{uuid4().hex[:8]}",
                pure=False,
                retries=0,
                **where,
            )
        task.attempts[future] = time.monotonic()

    def _wait(self) -> None:
        """Wait for a result, a failure or a while; take what has come."""
        from distributed import wait

        futures = [future for task in self._open.values() for future in task.attempts]
        # Raises for a cancelled future too, which `_collect` sees.
        with suppress(TimeoutError, CancelledError, OSError):
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
            try:
                result = future.result(timeout=self._limits.result)
            except lost as error:
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
                if task.attempts:
                    with suppress(Exception):
                        self._client.cancel(list(task.attempts))
                return
        if not task.attempts:
            self._engine.check_client()
            self._send(index, task)

    def _lose(self, index: int, task: _Task, error: BaseException) -> None:
        task.n_lost += 1
        _LOGGER.info("block %d was lost (%s)", index, error)
        if isinstance(error, NotPlacedError):
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
        with suppress(OSError, TimeoutError):
            self._workers = dict(self._client.nthreads())
        if self._workers:
            self._seen = now
        elif now - self._seen > self._limits.no_workers:
            raise RuntimeError(
                f"The dask cluster has had no worker for {self._limits.no_workers:.0f} seconds. "
                "Start some and fit again; with 'checkpoint_path' the fit goes on from its last "
                "save."
            )
        usual = statistics.median(self._seconds) if self._seconds else 0.0
        patience = max(self._limits.straggler, self._limits.times * usual)
        late = [
            (index, task)
            for index, task in self._open.items()
            # Twice as patient with each attempt: a long block is no hung worker.
            if task.attempts
            and now - max(task.attempts.values()) > patience * 2 ** (len(task.attempts) - 1)
        ]
        if not late:
            return
        processing: dict[str, Any] = {}
        with suppress(OSError, TimeoutError):
            processing = dict(self._client.processing())
        for index, task in late:
            keys = {future.key for future in task.attempts}
            busy = {worker for worker, own in processing.items() if keys & set(own)}
            others = [worker for worker in self._workers if worker not in busy]
            if others:
                _LOGGER.info("block %d is late and sent to another worker", index)
                self._send(index, task, workers=others, allow_other_workers=True)
