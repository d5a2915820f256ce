"""Distilled images against real ones that are chosen in six ways, under KRR and for a network.

    python examples/reproduce/table_baselines.py --data DIR --dataset cifar10 --sets SETS

Kernel ridge regression, with the kernel that table_convnet.py predicts with, and the network of
table_transfer.py at width 32 are trained on the same sets: those that SETS holds (table_convnet.py
makes them), or sets that are made here.
"""

import time
from functools import lru_cache

import numpy as np
import table_convnet as convnet
import table_transfer as transfer
from _record import Table, conditions

from kipsk import KernelRidgeNTKClassifier
from kipsk.baselines import CoresetSampler
from kipsk.kernels._base import prepare

METHODS = ("random", "herding", "k_center", "k_medoids", "k_means", "forgetting")
DISTILLED = {
    "ls": "LS ConvNet",
    "kip": "KIP ConvNet",
    "kip_fixed": "KIP ConvNet, fixed labels, from class centres",
}
ROWS = {method: f"{method} rows" for method in METHODS} | DISTILLED
ROWS["kip_network"] = "KIP ConvNet, the stage that trains the network best"
WIDTH = 32
ROWS_AT_ONCE = 500


def features(dataset, X):
    """Return the sampled features whose products are the kernel."""
    function = convnet.kernel_of(dataset).for_prediction().function()
    parts = [X[start : start + ROWS_AT_ONCE] for start in range(0, len(X), ROWS_AT_ONCE)]
    return np.concatenate([np.asarray(prepare(function, part)) for part in parts])


@lru_cache(maxsize=1)
def test_features(dataset, folder, held_out):
    """Return those of the test rows, once for all sets."""
    data, _ = convnet.prepared(dataset, folder, held_out, *whitening(dataset))
    return features(dataset, data[1])


def whitening(dataset):
    return int(convnet.SHAPES[dataset][-1] == 3), 0


def krr(dataset, X_s, y_s, Phi_t, y_t):
    """Return the accuracy of kernel ridge regression, of matrices made of features."""
    kernel = convnet.kernel_of(dataset)
    Phi_s = features(dataset, X_s).astype(np.float64)
    model = KernelRidgeNTKClassifier(
        "precomputed", reg=kernel.recommended_reg, classes=np.unique(y_t)
    )
    b = kernel.function().architecture.b_std ** 2
    model.fit(Phi_s @ Phi_s.T + b, y_s)
    return model.score(Phi_t @ Phi_s.T.astype(np.float32) + b, y_t)


def reduced(table, row, dataset, ipc, seed, X, y, training):
    """Return a set with centred targets."""
    if row in DISTILLED:
        return transfer.distilled(table, row, dataset, ipc, seed)
    if row == "kip_network":
        run = convnet.run_of("kip_fixed", dataset, ipc)
        model = transfer.network(dataset, None, seed, training)
        reducer = convnet.kip(run, dataset, ipc, X, y, seed).set_params(downstream=model)
        reducer.set_params(kernel=[reducer.kernel])  # no other kernels beside it
    else:
        reducer = CoresetSampler(row, ipc=ipc, random_state=seed)
    X_s, y_s = reducer.fit_resample(X, y)
    classes = np.unique(y)
    return X_s, (y_s[:, None] == classes) - 1 / len(classes)


def main(arguments):
    titles = {row: f"{title}: KRR" for row, title in ROWS.items()}
    table = Table("table_baselines", titles, arguments)

    def network(row, dataset, ipc):
        return {**transfer.training_of(dataset, ipc), "width": WIDTH, **dict(arguments.set)}

    def params_of(row, *key):
        made = {}
        if row in DISTILLED:
            made = {"set": f"({transfer.set_settings(arguments, row, *key)})"}
        return {**network(row, *key[:2]), **made, **conditions(arguments)}

    for cell in table.missing(params_of):
        data = transfer.data_of(arguments, cell.dataset)
        start = time.perf_counter()
        training = network(*cell[:3])
        X_s, y_s = reduced(table, *cell[:4], data[0], data[2], training)
        seconds = time.perf_counter() - start
        by_network, in_network = transfer.trained(cell, X_s, y_s, data, training)
        Phi_t = test_features(cell.dataset, arguments.data, arguments.held_out)
        by_krr = krr(cell.dataset, X_s, y_s, Phi_t, data[3])
        # The network first: a cell is done when its first figure is there.
        title = f"{ROWS[cell.row]}: NN"
        table.record(cell, by_network, in_network, training["max_iter"], title)
        table.record(cell, by_krr, seconds)


def options():
    return transfer.options(__doc__, ROWS)


if __name__ == "__main__":
    main(options().parse_args())
