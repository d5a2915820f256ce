"""Networks of finite width trained on distilled sets, on random rows and on those of herding.

    python examples/reproduce/table_convnet.py --data DIR --sets SETS
    python examples/reproduce/table_transfer.py --data DIR --sets SETS

A distilled set that is not in SETS is made, with the settings of table_convnet.py. All networks
are trained alike; how was chosen on held-out training rows.
"""

import time

import numpy as np
import table_convnet as convnet
from _common import SHAPES, random_rows
from _record import Table, conditions, shown, table_parser

from kipsk.architectures import get_architecture
from kipsk.baselines import CoresetSampler
from kipsk.networks import FiniteNetworkClassifier

CHOSEN = {"random": "Random subset, NN", "herding": "Herding, NN", "forgetting": "Forgetting, NN"}
DISTILLED = {"kip": "KIP ConvNet -> NN", "kip_aug": "KIP ConvNet, aug -> NN"}
ROWS = {**CHOSEN, "ls": "LS ConvNet -> NN", **DISTILLED}
TRAINING = {
    "width": 128,
    "max_iter": 200,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "centering": 1,
    "l2": 0.0,
}


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


def made(table, cell, X, y):
    """Return a distilled set that is not in SETS: of the cell of table_convnet.py."""
    cell = cell._replace(params=convnet.params_of(table.arguments, *cell[:3]))
    if cell.params.get("augmented"):
        X = data_of(table.arguments, cell.dataset, augmented=1)[0]
    model, _, _ = convnet.fitted(table, cell, X, y)
    convnet.save(table.arguments, cell, model)
    return model.X_s_, model.y_s_


def data_of(arguments, dataset, augmented=0):
    whitened = int(SHAPES[dataset][-1] == 3)
    return convnet.prepared(dataset, arguments.data, arguments.held_out, whitened, augmented)[0]


def training_set(table, cell, X, y):
    """Return the rows and targets of a cell's training set."""
    row, dataset, ipc, seed, _ = cell
    if row in CHOSEN:
        rows, classes = random_rows(X, y, ipc, seed), np.unique(y)
        if row != "random":
            sampler = CoresetSampler(row, ipc=ipc, random_state=seed)
            sampler.fit_resample(X, y)
            rows = sampler.sample_indices_
        return X[rows], (y[rows][:, None] == classes) - 1 / len(classes)
    path = convnet.set_file(table.arguments, row, dataset, ipc, seed)
    if path is None or not path.exists():
        return made(table, cell, X, y)
    with np.load(path) as data:
        return data["images"].reshape(len(data["images"]), -1), data["labels"]


def settings_of_set(arguments, row, dataset, ipc, seed):
    """Return the settings that a distilled set was made with, or will be."""
    path = convnet.set_file(arguments, row, dataset, ipc, seed)
    if path is None or not path.exists():
        return shown(convnet.params_of(arguments, row, dataset, ipc))
    with np.load(path) as data:
        return str(data["settings"]) if "settings" in data else ""


def params_of(arguments, row, dataset, ipc, seed):
    params = {**TRAINING, **dict(arguments.set), **conditions(arguments)}
    if row in CHOSEN:
        return params
    return {**params, "set": f"({settings_of_set(arguments, row, dataset, ipc, seed)})"}


def trained(cell, X_s, y_s, data, params):
    """Return the accuracy and the seconds of a network's training and test."""
    start = time.perf_counter()
    model = network(cell.dataset, np.unique(data[2]), cell.seed, params).fit(X_s, y_s)
    return model.score(data[1], data[3]), time.perf_counter() - start


def main(arguments):
    table = Table("table_transfer", ROWS, arguments)
    for cell in table.missing(lambda *key: params_of(arguments, *key)):
        data = data_of(arguments, cell.dataset)
        X_s, y_s = training_set(table, cell, data[0], data[2])
        params = {name: cell.params[name] for name in TRAINING}
        accuracy, seconds = trained(cell, X_s, y_s, data, params)
        table.record(cell, accuracy, seconds, params["max_iter"])


def options(description=__doc__, rows=ROWS, **defaults):
    result = table_parser(description.splitlines()[0], rows, **defaults)
    result.add_argument("--sets", metavar="SETS", help="folder of distilled sets")
    return result


if __name__ == "__main__":
    main(options().parse_args())
