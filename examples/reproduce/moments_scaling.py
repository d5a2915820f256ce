"""What distillation by moments costs as the rows grow: a step, the pass, and the pass on workers.

    python examples/reproduce/moments_scaling.py --parts step pass workers --folder DIR

"step" fits made tables of 10^4, 10^5 and 10^6 rows. "pass" reads made rows of 3072 numbers from a
memory-mapped file in DIR, of --rows rows (a million are 12.3 GB), in tenths and whole. "workers"
makes the pass over made images in this process and on two dask workers, and compares the bits of H.
Each line has the seconds, and the memory of this process without the pages of files.
"""

import argparse
import threading
import time
from pathlib import Path

import joblib
import numpy as np
from _common import provenance
from cluster_speed import cluster_of

from kipsk import KIPDistiller, Moments
from kipsk.kernels import Landmarks, RandomFeatures

CLASSES = np.arange(10)
N_FEATURES = 3072
BLOCK = 5000


class Memory:
    """The largest anonymous memory of this process while the context lasts, in GB."""

    def __enter__(self):
        self.peak, self._is_over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._is_over.set()
        self._thread.join()

    def _watch(self):
        while not self._is_over.wait(0.2):
            with open("/proc/self/status") as lines:
                own = next(line for line in lines if line.startswith("RssAnon"))
            self.peak = max(self.peak, int(own.split()[1]) / 1e6)


def table(n, n_features=20, seed=0):
    """Return rows of ten overlapping classes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(10, n_features))
    y = rng.integers(10, size=n)
    return (centres[y] + rng.normal(size=(n, n_features))).astype(np.float32), y


def part_step(arguments):
    X_test, y_test = table(10_000, seed=2)
    kernel = Landmarks("fc1", 1000).resolve(table(10_000)[0])
    print("| rows | pass, s | a step, ms | accuracy on other rows |\n|---|---|---|---|")
    for n in (10_000, 100_000, 1_000_000):
        X, y = table(n)
        start = time.perf_counter()
        moments = Moments(kernel, classes=CLASSES).fit(X, y)
        seconds = time.perf_counter() - start
        distiller = KIPDistiller(kernel, ipc=10, init="noise", random_state=0)
        times = []
        for n_steps in (32, 32, 320):  # the first compiles
            distiller.set_params(max_iter=n_steps)
            start = time.perf_counter()
            distiller.fit_moments(moments, ridge=0)
            times.append(time.perf_counter() - start)
        a_step = 1000 * (times[2] - times[1]) / 288
        accuracy = 100 * distiller.score(X_test, y_test)
        print(f"| {n} | {seconds:.1f} | {a_step:.2f} | {accuracy:.1f} |", flush=True)


def made_file(path, n):
    """Write n rows of noise about class centres to a file, a block at a time."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, N_FEATURES)).astype(np.float32)
    noise = rng.normal(size=(BLOCK, N_FEATURES)).astype(np.float32)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, N_FEATURES))
    y = rng.integers(10, size=n)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        rows[start:stop] = centres[y[start:stop]] + np.roll(noise, start, axis=1)[: stop - start]
    rows.flush()
    return y


def part_pass(arguments):
    path = Path(arguments.folder) / "rows.npy"
    try:
        y = made_file(path, arguments.rows)
        X = np.load(path, mmap_mode="r")
        kernel = Landmarks("fc1", 512).resolve(np.array(X[:5000]))
        Moments(kernel, classes=CLASSES).fit(X[:BLOCK], y[:BLOCK])  # compiles
        print("| rows | s | us a row | memory, GB |\n|---|---|---|---|")
        for n in (arguments.rows // 10, 3 * arguments.rows // 10, arguments.rows):
            with Memory() as memory:
                start = time.perf_counter()
                Moments(kernel, classes=CLASSES).fit(X[:n], y[:n])
                seconds = time.perf_counter() - start
            us = 1e6 * seconds / n
            print(f"| {n} | {seconds:.1f} | {us:.0f} | {memory.peak:.2f} |", flush=True)
    finally:
        path.unlink(missing_ok=True)


def part_workers(arguments):
    from distributed import Client

    rng = np.random.default_rng(0)
    n = 50_000
    X, y = rng.normal(size=(n, N_FEATURES)).astype(np.float32), rng.integers(10, size=n)
    kernel = RandomFeatures("convnet3", 4, 32, image_shape=(32, 32, 3), resample=False)

    def collected():
        start = time.perf_counter()
        found = Moments(kernel, classes=CLASSES).fit(X, y)
        return found, time.perf_counter() - start

    print("| where | s | of linear |\n|---|---|---|")
    with (
        cluster_of(2) as cluster,  # with one core each, and the settings of docs/cluster.md
        Client(cluster) as client,
        joblib.parallel_config("dask", client=client),
    ):
        collected()  # compiles
        many, two = collected()
        cluster.scale(1)
        time.sleep(3)
        collected()
        _, one = collected()
    alone, here = collected()
    print(f"| one worker | {one:.1f} | |")
    print(f"| two workers | {two:.1f} | {100 * one / two / 2:.0f} % |")
    print(f"| this process, both cores | {here:.1f} | |")
    print(f"same bits of H: {bool((many.H_ == alone.H_).all())}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"step": part_step, "pass": part_pass, "workers": part_workers}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--folder", default=".", help="folder for the file of made rows")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of that file")
    arguments = parser.parse_args()
    print(provenance(), end="\n\n")
    for name in arguments.parts:
        parts[name](arguments)
        print()


if __name__ == "__main__":
    main()
