"""Digits reduced to 10 rows per class: what do other models learn from each reduced set?

    python examples/reproduce/other_models.py

The script prints the test accuracy of scikit-learn's models that are trained on class labels, and
of an MLP that is trained on soft labels where a set has them. The start and the end of a run of KIP
are compared with the stages that `fit_resample` returns, by itself and with the model as
`downstream`. It takes about five minutes on 2 CPU cores.
"""

import warnings

import numpy as np
from _common import mean_std, provenance
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import KernelRidgeNTKClassifier, KIPDistiller
from kipsk.baselines import CoresetSampler

IPC = 10
SEEDS = 3
# What `fit_distill` returns: the end of a run.
KIP = {
    "KIP, the end of a run": {},
    "the same, fixed labels": {"labels": "fixed"},
}
MODELS = {
    "kernel ridge": lambda seed: KernelRidgeNTKClassifier(),
    "SVC": lambda seed: SVC(),
    "logistic": lambda seed: LogisticRegression(max_iter=1000),
    "forest": lambda seed: RandomForestClassifier(random_state=seed),
    "1-NN": lambda seed: KNeighborsClassifier(1),
    "MLP": lambda seed: MLPClassifier(hidden_layer_sizes=[256], max_iter=500, random_state=seed),
}


def reduced_sets(X, y, seed):
    """Yield name, rows, class labels, soft labels or None."""
    for method in ("random", "herding", "k_medoids", "k_means"):
        yield method, *CoresetSampler(method, ipc=IPC, random_state=seed).fit_resample(X, y), None
    for name, parameters in KIP.items():
        distiller = KIPDistiller(ipc=IPC, random_state=seed, **parameters)
        X_s, y_s = distiller.fit_distill(X, y)
        soft = None if distiller.labels == "fixed" else y_s
        yield name, X_s, distiller.classes_[y_s.argmax(axis=1)], soft
    distiller = KIPDistiller(ipc=IPC, random_state=seed)
    X_s, hard = distiller.fit_resample(X, y)
    start, _ = distiller.snapshots_[0]
    yield "KIP, its start", start, np.repeat(range(10), IPC), None
    yield "KIP, fit_resample", X_s, hard, None


def chosen_for(model, X, y, seed):
    """Return the rows and class labels of the stage that trains the model best."""
    return KIPDistiller(ipc=IPC, downstream=model, random_state=seed).fit_resample(X, y)


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)  # MLPs of 500 steps
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    table = {}
    for seed in range(SEEDS):
        for name, X_s, hard, soft in reduced_sets(X_train, y_train, seed):
            cells = table.setdefault(name, {})
            for model_name, make in MODELS.items():
                accuracy = make(seed).fit(X_s, hard).score(X_test, y_test)
                cells.setdefault(model_name, []).append(accuracy)
            if soft is not None:
                mlp = MLPRegressor(hidden_layer_sizes=[256], max_iter=500, random_state=seed).fit(
                    X_s, soft
                )
                hits = mlp.predict(X_test).argmax(axis=1) == y_test
                cells.setdefault("MLP, soft labels", []).append(hits.mean())
        for model_name, make in MODELS.items():
            model = make(seed)
            model.fit(*chosen_for(model, X_train, y_train, seed))
            cells = table.setdefault("KIP, fit_resample for the model", {})
            cells.setdefault(model_name, []).append(model.score(X_test, y_test))
    columns = [*MODELS, "MLP, soft labels"]
    print(provenance(), f"{SEEDS} seeds", sep=", ", end="\n\n")
    print("| set |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for name, cells in table.items():
        shown = [mean_std(cells[c]) if c in cells else "-" for c in columns]
        print(f"| {name} |", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
