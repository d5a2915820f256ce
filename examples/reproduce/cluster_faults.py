"""What faults of a dask cluster cost a fit, and a check that they do not change its result.

    python examples/reproduce/cluster_faults.py [--cache] [--faults FAULT ...]

The fit is KIP with the exact NTK of ConvNet2 on digits (50 support images, batches of 200), on two
worker processes with one thread each. The first fit is in this process, and all others must have
the same bits. Each fault comes after 40 % of the time of an undisturbed fit on the same cluster,
which is run before. Worker processes are started again by themselves, and compile anew unless
--cache gives all of them a common JAX_COMPILATION_CACHE_DIR.
"""

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from contextlib import ExitStack

import joblib
import numpy as np
from cluster_speed import cluster_of
from sklearn.datasets import load_digits

from kipsk import KIPDistiller
from kipsk.kernels import ConvNet


def pids(client):
    return list(client.run(os.getpid).values())


def wait(at, running):
    """Return whether the fit still runs after so many seconds."""
    return not running.wait(at)


def kill(number):
    def fault(client, cluster, seconds, ended):
        own = pids(client)[:number]
        if wait(0.4 * seconds, ended):
            for pid in own:
                os.kill(pid, signal.SIGKILL)

    return fault


def hang(client, cluster, seconds, ended):
    """Stop a process: it answers nothing. It is let go when the fit has ended."""
    pid = pids(client)[0]
    if wait(0.4 * seconds, ended):
        os.kill(pid, signal.SIGSTOP)
        ended.wait()
        os.kill(pid, signal.SIGCONT)


def drop(client, cluster, seconds, ended):
    """Take a result out of a worker's memory, as soon as it is announced."""
    from distributed import WorkerPlugin

    class Drop(WorkerPlugin):
        def __init__(self, address, after):
            self.address, self.after = address, after

        def setup(self, worker):
            self.worker, self.start = worker, time.monotonic()
            self.done = worker.address != self.address

        def transition(self, key, start, finish, **kwargs):
            late = time.monotonic() - self.start > self.after
            if late and not self.done and finish == "memory" and str(key).startswith("kipsk"):
                self.done = True
                del self.worker.data[key]

    first = next(iter(client.scheduler_info()["workers"]))
    client.register_plugin(Drop(first, 0.4 * seconds), name="drop")


def join(client, cluster, seconds, ended):
    """Start a third worker."""
    if wait(0.4 * seconds, ended):
        cluster.scale(3)


def kill_often(client, cluster, seconds, ended, n_kills=10):
    """Kill a random worker every four seconds; dask gives up one that is killed as it starts."""
    draw, n = random.Random(0), 0
    while n < n_kills and wait(4, ended):
        joined = client.scheduler_info(n_workers=-1)["workers"]
        workers = [
            nanny.pid
            for nanny in cluster.workers.values()
            if nanny.status.name == "running" and nanny.worker_address in joined
        ]
        if workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
            n += 1
    print(f"{n} workers were killed")


FAULTS = {
    "one worker is killed": kill(1),
    "both workers are killed": kill(2),
    "one worker hangs": hang,
    "one result is lost": drop,
    "a third worker joins": join,
    "a random worker is killed, every 4 s, up to ten times": kill_often,
}


def fit(n_steps):
    X, y = load_digits(return_X_y=True)
    kernel = ConvNet(2, image_shape=(8, 8, 1))
    start = time.perf_counter()
    options = {"ipc": 5, "batch_size": 200, "block_size": 25, "random_state": 0}
    distiller = KIPDistiller(kernel, max_iter=n_steps, **options).fit(X / 16, y)
    return distiller, time.perf_counter() - start


def same_bits(one, other):
    names = "X_s_", "y_s_", "loss_curve_"
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def main(n_steps, faults, cache):
    from _common import provenance
    from distributed import Client

    print(provenance(), flush=True)
    expected, seconds = fit(n_steps)
    print(f"\nIn this process: {seconds:.1f} s, loss {expected.loss_curve_[-1]:.5f}.")
    print("\n| fault | without it, s | with it, s | lost, s | same bits |\n|---|---|---|---|---|")
    for name in faults:
        with ExitStack() as stack:
            if cache:  # read by workers alone: JAX looks for it when it is imported
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
            cluster = stack.enter_context(cluster_of(2))
            client = stack.enter_context(Client(cluster))
            stack.enter_context(joblib.parallel_config("dask"))
            fit(4)  # compiles all on both workers
            undisturbed, seconds = fit(n_steps)
            ended = threading.Event()
            thread = threading.Thread(target=FAULTS[name], args=(client, cluster, seconds, ended))
            thread.start()
            try:
                distiller, taken = fit(n_steps)
            finally:
                ended.set()
                thread.join()
            same = same_bits(distiller, expected) and same_bits(undisturbed, expected)
            print(
                f"| {name} | {seconds:.1f} | {taken:.1f} | {taken - seconds:.1f} "
                f"| {'yes' if same else 'no'} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cache", action="store_true", help="keep what was compiled")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    given = parser.parse_args()
    main(given.steps, given.faults, given.cache)
