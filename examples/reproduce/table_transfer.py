"""Networks of finite width that are trained on distilled sets, on random rows and on herding rows.

    python examples/reproduce/table_convnet.py --data DIR --sets SETS
    python examples/reproduce/table_transfer.py --data DIR --sets SETS

A distilled set that SETS does not hold is made with the settings of table_convnet.py. All networks
are trained in the same way, which was chosen on held-out training rows.
"""

import time

import numpy as np
import table_convnet as convnet
from _common import SHAPES, random_rows
from _record import Cell, Table, conditions, shown, table_parser

from kipsk.architectures import get_architecture
from kipsk.baselines import CoresetSampler
from kipsk.networks import FiniteNetworkClassifier

CHOSEN = {"random": "Random subset, NN", "herding": "Herding, NN", "forgetting": "Forgetting, NN"}
DISTILLED = {
    "ls": "LS ConvNet -> NN",
    "kip": "KIP ConvNet -> NN",
    "kip_fixed": "KIP ConvNet, fixed labels, from class centres -> NN",
    "kip_aug": "KIP ConvNet, aug -> NN",
}
ROWS = {**CHOSEN, **DISTILLED}
TRAINING = {
    "width": 128,
    "max_iter": 200,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "centering": 1,
    "l2": 0.0,
}


def training_of(dataset, ipc):
    """Return the settings of a training: full-batch, in batches where there are many rows."""
    many = ipc * (100 if dataset == "cifar100" else 10) > 100
    return {**TRAINING, "max_iter": 400, "batch_size": 100} if many else TRAINING


def network(dataset, classes, seed, params):
    """Return the kernel's network, not fitted."""
    params = {**params, "centering": bool(params["centering"])}
    return FiniteNetworkClassifier(
        get_architecture(convnet.architecture_of(dataset)),
        image_shape=SHAPES[dataset],
        classes=classes,
        random_state=seed,
        **params,
    )


def data_of(arguments, dataset, augmented=0):
    whitened = int(SHAPES[dataset][-1] == 3)
    return convnet.prepared(dataset, arguments.data, arguments.held_out, whitened, augmented)[0]


def chosen(kind, ipc, seed, X, y):
    """Return rows of the training set, and their targets."""
    if kind == "random":
        rows = random_rows(X, y, ipc, seed)
    else:
        sampler = CoresetSampler(kind, ipc=ipc, random_state=seed)
        sampler.fit_resample(X, y)
        rows = sampler.sample_indices_
    classes = np.unique(y)
    return X[rows], (y[rows][:, None] == classes) - 1 / len(classes)


def set_settings(arguments, *key):
    """Return the settings that a distilled set was made with, or will be."""
    path = convnet.set_file(arguments, *key)
    if path is None or not path.exists():
        return shown(convnet.params_of(arguments, *key[:3]))
    with np.load(path) as data:
        return str(data["settings"]) if "settings" in data else ""


def distilled(table, kind, dataset, ipc, seed):
    """Return a distilled set of SETS, or make it: that of a cell of table_convnet.py."""
    path = convnet.set_file(table.arguments, kind, dataset, ipc, seed)
    if path is not None and path.exists():
        with np.load(path) as data:
            return data["images"].reshape(len(data["images"]), -1), data["labels"]
    params = convnet.params_of(table.arguments, kind, dataset, ipc)
    X, _, y, _ = data_of(table.arguments, dataset, params.get("augmented", 0))
    cell = Cell(kind, dataset, ipc, seed, params)
    model, _, _ = convnet.fitted(table, cell, X, y)
    convnet.save(table.arguments, cell, model)
    return model.X_s_, model.y_s_


def trained(cell, X_s, y_s, data, params):
    """Return the accuracy of a network and the seconds of its training and test."""
    return timed(network(cell.dataset, np.unique(data[2]), cell.seed, params), X_s, y_s, data)


def timed(model, X_s, y_s, data):
    """Return the test accuracy of a network after training, and the seconds of both."""
    start = time.perf_counter()
    accuracy = model.fit(X_s, y_s).score(data[1], data[3])
    return accuracy, time.perf_counter() - start


def measure(name, titles, arguments, setting):
    """Fill a table; `setting(row)` is the kind of the training set and changes to `TRAINING`."""
    table, sets = Table(name, titles, arguments), {}

    def training(row, dataset, ipc):
        return {**training_of(dataset, ipc), **setting(row)[1], **dict(arguments.set)}

    def params_of(row, *key):
        kind = setting(row)[0]
        made = {} if kind in CHOSEN else {"set": f"({set_settings(arguments, kind, *key)})"}
        return {**training(row, *key[:2]), **made, **conditions(arguments)}

    for cell in table.missing(params_of):
        data = data_of(arguments, cell.dataset)
        key = setting(cell.row)[0], *cell[1:4]
        if key not in sets:
            X, _, y, _ = data
            is_chosen = key[0] in CHOSEN
            sets[key] = chosen(key[0], *key[2:], X, y) if is_chosen else distilled(table, *key)
        params = training(*cell[:3])
        accuracy, seconds = trained(cell, *sets[key], data, params)
        table.record(cell, accuracy, seconds, params["max_iter"])


def main(arguments):
    measure("table_transfer", ROWS, arguments, lambda row: (row, {}))


def options(description=__doc__, rows=ROWS, **defaults):
    result = table_parser(description.splitlines()[0], rows, **defaults)
    result.add_argument("--sets", metavar="SETS", help="folder of distilled sets")
    return result


if __name__ == "__main__":
    main(options().parse_args())
