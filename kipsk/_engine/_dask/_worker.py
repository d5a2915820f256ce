"""The part of a fit that runs on dask workers: they hold what is placed, and compute blocks."""

from __future__ import annotations

import io
import pickle
import threading
from functools import cached_property
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

import jax

from kipsk._engine._base import Placed, to_numpy
from kipsk._engine._blas import single_threaded_blas
from kipsk._jax import own_settings
from kipsk._types import PyTree

if TYPE_CHECKING:
    from distributed import Worker, WorkerPlugin


def versions() -> dict[str, str]:
    """Return the versions that all workers must have in common."""
    return {name: import_module(name).__version__ for name in ("kipsk", "jax")}


#: The key in the scheduler's metadata under which lies what the blocks of a pass share. The keys
#: below it are the name of what is placed and the name of the pass.
SHARED = "kipsk-shared"
# For how many passes a worker keeps what their blocks share. Several passes may run at a time,
# because fits in several threads may have placed the same.
_PASSES = 4
# How many seconds a worker waits for the scheduler to send it.
_ASK = 60.0


class _Sent:
    """What was placed on the workers of this process under one name.

    Attributes
    ----------
    workers : set of str
        The addresses of these workers. Threads of one process may be several workers.
    """

    def __init__(self, payload: bytes) -> None:
        self.workers: set[str] = set()
        self._payload = payload
        self._lock = threading.Lock()
        self._shared: dict[str, bytes] = {}

    def placed(self) -> Placed:
        with self._lock:
            return self._placed

    def shared(self, name: str, run: str) -> bytes:
        """Return what the blocks of a pass share; the scheduler is asked for it once.

        It does not come from another worker, because that one could hang.
        """
        with self._lock:
            if run not in self._shared:
                for old in list(self._shared)[: 1 - _PASSES]:
                    del self._shared[old]
                self._shared[run] = _ask(name, run)
            return self._shared[run]

    @cached_property
    def _placed(self) -> Placed:
        value: Placed = pickle.loads(self._payload)
        self._payload = b""
        return value


def _ask(name: str, run: str) -> bytes:
    from distributed import get_worker
    from distributed.utils import sync

    worker, keys = get_worker(), [SHARED, name, run]
    try:
        ask = worker.scheduler.get_metadata
        value = sync(worker.loop, ask, keys=keys, default=None, callback_timeout=_ASK)
    except Exception as error:  # whatever a broken connection raises
        raise NotPlacedError(f"the scheduler does not answer: {error}") from error
    if value is None:
        raise NotPlacedError(f"the scheduler has no {keys}")
    return bytes(value)


#: On a worker: everything that is placed there, by name.
_SENT: dict[str, _Sent] = {}


def receive(name: str, payload: bytes, wanted: dict[str, str], address: str) -> None:
    """Keep on a worker what is placed; raise RuntimeError if its versions are not those wanted."""
    own = versions()
    if own != wanted:
        both = [", ".join(f"{k} {v}" for k, v in some.items()) for some in (own, wanted)]
        raise RuntimeError(f"the worker {address} has {both[0]}, this process {both[1]}")
    _SENT.setdefault(name, _Sent(payload)).workers.add(address)


def forget(name: str, address: str) -> None:
    """Drop what was placed on a worker, unless another worker of the process needs it."""
    sent = _SENT.get(name)
    if sent is not None:
        sent.workers.discard(address)
        if not sent.workers:
            _SENT.pop(name, None)


def plugin(name: str, payload: bytes, wanted: dict[str, str]) -> WorkerPlugin:
    """Return the plugin that holds what is placed.

    Its class is local, so it is sent with its code. A worker that has no kipsk can therefore load
    it and report that.
    """
    from distributed import WorkerPlugin

    class Placement(WorkerPlugin):  # type: ignore[misc]
        def __init__(self, name: str, payload: bytes, wanted: dict[str, str]) -> None:
            self.name, self.payload, self.wanted = name, payload, wanted

        def setup(self, worker: Worker) -> None:
            try:
                from kipsk._engine._dask import _worker
            except ImportError as error:
                raise RuntimeError(f"the worker {worker.address} has no kipsk: {error}") from error
            _worker.receive(self.name, self.payload, self.wanted, worker.address)
            self.payload = b""  # the worker keeps this object, and needs the bytes no more

        def teardown(self, worker: Worker) -> None:
            from kipsk._engine._dask import _worker

            _worker.forget(self.name, worker.address)

    return Placement(name, payload, wanted)


class NotPlacedError(RuntimeError):
    """The error of a worker that lacks what was placed."""


def compute(name: str, task: bytes, run: str, x64: bool) -> PyTree:
    """Compute one block on a worker.

    Parameters
    ----------
    name : str
        The name of what is placed.
    task : bytes
        A pickle of ``(function, which, block)``.
    run : str
        The name of the pass that the block belongs to.
    x64 : bool
        Whether JAX uses float64 in the process that sent the task.
    """
    # Unpickling makes arrays of JAX, so JAX has to use float64 by then.
    with own_settings(x64), single_threaded_blas:
        function, which, block = pickle.loads(task)
        try:
            sent = _SENT[name]
        except KeyError:
            raise NotPlacedError(f"{name} is not on this worker") from None
        placed, shared = sent.placed(), pickle.loads(sent.shared(name, run))
        return to_numpy(function(placed.constants[which], *placed.arguments(block), shared))


def dumps(value: PyTree) -> bytes:
    """Pickle a value: jitted functions by their name, other functions by name or as code."""
    import cloudpickle

    jitted: Any = type(jax.jit(_named))

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, jitted) and _is_found(obj):
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


def _is_found(obj: FunctionType) -> bool:
    """Return whether a worker finds this very object by its name."""
    if obj.__module__ == "__main__":
        return False
    try:
        return _named(obj.__module__, obj.__qualname__) is obj
    except (AttributeError, ImportError):
        return False


def _named(module: str, name: str) -> object:
    """Return an object of a module by its qualified name."""
    found: object = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
