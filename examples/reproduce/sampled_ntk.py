"""The sampled NTK compared with the sampled NNGP kernel: accuracy on digits, and time.

    python examples/reproduce/sampled_ntk.py

The runs are KIP with sampled two-layer ConvNets on scikit-learn's digits, with 1 image per class,
150 steps, the Platt loss and 3 seeds. The seconds are those of a second fit, without compilation.
"""

import time

import numpy as np
from _common import mean_std, provenance
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller
from kipsk.kernels import RandomFeatures


def main(seeds=3):
    X, y = load_digits(return_X_y=True)
    X = ((X - X.mean()) / X.std()).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    print(provenance(), f"{seeds} seeds", sep=", ", end="\n\n")
    print("| kind | networks | test accuracy | seconds a fit |")
    print("|---|---|---|---|")
    for kind, n_networks in (("nngp", 4), ("ntk", 4), ("nngp", 8)):
        kernel = RandomFeatures("convnet2", n_networks, kind=kind, image_shape=(8, 8, 1))
        accuracies = []
        for seed in range(seeds):
            start = time.perf_counter()
            distiller = KIPDistiller(
                kernel, ipc=1, loss="platt", max_iter=150, random_state=seed
            ).fit(X_train, y_train)
            seconds = time.perf_counter() - start
            accuracies.append(distiller.score(X_test, y_test))
        print(f"| {kind} | {n_networks} | {mean_std(accuracies)} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
