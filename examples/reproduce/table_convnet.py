"""The talk's ConvNets under kernel ridge regression: KIP and Label Solve with sampled kernels.

    python examples/reproduce/table_convnet.py --data DIR --dataset cifar10 --ipc 1 10 --budget 3

The table has the accuracy on all test images of kernel ridge regression on distilled images, which
are made from the whole training set. The network is ConvNet3 for 32 x 32 images, and has two layers
for smaller ones. Colour images are whitened as in the talk, grey ones standardised. `--sets` keeps
the distilled sets, on which table_transfer.py trains networks.
"""

import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import SHAPES, independent_noise, load, random_rows, standardise_channels
from _record import Table, conditions, shown, table_parser

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver, RegularizedZCA
from kipsk.augment import Flip, Shift
from kipsk.kernels import Invariant, RandomFeatures

ROWS = {
    "random": "Random rows, KRR",
    "ls": "LS ConvNet, KRR",
    "kip": "KIP ConvNet, KRR, no aug",
    "kip_aug": "KIP ConvNet, KRR, aug",
    "kip_fixed": "KIP ConvNet, KRR, fixed labels, from class centres",
    "kip_mirrored": "KIP ConvNet blind to mirroring, KRR",
}
FLIPPED = ("cifar10", "cifar100")  # a mirrored digit is none, and all shoes point one way
HELD_OUT = 5000


class Run(NamedTuple):
    """Settings of a fit; the learning rates and starts were chosen on held-out training rows."""

    n_networks: int = 4
    width: int = 32
    max_iter: int = 600
    learning_rate: float = 0.05
    batch_size: int = 500
    init: str = "sample"  # or "noise", of independent features
    loss: str = "platt"
    labels: str = "learned"
    augmented: int = 0
    whitened: int = 0
    mirrored: int = 0  # 1: the kernel averaged over mirror images


def run_of(row, dataset, ipc, changes=()):
    """Return the settings of a row of this table, or None if the row is not for the data set."""
    run = Run(whitened=int(SHAPES[dataset][-1] == 3))
    if ipc == 1:
        init = "noise" if run.whitened else "sample"
        run = run._replace(max_iter=500, learning_rate=0.1, init=init)
    if row == "kip_aug":
        run = run._replace(augmented=1)
    if row == "kip_fixed":
        run = run._replace(labels="fixed", init="kmeans")
    if row == "kip_mirrored":
        if dataset not in FLIPPED:
            return None
        run = run._replace(n_networks=8, max_iter=750, mirrored=1)
    return run._replace(**dict(changes))


def params_of(arguments, row, dataset, ipc, changes=()):
    """Return the settings that a row depends on."""
    run = run_of(row, dataset, ipc, changes)
    if run is None:
        return None
    if row not in ("random", "ls"):
        return {**run._asdict(), **conditions(arguments, timed=True)}
    return {"width": run.width, "whitened": run.whitened, **conditions(arguments)}


@lru_cache(maxsize=2)
def prepared(dataset, folder, held_out, whitened, augmented):
    """Return Z_train, Z_test, y_train, y_test, and the seconds that Z took.

    With augmentation rows to be whitened are centred only: whitening follows in the fit.
    """
    X_train, X_test, y_train, y_test = load(dataset, folder, HELD_OUT if held_out else 0)
    start = time.perf_counter()
    if whitened:
        mean = X_train.mean(axis=0, dtype=np.float64).astype(np.float32)
        X_train, X_test = X_train - mean, X_test - mean
        if not augmented:
            zca = zca_of_the_talk().fit(X_train)
            X_train, X_test = zca.transform(X_train), zca.transform(X_test)
    else:
        X_train, X_test = standardise_channels(X_train, X_test, SHAPES[dataset][-1])
    return (X_train, X_test, y_train, y_test), time.perf_counter() - start


def zca_of_the_talk():
    return RegularizedZCA(reg=0.1, layer_norm=False)


def architecture_of(dataset):
    return "convnet3" if SHAPES[dataset][0] == 32 else "convnet2"


def kernel_of(dataset, n_networks=4, width=32):
    return RandomFeatures(architecture_of(dataset), n_networks, width, image_shape=SHAPES[dataset])


def augmentation_of(dataset):
    shift = Shift(max(1 / 16, 1 / SHAPES[dataset][0]))  # by a pixel, at least
    return Flip() >> shift if dataset in FLIPPED else shift


def kip(run, dataset, ipc, X, y, seed):
    """Return a distiller, not fitted."""
    kernel, image_shape = kernel_of(dataset, run.n_networks, run.width), SHAPES[dataset]
    return KIPDistiller(
        Invariant(kernel, image_shape=image_shape) if run.mirrored else kernel,
        ipc=ipc,
        loss=run.loss,
        labels=run.labels,
        augment=augmentation_of(dataset) if run.augmented else None,
        image_shape=image_shape if run.augmented else None,
        preprocess=zca_of_the_talk() if run.augmented and run.whitened else None,
        max_iter=run.max_iter,
        learning_rate=run.learning_rate,
        batch_size=run.batch_size,
        init=independent_noise(X, y, ipc, seed) if run.init == "noise" else run.init,
        validation_fraction=0.02,
        random_state=seed,
    )


def fitted(table, cell, X, y):
    """Return a cell's model, fitted, and the steps and seconds that it took."""
    row, dataset, ipc, seed, params = cell
    start, steps = time.perf_counter(), ""
    kernel = kernel_of(dataset, width=params["width"]).for_prediction()
    if row == "random":
        rows = random_rows(X, y, ipc, seed)
        model = KernelRidgeNTKClassifier(kernel).fit(X[rows], y[rows])
    elif row == "ls":
        model = LabelSolver(kernel, ipc, random_state=seed).fit(X, y)
    else:
        run = Run(*(params[name] for name in Run._fields))
        model = kip(run, dataset, ipc, X, y, seed)
        steps = table.max_iter(cell, model, X, y)
        start = time.perf_counter()
        model.set_params(max_iter=steps).fit(X, y)
    return model, steps, time.perf_counter() - start


def set_file(arguments, row, dataset, ipc, seed):
    """Return the path of a distilled set, or None without --sets."""
    if arguments.sets is None:
        return None
    held_out = "_held_out" if arguments.held_out else ""
    return Path(arguments.sets) / f"{dataset}_{ipc}_{row}{held_out}_{seed}.npz"


def save(arguments, cell, model):
    path = set_file(arguments, *cell[:4])
    if path is not None and cell.row != "random":
        path.parent.mkdir(parents=True, exist_ok=True)
        images = model.X_s_.reshape(-1, *SHAPES[cell.dataset])
        np.savez(path, images=images, labels=model.y_s_, settings=shown(cell.params))


def main(arguments):
    table = Table("table_convnet", ROWS, arguments)
    for cell in table.missing(lambda *key: params_of(arguments, *key[:3], arguments.set)):
        augmented = cell.params.get("augmented", 0)
        data, seconds = prepared(
            cell.dataset, arguments.data, arguments.held_out, cell.params["whitened"], augmented
        )
        X_train, X_test, y_train, y_test = data
        model, steps, fit_seconds = fitted(table, cell, X_train, y_train)
        start = time.perf_counter()
        accuracy = model.score(X_test, y_test)
        seconds += fit_seconds + time.perf_counter() - start
        table.record(cell, accuracy, seconds, steps)
        save(arguments, cell, model)


def options():
    result = table_parser(__doc__.splitlines()[0], ROWS)
    result.add_argument("--sets", metavar="SETS", help="folder to keep the distilled sets in")
    return result


if __name__ == "__main__":
    main(options().parse_args())
