"""The talk's fully connected kernels: KIP with FC1 and RBF kernels, Label Solve, and a network.

    python examples/reproduce/table_fc.py --data DIR --dataset cifar10 --ipc 1 10

The table has the accuracy on all test images; pixels are standardised for each channel. Rows with
"a" (augmented targets) take the training images and eight copies of each, mirrored (CIFAR) and
shifted at random, in 400 principal components: a rotation of its inputs makes no difference to a
fully connected kernel, losing the directions without variance makes hardly any, and a step takes a
seventh of the time.
"""

import time
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np
from _common import SHAPES, independent_noise, load, random_rows, standardise_channels
from _record import Table, conditions, table_parser
from sklearn.decomposition import PCA

from kipsk import KIPDistiller, LabelSolver, Moments
from kipsk.augment import Flip, Shift
from kipsk.kernels import Invariant, Landmarks
from kipsk.networks import FiniteNetworkClassifier

ROWS = {
    "kip": "FC1 KIP",
    "kip_l": "FC1 KIP (l)",
    "kip_al": "FC1 KIP (a+l)",
    "kip_al_mirrored": "FC1 KIP (a+l) blind to mirroring",
    "kip_al_moments": "FC1 KIP (a+l) blind to mirroring, by moments of landmarks",
    "rbf": "RBF KIP",
    "rbf_al": "RBF KIP (a+l)",
    "kip_nn": "FC1 KIP -> NN",
    "ls": "FC1 NNGP LS",
    "kip_solved": "FC1 KIP, solved labels",
    "kip_l_noise": "FC1 KIP (l) from noise",
    "kip_l_independent": "FC1 KIP (l) from noise of independent features",
}
MIRRORED = ("cifar10", "cifar100")
N_COPIES = 8
N_COMPONENTS = 400  # 98 % of CIFAR-10's variance
HELD_OUT = 5000
SHORT = {"max_iter": 300, "batch_size": 5000, "reg": 1e-6}
# Chosen on held-out training rows, at 10 images per class.
LONG = {"batch_size": 5000, "loss": "platt", "learning_rate": 0.16, "validation_fraction": 0.02}
LONG_STEPS = {1: 3000, 10: 6000, 50: 2000}
# Landmarks cost as much as copies, and are worth more.
BY_MOMENTS = {
    "n_landmarks": 7000,
    "n_copies": 4,
    "max_iter": 400,
    "learning_rate": 0.1,
    "reg": 1e-3,
    "power": 0.25,
}
NETWORK = {"width": 1024, "centering": True, "l2": 0.0}


def params_of(arguments, row, dataset, ipc):
    """Return the parameters of a row's distiller, or None if it is not for the data set."""
    if row == "ls":
        return {"kernel": "fc1_nngp", **conditions(arguments)}
    if ("mirrored" in row or "moments" in row) and dataset not in MIRRORED:
        return None
    if "moments" in row:
        return {**BY_MOMENTS, **dict(arguments.set), **conditions(arguments, timed=True)}
    kernel = "rbf" if row.startswith("rbf") else "fc1"
    if "_al" in row:
        params = {"kernel": kernel, "max_iter": LONG_STEPS.get(ipc, 6000), **LONG}
    else:
        labels = {"kip": "fixed", "kip_nn": "fixed", "rbf": "fixed", "kip_solved": "solved"}
        params = {"kernel": kernel, "labels": labels.get(row, "learned"), **SHORT}
    return {**params, **dict(arguments.set), **conditions(arguments, timed=True)}


@lru_cache(maxsize=1)
def images_of(dataset, folder, held_out):
    """Return X_train, X_test, y_train, y_test, and the seconds without reading."""
    X_train, X_test, y_train, y_test = load(dataset, folder, HELD_OUT if held_out else 0)
    start = time.perf_counter()
    X = standardise_channels(X_train, X_test, SHAPES[dataset][-1])
    return (*X, y_train, y_test), time.perf_counter() - start


@dataclass(frozen=True)
class Signs:
    """Mirrors rows of principal components that are even or odd functions of left and right."""

    values: tuple[int, ...]

    def __call__(self, X):
        return X * np.array(self.values, X.dtype)


def augmented(dataset, images, key):
    """Return rows of the images, each moved at random and, of some sets, half of them mirrored."""
    augment = Shift((2 if dataset in MIRRORED else 1) / images.shape[1])
    if dataset in MIRRORED:
        augment = Flip() >> augment
    parts = [
        np.asarray(augment(jax.random.fold_in(key, start), images[start : start + 5000]))
        for start in range(0, len(images), 5000)
    ]
    return np.concatenate(parts).reshape(len(images), -1)


@lru_cache(maxsize=1)
def copies_of(dataset, folder, held_out):
    """Return as `images_of` principal components of rows and copies, and of test rows; the mirror.

    Of rows and mirrored rows together, each component is even or odd, so that mirroring changes
    signs.
    """
    (X_train, X_test, y_train, y_test), seconds = images_of(dataset, folder, held_out)
    start = time.perf_counter()
    images = X_train.reshape(-1, *SHAPES[dataset])
    mirrored = images[:, :, ::-1].reshape(X_train.shape)
    pca = PCA(min(N_COMPONENTS, X_train.shape[1]), svd_solver="covariance_eigh")
    pca.fit(np.concatenate([X_train, mirrored]))
    Z = pca.transform(X_train)
    signs = np.sign(np.sum(Z * pca.transform(mirrored), axis=0))
    keys = jax.random.split(jax.random.key(0), N_COPIES)
    copies = [pca.transform(augmented(dataset, images, key)) for key in keys]
    data = np.concatenate([Z, *copies]), pca.transform(X_test), np.tile(y_train, N_COPIES + 1)
    mirror = Signs(tuple(signs.astype(int)))
    return (*data, y_test), seconds + time.perf_counter() - start, mirror


def distiller_of(cell, X, y, mirror):
    """Return a row's estimator, not fitted."""
    extra = ("budget", "held_out")
    params = {name: value for name, value in cell.params.items() if name not in extra}
    if cell.row == "ls":
        return LabelSolver(params["kernel"], ipc=cell.ipc, random_state=cell.seed)
    if cell.row == "kip_al_mirrored":
        params["kernel"] = Invariant(params["kernel"], mirror)
    if cell.row == "kip_l_noise":
        params["init"] = "noise"
    if cell.row == "kip_l_independent":
        params["init"] = independent_noise(X, y, cell.ipc, cell.seed)
    return KIPDistiller(ipc=cell.ipc, random_state=cell.seed, **params)


def by_moments(cell, X, y, mirror):
    """Return a fitted distiller, which saw all rows, or as many copies of them, once."""
    rng = np.random.RandomState(cell.seed)
    params = cell.params
    n = len(X) // (N_COPIES + 1) * params["n_copies"]  # the rows themselves are the first copy
    X, y = X[:n], y[:n]
    chosen = X[rng.permutation(len(X))[: params["n_landmarks"]]]
    kernel = Landmarks(Invariant("fc1", mirror), landmarks=chosen).resolve(chosen)
    start = time.perf_counter()
    moments = Moments(kernel, classes=np.unique(y), verbose=1).fit(X, y)
    print(f"the pass took {time.perf_counter() - start:.0f} s", flush=True)
    rows = random_rows(X, y, cell.ipc, cell.seed)
    model = KIPDistiller(
        moments.kernel_,
        ipc=cell.ipc,
        init=(X[rows], y[rows]),
        max_iter=params["max_iter"],
        learning_rate=params["learning_rate"],
        reg=params["reg"],
        random_state=cell.seed,
        verbose=1,
    )
    model.fit_moments(moments, power=params["power"])
    print(f"ridge {model.ridge_:.2g}, {time.perf_counter() - start:.0f} s", flush=True)
    return model


def main(arguments):
    table = Table("table_fc", ROWS, arguments)
    for cell in table.missing(lambda *key: params_of(arguments, *key[:3])):
        place = cell.dataset, arguments.data, arguments.held_out
        (data, seconds), mirror = images_of(*place), None
        if "_al" in cell.row:
            data, seconds, mirror = copies_of(*place)
        X_train, X_test, y_train, y_test = data
        if cell.row == "kip_al_moments":
            start = time.perf_counter()
            model = by_moments(cell, X_train, y_train, mirror)
            accuracy = model.score(X_test, y_test)
            table.record(cell, accuracy, seconds + time.perf_counter() - start, model.n_iter_)
            continue
        model, steps = distiller_of(cell, X_train, y_train, mirror), ""
        if cell.row != "ls":
            steps = table.max_iter(cell, model, X_train, y_train)
            model.set_params(max_iter=steps)
        start = time.perf_counter()
        model.fit(X_train, y_train)
        if cell.row == "kip_nn":
            network = FiniteNetworkClassifier(
                "fc1", classes=model.classes_, random_state=cell.seed, **NETWORK
            )
            model = network.fit(model.X_s_, model.y_s_)
        accuracy = model.score(X_test, y_test)
        table.record(cell, accuracy, seconds + time.perf_counter() - start, steps)


def options():
    return table_parser(__doc__.splitlines()[0], ROWS)


if __name__ == "__main__":
    main(options().parse_args())
