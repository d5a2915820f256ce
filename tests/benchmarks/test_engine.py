"""What a task costs beside its work, in this process and on a dask cluster of two processes.

python -m pytest -m benchmark -s tests/benchmarks/test_engine.py
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from kipsk._engine import LOCAL, Block, indices
from kipsk._engine._dask import Dask
from kipsk.kernels import RBF
from kipsk.kernels._base import evaluate

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.benchmark

N_BLOCKS = 200


def ms_per_task(engine, X, X_s):
    """Kernel entries of a block are microseconds' work; X_s is 100 images of 32 x 32 x 3."""
    given = [Block(rows) for rows in indices(len(X), 1)]
    with engine.place([Kernel()], [X]) as placed:
        list(engine.map(Kernel.__call__, placed, given, X_s))
        start = time.perf_counter()
        list(engine.map(Kernel.__call__, placed, given, X_s))
        return 1e3 * (time.perf_counter() - start) / len(given)


class Kernel:
    def __call__(self, rows, own, X_s):
        return evaluate(RBF(10.0).function(), X_s, rows)


def test_overhead():
    import sys

    cloudpickle = pytest.importorskip("cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    rng = np.random.default_rng(0)
    X, X_s = (rng.standard_normal((n, 3072), dtype=np.float32) for n in (N_BLOCKS, 100))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    print("\n| engine | ms a task |\n|---|---|")
    print(f"| in-process | {ms_per_task(LOCAL, X, X_s):.2f} |")
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        print(f"| dask | {ms_per_task(Dask(client), X, X_s):.2f} |")
