"""Where blocks of kernel entries are computed: this process, its devices, or a dask cluster."""

from __future__ import annotations

import sys

import jax
from joblib.parallel import get_active_backend

from kipsk._engine._base import Block, Engine, EngineError, indices, take
from kipsk._engine._devices import Devices
from kipsk._engine._local import LOCAL
from kipsk._engine._rows import map_rows, sum_blocks, sum_rows

__all__ = [
    "LOCAL",
    "Block",
    "Engine",
    "EngineError",
    "current",
    "indices",
    "map_rows",
    "sum_blocks",
    "sum_rows",
    "take",
]


def current(is_slow: bool = True) -> Engine:
    """Return the engine of the code that is running.

    It is the cluster of ``joblib.parallel_config("dask")`` if there is one, else all devices of
    this process if it has several, else this process. A fit inside of a worker of dask or joblib is
    one of many, and stays in its worker.

    Parameters
    ----------
    is_slow : bool
        Whether computing a block takes longer than sending it. Fast blocks are computed in this
        process.
    """
    if not is_slow or _is_in_dask_worker():
        return LOCAL
    backend, _ = get_active_backend()
    if backend.nesting_level:
        return LOCAL
    client = getattr(backend, "client", None)
    if client is not None:
        from kipsk._engine._dask._engine import Dask

        return Dask(client)
    devices = jax.local_devices()
    return Devices(devices) if len(devices) > 1 else LOCAL


def _is_in_dask_worker() -> bool:
    if "distributed" not in sys.modules:  # dask is optional, and takes a while to import
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True
