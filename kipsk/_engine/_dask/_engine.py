"""Blocks on a dask cluster: the engine of ``joblib.parallel_config("dask")``."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from kipsk._engine._base import Block, EngineError, Function, Placed, to_numpy
from kipsk._engine._dask._cluster import Cluster, Limits
from kipsk._engine._dask._pass import Run, check_open
from kipsk._engine._dask._worker import SHARED, dumps, plugin, versions
from kipsk._types import PyTree

if TYPE_CHECKING:
    from distributed import Client

# How much memory a worker takes that has imported JAX and compiled a kernel.
_PROCESS_BYTES = 450 * 2**20
# The share of its memory limit at which a worker pauses (distributed.worker.memory.pause).
_USABLE = 0.8
# How many seconds to wait until workers have dropped what was placed. A hung one does not answer.
_FORGET = 10.0


class Dask:
    """The engine of ``joblib.parallel_config("dask")``.

    Parameters
    ----------
    client : distributed.Client
    limits : Limits
    """

    def __init__(self, client: Client, limits: Limits | None = None) -> None:
        self.client, self.limits = client, limits or Limits()
        self._cluster = Cluster(self.client, self.limits)

    @contextmanager
    def place(
        self, constants: Sequence[PyTree], trees: Sequence[PyTree] = (), *, task_bytes: int = 0
    ) -> Iterator[str]:
        """Register a plugin that holds everything on each worker, and on workers that join later.

        Raises
        ------
        EngineError
            If the client is closed, or if workers do not have the same kipsk and JAX.
        ValueError
            If a worker's memory is too small for a block.
        """
        check_open(self.client)
        payload = dumps(Placed(list(constants), to_numpy(list(trees))))
        self._check_memory(len(payload), task_bytes)
        # With the client, so that one client does not drop what another still needs.
        content = self.client.id, hashlib.blake2b(payload, digest_size=16).hexdigest()
        with _LOCK:
            use = _IN_USE.setdefault(content, _Use())
            use.number += 1
        try:
            with use.lock:
                if not use.is_there:
                    self._register(use.name, payload)
                    use.is_there = True
            yield use.name
        finally:
            with _LOCK:
                use.number -= 1
                is_last = not use.number
                if is_last:
                    del _IN_USE[content]
            if is_last:
                self._forget(use.name)
            self._cluster.clear()

    def map(
        self,
        function: Function,
        placed: str,
        blocks: Iterable[Block],
        shared: PyTree = None,
        which: int = 0,
    ) -> Iterator[PyTree]:
        """Send the first blocks at once, and return an iterator of the results of all blocks.

        Raises
        ------
        EngineError
            If a block fails or is lost too often, or if the cluster stays without workers.
        """
        run = Run(self._cluster, placed, function, iter(blocks), to_numpy(shared), which)
        try:
            run.send_more()
        except Exception:
            check_open(self.client)
            raise
        return run.results()

    def _register(self, name: str, payload: bytes) -> None:
        """Have the scheduler send what is placed to all workers, and to those that join later.

        The scheduler stores it before it sends it to workers. So nothing waits for a worker that
        dies meanwhile, or that does not answer while others do: the worker gets what is placed when
        it is back.
        """
        errors: list[Exception] = []

        def register() -> None:
            try:
                self.client.register_plugin(plugin(name, payload, versions()), name=name)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=register, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(self.limits.tick)
            check_open(self.client)
            self._cluster.look()
            if self._cluster.n_silent:
                return
        for error in errors:
            if not isinstance(error, OSError | TimeoutError):
                raise EngineError(
                    f"Workers of the dask cluster cannot take part: {error}. All need the same "
                    "kipsk and JAX as this process."
                ) from error

    def _forget(self, name: str) -> None:
        def forget() -> None:
            with suppress(Exception):  # the cluster may be gone, which forgets too
                self.client.unregister_worker_plugin(name)
                self.client.set_metadata([SHARED, name], None)

        thread = threading.Thread(target=forget, daemon=True)
        thread.start()
        thread.join(_FORGET)

    def _check_memory(self, n_bytes: int, task_bytes: int) -> None:
        # While a worker reads what is placed, it holds it twice: as bytes and as arrays.
        shared = _PROCESS_BYTES + 2 * n_bytes
        for worker in self._cluster.info().values():
            limit, own = worker.get("memory_limit"), worker["nthreads"] * task_bytes
            if limit and _USABLE * limit < shared + own:
                raise ValueError(
                    f"A worker of the dask cluster has a memory limit of {_mib(limit)}, of which "
                    f"{_USABLE:.0%} may be used. A block needs about {_mib(shared + own)}: "
                    f"{_mib(_PROCESS_BYTES)} for the process, {_mib(2 * n_bytes)} for the rows "
                    f"that all blocks share, {_mib(own)} for its own, on {worker['nthreads']} "
                    "threads. Raise memory_limit, or lower 'block_size' or 'batch_size'."
                )


def _new_name() -> str:
    return f"kipsk-{uuid4().hex}"


@dataclass
class _Use:
    """The use that this process makes of one content that is placed.

    No name is used twice. A worker that hung drops what was placed when it goes on, and by then the
    same content may have been placed again.

    Attributes
    ----------
    name : str
        The name that the content is placed under.
    number : int
        How many runs need it.
    is_there : bool
        Whether it has been sent to the workers.
    lock : Lock
        Held while it is sent.
    """

    name: str = field(default_factory=_new_name)
    number: int = 0
    is_there: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


_LOCK = threading.Lock()
# By client and content.
_IN_USE: dict[tuple[str, str], _Use] = {}


def _mib(n_bytes: float) -> str:
    return f"{n_bytes / 2**20:.0f} MiB"
