"""Accuracy against privacy: sets that are distilled from noisy moments of image sets.

    python examples/reproduce/private_moments.py --data DIR --dataset digits fashion_mnist

Ten images per class are learned from moments that are (epsilon, delta)-differentially private, with
delta = 1 / (10 n) for n training rows. Nothing else is taken from the rows: pixels are scaled by
their range, the map is a random network, features are shortened to one norm that is below all of
theirs, and the start is noise. The table has the accuracy on all test images, mean and deviation
over the seeds, and that without noise.
"""

import time

import numpy as np
from _common import SHAPES, load, mean_std, parser, provenance

from kipsk import KIPDistiller, Moments
from kipsk.kernels import RandomFeatures

EPSILONS = (1.0, 3.0, 10.0, None)
IPC = 10
WIDTHS = {"digits": 16, "fashion_mnist": 10}


def scaled(X, dataset):
    """Return pixels between -1 and 1, from the range of their format."""
    return (X / (8 if dataset == "digits" else 127.5) - 1).astype(np.float32)


def accuracy_of(dataset, data, epsilon, seed):
    X, X_test, y, y_test = data
    classes = np.arange(10)
    kernel = RandomFeatures(
        "convnet2", 1, WIDTHS[dataset], image_shape=SHAPES[dataset], resample=False
    )
    moments = Moments(
        kernel,
        classes=classes,
        epsilon=1e9 if epsilon is None else epsilon,  # the same clipping, without noise
        delta=1 / (10 * len(X)),
        max_norm=0.05,
        random_state=seed,
    ).fit(X, y)
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((IPC * 10, X.shape[1])).astype(np.float32) / 2
    distiller = KIPDistiller(
        kernel,
        init=(start, np.repeat(classes, IPC)),
        max_iter=300,
        learning_rate=0.1,
        random_state=seed,
    ).fit_moments(moments)
    return distiller.score(X_test, y_test), len(moments.C_)


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--dataset", nargs="+", choices=list(WIDTHS), default=list(WIDTHS))
    arguments = options.parse_args()
    print(provenance(), end="\n\n")
    print("| data set | rows | p | epsilon | accuracy | s |\n|---|---|---|---|---|---|")
    for dataset in arguments.dataset:
        X, X_test, y, y_test = load(dataset, arguments.data)
        data = scaled(X, dataset), scaled(X_test, dataset), y, y_test
        for epsilon in EPSILONS:
            start = time.perf_counter()
            found = [accuracy_of(dataset, data, epsilon, s) for s in range(arguments.seeds)]
            seconds = (time.perf_counter() - start) / arguments.seeds
            shown = "none" if epsilon is None else f"{epsilon:g}"
            accuracy, p = mean_std([value for value, _ in found]), found[0][1]
            print(
                f"| {dataset} | {len(X)} | {p} | {shown} | {accuracy} | {seconds:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
