"""Regression: what a few learned or chosen rows are worth, measured by R2 on test rows.

    python examples/reproduce/regression.py [--choices] [--other-models]

The sets, all standardised, are scikit-learn's diabetes (442 noisy rows; 30 % test rows),
make_friedman1 with noise (50000 rows to train on, 10000 test rows), and five of 5000 rows to train
on and 5000 test rows: make_friedman2 and make_friedman3 with noise of a third of their deviation,
make_friedman1 with noise of heavy tails (Student's t, 3 degrees of freedom), the exponential of
make_friedman1 (targets of heavy tails), and three targets of the same rows. Kernel ridge regression
and SVR are trained on random rows, on the centres of k-means with the mean y of their rows, and on
all rows (5000 at most); their ridge or C is chosen by cross-validation on the same rows. Diabetes
has ten splits instead of three, since its 133 test rows leave much noise. The last table has the
means over the sets.
`--other-models` prints instead what forests and boosting learn from 100 learned rows of
make_friedman1, beside as many random ones.
`--choices` prints instead what the ridge and the learning rate do on held-out training rows.
"""

import argparse
from collections import defaultdict
from functools import partial
from itertools import product

import numpy as np
from _common import provenance
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_friedman3
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import pairwise_distances_argmin
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.multioutput import MultiOutputRegressor
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


def halves(X, y, seed):
    return train_test_split(X, y, test_size=5000, random_state=seed)


def noisy(make, seed):
    """Return halves of 10000 rows, with noise of a third of the deviation of y."""
    X, y = make(10000, noise=0, random_state=seed)
    noise = np.random.RandomState(seed + 100).standard_normal(len(y))
    return halves(X, y + y.std() / 3 * noise, seed)


def heavy_noise(seed):
    X, y = make_friedman1(10000, noise=0, random_state=seed)
    return halves(X, y + np.random.RandomState(seed + 100).standard_t(3, len(y)), seed)


def heavy_targets(seed):
    X, y = make_friedman1(10000, noise=1.0, random_state=seed)
    return halves(X, np.exp(y / 5), seed)


def three_targets(seed):
    X, y = make_friedman1(10000, noise=1.0, random_state=seed)
    noise = np.random.RandomState(seed + 100).standard_normal((2, len(y)))
    bump = 10 * np.exp(-8 * ((X[:, :2] - 0.5) ** 2).sum(axis=1))
    lines = 5 * X[:, 5] - 5 * X[:, 6] + 10 * np.abs(X[:, 3] - 0.5)
    return halves(X, np.stack([y, bump + noise[0], lines + noise[1]], axis=1), seed)


SETS = {
    "diabetes": diabetes,
    "friedman1": friedman,
    "friedman2": partial(noisy, make_friedman2),
    "friedman3": partial(noisy, make_friedman3),
    "heavy-tailed noise": heavy_noise,
    "heavy-tailed targets": heavy_targets,
    "three targets": three_targets,
}
N_SPLITS = {"diabetes": 10}  # of the others as --seeds says


def chosen_sets(X, y, seed):
    """Yield name, number of rows, rows and targets."""
    order = np.random.RandomState(seed).permutation(len(X))
    some = order[:5000]
    for n in SIZES:
        yield "random rows", n, X[order[:n]], y[order[:n]]
        centres = KMeans(n, n_init=1, random_state=seed).fit(X[some]).cluster_centers_
        nearest = pairwise_distances_argmin(X, centres)
        members = np.eye(n)[nearest]
        means = (members.T @ y.reshape(len(y), -1)) / members.sum(axis=0)[:, None]
        means = means.reshape(n, *y.shape[1:])
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
                if name == "SVR" and y.ndim > 1:
                    model = MultiOutputRegressor(model)
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


def other_models(n_seeds):
    """Print R2 of models of other kinds, trained on 100 learned and 100 random rows."""
    models = {
        "forest": RandomForestRegressor(random_state=0),
        # The default, 20 rows in a leaf, leaves small sets whole.
        "boosting": HistGradientBoostingRegressor(min_samples_leaf=1, random_state=0),
    }
    scores = defaultdict(list)
    for seed in range(n_seeds):
        X, X_test, y, y_test = friedman(seed)
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
        rows = np.random.RandomState(seed).permutation(len(X))[:100]
        sets = {"random rows": (X[rows], y[rows])}
        for kernel in ("fc1", "rbf"):
            learned = KIPRegressor(kernel, random_state=seed).fit_distill(X, y)
            sets[f'KIPRegressor, kernel="{kernel}"'] = learned
        for name, (X_s, y_s) in sets.items():
            for model, estimator in models.items():
                fitted = clone(estimator).fit(X_s, np.ravel(y_s))
                scores[name, model].append(fitted.score(X_test, y_test))
    print(f"\n| 100 rows of friedman1 | {' | '.join(models)} |\n|---|---|---|")
    for name in dict.fromkeys(name for name, _ in scores):
        cells = [scores[name, model] for model in models]
        print(f"| {name} |", " | ".join(f"{np.mean(v):.2f} ± {np.std(v):.2f}" for v in cells), "|")


def show(title, scores, spread=True):
    """Print a table: means, and deviations over the splits, by row of the table and column."""
    print(f"\n| {title} |", " | ".join(f"{n} rows" for n in SIZES), "| all |")
    print("|---" * (len(SIZES) + 2) + "|")
    for row in dict.fromkeys(row for row, _ in scores):
        cells = []
        for values in (scores.get((row, n)) for n in (*SIZES, "all")):
            cell = f"{np.mean(values):.3f}" if values else "-"
            cells.append(cell + (f" ± {np.std(values):.3f}" if values and spread else ""))
        print(f"| {row} |", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--choices", action="store_true", help="ridges and learning rates")
    parser.add_argument("--other-models", action="store_true", help="forests and boosting")
    arguments = parser.parse_args()
    n_seeds = arguments.seeds
    print(provenance(), f"{n_seeds} seeds", sep=", ")
    if arguments.choices:
        return choices(n_seeds)
    if arguments.other_models:
        return other_models(n_seeds)
    of_sets = defaultdict(list)
    for name in arguments.sets:
        scores = run(SETS[name], N_SPLITS.get(name, n_seeds))
        show(name, scores)
        for key, values in scores.items():
            of_sets[key].append(np.mean(values))
    whole = {key: means for key, means in of_sets.items() if len(means) == len(arguments.sets)}
    show(f"mean of {len(arguments.sets)} sets", whole, spread=False)


if __name__ == "__main__":
    main()
