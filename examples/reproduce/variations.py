"""What each variation of KIP is worth, with the FC1 NTK on CIFAR-10 and Fashion-MNIST.

    python examples/reproduce/variations.py --data DIR --runs table

The tables have the accuracy on all 10000 test images of kernel ridge regression on the distilled
rows. Pixels are standardised for each channel. Whitening is applied to the standardised pixels,
within the fit and after the augmentation.
"""

import time
from itertools import product

import numpy as np
from _common import (
    SHAPES,
    load,
    mean_std,
    parser,
    provenance,
    standardise_channels,
)

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, RegularizedZCA
from kipsk.augment import Flip, Shift
from kipsk.metrics import distance_to_training

SETS = ("cifar10", "fashion_mnist")
ZCA = RegularizedZCA(reg=10, layer_norm=False)
AUGMENT = Flip() >> Shift(0.04)  # by one pixel


def standardised(name, arguments):
    """Return X_train, X_test, y_train, y_test; with --held-out all from the training set."""
    X_train, X_test, y_train, y_test = load(name, arguments.data, 5000 * arguments.held_out)
    return *standardise_channels(X_train, X_test, SHAPES[name][-1]), y_train, y_test


def measure(data, arguments, **params):
    """Return the accuracies and mean seconds of a fit over the seeds, and the last distiller."""
    X_train, X_test, y_train, y_test = data
    accuracies = []
    seconds = 0.0
    for seed in range(arguments.seeds):
        start = time.perf_counter()
        distiller = KIPDistiller(random_state=seed, **params)
        distiller.fit(X_train, y_train)
        seconds += time.perf_counter() - start
        accuracies.append(distiller.score(X_test, y_test))
    return accuracies, seconds / arguments.seeds, distiller


def table(arguments):
    print("| labels | augmented | whitened | init | CIFAR-10 | Fashion-MNIST |")
    print("|---|---|---|---|---|---|")
    rows = [(*row, "sample") for row in product(("fixed", "learned", "solved"), (0, 1), (0, 1))]
    rows += [("learned", 0, 0, init) for init in ("noise", "kmeans", "herding")]
    sets = {name: standardised(name, arguments) for name in SETS}
    for labels, augmented, whitened, init in rows:
        params = {
            "labels": labels,
            "augment": AUGMENT if augmented else None,
            "preprocess": ZCA if whitened else None,
            "init": init,
            "batch_size": 2000,
        }
        cells = [
            mean_std(measure(sets[name], arguments, image_shape=SHAPES[name], **params)[0])
            for name in SETS
        ]
        switches = ["yes" if on else "no" for on in (augmented, whitened)]
        print("|", " | ".join([labels, *switches, init, *cells]), "|", flush=True)


def full(arguments):
    """Kernel ridge regression on as many rows of Fashion-MNIST as memory holds."""
    X_train, X_test, y_train, y_test = standardised("fashion_mnist", arguments)
    rows = np.random.RandomState(0).permutation(len(X_train))[: arguments.rows]
    start = time.perf_counter()
    model = KernelRidgeNTKClassifier("fc1").fit(X_train[rows], y_train[rows])
    score = 100 * model.score(X_test, y_test)
    minutes = (time.perf_counter() - start) / 60
    print(f"| FC1, {len(rows)} rows of Fashion-MNIST | {score:.1f} | {minutes:.1f} minutes |")


def corruption(arguments):
    print("| frozen share | accuracy | distance to the nearest training row, ratio, smallest |")
    print("|---|---|---|")
    data = standardised("cifar10", arguments)
    X_train, X_test = data[:2]
    for share in (0.0, 0.5, 0.8, 0.9, 0.95):
        accuracies, _, distiller = measure(data, arguments, corruption=share)
        near = distance_to_training(distiller.X_s_, X_train, X_test[:1000])
        cells = f"{near.median:.1f}, {near.ratio:.2f}, {near.smallest_ratio:.2f}"
        print(f"| {share} | {mean_std(accuracies)} | {cells} |", flush=True)


def family(arguments):
    seen, unseen = ["fc1", "fc3", "rbf"], ["fc2", "fc5", "fc1_nngp", "laplace"]
    print("| trained with |", " | ".join(seen + unseen), "|")
    print("|---|", "---|" * len(seen + unseen))
    data = standardised("cifar10", arguments)
    for kernel in (*seen, seen):
        _, _, distiller = measure(data, arguments, kernel=kernel)
        scores = distiller.evaluate(*data[1::2], seen + unseen)
        cells = [f"{100 * score:.1f}" for score in scores.values()]
        print("|", " | ".join([str(kernel), *cells]), "|", flush=True)


RUNS = {"table": table, "full": full, "corruption": corruption, "family": family}


def main(arguments):
    print(provenance(), f"{arguments.seeds} seeds", sep=", ")
    for run in arguments.runs:
        print(f"\n{run}\n")
        RUNS[run](arguments)


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--runs", nargs="+", choices=RUNS, default=["table"])
    options.add_argument("--held-out", action="store_true", help="score on held-out training rows")
    options.add_argument("--rows", type=int, default=20000, help="of the run 'full'")
    main(options.parse_args())
