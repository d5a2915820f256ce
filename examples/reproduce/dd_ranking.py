"""The label-robust and augmentation-robust scores of a distilled set, as DD-Ranking defines them.

    python examples/reproduce/table_convnet.py --data DIR --rows kip --ipc 10 --sets SETS
    python examples/reproduce/dd_ranking.py --data DIR --ipc 10 --sets SETS --all-rows PERCENT

Accuracies are fractions of the test images, of networks trained on

    all rows, hard labels        the set, hard labels, and the set in the way that suits it best
    random rows, hard labels     both with and without augmentation

(arXiv 2505.13300; github.com/NUS-HPC-AI-Lab/DD-Ranking). The set's own way is soft labels.
DD-Ranking gives random rows the soft labels of a teacher, which KIP does not have: here they have
their classes, in the same training. PERCENT is the accuracy of the network on all rows, which
DD-Ranking reads from a table, too. Without it the network is trained on all rows, which takes hours
on a CPU.
"""

import math

import numpy as np
import table_convnet as convnet
import table_transfer as transfer
from _common import SHAPES, mean_std, parser, provenance, random_rows

from kipsk.networks import papers_protocol

HALF = 0.5  # the weight of either part, in both scores


def score(total):
    """Return (e^total - e^-1) / (e - e^-1): 0 for a total of -1, and 1 for 1."""
    return (math.exp(total) - math.exp(-1)) / (math.exp(1) - math.exp(-1))


def label_robust(all_hard, set_hard, set_any, random_any, weight=HALF):
    """Return hard label recovery, improvement over random, and the label-robust score.

    The score is that of ``weight * improvement - (1 - weight) * recovery``.
    """
    recovery, improvement = all_hard - set_hard, set_any - random_any
    return recovery, improvement, score(weight * improvement - (1 - weight) * recovery)


def augmentation_robust(set_with, random_with, set_without, random_without, weight=HALF):
    """Return the gains over random rows with and without augmentation, and the score of both."""
    gains = set_with - random_with, set_without - random_without
    return *gains, score(weight * gains[0] + (1 - weight) * gains[1])


def accuracy(dataset, rows, labels, data, seed, *, epochs, width, augmented):
    """Return the test accuracy of ConvNet-3 on rows with class labels, or soft ones (a matrix)."""
    classes = np.unique(data[2])
    network = papers_protocol(
        SHAPES[dataset],
        n_rows=len(rows),
        n_epochs=epochs,
        flip=dataset in convnet.FLIPPED,
        classes=classes if labels.ndim == 2 else None,
        random_state=seed,
    ).set_params(width=width)
    if labels.ndim == 2:  # labels of KIP are no probabilities: squared error takes them as they are
        network.set_params(loss="mse", learning_rate="auto")
    if not augmented:
        network.set_params(augment=None)
    return network.fit(rows, labels).score(data[1], data[3])


def main(arguments):
    print(provenance(), end="\n\n")
    dataset, ipc = arguments.dataset, arguments.ipc
    data = transfer.data_of(arguments, dataset)
    X, _, y, _ = data
    classes = np.unique(y)
    found = []
    for seed in range(arguments.seeds):
        own = {"epochs": arguments.epochs, "width": arguments.width}
        with np.load(convnet.set_file(arguments, arguments.row, dataset, ipc, seed)) as file:
            X_s, y_s = file["images"].reshape(len(file["images"]), -1), file["labels"]
        rows = random_rows(X, y, ipc, seed)
        sets = {
            "set": (X_s, y_s),
            "set, hard": (X_s, classes[y_s.argmax(axis=1)]),
            "random": (X[rows], (y[rows][:, None] == classes) - 1 / len(classes)),
        }
        a = {
            (name, augmented): accuracy(dataset, *one, data, seed, augmented=augmented, **own)
            for name, one in sets.items()
            for augmented in (True, False)
        }
        every = arguments.all_rows and arguments.all_rows / 100
        if every is None:
            settings = {**own, "epochs": arguments.all_epochs}
            every = accuracy(dataset, X, y, data, seed, augmented=True, **settings)
        labels = label_robust(every, a["set, hard", True], a["set", True], a["random", True])
        augmented = augmentation_robust(
            *(a[n, k] for k in (True, False) for n in ("set", "random"))
        )
        found.append([*labels, *augmented])
    names = (
        "hard label recovery", "improvement over random", "label-robust score",
        "gain with augmentation", "gain without augmentation", "augmentation-robust score",
    )  # fmt: skip
    print("| figure | % |", "| --- | --- |", sep="\n")
    for name, values in zip(names, zip(*found, strict=True), strict=True):
        print(f"| {name} | {mean_std(values)} |")


def options():
    result = parser(__doc__.splitlines()[0])
    result.add_argument("--dataset", choices=SHAPES, default="cifar10")
    result.add_argument("--ipc", type=int, default=10, help="images per class")
    result.add_argument(
        "--row", choices=transfer.DISTILLED, default="kip", help="of table_transfer"
    )
    result.add_argument("--sets", metavar="SETS", help="folder of distilled sets", required=True)
    result.add_argument("--all-rows", type=float, metavar="PERCENT", help="accuracy on all rows")
    result.add_argument("--all-epochs", type=int, default=60, help="of a network on all rows")
    result.add_argument("--epochs", type=int, default=300, help="of all other networks")
    result.add_argument("--width", type=int, default=128)
    result.add_argument("--held-out", action="store_true", help="score on held-out training rows")
    return result


if __name__ == "__main__":
    main(options().parse_args())
