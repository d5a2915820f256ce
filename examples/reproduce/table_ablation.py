"""The talk's ablation: whitening, learned labels and augmentation, under KRR and for a network.

    python examples/reproduce/table_ablation.py --data DIR --dataset cifar10 --ipc 10 --budget 2

KIP runs with sampled ConvNet kernels as in table_convnet.py, with and without each of the three. A
narrower network than that of table_transfer.py is trained on each set. Without whitening, pixels
are standardised.
"""

import time
from itertools import product

import table_convnet as convnet
import table_transfer as transfer
from _record import Table, conditions, table_parser

PARTS = ("whitened", "labels", "augmented")
TITLES = {"whitened": "ZCA", "labels": "labels", "augmented": "aug"}
# Keys and titles such as "zca_aug" and "ZCA, aug"; "none" without any.
ROWS = {
    "_".join(given).lower() or "none": ", ".join(given) or "none"
    for switches in product((1, 0), repeat=3)
    for given in [[TITLES[p] for p, on in zip(PARTS, switches, strict=True) if on]]
}


WIDTH = 64  # of the network


def params_of(arguments, row, dataset, ipc):
    """Return the settings of a row's distiller, and those of the network in one."""
    parts = row.split("_")
    changes = {
        "whitened": int("zca" in parts),
        "labels": "learned" if "labels" in parts else "fixed",
        "augmented": int("aug" in parts),
        **dict(arguments.set),
    }
    run = convnet.run_of("kip", dataset, ipc, changes.items())
    return {**run._asdict(), "network_width": WIDTH, **conditions(arguments, timed=True)}


def main(arguments):
    table = Table(
        "table_ablation", {row: f"{title}: KRR" for row, title in ROWS.items()}, arguments
    )
    for cell in table.missing(lambda *key: params_of(arguments, *key[:3])):
        place = cell.dataset, arguments.data, arguments.held_out
        augmented, whitened = cell.params["augmented"], cell.params["whitened"]
        data, seconds = convnet.prepared(*place, whitened, augmented)
        model, steps, fit_seconds = convnet.fitted(table, cell, data[0], data[2])
        start = time.perf_counter()
        accuracy = model.score(data[1], data[3])
        if augmented and whitened:  # in the fit, and so must be the network's test rows
            data = data[0], model.preprocess_.transform(data[1]), *data[2:]
        in_krr = seconds + fit_seconds + time.perf_counter() - start
        training = {**transfer.training_of(cell.dataset, cell.ipc), "width": WIDTH}
        by_network, in_network = transfer.trained(cell, model.X_s_, model.y_s_, data, training)
        # The network first: a cell is done when its first figure is there.
        title = f"{ROWS[cell.row]}: NN"
        table.record(cell, by_network, in_network, training["max_iter"], title)
        table.record(cell, accuracy, in_krr, steps)


def options():
    return table_parser(__doc__.splitlines()[0], ROWS, ipc=[10])


if __name__ == "__main__":
    main(options().parse_args())
