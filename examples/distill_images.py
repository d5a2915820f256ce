"""Distil images with a sampled convolutional kernel, and train a network on the learned images.

    python examples/distill_images.py [--data DIR --set cifar10] [--output images.png]

Without `--data` the images are scikit-learn's digits, and the script takes about two minutes on 2
CPU cores. DIR is a folder with fashion_mnist.npz or cifar10.npz, which hold the arrays x_train,
y_train, x_test and y_test, with images as (N, H, W) or (N, H, W, C). The script needs matplotlib
(``pip install ".[plot]"``).
"""

import argparse
import time

import matplotlib
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, RegularizedZCA
from kipsk.baselines import CoresetSampler
from kipsk.datasets import load_images
from kipsk.kernels import RandomFeatures
from kipsk.networks import FiniteNetworkClassifier
from kipsk.plotting import SupportDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(folder, name, max_iter, output):
    # Colour images are whitened; grey ones get one mean and deviation.
    is_colour = name == "cifar10"
    images = load_images(name, data_home=folder, standardize=None if is_colour else "channel")
    whitening = StandardScaler(with_std=False), RegularizedZCA(reg=0.1, layer_norm=False)
    transformer = make_pipeline(*whitening) if is_colour else FunctionTransformer()
    Z_train = transformer.fit_transform(images.X_train.astype(np.float32))
    Z_test = transformer.transform(images.X_test.astype(np.float32))
    y_train, y_test, shape = images.y_train, images.y_test, images.image_shape
    depth = 3 if min(shape[:2]) >= 32 and shape[0] % 8 == shape[1] % 8 == 0 else 2
    architecture = f"convnet{depth}"
    kernel = RandomFeatures(architecture, n_networks=4, width=32, image_shape=shape)
    print(f"{len(Z_train)} training images of {shape}, kernel: {kernel!r}\n")

    start = time.perf_counter()
    distiller = KIPDistiller(kernel, ipc=10, loss="platt", max_iter=max_iter, random_state=0)
    distiller.fit(Z_train, y_train)
    print(f"distilled to {len(distiller.X_s_)} in {time.perf_counter() - start:.0f} s\n")

    subset = CoresetSampler("random", ipc=10, random_state=0).fit_resample(Z_train, y_train)
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

    sets = {
        "10 random images of each class": subset,
        "what such images became, with their labels": (distiller.X_s_, distiller.y_s_),
    }
    figure, axes = plt.subplots(2, figsize=(6, 17), height_ratios=(4, 5), layout="compressed")
    for ax, (title, (X_s, y_s)) in zip(axes, sets.items(), strict=True):
        rows = transformer.inverse_transform(X_s)
        SupportDisplay(rows, y_s, classes=distiller.classes_, image_shape=shape).plot(ax)
        ax.set_title(title, fontsize=10)
    figure.savefig(output, dpi=100)
    print(f"\nThe images are in {output}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="folder with the .npz files")
    parser.add_argument("--set", default="fashion_mnist", choices=["fashion_mnist", "cifar10"])
    parser.add_argument("--steps", type=int, default=300, help="steps of KIP (default: 300)")
    parser.add_argument("--output", default="images.png", help="where to save the images")
    arguments = parser.parse_args()
    name = "digits" if arguments.data is None else arguments.set
    main(arguments.data, name, arguments.steps, arguments.output)
