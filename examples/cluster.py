"""Distil digits with an exact convolutional kernel on a small dask cluster on this machine.

    python examples/cluster.py [--workers 2]

``--workers 0`` does the same without a cluster: try this small run first. Digits are too small to
gain from a cluster; the script only shows that a cluster works. It takes about a minute and a half
on one core, most of it for compilation. It needs dask (``pip install ".[dask]"``) and no network.
"""

import argparse
import time
from contextlib import nullcontext

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller


def start_cluster(n_workers):
    """Return the client of a cluster of processes with one thread each."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        # Without this, each worker starts threads for all cores.
        "distributed.nanny.environ": {"NPROC": "1"},
        # Without this, workers return memory to the system that they need again at once.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    }
    with dask.config.set(settings):
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", memory_limit="4GiB"
        )
    return Client(cluster)


def main(n_workers):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=300, test_size=300, random_state=0, stratify=y
    )
    mean, deviation = X_train.mean(), X_train.std()
    X_train, X_test = (X_train - mean) / deviation, (X_test - mean) / deviation
    distiller = KIPDistiller(
        "convnet2", ipc=1, image_shape=(8, 8, 1), max_iter=10, random_state=0, verbose=1
    )
    client = start_cluster(n_workers) if n_workers else None
    start = time.perf_counter()
    try:
        # Within this context the workers compute the blocks of the kernel.
        with joblib.parallel_config("dask") if client else nullcontext():
            distiller.fit(X_train, y_train)
            accuracy = distiller.score(X_test, y_test)
    finally:
        if client:
            client.close()
            client.cluster.close()
    seconds = time.perf_counter() - start
    where = f"on {n_workers} workers" if n_workers else "in this process"
    print(f"10 images of {len(X_train)} {where}: accuracy {accuracy:.4f}, {seconds:.0f} s")


# Workers are processes that load this file. Without the guard, each would start a cluster.
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes; 0: no cluster")
    main(parser.parse_args().workers)
