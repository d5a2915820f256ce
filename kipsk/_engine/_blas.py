"""A context in which BLAS has one thread."""

from __future__ import annotations

from threading import Lock

from threadpoolctl import threadpool_limits


class _SingleThreadedBLAS:
    """Limit BLAS to one thread while any fit runs, and restore it after the last one.

    BLAS only factors n_s x n_s matrices here, which gains nothing from threads. But idle threads of
    OpenBLAS spin for tens of milliseconds after each call, and slow down the kernel's products. The
    limit is global to the process, so fits in several threads share it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_inside = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._limits is None:
                self._limits = threadpool_limits(1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


single_threaded_blas = _SingleThreadedBLAS()
