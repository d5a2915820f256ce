"""What 10, 100 and 1000 workers gain: a model of a step in blocks, and a trial of the engine.

    python examples/reproduce/cluster_model.py [--runs measure model simulate]

`measure` times blocks of 31 x 31 pairs of the exact NTK of ConvNet3, and the loss, on one core.
`model` computes the seconds of a step from those constants and from the time of a task that
cluster_speed.py prints.
`simulate` runs the engine of kipsk over thousands of blocks that only sleep, on a cluster whose
workers are threads of this process. Some workers are closed during the run and replaced.
"""

import argparse
import os
import random
import threading
import time

import numpy as np

from kipsk._engine._sizes import pair_block_for
from kipsk.kernels import ConvNet

RUNS = ("measure", "model", "simulate")
ROWS = 31  # of either side of a block
# Workers, blocks, seconds a block; in the last handing out tasks is the limit.
CASES = ((10, 200, 1), (10, 2000, 0.1), (100, 1000, 2), (100, 5000, 0.5))

# Seconds of one core, as `measure` printed them: a pair of K_st and of K_ss, forward and its
# vector-Jacobian product (which goes forward again).
FORWARD, BACKWARD = 2.75e-3, 14.4e-3
FORWARD_64, BACKWARD_64 = 8.5e-3, 36.5e-3
N_T = 5000  # targets of a step
# Seconds of the client and the scheduler for a task whose result is 31 images, and for the loss and
# its gradient: by n_s^3, by n_s n_t, and by both and class.
TASK = 9e-3
SOLVE, ENTRY, PRODUCT = 1.6e-10, 4e-9, 1e-10


def seconds_of_a_loss(n_s, n_t, n_classes):
    return SOLVE * n_s**3 + (ENTRY + PRODUCT * n_classes) * n_s * n_t


def seconds_of_a_step(n_s, n_t, n_workers, side=32, n_classes=10):
    """Return those of the work shared out, of handing it out, and of the client's solve.

    A pair of images goes through the square of the pixels of one.
    """
    function = ConvNet(3, image_shape=(side, side, 3)).function()
    n_features, pixels = side * side * 3, (side / 32) ** 2
    row_size = n_features + function.row_size(n_features)
    rows, columns = pair_block_for(n_s, row_size, 4, function.pair_size(n_features))
    strips = -(-n_s // rows)
    n_blocks = strips * (strips + 1) // 2 + strips * -(-n_t // columns)
    st, ss = n_s * n_t, n_s * (n_s + 1) / 2
    work = pixels**2 * (st * (FORWARD + BACKWARD) + ss * (FORWARD_64 + BACKWARD_64))
    # As many rounds of blocks as the busiest worker has: each pass ends with its last block.
    shared = work / n_blocks * -(-n_blocks // n_workers)
    tasks = 2 * n_blocks * TASK * max(1.0, rows * pixels / ROWS)
    return n_blocks, shared, tasks, seconds_of_a_loss(n_s, n_t, n_classes)


def model():
    print("\n| | support | blocks | workers | work, s | tasks, s | solve, s | step, s | share |")
    print("|---|---|---|---|---|---|---|---|---|")
    cases = [(f"CIFAR-10, {ipc} per class", 10 * ipc, 32, 10) for ipc in (1, 10, 50)]
    cases += [(f"1000 classes of {n} x {n}, 1 per class", 1000, n, 1000) for n in (64, 224)]
    for name, n_s, side, n_classes in cases:
        alone = seconds_of_a_step(n_s, N_T, 1, side)[1]
        for n_workers in (1, 10, 100, 1000):
            of_a_step = seconds_of_a_step(n_s, N_T, n_workers, side, n_classes)
            n_blocks, shared, tasks, solve = of_a_step
            step = max(shared, tasks) + solve  # tasks are handed out while others run
            print(
                f"| {name} | {n_s} | {n_blocks} | {n_workers} | {shared:.3g} | {tasks:.3g} "
                f"| {solve:.2g} | {step:.3g} | {alone / step / n_workers:.0%} |"
            )


def measure():
    """Time a block of each kind, compiled before, on one core."""
    os.environ["NPROC"] = "1"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import jax
    from _common import provenance

    from kipsk._distil import _block_step
    from kipsk.kernels._base import prepare

    print(provenance())
    function = ConvNet(3, image_shape=(32, 32, 3)).function()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * ROWS, 3072), dtype=np.float32)
    first = np.arange(ROWS)
    with jax.enable_x64(True):
        kernel, shared = _block_step._Kernel(function, False), _block_step._Shared(X, None)
        placed = prepare(function, X[ROWS:])
        blocks = {
            "K_st": _block_step._Against(first, None),
            "K_ss": _block_step._Among(first, first + ROWS),
        }
        print("\n| | forward, ms a pair | vector-Jacobian product, ms a pair |\n|---|---|---|")
        for name, block in blocks.items():
            K = np.asarray(_block_step._forward(kernel, placed, block, shared))
            calls = [
                lambda b=block: _block_step._forward(kernel, placed, b, shared),
                lambda b=block, K=K: _block_step._pull_back(kernel, placed, (b, K), shared),
            ]
            times = [1e3 * time_of(call) / ROWS**2 for call in calls]
            print(f"| {name} | {' | '.join(f'{ms:.2f}' for ms in times)} |", flush=True)
        print("\n| support rows | classes | loss and gradient, s | by the model, s |")
        print("|---|---|---|---|")
        for n_s, n_classes in ((100, 10), (500, 10), (1000, 10), (1000, 1000)):
            seconds = time_of(loss_of(n_s, N_T, n_classes))
            modelled = seconds_of_a_loss(n_s, N_T, n_classes)
            print(f"| {n_s} | {n_classes} | {seconds:.4f} | {modelled:.4f} |", flush=True)


def loss_of(n_s, n_t, n_classes):
    """Return what the client computes of both matrices, to be called; they are random ones."""
    import jax.numpy as jnp

    from kipsk._distil import _block_step
    from kipsk._distil._objective import Objective
    from kipsk.kernels import RBF

    rng = np.random.default_rng(0)
    A = rng.standard_normal((n_s, 2 * n_s))
    K_ss, K_st = jnp.asarray(A @ A.T / n_s), jnp.asarray(rng.random((n_s, n_t)), np.float32)
    labels = (np.eye(n_classes)[np.arange(n) % n_classes] for n in (n_s, n_t))
    y_s, y_t = (jnp.asarray(one_hot, np.float32) for one_hot in labels)
    objective = Objective(RBF(1.0).function(), 1e-6, None, 1.0, None, False)
    return lambda: _block_step._loss(objective, {"y": y_s}, K_ss, K_st, y_t)


def time_of(call):
    import jax

    jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def sleep(constant, rows, own, shared):
    """Take as long as a block, and return as many numbers."""
    time.sleep(constant)
    return own


def simulate():
    from distributed import Client, LocalCluster

    from kipsk._engine import Block
    from kipsk._engine._dask._engine import Dask

    own = np.zeros((ROWS, 3072), np.float32)
    print("\n| workers | blocks | seconds a block | closed | measured, s | model, s |")
    print("|---|---|---|---|---|---|")
    for n_workers, n_blocks, cost in CASES:
        options = {"processes": False, "threads_per_worker": 1, "dashboard_address": None}
        options["memory_limit"] = 0  # of the whole process, as each of its workers sees it
        with (
            LocalCluster(n_workers=n_workers, **options) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            engine = Dask(client)

            def a_pass(seconds, n=n_blocks, engine=engine):
                start = time.perf_counter()
                with engine.place([seconds]) as placed:
                    given = (Block(own=own) for _ in range(n))
                    n_results = sum(1 for _ in engine.map(sleep, placed, given))
                assert n_results == n
                return time.perf_counter() - start

            task = a_pass(0.0) / n_blocks
            expected = max(n_blocks * cost / n_workers, n_blocks * task) + cost
            for n_closed in (0, n_workers // 5):
                ended = threading.Event()
                period = expected / (n_closed + 1)
                thread = threading.Thread(
                    target=close, args=(cluster, n_workers, n_closed, period, ended)
                )
                thread.start()
                measured = a_pass(cost)
                ended.set()
                thread.join()
                print(
                    f"| {n_workers} | {n_blocks} | {cost} | {n_closed} | {measured:.1f} "
                    f"| {expected:.1f} |",
                    flush=True,
                )


def close(cluster, n_workers, n_closed, period, ended):
    """Close a worker with what it computes, now and then, and start another."""
    draw = random.Random(0)
    for _ in range(n_closed):
        if ended.wait(period):
            return
        worker = draw.choice(list(cluster.workers.values()))
        cluster.sync(worker.close, timeout=1, executor_wait=False, nanny=False)
        cluster.scale(n_workers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    for run in parser.parse_args().runs:
        {"measure": measure, "model": model, "simulate": simulate}[run]()
