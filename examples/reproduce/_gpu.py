"""What gpu.py measures with: a CSV that grows row by row, clocks, sizes and facts of the device."""

import csv
import datetime
import importlib.metadata
import math
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import clone

import kipsk

COLUMNS = (
    "part", "what", "value", "unit", "precision", "note", "device", "driver", "versions", "date",
)  # fmt: skip


class Size(NamedTuple):
    """How large the measurements are."""

    product: int  # side of a matrix
    copy: int  # numbers that are copied
    targets: int
    support: int
    features: int
    fc1_steps: tuple[int, int]  # of the two fits whose difference is the time of a step
    image_shape: tuple[int, int, int]
    depth: int  # of a ConvNet
    pairs: tuple[int, int]  # images on either side of an exact kernel
    pairs_of_others: tuple[int, int]  # neural-tangents keeps all covariances of all pairs at once
    n_networks: int
    width: int
    batch_size: int
    images: int  # random ones, where there are no real ones
    sampled_steps: tuple[int, int]
    exact_steps: tuple[int, int]
    equal_steps: int  # after which precisions are compared
    block_size: int  # targets of a block of an exact kernel
    difference: float  # seconds, at least, between two fits; more steps otherwise
    fit_seconds: float
    moments_networks: int
    moments_width: int
    moments_steps: tuple[int, int]


FULL = Size(
    product=8192, copy=2**28, targets=5000, support=100, features=3072, fc1_steps=(64, 576),
    image_shape=(32, 32, 3), depth=3, pairs=(32, 64), pairs_of_others=(4, 8), n_networks=8,
    width=256, batch_size=5120, images=50000, sampled_steps=(2, 12), exact_steps=(1, 2),
    equal_steps=40, block_size=128, difference=2, fit_seconds=120,
    moments_networks=28, moments_width=32, moments_steps=(4, 24),
)  # fmt: skip
SMALL = Size(
    product=128, copy=2**16, targets=200, support=20, features=64, fc1_steps=(32, 64),
    image_shape=(8, 8, 1), depth=1, pairs=(4, 6), pairs_of_others=(2, 2), n_networks=1,
    width=4, batch_size=100, images=200, sampled_steps=(1, 3), exact_steps=(1, 2),
    equal_steps=5, block_size=64, difference=0, fit_seconds=1,
    moments_networks=1, moments_width=4, moments_steps=(2, 4),
)  # fmt: skip


def driver():
    """Return the version of the GPU's driver, or nothing where it is not told."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.split("\n")[0].strip()


def versions():
    """Return the versions that the figures depend on, in one line."""
    names = ("jax", "jaxlib", "numpy", "scikit-learn")
    told = [f"{name} {importlib.metadata.version(name)}" for name in names]
    backend = " ".join(jax.devices()[0].client.platform_version.split())
    python = platform.python_version()
    return ", ".join([f"kipsk {kipsk.__version__}", f"Python {python}", *told, backend[:60]])


class Log:
    """A CSV that each row is appended to, and so written, at once.

    Parameters
    ----------
    path : path-like
        Rows of an earlier run stay.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.facts = {
            "device": jax.devices()[0].device_kind,
            "driver": driver(),
            "versions": versions(),
            "date": datetime.date.today().isoformat(),
        }

    def row(self, part, what, value="", unit="", precision="", note=""):
        """Append a row; numbers get four digits."""
        value = f"{value:.4g}" if isinstance(value, float) else str(value)
        line = dict(part=part, what=what, value=value, unit=unit, precision=precision, note=note)
        is_new = not self.path.exists() or not self.path.stat().st_size
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow({**line, **self.facts})
        print("|", " | ".join(line.values()), "|", flush=True)


@dataclass
class Run:
    """A part of the measurements while it runs.

    Attributes
    ----------
    part : str
    log : Log
    size : Size
    arguments : Namespace
    ends : float
        When its time is over, on `time.perf_counter`.
    """

    part: str
    log: Log
    size: Size
    arguments: object
    ends: float

    def row(self, what, *values, **named):
        self.log.row(self.part, what, *values, **named)

    def left(self):
        """Return the seconds that are left."""
        return self.ends - time.perf_counter()

    def has_time(self, what, seconds=0.0):
        """Return whether so many seconds are left; if not, a row says what was not measured."""
        if self.left() > seconds:
            return True
        self.row(what, note="not measured: out of time")
        return False


def normal(*shape, seed=0):
    """Return random numbers in float32, on the host."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def seconds_of(function, *arguments, turns=5):
    """Return the median seconds of a call that is compiled, and those of the first one.

    As many calls as take about a tenth of a second are under way together, so that the host waits
    once for all of them.
    """
    times = []
    for _ in range(2):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    first, once = times
    calls = max(1, min(100, int(0.1 / once)))
    if calls == 1 and once > 1:
        turns = 1
    means = []
    for _ in range(turns):
        start = time.perf_counter()
        for _ in range(calls):
            result = function(*arguments)  # the one before is given up, and its memory free
        jax.block_until_ready(result)
        means.append((time.perf_counter() - start) / calls)
    return float(np.median(means)), first


class Fits(NamedTuple):
    """What fits of few and of many steps took, in seconds."""

    step: float  # one step
    rest: float  # all of a fit but its steps
    compiling: float

    def steps_within(self, seconds):
        """Return how many steps a compiled fit has in so many seconds."""
        return max(1, int((seconds - self.rest) / self.step))


def fits(distiller, X, y, steps, difference):
    """Time fits of few and of many steps: of more, until so many seconds lie between them."""

    def seconds(n):
        start = time.perf_counter()
        clone(distiller).set_params(max_iter=n).fit(X, y)
        return time.perf_counter() - start

    few, many = steps
    cold, least, most = seconds(few), seconds(few), seconds(many)
    while most - least < difference and many < 64 * steps[1]:
        many *= 4
        most = seconds(many)
    step = max(most - least, 1e-4) / (many - few)
    return Fits(step, max(least - few * step, 0.0), max(cold - least, 0.0))


def product_speed(n, precision="highest", dtype=jnp.float32):
    """Return the operations a second of a product of n x n matrices, and its relative error."""
    A = jnp.asarray(normal(n, n), dtype)
    product = jax.jit(lambda A, B: jnp.matmul(A, B, precision=precision))
    seconds, _ = seconds_of(product, A, A)
    exact = np.asarray(A, np.float64)
    return 2 * n**3 / seconds, error_of(product(A, A)[:32], exact[:32] @ exact)


def error_of(found, oracle):
    """Return |found - oracle| / |oracle|; infinite if a number is not finite."""
    found, oracle = np.asarray(found, np.float64), np.asarray(oracle, np.float64)
    if found.shape != oracle.shape or not np.isfinite(found).all():
        return math.inf
    return float(np.linalg.norm(found - oracle) / np.linalg.norm(oracle))


def memory():
    """Return the bytes that the device may use and the most that were in use; None if unknown."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("bytes_limit"), stats.get("peak_bytes_in_use")
