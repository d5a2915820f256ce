"""Random kills, workers that come and go, other versions and new schedulers on a dask cluster.

    python examples/reproduce/cluster_churn.py [--parts kills adaptive versions scheduler]

Each part makes a fit of KIP with the exact NTK of ConvNet1 on digits, and the moments of 20000 made
images under sampled ConvNets, on processes of one thread each, and compares the bits with those of
the same call in this process. All processes share what they compile. "kills" kills a random worker
of two, after a random time of at most four seconds, until 20 were killed in each. The scheduler of
the last part is killed within a call, and started again at the same address.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial

import joblib
import numpy as np
from cluster_speed import ONE_THREAD, cluster_of
from sklearn.datasets import load_digits

from kipsk import KIPDistiller, Moments
from kipsk.kernels import ConvNet, RandomFeatures

SHAPE = (8, 8, 1)


def fit(n_steps=6):
    X, y = load_digits(return_X_y=True)
    options = {"ipc": 3, "batch_size": 100, "block_size": 20, "random_state": 0}
    distiller = KIPDistiller(ConvNet(1, image_shape=SHAPE), max_iter=n_steps, **options)
    distiller.fit(X / 16, y)
    return distiller.X_s_, distiller.y_s_, np.array(distiller.loss_curve_)


def moments(n=20_000):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, 64), np.float32), rng.integers(10, size=n)
    kernel = RandomFeatures("convnet1", 4, 64, image_shape=SHAPE, resample=False)
    collected = Moments(kernel, classes=range(10), block_size=500).fit(X, y)
    return collected.H_, collected.C_


WORKS = {"fit": fit, "moments": moments}


def same(found, expected):
    equal = all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    return "same bits" if equal else "OTHER BITS"


def outcome(work, expected):
    """Return what a call ends with, in words."""
    try:
        return same(work(), expected)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


class Killer:
    """Kills a random worker of a local cluster now and then, until there were enough."""

    def __init__(self, client, cluster, n_kills, seed):
        self._client, self._cluster, self._draw = client, cluster, random.Random(seed)
        self._n_kills, self.done, self._killed = n_kills, 0, set()
        self._thread = threading.Thread(target=self._kill)

    def _kill(self):
        while self.done < self._n_kills:
            time.sleep(self._draw.uniform(0, 4))
            joined = self._client.scheduler_info(n_workers=-1)["workers"]
            # dask gives up a worker that is killed as it starts: until then it has its old address.
            running = [
                nanny
                for nanny in [*self._cluster.workers.values()]
                if nanny.status.name == "running" and nanny.worker_address in joined
                if nanny.worker_address not in self._killed
            ]
            if running and self.done < self._n_kills:
                nanny = self._draw.choice(running)
                self._killed.add(nanny.worker_address)
                os.kill(nanny.pid, signal.SIGKILL)
                self.done += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._n_kills = 0  # also if the calls ended with an error
        self._thread.join()


@contextmanager
def connected(n_workers):
    from distributed import Client

    with (
        cluster_of(n_workers) as cluster,
        Client(cluster) as client,
        joblib.parallel_config("dask", client=client),
    ):
        yield client, cluster


def part_kills(expected, n_kills):
    print("| work | kills | calls | ended with |\n|---|---|---|---|")
    for seed, (name, work) in enumerate(WORKS.items()):
        ends = []
        with connected(2) as (client, cluster):
            cluster.adapt(minimum=2, maximum=2)  # replaces those that dask gives up
            with Killer(client, cluster, n_kills, seed) as killer:
                while killer.done < n_kills:
                    ends.append(outcome(work, expected[name]))
            ends.append(outcome(work, expected[name]))  # once more, undisturbed
        counted = ", ".join(f"{ends.count(end)} x {end}" for end in dict.fromkeys(ends))
        print(f"| {name} | {killer.done} | {len(ends)} | {counted} |", flush=True)


def part_adaptive(expected, n_kills):
    print("| work | workers | ended with |\n|---|---|---|")
    for name, work in WORKS.items():
        with connected(0) as (client, cluster):
            cluster.adapt(minimum=0, maximum=4, interval="500ms", wait_count=4)
            seen, ended = [], threading.Event()

            def watch(client=client, seen=seen, ended=ended):
                while not ended.wait(0.2):
                    n = len(client.scheduler_info(n_workers=-1)["workers"])
                    if not seen or seen[-1] != n:
                        seen.append(n)

            thread = threading.Thread(target=watch)
            thread.start()
            end = outcome(work, expected[name])
            time.sleep(10)  # it goes down again
            ended.set()
            thread.join()
        print(f"| {name} | {' '.join(map(str, seen))} | {end} |", flush=True)


def part_versions(expected, n_kills):
    def change():
        import kipsk

        kipsk.__version__ = "0.0.1"

    print("| work | workers with kipsk 0.0.1 | ended with |\n|---|---|---|")
    for name, work in WORKS.items():
        with connected(2) as (client, _):
            addresses = [*client.scheduler_info(n_workers=-1)["workers"]]
            for n in (1, 2):
                client.run(change, workers=addresses[:n])
                print(f"| {name} | {n} of 2 | {outcome(work, expected[name])} |", flush=True)


def part_scheduler(expected, n_kills):
    """The processes are started by their commands, as on several hosts."""
    from distributed import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    work = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    work += ["--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]
    start = partial(
        subprocess.Popen,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print("| work | ended with | then, with a new client |\n|---|---|---|")
    for name, call in WORKS.items():
        scheduler, workers = start(command), []
        try:
            time.sleep(5)
            workers = [start(work) for _ in range(2)]
            with Client(address, timeout=60) as client:
                client.wait_for_workers(2, timeout=120)

                def replace():
                    nonlocal scheduler
                    time.sleep(4)
                    scheduler.kill()
                    scheduler.wait()
                    scheduler = start(command)

                thread = threading.Thread(target=replace)
                with joblib.parallel_config("dask", client=client):
                    call()  # compiles
                    thread.start()
                    first = outcome(call, expected[name])
                    while first == "same bits" and thread.is_alive():
                        first = outcome(call, expected[name])
                thread.join()
            workers += [start(work) for _ in range(2)]
            with Client(address, timeout=60) as client:
                client.wait_for_workers(2, timeout=120)
                with joblib.parallel_config("dask", client=client):
                    second = outcome(call, expected[name])
        finally:
            for process in (*workers, scheduler):
                process.terminate()
                process.wait()
        print(f"| {name} | {first} | {second} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {
        "kills": part_kills,
        "adaptive": part_adaptive,
        "versions": part_versions,
        "scheduler": part_scheduler,
    }
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    from _common import provenance

    print(provenance(), flush=True)
    expected = {}
    for name, work in WORKS.items():
        start = time.perf_counter()
        expected[name] = work()
        print(f"{name} in this process: {time.perf_counter() - start:.1f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder  # JAX reads it as it is imported
        for name in arguments.parts:
            print()
            parts[name](expected, arguments.kills)


if __name__ == "__main__":
    main()
