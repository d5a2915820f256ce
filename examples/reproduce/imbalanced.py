"""Unequal classes: what a few rows of each class are worth beside imbalanced-learn's samplers.

    python examples/reproduce/imbalanced.py [--only SET ...] [--seeds N]

The sets come from scikit-learn, standardised, and are unequal by nature or made so: rows of all
classes but one are kept, and of that one every tenth (breast cancer), a class against the rest
(digits), digits of which each class has two thirds of the rows of the one before, and generated
ones with 2 % of rows in one class. 30 % of the rows are for testing, drawn before. The scores are
means over five learners, with their defaults, in %: the balanced accuracy, and the geometric mean
of the shares of each class that are found (imbalanced-learn's `geometric_mean_score`), which is
zero where a class is never found. Samplers give as many rows of each class as the rarest has, or 10
per class.
"""

import argparse
import warnings
from collections import defaultdict

import numpy as np
from _common import provenance
from _tables import markdown
from imblearn.metrics import geometric_mean_score
from imblearn.under_sampling import ClusterCentroids, RandomUnderSampler
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import KernelRidgeNTKClassifier, KIPDistiller
from kipsk.baselines import CoresetSampler

IPC = 10
LEARNERS = {
    "logistic": LogisticRegression(max_iter=1000),
    "5-NN": KNeighborsClassifier(),
    "forest": RandomForestClassifier(random_state=0),
    "boosting": HistGradientBoostingClassifier(min_samples_leaf=1, random_state=0),
    "SVC": SVC(),
}


def thinned(X, y, shares):
    """Return the first rows of each class: so large a share of it."""
    rows = [np.flatnonzero(y == c)[: round(share * np.sum(y == c))] for c, share in shares.items()]
    rows = np.sort(np.concatenate(rows))
    return X[rows], y[rows]


def breast_cancer(seed):
    X, y = load_breast_cancer(return_X_y=True)
    return thinned(X, y, {0: 0.1, 1: 1.0})


def digits_one(seed):
    X, y = load_digits(return_X_y=True)
    return X, (y == 8).astype(int)


def digits_unequal(seed):
    X, y = load_digits(return_X_y=True)
    return thinned(X, y, {c: (2 / 3) ** c for c in range(10)})


def generated(seed):
    return make_classification(
        20000, 20, n_informative=6, n_clusters_per_class=2, weights=[0.98], random_state=seed
    )


SETS = {
    "breast cancer, 1 : 17": breast_cancer,
    "digits, one against nine": digits_one,
    "digits, ten unequal classes": digits_unequal,
    "generated, 1 : 42": generated,
}


def methods(y, seed):
    """Return (title, estimator with fit_resample or None, whether the learners weigh classes)."""
    labels, counts = np.unique(y, return_counts=True)
    ten = dict(zip(labels, np.minimum(counts, IPC).tolist(), strict=True))
    given = {"random_state": seed}
    return [
        ("all rows", None, False),
        ("all rows, class_weight", None, True),
        ("random, rarest", RandomUnderSampler(**given), False),
        ("ClusterCentroids, rarest", ClusterCentroids(**given), False),
        ("Ward's centres, rarest",
         CoresetSampler("agglomerative", sampling_strategy="auto", **given), False),
        ("random, 10", RandomUnderSampler(sampling_strategy=ten, **given), False),
        ("ClusterCentroids, 10", ClusterCentroids(sampling_strategy=ten, **given), False),
        ("Ward's centres, 10", CoresetSampler("agglomerative", ipc=IPC, **given), False),
        ("KIP, fit_resample, 10", KIPDistiller(ipc=IPC, **given), False),
        ("KIP, class_weight, fit_resample, 10",
         KIPDistiller(ipc=IPC, class_weight="balanced", **given), False),
    ]  # fmt: skip


def scores_of(y, predicted):
    return 100 * balanced_accuracy_score(y, predicted), 100 * geometric_mean_score(y, predicted)


def run(load, seed):
    """Return the scores by title and learner, and the sizes by title."""
    X, y = load(seed)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    found, sizes = {}, {}
    for title, sampler, weighs in methods(y, seed):
        for name, learner in LEARNERS.items():
            model = clone(learner)
            if weighs and "class_weight" in model.get_params():
                model.set_params(class_weight="balanced")
            Z, z = X, y
            if isinstance(sampler, KIPDistiller):
                Z, z = clone(sampler).set_params(downstream=model).fit_resample(X, y)
            elif sampler is not None:
                Z, z = clone(sampler).fit_resample(X, y)
            found[title, name] = scores_of(y_test, model.fit(Z, z).predict(X_test))
            sizes[title] = len(z)
    for title, model in itself(seed).items():
        found[title, "itself"] = scores_of(y_test, model.fit(X, y).predict(X_test))
        sizes[title] = IPC * len(np.unique(y)) if hasattr(model, "ipc") else len(y)
    return found, sizes


def itself(seed):
    """Return estimators of this package that predict themselves."""
    weighted = {"class_weight": "balanced"}
    return {
        "(KIPDistiller itself, 10)": KIPDistiller(ipc=IPC, random_state=seed),
        "(KIPDistiller itself, class_weight, 10)":
            KIPDistiller(ipc=IPC, random_state=seed, **weighted),
        "(KernelRidgeNTKClassifier)": KernelRidgeNTKClassifier(),
        "(KernelRidgeNTKClassifier, class_weight)": KernelRidgeNTKClassifier(**weighted),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    args = parser.parse_args()
    print(provenance(), f"{args.seeds} seeds", sep=", ", end="\n\n")
    found, sizes = defaultdict(list), defaultdict(dict)
    for name in args.only:
        for seed in range(args.seeds):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores, of_titles = run(SETS[name], seed)
            for (title, _), pair in scores.items():
                found[title, name].append(pair)
            for title, size in of_titles.items():
                sizes[title][name] = size
            print(f"{name}, seed {seed}: done", flush=True)
    print()
    for which, what in enumerate(["Balanced accuracy", "Geometric mean"]):
        rows = []
        for title in sizes:
            means = [np.mean([pair[which] for pair in found[title, name]]) for name in args.only]
            cells = {
                f"{name}": f"{mean:.1f} ({sizes[title][name]})"
                for name, mean in zip(args.only, means, strict=True)
            }
            rows.append({"": title, **cells, "mean": f"{np.mean(means):.1f}"})
        print(f"{what} in %, and rows:\n\n{markdown(rows)}\n")


if __name__ == "__main__":
    main()
