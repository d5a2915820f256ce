"""KIP and Label Solve with exact ConvNet kernels, on digits and on Fashion-MNIST.

    python examples/reproduce/exact_kernels.py --runs digits
    python examples/reproduce/exact_kernels.py --data DIR --runs fashion_ls_1 fashion_ls_10

digits: the NTK of a two-layer ConvNet is compared with that of FC1, with 3 seeds. The test set is
the same 540 rows of 1797 for all, and all other rows with the same kernel are the ceiling.
fashion_ls: Label Solve with ConvNet3 on `--targets` training rows, scored on all 10000 test images.
"""

import time
from functools import partial

import numpy as np
from _common import load, mean_std, parser, provenance, random_rows, standardise_channels
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.kernels import ConvNet, FullyConnected

KERNELS = {"FC1": FullyConnected(), "ConvNet2": ConvNet(2, image_shape=(8, 8, 1))}
STEPS = {1: 200, 10: 30}  # at 1 and at 10 images per class


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def ridge(kernel, ipc, X, y, seed):
    """Return kernel ridge regression on a few real rows."""
    rows = random_rows(X, y, ipc, seed)
    return KernelRidgeNTKClassifier(kernel).fit(X[rows], y[rows])


def label_solve(kernel, ipc, X, y, seed):
    return LabelSolver(kernel, ipc, random_state=seed).fit(X, y)


def kip(kernel, ipc, X, y, seed):
    distiller = KIPDistiller(
        kernel, ipc, max_iter=STEPS[ipc], learning_rate=0.2, batch_size=500, random_state=seed
    )
    return distiller.fit(X, y)


def digits(arguments):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=540, stratify=y, random_state=0
    )
    mean, std = X_train.mean(), X_train.std()
    X_train, X_test = (X_train - mean) / std, (X_test - mean) / std
    print("| digits | kernel | images | test accuracy | seconds a fit |")
    print("|---|---|---|---|---|")
    for name, kernel in KERNELS.items():
        for ipc in STEPS:
            for method, fit in (("random rows", ridge), ("LS", label_solve), ("KIP", kip)):
                scores, times = [], []
                for seed in range(arguments.seeds):
                    model, seconds = timed(fit, kernel, ipc, X_train, y_train, seed)
                    scores.append(model.score(X_test, y_test))
                    times.append(seconds)
                # The first fit compiles.
                row = method, name, 10 * ipc, mean_std(scores), f"{min(times):.1f}"
                print("|", *(f"{cell} |" for cell in row), flush=True)
        full, seconds = timed(KernelRidgeNTKClassifier(kernel).fit, X_train, y_train)
        row = "all rows", name, len(X_train), f"{100 * full.score(X_test, y_test):.1f}"
        print("|", *(f"{cell} |" for cell in (*row, f"{seconds:.1f}")), flush=True)


def fashion(arguments, ipc):
    X_train, X_test, y_train, y_test = load("fashion_mnist", arguments.data)
    X_train, X_test = standardise_channels(X_train, X_test, n_channels=1)
    kernel = ConvNet(3, image_shape=(28, 28, 1))
    print("| Fashion-MNIST | images | targets | test accuracy | minutes: fit, test |")
    print("|---|---|---|---|---|")
    for seed in range(arguments.seeds):
        # The support is among the targets, as it is among all training rows.
        rows = np.random.RandomState(seed).permutation(len(X_train))[: arguments.targets]
        solver, fit_time = timed(label_solve, kernel, ipc, X_train[rows], y_train[rows], seed)
        score, test_time = timed(solver.score, X_test, y_test)
        minutes = f"{fit_time / 60:.1f}, {test_time / 60:.1f}"
        row = f"LS ConvNet3, seed {seed}", 10 * ipc, len(rows), f"{100 * score:.1f}", minutes
        print("|", *(f"{cell} |" for cell in row), flush=True)


RUNS = {
    "digits": digits,
    "fashion_ls_1": partial(fashion, ipc=1),
    "fashion_ls_10": partial(fashion, ipc=10),
}


def main(arguments):
    print(provenance())
    for name in arguments.runs:
        print()
        RUNS[name](arguments)


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--runs", nargs="+", choices=RUNS, default=["digits"])
    options.add_argument("--targets", type=int, default=60000, help="training rows to solve for")
    main(options.parse_args())
