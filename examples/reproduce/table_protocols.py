"""Networks trained as later papers do, and as suits distilled sets: hard labels and soft ones.

    python examples/reproduce/table_convnet.py --data DIR --sets SETS
    python examples/reproduce/table_protocols.py --data DIR --sets SETS

The papers' training is `kipsk.networks.papers_protocol`: ConvNet-3 with instance normalisation,
cross-entropy, SGD and the augmentation of DSA. The own one is that of table_transfer.py: squared
error, Adam, a network minus its start. Random rows are trained on in the same ways; they have hard
labels alone.
"""

import numpy as np
import table_convnet as convnet
import table_transfer as transfer
from _common import SHAPES
from _record import Table, conditions

from kipsk.networks import papers_protocol

KINDS = {"random": "random rows", "kip": "KIP ConvNet", "kip_fixed": "KIP ConvNet, fixed labels"}
TRAININGS = {"papers": "papers' protocol", "own": "own training"}
LABELS = ("hard", "soft")
ROWS = {
    f"{kind}_{training}_{labels}": f"{KINDS[kind]}, {TRAININGS[training]}: {labels} labels"
    for kind in KINDS
    for training in TRAININGS
    for labels in LABELS
    if (kind, labels) != ("random", "soft")
}
PAPERS = {"width": 128, "n_epochs": 300, "learning_rate": 0.01}


def parts(row):
    """Return the set, the training and the labels of a row."""
    return *row.removesuffix("_hard").removesuffix("_soft").rsplit("_", 1), row.rsplit("_", 1)[1]


def papers_network(dataset, classes, seed, n_rows, params):
    """Return the network of later papers, not fitted."""
    params = dict(params)
    network = papers_protocol(
        SHAPES[dataset],
        n_rows=n_rows,
        n_epochs=params.pop("n_epochs"),
        flip=dataset in convnet.FLIPPED,
        classes=classes,
        random_state=seed,
    )
    return network.set_params(**params)


def training_of(training, dataset, ipc):
    return PAPERS if training == "papers" else transfer.training_of(dataset, ipc)


def main(arguments):
    table, sets = Table("table_protocols", ROWS, arguments), {}

    def params_of(row, dataset, ipc, seed):
        kind, training, labels = parts(row)
        made = {}
        if kind in transfer.DISTILLED:
            made = {"set": f"({transfer.set_settings(arguments, kind, dataset, ipc, seed)})"}
        own = {**training_of(training, dataset, ipc), **dict(arguments.set)}
        return {"training": training, "labels": labels, **own, **made, **conditions(arguments)}

    for cell in table.missing(params_of):
        kind, training, labels = parts(cell.row)
        data = transfer.data_of(arguments, cell.dataset)
        classes, key = np.unique(data[2]), (kind, *cell[1:4])
        if key not in sets:
            is_chosen = kind in transfer.CHOSEN
            make = transfer.chosen if is_chosen else transfer.distilled
            given = (kind, *key[2:], data[0], data[2]) if is_chosen else (table, *key)
            sets[key] = make(*given)
        X_s, y_s = sets[key]
        if labels == "hard":
            y_s = (y_s.argmax(axis=1)[:, None] == np.arange(len(classes))) - 1 / len(classes)
        params = {**training_of(training, *cell[1:3]), **dict(arguments.set)}
        if training == "papers":
            model = papers_network(cell.dataset, classes, cell.seed, len(X_s), params)
        else:
            model = transfer.network(cell.dataset, classes, cell.seed, params)
        accuracy, seconds = transfer.timed(model, X_s, y_s, data)
        table.record(cell, accuracy, seconds, model.max_iter)


def options():
    return transfer.options(__doc__, ROWS)


if __name__ == "__main__":
    main(options().parse_args())
