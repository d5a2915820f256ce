"""Local dask clusters, and blocks whose first attempts go wrong."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kipsk._engine import Block
from kipsk._engine._dask._cluster import Limits
from kipsk._engine._dask._engine import Dask

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
cloudpickle = pytest.importorskip("cloudpickle")

# Workers cannot import this file: its functions are sent as code.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

QUICK = Limits(tick=0.2, silent=1.5, result=5, straggler=2, idle=2, no_workers=60, stall=90)
# Nothing here is about speed.
dask_environment = {"distributed.nanny.environ": {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}}


def cluster_of(n_workers, **options):
    options = {"threads_per_worker": 1, "dashboard_address": ":0"} | options
    options |= {"silence_logs": logging.CRITICAL}
    with dask.config.set(dask_environment):
        return distributed.LocalCluster(n_workers=n_workers, **options)


def faulty(folder, _, own, shared):
    """Square a number; the first attempts at it may go wrong as `own` says."""
    number, fault, n_attempts = own
    attempts = Path(str(folder)) / str(number)
    if str(fault):
        with attempts.open("a") as file:
            file.write("x")
        if len(attempts.read_text()) <= int(n_attempts):
            {"dies": os.abort, "hangs": lambda: time.sleep(30)}[str(fault)]()
    time.sleep(0.05)
    return number**2


def blocks(faults, n=12, n_attempts=1):
    return [Block(own=(np.array(i), faults.get(i, ""), np.array(n_attempts))) for i in range(n)]


def squares(client, folder, faults, n=12, limits=QUICK, **options):
    engine = Dask(client, limits)
    with engine.place([str(folder)]) as placed:
        given = blocks(faults, n, **options)
        return [int(value) for value in engine.map(faulty, placed, given)]
