"""The first fits of a fresh process, with and without JAX's cache of compiled code.

    python -m pytest -m benchmark -s tests/benchmarks/test_first_fit.py

Three processes run the same program one after another: without a cache, with an empty one, and with
the one that the second has filled. The seconds are of CPU time, which other work on the machine
changes little, and in brackets of a clock.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import time

def timed(what, function):
    start = time.process_time(), time.perf_counter()
    function()
    spent = time.process_time() - start[0], time.perf_counter() - start[1]
    print(f"{what:<34} {spent[0]:6.1f} ({spent[1]:.1f})")

def imports():
    global KIPDistiller, X, y
    from sklearn.datasets import load_digits
    from kipsk import KIPDistiller
    X, y = load_digits(return_X_y=True)

timed("import of kipsk and scikit-learn", imports)
distiller = KIPDistiller(ipc=10, random_state=0)
timed("first fit, 1257 rows", lambda: distiller.fit(X[:1257], y[:1257]))
timed("next fit", lambda: distiller.fit(X[:1257], y[:1257]))
timed("first fit_resample, 600 rows", lambda: distiller.fit_resample(X[:600], y[:600]))
timed("next fit_resample", lambda: distiller.fit_resample(X[:600], y[:600]))
"""


@pytest.mark.benchmark
def test_a_cache_makes_the_first_fit_a_later_one(tmp_path):
    own = {name: value for name, value in os.environ.items() if not name.startswith(("JAX", "XLA"))}
    own["PYTHONPATH"] = str(Path(__file__).parents[2])
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    runs = {"without a cache": {}, "with an empty cache": cache, "with the cache it filled": cache}
    first_fits = []
    for name, settings in runs.items():
        printed = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**own, **settings}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        print(f"\n{name}, seconds of CPU time (of a clock)\n{printed}")
        line = next(line for line in printed.splitlines() if line.startswith("first fit,"))
        first_fits.append(float(line.partition("rows")[2].split()[0]))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    print(f"the cache: {len(list(tmp_path.iterdir()))} files, {size / 1e6:.1f} MB")
    assert first_fits[2] < first_fits[0]
