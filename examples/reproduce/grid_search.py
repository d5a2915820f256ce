"""What a search over an SVC's parameters costs on all rows, and on a distilled set.

    python examples/reproduce/grid_search.py

The data are generated and standardised. On all rows, GridSearchCV has three folds. On a reduced
set, every candidate is trained on the reduced rows and scored on real ones. Then the best candidate
is trained on the reduced rows, and for KIP also once on all rows. The seconds include everything:
reduction, search and last fit.
"""

import argparse
import time

import numpy as np
from _common import provenance
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, PredefinedSplit, train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import KIPDistiller
from kipsk.baselines import CoresetSampler

GRID = {"C": [1, 10], "gamma": [0.02, 0.05]}
OURS = "KIP for an SVC"
N_SCORED = 5000  # real rows that candidates are scored on


def search_reduced(reducer, X, y):
    """Return the best parameters, the model trained on the reduced rows, and seconds of both."""
    start = time.perf_counter()
    X_s, y_s = reducer.fit_resample(X, y)
    rows = np.random.RandomState(0).permutation(len(X))[:N_SCORED]
    fold = np.r_[np.full(len(X_s), -1), np.zeros(N_SCORED, int)]  # -1: never scored on
    search = GridSearchCV(SVC(cache_size=1000), GRID, cv=PredefinedSplit(fold), refit=False)
    search.fit(np.r_[X_s, X[rows]], np.r_[y_s, y[rows]])
    model = SVC(cache_size=1000, **search.best_params_).fit(X_s, y_s)
    return search.best_params_, model, time.perf_counter() - start


def main(arguments):
    X, y = make_classification(
        arguments.rows + 20000, 20, n_informative=10, n_classes=5, random_state=0
    )
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=20000, random_state=0, stratify=y
    )
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    print(provenance(), f"{arguments.rows} rows", sep=", ", end="\n\n")
    print("| search on | rows | best | test accuracy | seconds | all rows take |")
    print("|---|---|---|---|---|---|", flush=True)

    start = time.perf_counter()
    full = GridSearchCV(SVC(cache_size=1000), GRID, cv=3).fit(X_train, y_train)
    whole = time.perf_counter() - start

    def show(name, n_rows, best, model, seconds):
        accuracy = 100 * model.score(X_test, y_test)
        print(
            f"| {name} | {n_rows} | {best} | {accuracy:.1f} | {seconds:.0f} "
            f"| {whole / seconds:.1f} x |",
            flush=True,
        )

    show("all rows", len(X_train), full.best_params_, full.best_estimator_, whole)
    for ipc in arguments.ipc:
        reducers = {
            "random rows": CoresetSampler("random", ipc=ipc, random_state=0),
            "k-means": CoresetSampler("k_means", ipc=ipc, random_state=0),
            OURS: KIPDistiller(ipc=ipc, downstream=SVC(), random_state=0),
        }
        for name, reducer in reducers.items():
            best, model, seconds = search_reduced(reducer, X_train, y_train)
            show(name, model.shape_fit_[0], best, model, seconds)
            if name != OURS:
                continue
            start = time.perf_counter()
            model = SVC(cache_size=1000, **best).fit(X_train, y_train)
            seconds += time.perf_counter() - start
            show(f"{name}, then one fit on all", len(X_train), best, model, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100000, help="training rows")
    parser.add_argument("--ipc", type=int, nargs="+", default=[200])
    main(parser.parse_args())
