"""The label-robust and augmentation-robust scores of a distilled set, as DD-Ranking defines them.

    python examples/reproduce/dd_ranking.py --data DIR --support set.npz
    python examples/reproduce/table_convnet.py --data DIR --rows kip --ipc 10 --sets SETS
    python examples/reproduce/dd_ranking.py --data DIR --ipc 10 --sets SETS --all-rows PERCENT

Accuracies are fractions of the test images, of networks trained on

    all rows and the set, with hard labels       without augmentation
    the set and random rows, with soft labels    with augmentation and without

(arXiv 2505.13300; github.com/NUS-HPC-AI-Lab/DD-Ranking). The network on all rows is also the
teacher that gives random rows their soft labels. It takes hours on a CPU. PERCENT is its accuracy
if that is known, as DD-Ranking reads it from a table; random rows then have their classes, because
there is no teacher. A set of `export_support` has to be in the units of table_convnet.py:
standardised channels, or, of three channels, whitened ones.
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


def trained(dataset, rows, labels, classes, seed, *, epochs, width, augmented=False):
    """Return ConvNet-3 trained on rows with class labels, or soft ones (a matrix)."""
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
    return network.fit(rows, labels)


def support(arguments, seed):
    """Return the rows and soft labels of a set: the file's, or the seed's among those of SETS."""
    path = arguments.support
    if path is None:
        key = arguments.row, arguments.dataset, arguments.ipc, seed
        path = convnet.set_file(arguments, *key)
    with np.load(path) as file:
        return file["images"].reshape(len(file["images"]), -1), file["labels"]


def round_of(arguments, data, seed):
    """Return what `label_robust` and `augmentation_robust` find for one seed."""
    X, X_test, y, y_test = data
    classes, own = np.unique(y), {"epochs": arguments.epochs, "width": arguments.width}

    def accuracy(rows, labels, augmented=False):
        given = arguments.dataset, rows, labels, classes, seed
        return trained(*given, augmented=augmented, **own).score(X_test, y_test)

    X_s, y_s = support(arguments, seed)
    if y_s.shape != (len(X_s), len(classes)) or X_s.shape[1] != X.shape[1]:
        raise SystemExit(
            f"The set has images of {X_s.shape[1]} values and labels of shape {y_s.shape}, and "
            f"{arguments.dataset} has images of {X.shape[1]} values and {len(classes)} classes: "
            "name the set's own data with --dataset; its labels have to be soft."
        )
    rows = random_rows(X, y, len(X_s) // len(classes), seed)
    if arguments.all_rows is None:
        settings = {**own, "epochs": arguments.all_epochs}
        teacher = trained(arguments.dataset, X, y, classes, seed, **settings)
        every, random_y = teacher.score(X_test, y_test), teacher.predict_proba(X[rows])
        random_y -= 1 / len(classes)
    else:
        every = arguments.all_rows / 100
        random_y = (y[rows][:, None] == classes) - 1 / len(classes)
    of_set, of_random = (
        [accuracy(*one, augmented) for augmented in (True, False)]
        for one in ((X_s, y_s), (X[rows], random_y))
    )
    hard = accuracy(X_s, classes[y_s.argmax(axis=1)])
    return (
        *label_robust(every, hard, of_set[0], of_random[0]),
        *augmentation_robust(of_set[0], of_random[0], of_set[1], of_random[1]),
    )


def main(arguments):
    print(provenance(), end="\n\n")
    data = transfer.data_of(arguments, arguments.dataset)
    found = [round_of(arguments, data, seed) for seed in range(arguments.seeds)]
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
    sets = result.add_mutually_exclusive_group(required=True)
    sets.add_argument("--support", metavar="FILE", help="one set, an .npz file with soft labels")
    sets.add_argument("--sets", metavar="SETS", help="folder of distilled sets, one a seed")
    result.add_argument("--all-rows", type=float, metavar="PERCENT", help="accuracy on all rows")
    result.add_argument("--all-epochs", type=int, default=60, help="of a network on all rows")
    result.add_argument("--epochs", type=int, default=300, help="of all other networks")
    result.add_argument("--width", type=int, default=128)
    result.add_argument("--held-out", action="store_true", help="score on held-out training rows")
    return result


if __name__ == "__main__":
    main(options().parse_args())
