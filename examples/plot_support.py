"""Look at distilled digits: the learned images, their labels, and how they came about.

    python examples/plot_support.py [--output DIR]

Needs matplotlib (``pip install "kipsk[plot]"``), no network, and takes less than half a minute.
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk.metrics import compression_ratio, distance_to_training
from kipsk.plotting import (
    DistillationCurveDisplay,
    IntrinsicDimensionDisplay,
    LabelDisplay,
    SnapshotDisplay,
    SupportDisplay,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def save(display, name):
        display.figure_.savefig(folder / name, dpi=100)
        plt.close(display.figure_)
        print(folder / name)

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    options = {"max_iter": 200, "early_stopping": True, "image_shape": (8, 8, 1), "random_state": 0}
    runs = {f"{ipc} per class": KIPDistiller(ipc=ipc, **options) for ipc in (1, 5)}
    for distiller in runs.values():
        distiller.set_params(snapshots="log").fit(X_train, y_train)
    distiller = runs["5 per class"]
    print(f"test accuracy of {len(distiller.X_s_)} rows: {distiller.score(X_test, y_test):.3f}")
    ratio = compression_ratio(distiller.X_s_, distiller.y_s_, X_train, y_train)
    print(f"{ratio.rows:.0f} times fewer rows, {ratio.bytes:.0f} times fewer bytes")
    near = distance_to_training(distiller.X_s_, X_train, X_test)
    print(f"distance to the nearest training row, over that of a test row: {near.ratio:.1f}\n")

    save(SupportDisplay.from_estimator(distiller, n_columns=10), "support.png")
    save(LabelDisplay.from_estimator(distiller), "labels.png")
    save(SnapshotDisplay.from_estimator(distiller), "snapshots.png")
    save(DistillationCurveDisplay.from_estimator(runs), "curves.png")
    save(IntrinsicDimensionDisplay.from_estimator(distiller, X_train), "dimension.png")

    # The distiller of this Pipeline sees 20 components; the images are those of all 64 pixels.
    pipeline = make_pipeline(
        StandardScaler(with_std=False), PCA(20), KIPDistiller(ipc=1, max_iter=100, random_state=0)
    ).fit(X_train, y_train)
    save(SupportDisplay.from_pipeline(pipeline, image_shape=(8, 8, 1)), "pipeline.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", metavar="DIR", default="plots", help="where to save the images")
    main(parser.parse_args().output)
