"""What fits hold on to, and how memory grows with the rows (Linux).

    python examples/reproduce/resources.py [--parts memory fits search]

"memory" measures the peak of the process on top of what it held before a call, X included in that,
for a quarter of --rows made rows of 20 numbers, and for all. "fits" counts open files, threads and
compiled programs over 100 fits of each estimator, and "search" over 50 candidates of a search.
"""

import argparse
import gc
import os
from pathlib import Path

import jax
import numpy as np
from _common import provenance
from scipy.stats import loguniform
from sklearn.model_selection import RandomizedSearchCV
from whitening_memory import measured

from kipsk import (
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    Moments,
    RegularizedZCA,
)
from kipsk.kernels import RBF, Landmarks
from kipsk.networks import FiniteNetworkClassifier

CLASSES = np.arange(10)
compiled = []


def table(n, n_features=20):
    """Return rows of ten overlapping classes, in float32."""
    rng = np.random.default_rng(0)
    centres = np.random.default_rng(1).normal(size=(10, n_features)).astype(np.float32)
    y = rng.integers(10, size=n)
    X = rng.standard_normal((n, n_features), np.float32)
    for start in range(0, n, 100_000):
        X[start : start + 100_000] += centres[y[start : start + 100_000]]
    return X, y


def part_memory(n_rows):
    few = table(10_000)
    kernel = Landmarks("fc1", 500).resolve(few[0])
    solved = LabelSolver(ipc=10, random_state=0).fit(*few)
    ridge = KernelRidgeNTKClassifier("rbf").fit(few[0][:500], few[1][:500])
    calls = {
        "LabelSolver.fit": lambda X, y: LabelSolver(ipc=10, random_state=0).fit(X, y),
        "Moments.fit": lambda X, y: Moments(kernel, classes=CLASSES).fit(X, y),
        "KIPDistiller.fit": lambda X, y: KIPDistiller(max_iter=10, random_state=0).fit(X, y),
        "RegularizedZCA.fit": lambda X, y: RegularizedZCA().fit(X),
        "LabelSolver.predict": lambda X, y: solved.predict(X),
        "LabelSolver.decision_function": lambda X, y: solved.decision_function(X),
        "KernelRidgeNTKClassifier.predict, 500 rows": lambda X, y: ridge.predict(X),
    }
    quarter = n_rows // 4
    print(f"| call | {quarter} rows | {n_rows} rows | bytes a row | beside these |")
    print("|---|---|---|---|---|")
    X, y = table(n_rows)
    for name, call in calls.items():
        peaks = []
        call(X[:20_000], y[:20_000])  # compiles
        for n in (quarter, n_rows):
            call(X[:n], y[:n])  # compiles for this number of rows, where a program is of one
            gc.collect()
            peaks.append(measured(lambda call=call, n=n: call(X[:n], y[:n]))[2] * 1e9)
        slope = (peaks[1] - peaks[0]) / (n_rows - quarter)
        rest = peaks[1] - slope * n_rows
        cells = [f"{peak / 1e6:.0f} MB" for peak in peaks]
        print(f"| {name} | {' | '.join(cells)} | {slope:.0f} | {rest / 1e6:.0f} MB |", flush=True)


def counts():
    """Return open files, threads, memory maps, arrays of JAX, programs compiled so far, and MB."""
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(line for line in status if line.startswith("VmRSS"))
    return (
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        len(Path("/proc/self/maps").read_text().splitlines()),
        len(jax.live_arrays()),
        len(compiled),
        int(resident.split()[1]) * 1024 // 10**6,
    )


def line(name, before, after):
    print(
        f"| {name} | "
        + " | ".join(f"{a} -> {b}" for a, b in zip(before, after, strict=True))
        + " |"
    )


HEADER = "| files | threads | memory maps | arrays of JAX | programs compiled | MB |"


def part_fits(n_rows, n_fits=100):
    X, y = table(600)
    fast = {"ipc": 2, "max_iter": 5}
    models = {
        "KIPDistiller": lambda i: KIPDistiller(**fast, random_state=i).fit(X, y),
        "KIPDistiller, rbf, other reg each": lambda i: KIPDistiller(
            RBF(1 + i / 100), reg=1e-6 * (1 + i), **fast, random_state=i
        ).fit(X, y),
        "KIPDistiller, sampled": lambda i: KIPDistiller("rf_fc1", **fast, random_state=i).fit(X, y),
        "KIPDistiller, early stopping": lambda i: KIPDistiller(
            early_stopping=True, **fast, random_state=i
        ).fit(X, y),
        "KIPRegressor": lambda i: KIPRegressor(n_support=20, max_iter=5, random_state=i).fit(
            X, X[:, 0]
        ),
        "LabelSolver": lambda i: LabelSolver(ipc=2, random_state=i).fit(X, y),
        "KernelRidgeNTKClassifier": lambda i: KernelRidgeNTKClassifier().fit(X, y),
        "FiniteNetworkClassifier": lambda i: FiniteNetworkClassifier(
            width=16, max_iter=5, random_state=i
        ).fit(X, y),
        "Moments": lambda i: Moments(Landmarks("fc1", 20), classes=CLASSES).fit(X, y),
    }
    print(f"After 10 fits with predict, and after {n_fits} more of them\n")
    print(f"| fits {HEADER}\n|---|---|---|---|---|---|---|")
    for name, fit in models.items():

        def use(i, fit=fit):
            model = fit(i)
            if hasattr(model, "predict"):
                model.predict(X)

        for i in range(10):
            use(i)
        before = counts()
        for i in range(10, 10 + n_fits):
            use(i)
        line(name, before, counts())


def part_search(n_rows, n_candidates=50):
    X, y = table(600)
    choices = {
        "reg": loguniform(1e-6, 1e-1),
        "learning_rate": loguniform(1e-3, 1e-1),
        "kernel__length_scale": loguniform(1, 10),
    }
    search = RandomizedSearchCV(
        KIPDistiller(RBF(1.0), ipc=2, max_iter=5, random_state=0), choices, cv=3, random_state=0
    )
    print(f"RandomizedSearchCV, after one candidate, and after {n_candidates} more of them\n")
    print(f"| n_jobs {HEADER}\n|---|---|---|---|---|---|---|")
    for n_jobs in (None, 2):
        search.set_params(n_iter=1, n_jobs=n_jobs).fit(X, y)
        before = counts()
        search.set_params(n_iter=n_candidates).fit(X, y)
        line(n_jobs or 1, before, counts())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"memory": part_memory, "fits": part_fits, "search": part_search}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(seconds) if "backend_compile" in event else None
    )
    print(provenance(), end="\n\n")
    for name in arguments.parts:
        parts[name](arguments.rows)
        print()


if __name__ == "__main__":
    main()
