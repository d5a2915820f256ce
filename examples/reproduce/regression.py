"""Regression: what a few learned or chosen rows are worth, measured by R2 on test rows.

    python examples/reproduce/regression.py [--choices]

The sets are scikit-learn's diabetes (442 noisy rows; 3 splits, 30 % test rows) and make_friedman1
with noise (50000 rows to train on, 10000 test rows; 3 draws), both standardised. Kernel ridge
regression and SVR are trained on random rows, on the centres of k-means with the mean y of their
rows, and on all rows (5000 of the large set); their ridge or C is chosen by cross-validation on the
same rows.
`--choices` prints instead what the ridge and the learning rate do on held-out training rows.
"""

import argparse
from collections import defaultdict
from itertools import product

import numpy as np
from _common import provenance
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import pairwise_distances_argmin
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from kipsk import KernelRidgeNTK, KIPRegressor

SIZES = (10, 50, 100)
STEPS = {"max_iter": [10, 30, 100, 300]}
KIP = {
    "KIPRegressor": KIPRegressor(),
    'KIPRegressor, kernel="rbf"': KIPRegressor("rbf"),
    'KIPRegressor, labels="solved"': KIPRegressor(labels="solved"),
}
# Ten fits for one, which the large set does not need.
KIP_OF_FEW = KIP | {"KIPRegressor, cross-validated max_iter": KIPRegressor()}
MODELS = {
    "KernelRidgeNTK": GridSearchCV(KernelRidgeNTK(), {"reg": [1e-6, 1e-4, 1e-2, 0.1, 1.0]}, cv=2),
    "KernelRidge (rbf)": GridSearchCV(
        KernelRidge(kernel="rbf"), {"alpha": [1e-3, 1e-2, 1e-1, 1.0], "gamma": [0.01, 0.1]}, cv=2
    ),
    "SVR": GridSearchCV(SVR(), {"C": [0.1, 1.0, 10.0], "gamma": [0.01, 0.1]}, cv=2),
}


def diabetes(seed):
    X, y = load_diabetes(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, random_state=seed)


def friedman(seed):
    X, y = make_friedman1(60000, noise=1.0, random_state=seed)
    return train_test_split(X, y, test_size=10000, random_state=seed)


def chosen_sets(X, y, seed):
    """Yield name, number of rows, rows and targets."""
    order = np.random.RandomState(seed).permutation(len(X))
    some = order[:5000]
    for n in SIZES:
        yield "random rows", n, X[order[:n]], y[order[:n]]
        centres = KMeans(n, n_init=1, random_state=seed).fit(X[some]).cluster_centers_
        nearest = pairwise_distances_argmin(X, centres)
        means = np.bincount(nearest, y, minlength=n) / np.bincount(nearest, minlength=n)
        yield "k-means centres", n, centres, means
    yield "random rows", "all", X[some], y[some]


def run(load, n_seeds):
    """Return the scores by row of the table and column."""
    scores = defaultdict(list)
    for seed in range(n_seeds):
        X, X_test, y, y_test = load(seed)
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
        for row, model in (KIP_OF_FEW if len(X) < 1000 else KIP).items():
            for n in SIZES:
                model = clone(model).set_params(n_support=n, random_state=seed)
                search = GridSearchCV(model, STEPS, cv=3) if "cross" in row else model
                scores[row, n].append(search.fit(X, y).score(X_test, y_test))
        for kind, n, X_s, y_s in chosen_sets(X, y, seed):
            for name, model in MODELS.items():
                model = TransformedTargetRegressor(model, transformer=StandardScaler())
                scores[f"{name}, {kind}", n].append(model.fit(X_s, y_s).score(X_test, y_test))
    return scores


def choices(n_seeds):
    """Print R2 on held-out training rows, of 10000 training rows of the large set."""
    splits = {}
    for load in (diabetes, friedman):
        for seed in range(n_seeds if load is diabetes else 1):
            X, _, y, _ = load(seed)
            X, y = StandardScaler().fit_transform(X)[:13000], y[:13000]
            split = train_test_split(
                X, y, test_size=0.3 if load is diabetes else 3000, random_state=seed
            )
            splits.setdefault(load.__name__, []).append(split)
    regs = [1e-6, 1e-2, 0.1, 1.0, "auto"]
    print("\n| set, kernel, rows, learning rate |", " | ".join(f"reg={r}" for r in regs), "|")
    print("|---" * (len(regs) + 1) + "|")
    for name, kernel, n, rate in product(splits, ("fc1", "rbf"), SIZES[::2], (0.02, 0.08)):
        cells = []
        for reg in regs:
            params = {"learning_rate": rate, "batch_size": 2000, "random_state": 0}
            model = KIPRegressor(kernel, n, reg=reg, targets="given", **params)
            scores = [model.fit(X, y).score(X_v, y_v) for X, X_v, y, y_v in splits[name]]
            cells.append(f"{np.mean(scores):.3f}" + (f" ({model.reg_:g})" if reg == "auto" else ""))
        print(f"| {name}, {kernel}, {n}, {rate} |", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--choices", action="store_true", help="ridges and learning rates")
    arguments = parser.parse_args()
    n_seeds = arguments.seeds
    print(provenance(), f"{n_seeds} seeds", sep=", ")
    if arguments.choices:
        return choices(n_seeds)
    for load in (diabetes, friedman):
        scores = run(load, n_seeds)
        print(f"\n| {load.__name__} |", " | ".join(f"{n} rows" for n in SIZES), "| all |")
        print("|---" * (len(SIZES) + 2) + "|")
        for row in dict.fromkeys(row for row, _ in scores):
            values = [scores.get((row, n)) for n in (*SIZES, "all")]
            cells = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" if v else "-" for v in values]
            print(f"| {row} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
