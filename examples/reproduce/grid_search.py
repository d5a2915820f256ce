"""What a search over a model's parameters costs on all rows, and on a distilled set.

    python examples/reproduce/grid_search.py

The data are generated and standardised, the models an SVC and an MLP. On all rows, GridSearchCV has
three folds. On a reduced set, every candidate is trained on the reduced rows and scored on real
ones. The seconds of a search include the reduction. In all cases the best candidate is then trained
once on all rows, and on the reduced rows too.
"""

import argparse
import time

import numpy as np
from _common import provenance, speed_of_products
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, PredefinedSplit, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from kipsk import KIPDistiller
from kipsk.baselines import CoresetSampler

MODELS = {
    "SVC": (SVC(cache_size=1000), {"C": [1, 10], "gamma": [0.02, 0.05]}),
    "MLP": (
        MLPClassifier(early_stopping=True, random_state=0),
        {"hidden_layer_sizes": [(50,), (200,)], "alpha": [1e-4, 1e-1]},
    ),
}
N_SCORED = 5000  # real rows that candidates are scored on


def timed(call, *given):
    start = time.perf_counter()
    result = call(*given)
    return result, time.perf_counter() - start


def search_reduced(reducer, model, grid, X, y):
    """Return the reduced rows and the best parameters."""
    X_s, y_s = reducer.fit_resample(X, y)
    rows = np.random.RandomState(0).permutation(len(X))[:N_SCORED]
    fold = np.r_[np.full(len(X_s), -1), np.zeros(len(rows), int)]  # -1: never scored on
    search = GridSearchCV(model, grid, cv=PredefinedSplit(fold), refit=False)
    search.fit(np.r_[X_s, X[rows]], np.r_[y_s, y[rows]])
    return (X_s, y_s), search.best_params_


def reducers(model, ipc, max_iter):
    """Return ways to make a set; the first of KIP chooses its stage for the model."""
    return {
        "random rows": CoresetSampler("random", ipc=ipc, random_state=0),
        "k-means": CoresetSampler("k_means", ipc=ipc, random_state=0),
        "KIP": KIPDistiller(ipc=ipc, max_iter=max_iter, downstream=model, random_state=0),
    }


def measure(name, train, test, arguments):
    """Print a line for each search of a model's parameters."""
    model, grid = MODELS[name]
    on_all = {}  # accuracy and seconds of the fits on all rows

    def with_parameters(best):
        return clone(model).set_params(**best)

    def show(kind, n_rows, best, seconds, of_set=""):
        if str(best) not in on_all:
            fitted, fit_seconds = timed(with_parameters(best).fit, *train)
            on_all[str(best)] = f"{fit_seconds:.0f} | {100 * fitted.score(*test):.1f}"
        ratio = f"{whole / seconds:.1f} x"
        cells = [name, kind, n_rows, best, f"{seconds:.0f}", ratio, on_all[str(best)], of_set]
        print("|", " | ".join(map(str, cells)), "|", flush=True)

    full, whole = timed(GridSearchCV(model, grid, cv=3, refit=False).fit, *train)
    show("all rows", len(train[0]), full.best_params_, whole)
    for kind, reducer in reducers(model, arguments.ipc, arguments.max_iter).items():
        (rows, best), seconds = timed(search_reduced, reducer, model, grid, *train)
        of_set = f"{100 * with_parameters(best).fit(*rows).score(*test):.1f}"
        show(kind, len(rows[0]), best, seconds, of_set)


def main(arguments):
    X, y = make_classification(
        arguments.rows + 20000, 20, n_informative=10, n_classes=5, random_state=0
    )
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=20000, random_state=0, stratify=y
    )
    scaler = StandardScaler().fit(X_train)
    train, test = (scaler.transform(X_train), y_train), (scaler.transform(X_test), y_test)
    print(f"{provenance()}, {speed_of_products():.0f} GFLOP/s in products, {arguments.rows} rows\n")
    print(
        "| model | search on | rows | best | search, s | all rows take | one fit on all, s "
        "| accuracy, fit on all | accuracy, fit on the set |"
    )
    print("|---" * 9 + "|", flush=True)
    for name in arguments.models:
        measure(name, train, test, arguments)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100000, help="training rows")
    parser.add_argument("--ipc", type=int, default=200)
    parser.add_argument("--max-iter", type=int, default=100, help="steps of KIP")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    with threadpool_limits(1):
        main(parser.parse_args())
