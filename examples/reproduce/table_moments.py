"""Distillation by moments against steps on batches, under ConvNets, at the same time.

    python examples/reproduce/table_moments.py --data DIR --dataset cifar10 --ipc 1 10 50

The table has the accuracy on all test images of kernel ridge regression on distilled images, which
are made from the whole training set: by the moments of a fixed sample of networks, averaged over
mirror images where a mirror image is of the same class, and by new networks on a batch at every
step, for as many seconds as the moments took with their pass. Minutes include that pass, which is
made once for all sizes and seeds. `--rows ridge` is ridge regression on all rows in the same map.
`--rows cached finish` are two ways to use the Platt loss in that map: on batches of features that
are kept, and for some steps from where the moments ended. `--set rank=500` keeps so many leading
eigenvectors of H. `--curve` prints the accuracy on the way.
"""

import time
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from _common import (
    SHAPES,
    independent_noise,
    load,
    random_rows,
    speed_of_products,
    standardise_channels,
)
from _record import Table, conditions, table_parser
from sklearn.base import clone

from kipsk import KIPDistiller, Moments, RegularizedZCA
from kipsk._closed_form import _cholesky
from kipsk._distil._all_rows import best_ridge, with_ridge
from kipsk._distil._moments import features
from kipsk.architectures import shallow
from kipsk.kernels import Invariant, RandomFeatures

ROWS = {
    "moments": "KIP by moments",
    "batches": "KIP on batches, new networks at every step, for the same minutes",
    "cached": "KIP on batches, the map of the moments, Platt loss, for the same minutes",
    "finish": "KIP by moments, then steps of the Platt loss on batches, in the same map",
    "ridge": "Ridge regression on all rows, in the map of the moments",
}
FLIPPED = ("cifar10", "cifar100")
HELD_OUT = 5000
STEPS = {1: 1000, 10: 150, 50: 80}
REGS = {1: 0.1}  # else 0.01
PLATT = {"platt_steps": 200, "platt_rate": 0.003}  # of "finish"
CACHED = {"rate": 0.05, "batch": 500}


class Map(NamedTuple):
    """Settings of the map of features."""

    architecture: str = ""  # "": ConvNet3, or ConvNet2 for images that are too small for it
    filters: str = "normal"
    n_networks: int = 16
    width: int = 32
    mirrored: int = 1  # 0: the map tells an image from its mirror image
    size: int = 6  # of the filters of "shallow", as are the next four
    windows: int = 3
    threshold: float = 0.5
    pool: int = 3
    depth: int = 1

    @property
    def is_whitened(self):
        """Whether images are whitened before. "shallow" whitens patches instead."""
        return self.architecture != "shallow"


class Run(NamedTuple):
    """Settings of a fit, chosen on held-out training rows."""

    max_iter: int = 0  # 0: as STEPS says
    learning_rate: float = 0.2
    power: float = 0.25
    reg: float = 0  # 0: as REGS says
    factor: int = 1


def params_of(arguments, row, dataset, ipc, seed, changes=()):
    """Return the settings that a row depends on."""
    given = {"mirrored": int(dataset in FLIPPED), **dict(changes)}
    extra = {"finish": PLATT, "cached": CACHED}.get(row, {})
    extra = {name: given.pop(name, value) for name, value in extra.items()}
    if "rank" in given and row in ("moments", "finish"):
        extra["rank"] = given["rank"]
    for name in ("rank", *PLATT, *CACHED):
        given.pop(name, None)
    own = Map(**{name: given.pop(name) for name in Map._fields if name in given})
    if row == "ridge":  # one for all sizes
        return (
            {**own._asdict(), **conditions(arguments)}
            if (ipc, seed) == (arguments.ipc[0], 0)
            else None
        )
    run = Run(**given)
    if not run.max_iter:
        run = run._replace(max_iter=STEPS[ipc])
    if not run.reg:
        run = run._replace(reg=REGS.get(ipc, 0.01))
    return {**own._asdict(), **run._asdict(), **extra, **conditions(arguments, timed=True)}


@lru_cache(maxsize=1)
def prepared(dataset, folder, held_out, is_whitened):
    """Return Z_train, Z_test, y_train, y_test, and the seconds that Z took."""
    X_train, X_test, y_train, y_test = load(dataset, folder, HELD_OUT if held_out else 0)
    start = time.perf_counter()
    if not is_whitened:
        X_train, X_test = ((X / 255).astype(np.float32) for X in (X_train, X_test))
    elif SHAPES[dataset][-1] == 3:
        zca = RegularizedZCA(reg=0.1).fit(X_train / 255)
        X_train, X_test = zca.transform(X_train / 255), zca.transform(X_test / 255)
    else:
        X_train, X_test = standardise_channels(X_train, X_test, 1)
    return (X_train, X_test, y_train, y_test), time.perf_counter() - start


def kernel_of(dataset, own, resample=False):
    shape = SHAPES[dataset]
    architecture = own.architecture or ("convnet3" if shape[0] == 32 else "convnet2")
    if architecture == "shallow":
        architecture = shallow(own.size, own.windows, own.threshold, pool=own.pool, depth=own.depth)
    kernel = RandomFeatures(
        architecture,
        own.n_networks,
        own.width,
        filters=own.filters,
        image_shape=shape,
        resample=resample,
    )
    return Invariant(kernel, image_shape=shape) if own.mirrored else kernel


@lru_cache(maxsize=1)
def collected(dataset, folder, held_out, own):
    """Return the moments of the training rows, the ridge, and the seconds that they took."""
    (X, _, y, _), _ = prepared(dataset, folder, held_out, own.is_whitened)
    start = time.perf_counter()
    kernel = kernel_of(dataset, own)
    moments = Moments(kernel, classes=np.unique(y), verbose=1).fit(X, y)
    between = time.perf_counter()
    ridge = best_ridge(moments.quadratic())
    end = time.perf_counter()
    print(f"the pass over {len(X)} rows took {between - start:.0f} s, p = {len(moments.C_)}")
    print(f"the ridge, {ridge:.2g}, took {end - between:.0f} s", flush=True)
    return moments, ridge, end - start


def by_moments(moments, run, X, y, ipc, seed):
    """Return a distiller, not fitted."""
    n = ipc * run.factor**2
    if n == 1:
        init = independent_noise(X, y, 1, seed)
    else:
        rows = random_rows(X, y, n, seed)
        init = X[rows], y[rows]
    return KIPDistiller(
        moments.kernel_,
        ipc=ipc,
        factor=run.factor,
        init=init,
        max_iter=run.max_iter,
        learning_rate=run.learning_rate,
        reg=run.reg,
        random_state=seed,
        verbose=1,
    )


def on_batches(dataset, ipc, X, y, seed):
    """Return the distiller of table_convnet.py for the same cell, not fitted."""
    init = "sample"
    if ipc == 1 and SHAPES[dataset][-1] == 3:
        init = independent_noise(X, y, ipc, seed)
    return KIPDistiller(
        kernel_of(dataset, Map(n_networks=4, mirrored=0), resample=True),
        ipc=ipc,
        loss="platt",
        init=init,
        learning_rate=0.1 if ipc == 1 else 0.05,
        validation_fraction=0.02,
        max_iter=2000,
        batch_size=500,
        random_state=seed,
        verbose=1,
    )


def on_cached_features(model, params):
    """Return the distiller for batches whose features are computed once, not fitted."""
    return model.set_params(
        loss="platt",
        learning_rate=params["rate"],
        batch_size=params["batch"],
        validation_fraction=0.02,
        max_iter=20_000,
    )


def finished(model, params, X, y):
    """Return a distiller that went on from the set of another, by the Platt loss on batches."""
    goes_on = clone(model).set_params(
        init=(model.X_s_, model.y_s_),
        loss="platt",
        learning_rate=params["platt_rate"],
        batch_size=2500,
        validation_fraction=0.02,
        max_iter=params["platt_steps"],
    )
    return goes_on.fit(X, y)


def main(arguments):
    table = Table("table_moments", ROWS, arguments)
    spent = {}
    print(f"{speed_of_products():.0f} GFLOP/s in products of float32 matrices", flush=True)
    for cell in table.missing(lambda *key: params_of(arguments, *key, arguments.set)):
        own = Map(*(cell.params[name] for name in Map._fields))
        is_whitened = own.is_whitened or cell.row == "batches"
        data, seconds = prepared(cell.dataset, arguments.data, arguments.held_out, is_whitened)
        X_train, X_test, y_train, y_test = data
        if cell.row != "batches":
            key = cell.dataset, arguments.data, arguments.held_out, own
            moments, ridge, pass_seconds = collected(*key)
        start = time.perf_counter()
        if cell.row == "ridge":
            accuracy = ridge_accuracy(moments, X_test, y_test, ridge)
            table.record(cell, accuracy, seconds + pass_seconds + time.perf_counter() - start)
            continue
        run = Run(*(cell.params[name] for name in Run._fields))
        if cell.row in ("moments", "finish"):
            model = by_moments(moments, run, X_train, y_train, cell.ipc, cell.seed)
            if arguments.curve and cell.row == "moments":
                model.set_params(snapshots=snapshots(model.max_iter))
            rank = cell.params.get("rank")
            model.fit_moments(moments, ridge=ridge, power=run.power, rank=rank)
            if cell.row == "finish":
                model = finished(model, cell.params, X_train, y_train)
            seconds += pass_seconds
        else:
            if cell.row == "cached":
                model = by_moments(moments, run, X_train, y_train, cell.ipc, cell.seed)
                model = on_cached_features(model, cell.params)
            else:
                model = on_batches(cell.dataset, cell.ipc, X_train, y_train, cell.seed)
            table.arguments.budget = (spent[cell.ipc] - seconds) / 60
            model.set_params(max_iter=table.max_iter(cell, model, X_train, y_train))
            table.arguments.budget = None
            if arguments.curve:
                model.set_params(snapshots=snapshots(model.max_iter))
            start = time.perf_counter()
            model.fit(X_train, y_train)
        fit_seconds = time.perf_counter() - start
        if cell.row == "moments":
            spent.setdefault(cell.ipc, seconds + fit_seconds)
        table.record(cell, model.score(X_test, y_test), seconds + fit_seconds, model.n_iter_)
        if arguments.curve:
            show_curve(model, X_test, y_test, seconds, fit_seconds)


def snapshots(max_iter):
    """Return steps before which to keep the support: more of them at first, where it is fastest."""
    shares = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    return sorted({round(share * max_iter) for share in shares})


def show_curve(model, X, y, seconds, fit_seconds):
    """Print the accuracy after some steps; the labels of a snapshot are its own."""
    function, reg = model.predictor_.kernel_.function(), model.predictor_.reg_
    Phi = all_features(function, X)
    for step, (X_s, y_s) in model.snapshots_.items():
        Phi_s = all_features(function, X_s).astype(np.float64)
        K = Phi_s @ Phi_s.T
        K += reg * np.trace(K) / len(K) * np.eye(len(K))
        predicted = (Phi @ (Phi_s.T @ np.linalg.solve(K, y_s))).argmax(axis=1)
        at = seconds + fit_seconds * step / model.n_iter_
        hits = model.classes_[predicted] == y
        print(f"  step {step}, {at:.0f} s: {100 * hits.mean():.2f}", flush=True)


def all_features(function, X):
    """Return the features of all rows, which are computed in blocks."""
    return np.concatenate([features(function, X[i : i + 2500]) for i in range(0, len(X), 2500)])


def ridge_accuracy(moments, X, y, ridge=None):
    """Return the accuracy of ridge regression on all rows; None is cross-validation's ridge."""
    quadratic = moments.quadratic()
    ridge = best_ridge(quadratic) if ridge is None else ridge
    regularised = with_ridge(quadratic, ridge)
    W = _cholesky.solve(_cholesky.factor(regularised.H), regularised.C)
    predicted = (all_features(moments.kernel_.function(), X) @ W).argmax(axis=1)
    return float(np.mean(moments.classes_[predicted] == y))


def options():
    result = table_parser(__doc__.splitlines()[0], ROWS)
    result.add_argument("--curve", action="store_true", help="print the accuracy on the way")
    return result


if __name__ == "__main__":
    main(options().parse_args())
