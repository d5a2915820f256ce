"""The same seed gives the same bits, wherever a fit runs and whatever runs beside it.

Oracle: the same calls in this process, one after the other.

    python -m pytest tests/test_isolation.py -m slow -s
"""

from __future__ import annotations

import hashlib
import json
import locale
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info

import kipsk
from kipsk import (
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    Moments,
    RegularizedZCA,
)
from kipsk.augment import Shift
from kipsk.baselines import CoresetSampler
from kipsk.kernels import Landmarks, RandomFeatures
from kipsk.networks import FiniteNetworkClassifier

SHAPE = (4, 4, 1)
FAST = {"ipc": 2, "max_iter": 3, "random_state": 0}
# Strings, whose hashes differ between processes.
NAMES = np.array(["ant", "bee", "cat"])
MODELS = {
    "kip": KIPDistiller(**FAST),
    "several batches": KIPDistiller("rbf", batch_size=12, **FAST),
    "augmented": KIPDistiller(
        augment=["flip", Shift(0.25)], image_shape=SHAPE, preprocess=RegularizedZCA(), **FAST
    ),
    "solved": KIPDistiller("laplace", labels="solved", init="kmeans", **FAST),
    "sampled": KIPDistiller(RandomFeatures("fc1", width=8, n_networks=2), **FAST),
    "family": KIPDistiller(["fc1", "rbf"], early_stopping=True, **FAST),
    "convolutional": KIPDistiller("convnet1", image_shape=SHAPE, **FAST),
    "all rows": KIPDistiller(Landmarks("fc1", 8), batch_size="all", **FAST),
    "regressor": KIPRegressor("fc2", n_support=4, max_iter=3, random_state=0),
    "label solver": LabelSolver(ipc=2, random_state=0),
    "ridge": KernelRidgeNTKClassifier("fc2", reg=[1e-3, 1e-1]),
    "network": FiniteNetworkClassifier(width=8, max_iter=3, random_state=0),
    "sampler": CoresetSampler("k_means", ipc=2, random_state=0),
    "moments": Moments(Landmarks("fc1", 8), classes=NAMES.tolist()),
}


def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    codes = np.arange(36) % 3
    return rng.normal(size=(36, 16)) + 2 * np.eye(3, 16)[codes], NAMES[codes]


def arrays_of(name: str) -> list[Any]:
    X, y = rows()
    model = MODELS[name]
    if name == "regressor":
        y = X[:, 0] + X[:, 1]
    if name == "sampler":
        return [*model.fit_resample(X, y)]
    fitted = type(model)(**model.get_params(deep=False)).fit(X, y)
    if name == "moments":
        return [fitted.H_, fitted.C_]
    scores = fitted.decision_function if hasattr(fitted, "classes_") else fitted.predict
    return [scores(X), *(getattr(fitted, a) for a in ("X_s_", "y_s_") if hasattr(fitted, a))]


def digest(name: str) -> str:
    """The bits of what a model learns and predicts, as one number."""
    found = hashlib.sha256()
    for array in arrays_of(name):
        array = np.ascontiguousarray(array)
        found.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def digests() -> dict[str, str]:
    return {name: digest(name) for name in MODELS}


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return digests()


@pytest.fixture
def found_by(tmp_path: Path) -> Callable[..., Any]:
    """What a file leaves in `found` when a fresh process runs it; its children load it again."""

    def run(code: str, **environment: str) -> Any:
        file = tmp_path / "main.py"
        body = f"{code}\nprint(json.dumps(found))"
        file.write_text(
            "import json\nimport test_isolation as isolation\n"
            f"if __name__ == '__main__':\n{textwrap.indent(body, '    ')}\n"
        )
        folders = [str(Path(kipsk.__file__).parents[1]), str(Path(__file__).parent)]
        path = os.pathsep.join(filter(None, [*folders, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, str(file)],
            env=os.environ | {"PYTHONPATH": path} | environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "12345", "random"])
def test_other_processes_and_hash_seeds(seed, expected, found_by):
    assert found_by("found = isolation.digests()", PYTHONHASHSEED=seed) == expected


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [2, 8])
def test_threads_side_by_side(n_threads, expected):
    """Each model four times, in an order that mixes them."""
    names = [*MODELS] * 4
    random.Random(0).shuffle(names)
    with ThreadPoolExecutor(n_threads) as pool:
        found = [*pool.map(digest, names)]
    assert found == [expected[name] for name in names]


@pytest.mark.slow
def test_threads_that_compile_at_the_same_time(expected, found_by):
    """Nothing is compiled yet in a fresh process."""
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    found = dict(zip(isolation.MODELS, pool.map(isolation.digest, isolation.MODELS)))
"""
    assert found_by(code) == expected


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(method, expected, found_by):
    """The process that starts them has computed, except before a fork, which JAX then forbids."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    before = "" if method == "fork" else "isolation.digest('kip')"
    code = f"""
import multiprocessing
{before}
with multiprocessing.get_context({method!r}).Pool(2) as pool:
    found = dict(zip(isolation.MODELS, pool.map(isolation.digest, isolation.MODELS)))
"""
    assert found_by(code) == expected


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_joblib(backend, expected, found_by):
    code = f"""
import joblib
isolation.digest('kip')
with joblib.parallel_config({backend!r}, n_jobs=2):
    calls = [joblib.delayed(isolation.digest)(name) for name in isolation.MODELS]
    found = dict(zip(isolation.MODELS, joblib.Parallel()(calls)))
"""
    assert found_by(code) == expected


def global_state() -> dict[str, Any]:
    kind, keys, position, *gauss = np.random.get_state()
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": [*sys.path],
        "random": random.getstate(),
        "numpy's random state": (kind, keys.tolist(), position, gauss),
        "numpy's errors": np.geterr(),
        "numpy's print options": np.get_printoptions(),
        "JAX's settings": dict(jax.config.values),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "filters of warnings": [*warnings.filters],
        "loggers": [logging.root.level, [*logging.root.handlers]],
        "locale": locale.setlocale(locale.LC_ALL),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        "threads of BLAS": [pool["num_threads"] for pool in threadpool_info()],
        "joblib": type(joblib.parallel.get_active_backend()[0]),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_global_state_stays(name):
    before = global_state()
    arrays_of(name)
    after = global_state()
    for what, value in before.items():
        assert after[what] == value, what
