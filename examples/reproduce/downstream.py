"""What do six kinds of models learn from reduced tables? Accuracies, and average ranks.

    python examples/reproduce/downstream.py
    python examples/reproduce/downstream.py --sets large --shares 0.001 0.01
    python examples/reproduce/downstream.py --sets digits wine --ipc 10 --csv results

The sets are some of scikit-learn and some generated ones. They are preprocessed in each split and
reduced to 1 % and 5 % of the rows for training. Sets of fewer than 2000 rows have five folds,
others a fifth of the rows to test on, for each seed; the imbalanced set has a test set with equally
many rows of each class. "large" has 100000 rows and takes an hour. With --csv each row of the
results is kept as soon as it is known, and the same command goes on after a kill.
"""

import argparse
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from _common import provenance
from sklearn.compose import ColumnTransformer
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from kipsk import KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.evaluation import compare, summary

SMALL = 2000  # rows; below, five folds


class Table(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    preprocess: object = StandardScaler()
    test: tuple | None = None
    without: tuple = ()  # models


def made(n_rows=5000):
    return Table(*make_classification(n_rows, 20, n_informative=10, n_classes=5, random_state=0))


def imbalanced():
    """Nine tenths, seven and three hundredths of the rows; tested on 300 of each class."""
    X, y = make_classification(
        20000, 15, n_informative=8, n_classes=3, weights=[0.9, 0.07, 0.03], random_state=0
    )
    rows = 5000 + np.concatenate([np.flatnonzero(y[5000:] == code)[:300] for code in range(3)])
    return Table(X[:5000], y[:5000], test=(X[rows], y[rows]))


def hundred():
    """A hundred classes; boosting would grow as many trees in each of its rounds."""
    return Table(
        *make_classification(
            20000, 40, n_informative=30, n_classes=100, n_clusters_per_class=1, class_sep=2,
            random_state=0,
        ),
        without=("boosting",),
    )  # fmt: skip


def mixed():
    """Numbers of very different scales, and three columns that became categories."""
    X, y = make_classification(5000, 12, n_informative=8, n_classes=3, random_state=0)
    X[:, :9] *= 10.0 ** np.arange(-4, 5)
    for column in range(9, 12):
        edges = np.quantile(X[:, column], np.arange(1, 8) / 8)
        X[:, column] = np.random.RandomState(column).permutation(8)[
            np.digitize(X[:, column], edges)
        ]
    preprocess = ColumnTransformer(
        [
            ("numbers", StandardScaler(), list(range(9))),
            ("categories", OneHotEncoder(), [9, 10, 11]),
        ],
        sparse_threshold=0,
    )
    return Table(X, y, preprocess)


def text():
    """Counts of 2000 words, of Zipf's law, in documents of eight topics; TF-IDF, 50 components."""
    rng = np.random.RandomState(0)
    common = 1 / np.arange(1.0, 2001)
    topics = common * rng.gamma(0.3, size=(8, 2000))
    topics = 0.3 * topics / topics.sum(axis=1, keepdims=True) + 0.7 * common / common.sum()
    y = rng.randint(8, size=4000)
    X = np.array([rng.multinomial(rng.randint(40, 200), topics[topic]) for topic in y], float)
    pipeline = make_pipeline(TfidfTransformer(), TruncatedSVD(50), StandardScaler())
    return Table(X, y, pipeline)


SETS = {
    "digits": lambda: Table(*load_digits(return_X_y=True)),
    "wine": lambda: Table(*load_wine(return_X_y=True)),
    "breast_cancer": lambda: Table(*load_breast_cancer(return_X_y=True)),
    "iris": lambda: Table(*load_iris(return_X_y=True)),
    "made": made,
    "imbalanced": imbalanced,
    "hundred": hundred,
    "mixed": mixed,
    "text": text,
    "large": lambda: made(125000),
}
MODELS = {
    "SVC": SVC(),
    "logistic": LogisticRegression(max_iter=1000),
    "forest": RandomForestClassifier(),
    "1-NN": KNeighborsClassifier(1),
    "MLP": MLPClassifier(max_iter=500),
    # The default, 20 rows in a leaf, leaves small sets whole.
    "boosting": HistGradientBoostingClassifier(min_samples_leaf=1),
}


OURS, START = "KIP, fit_resample", "KIP, its start"
REDUCERS = {
    "all rows": None,
    "random rows": CoresetSampler("random"),
    "k-means": CoresetSampler("k_means"),
    "herding": CoresetSampler("herding"),
    "Label Solve": LabelSolver("fc1"),
    START: KIPDistiller(
        init="kmeans", labels="fixed", max_iter=1, learning_rate=1e-12, downstream="last"
    ),
    OURS: KIPDistiller(),
    "KIP, the end of a run": KIPDistiller(downstream="last"),
}


def sizes_of(table, args):
    """Return rows per class by the name of the size."""
    if args.ipc is not None:
        return {f"ipc {k}": k for k in args.ipc}
    n_train = len(table.y) if table.test is not None else 0.8 * len(table.y)
    n_classes = len(np.unique(table.y))
    return {f"{s:.3g}": max(1, round(s * n_train / n_classes)) for s in args.shares}


def results_of(name, args):
    """Return the rows of one data set for every size, with its name and the size's."""
    table = SETS[name]()
    sizes = sizes_of(table, args)
    path = None
    if args.csv is not None:
        Path(args.csv).mkdir(parents=True, exist_ok=True)
        path = Path(args.csv) / f"{name}.csv"
    results = compare(
        {k: v for k, v in REDUCERS.items() if k in args.reducers},
        {k: v for k, v in MODELS.items() if k not in table.without},
        table.X,
        table.y,
        test=table.test,
        cv=5 if len(table.y) < SMALL else None,
        ipc=sorted(set(sizes.values())),
        seeds=range(args.seeds),
        preprocess=table.preprocess,
        n_jobs=args.n_jobs,
        path=path,
        verbose=1,
    )
    parts = [
        results[results["ipc"].isna() | (results["ipc"] == k)].assign(data=name, size=size)
        for size, k in sizes.items()
    ]
    return pd.concat(parts).drop(columns="ipc")


def as_markdown(table, digits):
    columns = [*table.columns]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.iterrows():
        cells = ["-" if np.isnan(value) else f"{value:.{digits}f}" for value in row]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS)[:-1])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05], help="of the rows")
    parser.add_argument("--ipc", type=int, nargs="+", help="rows per class, instead of shares")
    parser.add_argument("--reducers", nargs="+", choices=REDUCERS, default=list(REDUCERS))
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--csv", metavar="FOLDER", help="keep the rows there, a file for each set")
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # MLPs of 500 steps
    results = pd.concat([results_of(name, args) for name in args.sets])
    print(provenance(), f"{args.seeds} seeds", sep=", ")
    for size, rows in results.groupby("size", sort=False):
        table = summary(rows)
        print(f"\n## {size} of the rows\n\nMean accuracy in %, over {', '.join(args.sets)}\n")
        wide = 100 * table.pivot_table("accuracy", "reducer", "model")[list(MODELS)]
        print(as_markdown(wide.reindex(args.reducers), 1), end="\n\n")
        print("Ranks\n")
        ranks = table.pivot_table("rank", "reducer", "model")[list(MODELS)]
        ranks["average"] = table.groupby("reducer")["average_rank"].first()
        print(as_markdown(ranks.reindex(args.reducers), 2))
        for name in args.sets if len(args.sets) > 1 else ():
            part = table[table["data"] == name].pivot(
                index="reducer", columns="model", values="accuracy"
            )
            n = rows.loc[(rows["data"] == name) & (rows["reducer"] == "random rows"), "n_rows"]
            print(f"\n{name}, {n.iloc[0]} rows\n")
            print(as_markdown(100 * part.reindex(args.reducers, columns=MODELS), 1))
        if {START, OURS} <= set(args.reducers):
            wide = table.pivot_table("accuracy", ["data", "model"], "reducer")
            gain = 100 * (wide[OURS] - wide[START]).unstack()[list(MODELS)]
            print(f"\n{OURS}, difference to its start\n")
            print(as_markdown(gain.reindex(args.sets), 1))
    times = results.groupby("reducer")[["reduce_seconds", "fit_seconds"]].mean()
    print("\nMean seconds to reduce, and to train a model\n")
    print(as_markdown(times.reindex(args.reducers), 3))


if __name__ == "__main__":
    main()
