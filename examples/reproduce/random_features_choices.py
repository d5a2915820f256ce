"""How sampled ConvNet KIP grows with networks, width, steps and batch, on held-out training rows.

    python examples/reproduce/random_features_choices.py --data DIR

The runs are on whitened CIFAR-10, with 10 images per class and one seed; 4000 of the training rows
are held out and scored. Every line of the table changes the first line in one respect. The script
takes about twenty minutes on 2 CPU cores.
"""

import numpy as np
from _common import load, parser, provenance
from table_convnet import Run, kip, zca_of_the_talk

BASE = Run(max_iter=200)
CHANGES = [
    {},
    {"n_networks": 1},
    {"n_networks": 8},
    {"n_networks": 1, "width": 64},
    {"max_iter": 50},
    {"loss": "mse"},
    {"n_networks": 16, "width": 16},
    {"n_networks": 1, "width": 128},
    {"batch_size": 250},
    {"batch_size": 1000},
    {"max_iter": 60, "labels": "solved", "loss": "mse"},
]


def held_out(folder):
    """Return whitened rows to train on and to score, and their labels."""
    X, _, y, _ = load("cifar10", folder)
    order = np.random.RandomState(0).permutation(len(X))
    test, train = order[:4000], order[4000:]
    mean = X[train].mean(axis=0, dtype=np.float64).astype(np.float32)
    zca = zca_of_the_talk().fit(X[train] - mean)
    return *(zca.transform(X[rows] - mean) for rows in (train, test)), y[train], y[test]


def main(arguments):
    print(provenance(), end="\n\n")
    print("| setting | held-out accuracy |")
    print("|---|---|")
    Z_train, Z_test, y_train, y_test = held_out(arguments.data)
    for change in CHANGES[arguments.first :]:
        run = BASE._replace(**change)
        distiller = kip(run, "cifar10", 10, Z_train, y_train, seed=0).fit(Z_train, y_train)
        name = ", ".join(f"{key}={value}" for key, value in (change or BASE._asdict()).items())
        accuracy = 100 * distiller.score(Z_test, y_test)
        print(f"| {name} | {accuracy:.1f} |", flush=True)


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--first", type=int, default=0, help="the line to start from")
    main(options.parse_args())
