"""How to train a network on a distilled set: digits, FC1, 10 rows per class, 3 networks each.

python examples/reproduce/networks_digits.py
"""

import numpy as np
from _common import mean_std, provenance
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk.networks import FiniteNetworkClassifier

SETTINGS = {
    "centering=True, l2=0": {"centering": True, "l2": 0},
    "the same, width=256": {"centering": True, "l2": 0, "width": 256},
    "l2=1e-3 (default)": {},
    "l2=0": {"l2": 0},
    'loss="cross_entropy"': {"loss": "cross_entropy"},
}


def main():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    scaler = StandardScaler().fit(X_train)
    Z_train, Z_test = scaler.transform(X_train), scaler.transform(X_test)
    distiller = KIPDistiller("fc1", ipc=10, random_state=0).fit(Z_train, y_train)
    rng = np.random.RandomState(0)
    rows = np.concatenate([rng.permutation(np.flatnonzero(y_train == c))[:10] for c in range(10)])
    hard = distiller.classes_[distiller.y_s_.argmax(axis=1)]
    sets = {
        "KIP, soft labels": (distiller.X_s_, distiller.y_s_),
        "KIP, class labels": (distiller.X_s_, hard),
        "random rows": (Z_train[rows], y_train[rows]),
    }
    print(provenance(), f"distiller {distiller.score(Z_test, y_test):.3f}", sep=", ", end="\n\n")
    print(f"| settings, width 1024 | {' | '.join(sets)} |")
    print("|---|---|---|---|")
    for name, params in SETTINGS.items():
        cells = []
        for X_s, y_s in sets.values():
            classes = distiller.classes_ if y_s.ndim == 2 else None
            scores = [
                FiniteNetworkClassifier(
                    "fc1", **{"width": 1024, **params}, classes=classes, random_state=seed
                )
                .fit(X_s, y_s)
                .score(Z_test, y_test)
                for seed in range(3)
            ]
            cells.append(mean_std(scores))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
