"""How long does `fit_resample` take on tables, the first time and once all is compiled?

    python examples/reproduce/tables_seconds.py --folder FOLDER

FOLDER is that of `tables.py`; without it the tables are some of scikit-learn. On one core, where
the system can bind a process to one, `KIPDistiller(ipc=10)` makes a set for most models twice, with
another seed the second time, so that nothing but compiled code is used again. Each line is printed
as soon as it is known.
"""

import argparse
import os
import time
import warnings

import numpy as np
from _common import provenance, speed_of_products
from _tables import split, tables
from threadpoolctl import threadpool_limits

from kipsk import KIPDistiller


def seconds_of(X, y, ipc, seed):
    start = time.perf_counter()
    KIPDistiller(ipc=ipc, random_state=seed).fit_resample(X, y)
    return time.perf_counter() - start


def main(args):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{provenance()}, {speed_of_products():.0f} GFLOP/s in products on one core\n")
    print("| table | rows | columns | classes | first, s | again, s |")
    print("|---|---|---|---|---|---|")
    again = []
    for name, load in tables(args.folder).items():
        X, _, y, _ = split(load(), 0, args.max_rows)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # few rows, short runs, small classes
            first, second = (seconds_of(X, y, args.ipc, seed) for seed in (0, 1))
        again.append(second)
        shape = f"{len(X)} | {X.shape[1]} | {y.max() + 1}"
        print(f"| {name} | {shape} | {first:.1f} | {second:.1f} |", flush=True)
    print(f"\nmean of the second time {np.mean(again):.1f} s, most {max(again):.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="with the tables (default: tables of scikit-learn)")
    parser.add_argument("--ipc", type=int, default=10, help="rows per class")
    parser.add_argument("--max-rows", type=int, default=3000, help="for training")
    main(parser.parse_args())
