"""What a dask cluster of two processes costs and gains: the overhead of a task, the time of a step.

    python examples/reproduce/cluster_speed.py [--runs overhead step] [--places PLACE ...]
        [--ipc 2] [--block-size 5]

The step is one of KIP with the exact NTK of ConvNet3, with 20 support images (--ipc for each of ten
classes) and 60 targets of 32 x 32 x 3. The images are noise, as the cost does not depend on the
pixels. Steps are timed in one process on one core, in two such processes at the same time, in one
process on all cores, and on clusters of one and two worker processes with one thread each. The time
of a warm step is what each of three more steps takes.
"""

import argparse
import os
import subprocess
import sys
import time

# What a worker of one thread wants: XLA takes as many threads as this says.
ONE_THREAD = {"NPROC": "1", "OMP_NUM_THREADS": "1"}
# dask gives back at once what a worker frees, and has it zeroed again when it is needed.
MALLOC = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
ALONE, BESIDE = "one process, one core", "two such processes, each its own step"
PLACES = {
    ALONE: 0,
    BESIDE: 0,
    "one process, all cores": None,
    "one worker process": 1,
    "two worker processes": 2,
    "two worker processes, dask's setting of malloc": 2,
}
RUNS = ("overhead", "step")
N_TASKS = 200
REPEATS = 3


def cluster_of(n_workers, settings=None):
    """Return a cluster of processes of one thread each, with some settings of dask."""
    import dask
    from distributed import LocalCluster

    settings = {MALLOC: None} if settings is None else settings
    with dask.config.set({"distributed.nanny.environ": ONE_THREAD} | settings):
        return LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")


def seconds_of_a_step(title, core, ipc, block_size):
    """Return the seconds of a warm step, and those of the first with all that is compiled."""
    place = PLACES[title]
    if place == 0:
        os.environ.update(ONE_THREAD)
        os.sched_setaffinity(0, {core})
    import joblib
    import numpy as np

    from kipsk import KIPDistiller
    from kipsk.kernels import ConvNet

    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 32 * 32 * 3), dtype=np.float32), np.arange(60) % 10
    kernel = ConvNet(3, image_shape=(32, 32, 3))

    def fit(n_steps):
        options = {"ipc": ipc, "batch_size": 60, "block_size": block_size, "random_state": 0}
        start = time.perf_counter()
        KIPDistiller(kernel, max_iter=n_steps, **options).fit(X, y)
        return time.perf_counter() - start

    def measure():
        first = fit(1)
        one, more = fit(1), fit(1 + REPEATS)
        return (more - one) / REPEATS, first

    if not place:
        return measure()
    from distributed import Client

    settings = {} if "malloc" in title else None
    with cluster_of(place, settings) as cluster, Client(cluster), joblib.parallel_config("dask"):
        return measure()


def nothing(constant, rows, own, shared):
    """Return as many numbers as a block's gradient, of no work."""
    return own


def ms_of_a_task(n_workers, n_images):
    """Return the milliseconds that a task takes beside its work: rows there, gradient back."""
    import numpy as np
    from distributed import Client

    from kipsk._engine import LOCAL, Block
    from kipsk._engine._dask._engine import Dask

    X_s = np.ones((n_images, 32 * 32 * 3), np.float32)
    blocks = [Block(own=X_s) for _ in range(N_TASKS)]

    def measure(engine):
        times = []
        with engine.place([None]) as placed:
            for _ in range(1 + REPEATS):
                start = time.perf_counter()
                for _ in engine.map(nothing, placed, blocks):
                    pass
                times.append(time.perf_counter() - start)
        return 1e3 * min(times[1:]) / N_TASKS

    if not n_workers:
        return measure(LOCAL)
    with cluster_of(n_workers) as cluster, Client(cluster, set_as_default=False) as client:
        return measure(Dask(client))


def main(runs, places, ipc, block_size):
    from _common import provenance

    print(provenance(), flush=True)
    if "overhead" in runs:
        print("\n| images sent | in-process, ms a task | two workers, ms a task |\n|---|---|---|")
        for n_images in (10, 100, 500):
            local, two = (ms_of_a_task(n, n_images) for n in (0, 2))
            print(f"| {n_images} | {local:.3f} | {two:.1f} |", flush=True)
    if "step" in runs:
        print("\n| | a warm step, s | first fit of one step, s |\n|---|---|---|")
        for title in places:
            cores = sorted(os.sched_getaffinity(0))[-2 if title == BESIDE else -1 :]
            command = [sys.executable, __file__, "--place", title]
            command += ["--ipc", str(ipc), "--block-size", str(block_size), "--core"]
            runs = [
                subprocess.Popen([*command, str(core)], stdout=subprocess.PIPE, text=True)
                for core in cores
            ]
            texts = [run.communicate()[0] for run in runs]
            if any(run.returncode for run in runs):
                raise SystemExit(f"{title}: failed")
            for text in texts:
                print(text.splitlines()[-1], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", default=RUNS, choices=RUNS)
    parser.add_argument("--places", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--ipc", type=int, default=2, help="support images of each class")
    parser.add_argument("--block-size", type=int, default=5, help="images on either side")
    parser.add_argument("--place", choices=PLACES, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.place:
        size = given.ipc, given.block_size
        warm, first = seconds_of_a_step(given.place, given.core, *size)
        print(f"| {given.place} | {warm:.1f} | {first:.1f} |")
    else:
        main(given.runs, given.places, given.ipc, given.block_size)
