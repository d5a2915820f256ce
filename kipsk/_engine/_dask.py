"""Blocks on a dask cluster: the engine of ``joblib.parallel_config("dask")``."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kipsk._engine._base import Block, Placed, to_numpy
from kipsk._engine._dask_run import Limits, Run, check_open
from kipsk._engine._dask_worker import dumps, plugin, versions

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
        self._abandoned: list[Any] = []

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
        check_open(self.client)
        payload = dumps(Placed(list(constants), to_numpy(list(trees))))
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
            with suppress(Exception):
                self.client.cancel(self._abandoned)
            self._abandoned.clear()
            with _LOCK:
                _IN_USE[name] -= 1
                if not _IN_USE[name]:
                    del _IN_USE[name]
                    self._forget(name)

    def map(
        self,
        function: Any,
        placed: str,
        blocks: Iterable[Block],
        shared: Any = None,
        which: int = 0,
    ) -> Iterator[Any]:
        """Send the first blocks now; yield the results of all.

        Raises
        ------
        RuntimeError
            If a block fails, is lost too often, or if the cluster stays without workers.
        """
        run = Run(
            self.client,
            self.limits,
            self._abandoned,
            placed,
            function,
            iter(blocks),
            to_numpy(shared),
            which,
        )
        run.send_more()
        return run.results()

    def _register(self, name: str, payload: bytes) -> None:
        try:
            self.client.register_plugin(plugin(name, payload, versions()), name=name)
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
