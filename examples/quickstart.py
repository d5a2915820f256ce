"""Distil scikit-learn's digits to 1 and 10 images per class and look at what was learned.

    python examples/quickstart.py [--output digits.png]

Needs matplotlib (``pip install "kipsk[plot]"``), no network, and takes less than a minute.
"""

import argparse
import time

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def random_subset(X, y, ipc, seed):
    """Return `ipc` random rows of each class."""
    rng = np.random.RandomState(seed)
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:ipc] for c in np.unique(y)])
    return X[rows], y[rows]


def save_images(distillers, path):
    """Draw the learned rows as images: one column per class, one row per image."""
    figure, axes = plt.subplots(
        1, len(distillers), figsize=(11, 5), width_ratios=[1, 4], layout="constrained"
    )
    for ax, (ipc, distiller) in zip(axes, distillers.items(), strict=True):
        images = distiller.X_s_.reshape(10, ipc, 8, 8)  # class, copy, height, width
        if ipc > 1:  # as a sheet with a column for each class
            sheet = images.transpose(1, 2, 0, 3).reshape(8 * ipc, 80)
            ax.set_xticks(np.arange(10) * 8 + 3.5, labels=distiller.classes_)
            ax.set_yticks([])
        else:
            sheet = images.reshape(80, 8)
            ax.set_yticks(np.arange(10) * 8 + 3.5, labels=distiller.classes_)
            ax.set_xticks([])
        limit = np.abs(sheet).max()
        ax.imshow(sheet, cmap="gray", vmin=-limit, vmax=limit)
        ax.set_title(f"{ipc} per class")
    figure.suptitle("Digits distilled by KIP (FC1 NTK), learned labels")
    figure.savefig(path, dpi=120)


def main(output):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    print(f"digits: {len(X_train)} training rows, {len(X_test)} test rows, kernel: FC1 NTK\n")
    print(f"{'training set':<34}{'rows':>6}{'test accuracy':>16}{'seconds':>10}")

    def report(name, n_rows, model, start):
        accuracy = model.score(X_test, y_test)
        print(f"{name:<34}{n_rows:>6}{accuracy:>16.3f}{time.perf_counter() - start:>10.1f}")

    distillers = {}
    for ipc in (1, 10):
        start = time.perf_counter()
        subset = random_subset(X_train, y_train, ipc, seed=0)
        report(f"random subset, {ipc} per class", len(subset[0]),
               KernelRidgeNTKClassifier().fit(*subset), start)  # fmt: skip
        start = time.perf_counter()
        solver = LabelSolver(ipc=ipc, random_state=0).fit(X_train, y_train)
        report(f"Label Solve, {ipc} per class", len(solver.X_s_), solver, start)
        start = time.perf_counter()
        distillers[ipc] = KIPDistiller(ipc=ipc, random_state=0).fit(X_train, y_train)
        report(f"KIP, {ipc} per class", len(distillers[ipc].X_s_), distillers[ipc], start)
    start = time.perf_counter()
    report("all rows", len(X_train), KernelRidgeNTKClassifier().fit(X_train, y_train), start)

    save_images(distillers, output)
    print(f"\nThe learned images are in {output}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="digits.png", help="where to save the images")
    main(parser.parse_args().output)
