"""Distil scikit-learn's digits to 1 and 10 images per class and look at what was learned.

    python examples/quickstart.py [--output digits.png]

Needs matplotlib (``pip install ".[plot]"``), no network, and takes less than a minute.
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


def save_images(rows, path, image_shape=(8, 8, 1)):
    """Draw images of ten classes in columns: rows maps a title to flat rows sorted by class."""
    H, W, C = image_shape
    heights = [len(X) // 10 for X in rows.values()]
    figure, axes = plt.subplots(
        len(rows),
        figsize=(6, 0.6 * sum(heights) + 0.5 * len(rows)),
        height_ratios=[0.6 * height for height in heights],
        layout="compressed",
    )
    for ax, (title, X), height in zip(axes, rows.items(), heights, strict=True):
        # class, copy, H, W, C -> a sheet of framed tiles, copies down and classes across
        low, high = np.percentile(X, [1, 99])
        tiles = np.pad(
            np.clip((X.reshape(10, height, H, W, C).astype(float) - low) / (high - low), 0, 1),
            ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)),
            constant_values=1,
        )
        sheet = tiles.transpose(1, 2, 0, 3, 4).reshape(height * (H + 2), 10 * (W + 2), C)
        ax.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(title, fontsize=10)
        ax.set_xticks((np.arange(10) + 0.5) * (W + 2) - 0.5, labels=range(10))
        ax.set_yticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    figure.savefig(path, dpi=100)


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

    solvers, distillers = {}, {}
    for ipc in (1, 10):
        start = time.perf_counter()
        subset = random_subset(X_train, y_train, ipc, seed=0)
        report(f"random subset, {ipc} per class", len(subset[0]),
               KernelRidgeNTKClassifier().fit(*subset), start)  # fmt: skip
        start = time.perf_counter()
        solvers[ipc] = LabelSolver(ipc=ipc, random_state=0).fit(X_train, y_train)
        report(f"Label Solve, {ipc} per class", len(solvers[ipc].X_s_), solvers[ipc], start)
        start = time.perf_counter()
        distillers[ipc] = KIPDistiller(ipc=ipc, random_state=0).fit(X_train, y_train)
        report(f"KIP, {ipc} per class", len(distillers[ipc].X_s_), distillers[ipc], start)
    start = time.perf_counter()
    report("all rows", len(X_train), KernelRidgeNTKClassifier().fit(X_train, y_train), start)

    save_images(
        {
            "Label Solve keeps real images, 1 per class": solvers[1].X_s_,
            "KIP, 1 per class": distillers[1].X_s_,
            "KIP, 10 per class (columns: the class each row started from)": distillers[10].X_s_,
        },
        output,
    )
    print(f"\nThe learned images are in {output}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="digits.png", help="where to save the images")
    main(parser.parse_args().output)
