"""Distil scikit-learn's digits to 1 and 10 images per class, and look at what was learned.

    python examples/quickstart.py [--output digits.png]

The script needs matplotlib (``pip install ".[plot]"``) and no network. It takes less than a minute.
"""

import argparse
import time

import matplotlib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.plotting import SupportDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def save_images(models, path):
    """Draw the support of each model, ten images a line, with their classes; keys are titles."""
    n_lines = [len(model.X_s_) // 10 for model in models.values()]
    figure, axes = plt.subplots(
        len(models),
        figsize=(6, 0.75 * sum(n_lines) + 0.4 * len(models)),
        height_ratios=n_lines,
        layout="compressed",
    )
    for ax, (title, model) in zip(axes, models.items(), strict=True):
        SupportDisplay.from_estimator(model, image_shape=(8, 8, 1), soft_labels=False, ax=ax)
        ax.set_title(title, fontsize=10)
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
        subset = CoresetSampler("random", ipc, random_state=0).fit_resample(X_train, y_train)
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
            "Label Solve keeps real images, 1 per class": solvers[1],
            "KIP, 1 per class": distillers[1],
            "KIP, 10 per class": distillers[10],
        },
        output,
    )
    print(f"\nThe learned images are in {output}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="digits.png", help="where to save the images")
    main(parser.parse_args().output)
