"""What do learners of eight kinds learn from reduced tables? The regrets of TDBench.

    python examples/reproduce/tables.py --folder FOLDER --ipc 10 20 50 100 --seeds 5
    python examples/reproduce/tables.py --only iris wine --methods all random k-means fit_resample
    python examples/reproduce/tables.py --render

TDBench is Kang et al. 2025, "On Learning Representations for Tabular Data Distillation" (arXiv
2501.13905). Its score is the regret (all - set) / (all - random), where all, set and random are
the balanced accuracies on test rows of a learner trained on all rows, on the reduced set, and on 10
random rows of each class. A table on which all rows gain less than 0.01 over the random ones says
nothing about a learner, and is left out for it.

FOLDER has a file .csv or .dat for each table: comma-separated values without a line of names, the
class last, numbers and categories in any order. Without --folder the tables are some of
scikit-learn. For each seed 70 % of the rows, at most --max-rows of them, are for training, and the
others for testing. On the training rows numbers are standardised, and categories become one-hot
columns. Learners have their defaults, except that boosting may have leaves of one row, and that
classes count equally (as in TDBench) where a learner can weigh them; XGBoost comes in if it is
installed. "fit_resample" chooses its rows for each learner. "kip-end" also measures "itself", the
predictions of the distiller.

Each figure is a line of the CSV as soon as it is known. The same command goes on after a kill, and
tries what had failed again; with --render it runs nothing. In both cases it ends with tables of
all figures in the CSV.
"""

import argparse
import csv
import datetime
import time
import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import jax
import numpy as np
from _common import provenance, speed_of_products
from _record import read
from _tables import (
    ALL,
    ITSELF,
    KIP,
    METHODS,
    RANDOM,
    REFERENCE,
    START,
    overview,
    rendered,
    split,
    tables,
)
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from kipsk import KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler

try:
    from xgboost import XGBClassifier
except ImportError:
    XGBClassifier = None

COLUMNS = (
    "table", "method", "ipc", "seed", "learner", "max_rows", "n_rows", "value", "reduce_seconds",
    "fit_seconds", "stage", "scores", "error", "gflops", "machine", "date",
)  # fmt: skip
KEY = COLUMNS[:6]


def learners(n_classes=2, seed=0):
    """Return the learners by name."""
    weighted = {"class_weight": "balanced", "random_state": seed}
    result = {
        "boosting": HistGradientBoostingClassifier(min_samples_leaf=1, **weighted),
        "1-NN": KNeighborsClassifier(1),
        "5-NN": KNeighborsClassifier(5),
        "logistic": LogisticRegression(max_iter=1000, **weighted),
        "MLP": MLPClassifier(max_iter=500, random_state=seed),
        "forest": RandomForestClassifier(**weighted),
        "SVC": SVC(**weighted),
        "naive Bayes": GaussianNB(priors=np.full(n_classes, 1 / n_classes)),
    }
    if XGBClassifier is not None:
        result["XGBoost"] = XGBClassifier(random_state=seed)
    return result


def reducer(method, ipc, seed):
    """Return what makes the sets of a method; None for all rows."""
    given = {"ipc": ipc, "random_state": seed}
    reducers = {
        ALL: lambda: None,
        "label-solve": lambda: LabelSolver("fc1", **given),
        START: lambda: KIPDistiller(
            init="kmeans", labels="fixed", max_iter=1, learning_rate=1e-12, downstream="last",
            **given,
        ),
        KIP: lambda: KIPDistiller(**given),
        "kip-end": lambda: KIPDistiller(downstream="last", **given),
    }  # fmt: skip
    return reducers.get(method, lambda: CoresetSampler(method.replace("-", "_"), **given))()


class Reduced(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    seconds: float
    reducer: object


def reduced(estimator, X, y):
    if estimator is None:
        return Reduced(X, y, 0.0, None)
    start = time.perf_counter()
    X_s, y_s = estimator.fit_resample(X, y)
    return Reduced(X_s, y_s, time.perf_counter() - start, estimator)


def sets_of(method, estimator, X, y, path):
    """Return a function from a learner to the set that it is trained on.

    All runs of `fit_resample` are the same. The first one, which tries a model that costs nothing,
    is saved at `path`, and each learner's own goes on from its end.
    """

    @cache
    def common():
        if method != KIP:
            return reduced(estimator, X, y)
        return reduced(clone(estimator).set_params(downstream=DummyClassifier()), X, y)

    if method != KIP:
        return lambda learner: common()
    estimator.set_params(checkpoint_path=path)

    def chosen(learner):
        seconds = common().seconds
        made = reduced(clone(estimator).set_params(downstream=learner), X, y)
        return made._replace(seconds=seconds + made.seconds)

    return chosen


def measured(given, sets, rows):
    """Yield (name, line) for each of the learners: what it learns from its set."""
    X_test, y_test = rows
    for name, learner in given.items():
        line = {"n_rows": "", "value": "", "reduce_seconds": "", "fit_seconds": ""}
        try:
            made = sets(learner)
            line |= {"n_rows": len(made.X), "reduce_seconds": f"{made.seconds:.4f}"}
            if method_scores := getattr(made.reducer, "stage_scores_", None):
                line["stage"] = made.reducer.stage_
                line["scores"] = " ".join(f"{k}:{v:.4f}" for k, v in method_scores.items())
            start, seconds = time.perf_counter(), 0.0
            with threadpool_limits(1):  # threads of several fits at once spin for minutes
                model = made.reducer
                if name != ITSELF:
                    model = clone(learner).fit(made.X, made.y)
                    seconds = time.perf_counter() - start
                value = balanced_accuracy_score(y_test, model.predict(X_test))
            line |= {"value": f"{value:.5f}", "fit_seconds": f"{seconds:.4f}"}
        except Exception as error:
            line["error"] = " ".join(f"{type(error).__name__}: {error}".split())
        yield name, line


class Results:
    """The CSV: what is there without an error is not measured again."""

    def __init__(self, path):
        self.path, self.facts = Path(path), None

    def lines(self, max_rows):
        """Return the last line of each figure, of those that did not fail."""
        last = {}
        for line in read(self.path):  # a line that a kill has torn has other columns
            if None not in line and None not in line.values() and not line["error"]:
                last[tuple(line[name] for name in KEY)] = line
        return [line for key, line in last.items() if key[-1] == str(max_rows)]

    def append(self, line):
        if self.facts is None:
            gflops = f"{speed_of_products():.0f}"
            self.facts = {"gflops": gflops, "machine": provenance()}
            print(f"{self.facts['machine']}, {gflops} GFLOP/s in products", flush=True)
        line |= self.facts | {"date": datetime.date.today().isoformat()}
        is_new = not self.path.exists()
        with open(self.path, "a", newline="") as file:  # closed, and so written, at once
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(line)


def cells_of(name, seed, args, there):
    """Yield (method, ipc, names of the learners) that are to be measured."""
    for method in args.methods:
        ipcs = sorted({*args.ipc, REFERENCE}) if method == RANDOM else args.ipc
        for ipc in [0] if method == ALL else ipcs:
            names = [*args.learners, ITSELF] if method == "kip-end" else args.learners
            keys = {n: (name, method, str(ipc), str(seed), n, str(args.max_rows)) for n in names}
            missing = [n for n in names if keys[n] not in there]
            if missing:
                yield method, ipc, missing


def measure(name, load, seed, args, results):
    """Measure all that the CSV lacks of one table and one seed."""
    there = {tuple(line[n] for n in KEY) for line in results.lines(args.max_rows)}
    cells = list(cells_of(name, seed, args, there))
    if not cells:
        return
    X, X_test, y, y_test = split(load(), seed, args.max_rows)
    of_name = {**learners(y.max() + 1, seed), ITSELF: None}
    with TemporaryDirectory() as folder:
        for method, ipc, names in cells:
            start = time.perf_counter()
            path = Path(folder) / f"{ipc}"
            sets = sets_of(method, reducer(method, ipc, seed), X, y, path)
            values, errors = [], 0
            for learner, line in measured({n: of_name[n] for n in names}, sets, (X_test, y_test)):
                key = (name, method, ipc, seed, learner, args.max_rows)
                results.append(dict(zip(KEY, key, strict=True)) | line)
                values += [float(line["value"])] if line["value"] else []
                errors += "error" in line
            seconds = time.perf_counter() - start
            mean = f"{100 * np.mean(values):.1f}" if values else "-"
            shown = [name, f"{len(X)} x {X.shape[1]}", seed, METHODS[method], ipc, mean]
            print("|", " | ".join(map(str, [*shown, f"{seconds:.1f} s"])), "|", end=" ")
            print(f"{errors} failed" if errors else "", flush=True)


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", help="with the tables (default: tables of scikit-learn)")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="names of files, without suffix")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--learners", nargs="+", choices=learners(), default=list(learners()))
    parser.add_argument("--ipc", type=int, nargs="+", default=[10], help="rows per class")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds (default: 1)")
    parser.add_argument("--max-rows", type=int, default=20000, help="for training (default: 20000)")
    parser.add_argument("--results", metavar="FILE", default="tables.csv", help="the CSV")
    parser.add_argument("--render", action="store_true", help="run nothing")
    return parser


def main(args):
    results = Results(args.results)
    if not args.render:
        loaders = tables(args.folder)
        for seed in range(args.seeds):
            for name in args.only or loaders:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # few rows, short runs, small classes
                    try:
                        measure(name, loaders[name], seed, args, results)
                    except Exception as error:  # a file that cannot be read or split
                        print(f"{name}, seed {seed}: {type(error).__name__}: {error}", flush=True)
                # Compiled programs of many shapes use up a process's memory maps.
                jax.clear_caches()
    lines = results.lines(args.max_rows)
    if not lines:
        raise SystemExit(f"{args.results} has no results with --max-rows {args.max_rows}")
    print()
    for machine in sorted({line["machine"] for line in lines}):
        speeds = sorted(int(line["gflops"]) for line in lines if line["machine"] == machine)
        shown = " to ".join(dict.fromkeys(map(str, (speeds[0], speeds[-1]))))
        print(f"{machine}, {shown} GFLOP/s in products\n")
    for piece in (*overview(lines), *rendered(lines)):
        print(piece, end="\n\n")


if __name__ == "__main__":
    main(options().parse_args())
