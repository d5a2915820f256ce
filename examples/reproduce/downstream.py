"""What do six kinds of models learn from reduced tables? Accuracies, and average ranks.

    python examples/reproduce/downstream.py
    python examples/reproduce/downstream.py --sets digits wine --ipc 10 --csv results

Small sets of scikit-learn and a made one, standardised, reduced to 1 % and 5 % of the rows for
training. With --csv the rows are kept as they come, and the same command goes on after a kill.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _common import provenance
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.evaluation import compare, summary

SHARES = (0.01, 0.05)
TRAINED = 0.8  # of the rows, by `compare`


def made():
    return make_classification(
        5000, 20, n_informative=10, n_classes=5, n_clusters_per_class=2, random_state=0
    )


SETS = {
    "digits": lambda: load_digits(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "iris": lambda: load_iris(return_X_y=True),
    "made": made,
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


REDUCERS = {
    "all rows": None,
    "random rows": CoresetSampler("random"),
    "k-means": CoresetSampler("k_means"),
    "herding": CoresetSampler("herding"),
    "Label Solve": LabelSolver("fc1"),
    "KIP, its start": KIPDistiller(max_iter=1, learning_rate=1e-9),
    "KIP, fit_resample": KIPDistiller(),
    "KIP, the end of a run": KIPDistiller(downstream="last"),
}


def sizes_of(y, ipc):
    """Return rows per class by the name of the size."""
    if ipc is not None:
        return {f"ipc {k}": k for k in ipc}
    n_classes = len(np.unique(y))
    return {f"{s:.0%}": max(1, round(s * TRAINED * len(y) / n_classes)) for s in SHARES}


def results_of(name, args):
    """Return the rows of one data set for every size, with its name and the size's."""
    X, y = SETS[name]()
    sizes = sizes_of(y, args.ipc)
    path = None
    if args.csv is not None:
        Path(args.csv).mkdir(parents=True, exist_ok=True)
        path = Path(args.csv) / f"{name}.csv"
    results = compare(
        REDUCERS,
        MODELS,
        X,
        y,
        ipc=sorted(set(sizes.values())),
        seeds=range(args.seeds),
        preprocess=StandardScaler(),
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
    lines = [f"| reducer | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.iterrows():
        lines.append(f"| {name} | {' | '.join(f'{v:.{digits}f}' for v in row)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ipc", type=int, nargs="+", help="rows per class, for shares of the rows")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--csv", metavar="FOLDER", help="keep the rows there, a file for each set")
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # MLPs of 500 steps
    results = pd.concat([results_of(name, args) for name in args.sets])
    print(provenance(), f"{args.seeds} seeds", sep=", ")
    for size, rows in results.groupby("size", sort=False):
        table = summary(rows)
        print(f"\n## {size}\n\nMean accuracy in %, over {', '.join(args.sets)}; then ranks\n")
        wide = 100 * table.pivot_table("accuracy", "reducer", "model")[list(MODELS)]
        print(as_markdown(wide.reindex(REDUCERS), 1), end="\n\n")
        ranks = table.pivot_table("rank", "reducer", "model")[list(MODELS)]
        ranks["average"] = table.groupby("reducer")["average_rank"].first()
        print(as_markdown(ranks.reindex(REDUCERS), 2))
        for name in args.sets if len(args.sets) > 1 else ():
            part = table[table["data"] == name].pivot(
                index="reducer", columns="model", values="accuracy"
            )
            n = rows.loc[(rows["data"] == name) & (rows["reducer"] == "random rows"), "n_rows"]
            print(f"\n{name}, {n.iloc[0]} rows\n")
            print(as_markdown(100 * part[list(MODELS)].reindex(REDUCERS), 1))
    times = results.groupby("reducer")[["reduce_seconds", "fit_seconds"]].mean()
    print("\nMean seconds to reduce, and to train a model\n")
    print(as_markdown(times.reindex(REDUCERS), 3))


if __name__ == "__main__":
    main()
