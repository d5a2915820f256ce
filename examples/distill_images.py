"""Distil images with a sampled convolutional kernel and train a network on what was learned.

    python examples/distill_images.py [--data DIR --set cifar10] [--output images.png]

Without `--data` it takes scikit-learn's digits (about two minutes on 2 CPU cores). DIR is a folder
with fashion_mnist.npz or cifar10.npz, arrays x_train, y_train, x_test, y_test with images as
(N, H, W) or (N, H, W, C). Needs matplotlib (``pip install ".[plot]"``).
"""

import argparse
import time
from pathlib import Path

import numpy as np
from quickstart import random_subset, save_images
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, RegularizedZCA
from kipsk.kernels import RandomFeatures
from kipsk.networks import FiniteNetworkClassifier


def load(folder, name):
    """Return X_train, X_test, y_train, y_test (flattened rows, float32) and the image shape."""
    if folder is None:
        X, y = load_digits(return_X_y=True)
        split = train_test_split(X.astype(np.float32), y, test_size=0.3, random_state=0, stratify=y)
        return *split, (8, 8, 1)
    with np.load(Path(folder) / f"{name}.npz") as data:
        images = data["x_train"], data["x_test"]
        labels = data["y_train"].ravel(), data["y_test"].ravel()
    shape = (*images[0].shape[1:], 1)[:3]
    rows = [x.reshape(len(x), -1).astype(np.float32) for x in images]
    return *rows, *labels, shape


def main(folder, name, max_iter, output):
    X_train, X_test, y_train, y_test, shape = load(folder, name)
    # Colour images are whitened; grey ones get one mean and deviation.
    mean, scale = X_train.mean(axis=0), 1.0
    if shape[2] == 3:
        zca = RegularizedZCA(reg=0.1, layer_norm=False).fit(X_train - mean)
    else:
        zca, mean, scale = None, X_train.mean(), X_train.std()

    def transform(X):
        return (X - mean) / scale if zca is None else zca.transform(X - mean)

    def to_pixels(Z):
        return Z * scale + mean if zca is None else zca.inverse_transform(Z) + mean

    Z_train, Z_test = transform(X_train), transform(X_test)
    depth = 3 if min(shape[:2]) >= 32 and shape[0] % 8 == shape[1] % 8 == 0 else 2
    architecture = f"convnet{depth}"
    kernel = RandomFeatures(architecture, n_networks=4, width=32, image_shape=shape)
    print(f"{len(X_train)} training images of {shape}, kernel: {kernel!r}\n")

    start = time.perf_counter()
    distiller = KIPDistiller(kernel, ipc=10, loss="platt", max_iter=max_iter, random_state=0)
    distiller.fit(Z_train, y_train)
    print(f"distilled to {len(distiller.X_s_)} in {time.perf_counter() - start:.0f} s\n")

    subset = random_subset(Z_train, y_train, ipc=10, seed=0)
    ridge = KernelRidgeNTKClassifier(kernel.for_prediction()).fit(*subset)

    def network():
        return FiniteNetworkClassifier(
            architecture, width=128, image_shape=shape, centering=True, l2=0, optimizer="adam",
            learning_rate=3e-3, max_iter=200,
            classes=distiller.classes_, random_state=0,
        )  # fmt: skip

    models = {
        ("random images", "kernel ridge"): ridge,
        ("distilled", "kernel ridge"): distiller,
        ("random images", "network"): network().fit(*subset),
        ("distilled", "network"): network().fit(distiller.X_s_, distiller.y_s_),
    }
    print(f"{'training set':<16}{'model':<14}{'test accuracy':>14}")
    for (trained_on, kind), model in models.items():
        print(f"{trained_on:<16}{kind:<14}{model.score(Z_test, y_test):>14.3f}", flush=True)

    titles = "10 random images of each class", "what such images became, by the class of the start"
    save_images(
        {titles[0]: to_pixels(subset[0]), titles[1]: to_pixels(distiller.X_s_)}, output, shape
    )
    print(f"\nThe images are in {output}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="folder with the .npz files")
    parser.add_argument("--set", default="fashion_mnist", choices=["fashion_mnist", "cifar10"])
    parser.add_argument("--steps", type=int, default=300, help="steps of KIP (default: 300)")
    parser.add_argument("--output", default="images.png", help="where to save the images")
    arguments = parser.parse_args()
    main(arguments.data, arguments.set, arguments.steps, arguments.output)
