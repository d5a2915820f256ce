"""Few noisy rows: targets with and without their noise.

    python examples/reproduce/noise.py [--folder FOLDER]

The tables have the accuracy, or R2, on test rows of 10 and 50 learned rows per class, or of 10 and
100 learned rows, with the targets as they are given and smoothed (the default for so few rows),
beside kernel ridge regression on all rows, and the default SVC or Ridge. Data are standardised
tables of scikit-learn, 30 % of whose rows are for testing. FOLDER has more tables of classes, as
tables.py reads them; of each at most 2000 rows are for training.
"""

import argparse
import time

import numpy as np
from _common import provenance
from _tables import own, split, tables
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import KernelRidgeNTK, KernelRidgeNTKClassifier, KIPDistiller, KIPRegressor

MAX_ROWS = 2000
CLASSES = {"breast cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits}
COLUMNS = ("given", "smoothed", "given", "smoothed", "all rows", "scikit-learn")


def heavy_tailed(seed):
    """Return rows and targets; columns and noise have Student's t of 2 degrees of freedom."""
    rng = np.random.RandomState(seed)
    X = rng.standard_t(2, size=(600, 8))
    y = np.sin(X[:, 0]) + 0.3 * np.clip(X[:, 1], -3, 3) + 0.5 * rng.standard_t(2, 600)
    return X, y


NUMBERS = {
    "diabetes": lambda seed: load_diabetes(return_X_y=True),
    "friedman1, 400 rows": lambda seed: make_friedman1(400, noise=1.0, random_state=seed),
    "friedman2, 400 rows": lambda seed: make_friedman2(400, noise=100.0, random_state=seed),
    "friedman3, 400 rows": lambda seed: make_friedman3(400, noise=0.1, random_state=seed),
    "heavy tails, 600 rows": heavy_tailed,
}


def of_classes(load, seed):
    """Return the scores of a table's columns; NaN where a class has fewer rows than are learned."""
    X, X_test, y, y_test = split(load(), seed, MAX_ROWS)
    scores = []
    for ipc in (10, 50):
        for targets in ("given", "auto"):
            model = KIPDistiller(ipc=ipc, targets=targets, random_state=seed)
            is_large = ipc <= np.bincount(y).min()
            scores.append(model.fit(X, y).score(X_test, y_test) if is_large else np.nan)
    models = KernelRidgeNTKClassifier(), SVC()
    return scores + [model.fit(X, y).score(X_test, y_test) for model in models]


def of_numbers(load, seed):
    X, y = load(seed)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    mean = y.mean()
    scores = [
        KIPRegressor(n_support=n, targets=targets, random_state=seed)
        .fit(X, y)
        .score(X_test, y_test)
        for n in (10, 100)
        for targets in ("given", "auto")
    ]
    whole = KernelRidgeNTK().fit(X, y - mean).score(X_test, y_test - mean)
    return [*scores, whole, RidgeCV().fit(X, y).score(X_test, y_test)]


def show(title, sizes, loaders, scores_of, seeds):
    named = [f"{n}, {c}" if n else c for n, c in zip(sizes, COLUMNS, strict=True)]
    print(f"| {title} | {' | '.join(named)} |")
    print("|---" * 7 + "|")
    everything = []
    for name, load in loaders.items():
        scores = np.array([scores_of(load, seed) for seed in range(seeds)])
        everything.append(scores.mean(axis=0))
        cells = [
            "-" if np.isnan(m) else f"{m:.3f} ± {d:.3f}"
            for m, d in zip(scores.mean(axis=0), scores.std(axis=0), strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    whole = np.array([row for row in everything if not np.isnan(row).any()])
    print(f"| mean of {len(whole)} | {' | '.join(f'{m:.3f}' for m in whole.mean(axis=0))} |\n")


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", help="with more tables of classes")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the tables")
    return parser


def chosen(loaders, only):
    return {name: load for name, load in loaders.items() if only is None or name in only}


def main(args):
    print(provenance(), end="\n\n")
    start = time.perf_counter()
    classes = {name: lambda load=load: own(load) for name, load in CLASSES.items()}
    classes |= tables(args.folder) if args.folder else {}
    sizes = (10, 10, 50, 50, "", "")
    show("accuracy", sizes, chosen(classes, args.only), of_classes, args.seeds)
    sizes = (10, 10, 100, 100, "", "")
    show("R2", sizes, chosen(NUMBERS, args.only), of_numbers, args.seeds)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(options().parse_args())
