"""KIP with sampled ConvNet kernels on CIFAR-10 and Fashion-MNIST: accuracy and wall time.

    python examples/reproduce/random_features.py --data DIR --runs cifar10_10 --save SETS

Each run is timed from the raw pixels to the last test prediction: whitening, compilation (in the
first seed), all steps, and kernel ridge regression on all 10000 test images; steps a second are all
of `fit`'s. `--save` keeps the distilled sets of
seed 0, 1, ... as SETS/RUN_SEED.npz (whitened images, soft labels), which transfer.py trains
networks on. `--held-out` trains without 4000 training rows and scores on them: for choices.
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import (
    independent_noise,
    load_cifar10,
    load_fashion_mnist,
    mean_std,
    parser,
    provenance,
    standardise_channels,
)

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, RegularizedZCA
from kipsk.kernels import Invariant, RandomFeatures


class Run(NamedTuple):
    data: str
    ipc: int
    n_networks: int
    width: int
    max_iter: int
    learning_rate: float = 0.05
    batch_size: int = 500
    init: str = "sample"  # or "noise", of independent features
    kind: str = "nngp"
    loss: str = "platt"
    labels: str = "learned"
    augment: str = ""
    mirrored: int = 0  # 1: the kernel averaged over mirror images


RUNS = {
    "cifar10_10": Run("cifar10", 10, 4, 32, 600),
    "cifar10_10_long": Run("cifar10", 10, 8, 32, 2000),
    "cifar10_10_mirrored": Run("cifar10", 10, 8, 32, 750, mirrored=1),
    "cifar10_1": Run("cifar10", 1, 4, 32, 500, learning_rate=0.1, init="noise"),
    "fashion_10": Run("fashion", 10, 4, 32, 300),
}
NETWORKS = {"cifar10": ("convnet3", (32, 32, 3)), "fashion": ("convnet2", (28, 28, 1))}


def load(name, folder, held_out):
    """Return X_train, X_test, y_train, y_test; with `held_out` all from the training set."""
    X_train, X_test, y_train, y_test = (
        load_cifar10(folder) if name == "cifar10" else load_fashion_mnist(folder)
    )
    if held_out:
        order = np.random.RandomState(0).permutation(len(X_train))
        test, train = order[:4000], order[4000:]
        X_train, X_test, y_train, y_test = (
            X_train[train], X_train[test], y_train[train], y_train[test]
        )  # fmt: skip
    return X_train, X_test, y_train, y_test


def preprocess(name, X_train, X_test, whiten=True):
    """Whiten colour images as the talk does (regularised, 0.1), standardise grey ones."""
    if name == "fashion":
        return standardise_channels(X_train, X_test, n_channels=1)
    mean = X_train.mean(axis=0, dtype=np.float64).astype(np.float32)
    if not whiten:
        return X_train - mean, X_test - mean
    zca = RegularizedZCA(reg=0.1, layer_norm=False).fit(X_train - mean)
    return zca.transform(X_train - mean), zca.transform(X_test - mean)


def distil(run, X, y, seed):
    """Distil; with augmentation X is centred pixels, and whitened after it."""
    architecture, image_shape = NETWORKS[run.data]
    kernel = RandomFeatures(
        architecture, run.n_networks, run.width, kind=run.kind, image_shape=image_shape
    )
    if run.mirrored:
        kernel = Invariant(kernel, image_shape=image_shape)
    whitens = run.augment and run.data == "cifar10"
    distiller = KIPDistiller(
        kernel,
        ipc=run.ipc,
        loss=run.loss,
        labels=run.labels,
        augment=run.augment or None,
        image_shape=image_shape if run.augment else None,
        preprocess=RegularizedZCA(reg=0.1, layer_norm=False) if whitens else None,
        max_iter=run.max_iter,
        learning_rate=run.learning_rate,
        batch_size=run.batch_size,
        init=independent_noise(X, y, run.ipc, seed) if run.init == "noise" else run.init,
        validation_fraction=0.02,
        random_state=seed,
    )
    return distiller.fit(X, y)


def random_rows(run, kernel, X, y, seed):
    """Return kernel ridge regression on as many real rows."""
    rng = np.random.RandomState(seed)
    rows = [rng.permutation(np.flatnonzero(y == c))[: run.ipc] for c in np.unique(y)]
    rows = np.concatenate(rows)
    return KernelRidgeNTKClassifier(kernel).fit(X[rows], y[rows])


def main(arguments):
    print(provenance(), f"{arguments.seeds} seeds", sep=", ", end="\n\n")
    print("| run | seed | accuracy | of random rows | steps/s | minutes |")
    print("|---|---|---|---|---|---|")
    for name in arguments.runs:
        run = RUNS[name]._replace(**dict(arguments.set))
        X_train, X_test, y_train, y_test = load(run.data, arguments.data, arguments.held_out)
        accuracies = []
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            Z_train, Z_test = preprocess(run.data, X_train, X_test, whiten=not run.augment)
            fit_start = time.perf_counter()
            distiller = distil(run, Z_train, y_train, seed)
            per_second = run.max_iter / (time.perf_counter() - fit_start)
            accuracies.append(distiller.score(Z_test, y_test))
            minutes = (time.perf_counter() - start) / 60
            real = "-"  # of the run without augmentation
            if not run.augment:
                model = random_rows(run, distiller.predictor_.kernel_, Z_train, y_train, seed)
                real = f"{100 * model.score(Z_test, y_test):.1f}"
            print(
                f"| {name} | {seed} | {100 * accuracies[-1]:.1f} | {real} | {per_second:.1f} "
                f"| {minutes:.1f} |",
                flush=True,
            )
            if arguments.save:
                Path(arguments.save).mkdir(parents=True, exist_ok=True)
                np.savez(
                    Path(arguments.save) / f"{name}_{seed}.npz",
                    images=distiller.X_s_.reshape(-1, *NETWORKS[run.data][1]),
                    labels=distiller.y_s_,
                )
        print(f"| {name} | all | {mean_std(accuracies)} | | | |", flush=True)


def assignment(text):
    """Return ("max_iter", 100) of "max_iter=100"."""
    name, value = text.split("=")
    kind = type(Run._field_defaults.get(name, 0))
    return name, kind(value)


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    options.add_argument("--save", metavar="SETS", help="folder for the distilled sets")
    options.add_argument("--held-out", action="store_true", help="score on held-out training rows")
    options.add_argument(
        "--set", nargs="*", type=assignment, default=[], metavar="NAME=VALUE",
        help="other settings for the runs, such as max_iter=100 width=64",
    )  # fmt: skip
    main(options.parse_args())
