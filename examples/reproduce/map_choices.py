"""Which map of features sees most: ridge regression on 10000 images of CIFAR-10, one change a line.

    python examples/reproduce/map_choices.py --data DIR

Accuracy is on 3000 other training images, the ridge by generalised cross-validation on the 10000.
All maps have about 2000 features, unless the line says otherwise. Test images are not touched.
"""

import time

import numpy as np
from _common import load, mean_std, parser, provenance, speed_of_products
from table_moments import ridge_accuracy

from kipsk import Moments, RegularizedZCA
from kipsk.architectures import (
    Activation,
    AdaptiveAvgPool,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    LocalNormalize,
    TwoSided,
    convnet,
)
from kipsk.kernels import Invariant, RandomFeatures

SHAPE = (32, 32, 3)


def one_layer(size=6, windows=2, threshold=1.0, normalized=False, activation=None):
    first = (LocalNormalize(),) if normalized else ()
    middle = Conv(size, padding="VALID"), activation or TwoSided(threshold)
    return Architecture((*first, *middle, AdaptiveAvgPool(windows), Flatten(), Dense()))


def two_layers(width_of_windows=2):
    first = LocalNormalize(), Conv(5), TwoSided(0.5), AvgPool(2)
    second = Conv(3), Activation("relu"), AdaptiveAvgPool(width_of_windows)
    return Architecture((*first, *second, Flatten(), Dense()))


# What is changed, the architecture, networks, width, filters, whether it knows mirror images.
LINES = [
    ("ConvNet3, 4 networks of width 32", convnet(3), 4, 32, "normal", False),
    ("ConvNet3, 16 networks of width 8", convnet(3), 16, 8, "normal", False),
    ("ConvNet3, one network of width 128", convnet(3), 1, 128, "normal", False),
    ("ConvNet3, filters from patches", convnet(3), 4, 32, "patches", False),
    ("One layer of 256 normal filters, threshold 1", one_layer(), 8, 32, "normal", False),
    ("... filters from patches", one_layer(), 8, 32, "patches", False),
    ("... threshold 0.5", one_layer(threshold=0.5), 8, 32, "patches", False),
    ("... threshold 0", one_layer(threshold=0.0), 8, 32, "patches", False),
    (
        "... ReLU of 512 filters for both signs of 256",
        one_layer(activation=Activation("relu")), 16, 32, "patches", False,
    ),
    ("Threshold 0.5, contrast normalised", one_layer(6, 2, 0.5, True), 8, 32, "patches", False),
    ("... filters of 4 x 4", one_layer(4, 2, 0.5, True), 8, 32, "patches", False),
    ("... filters of 8 x 8", one_layer(8, 2, 0.5, True), 8, 32, "patches", False),
    ("... 3 x 3 windows, 114 filters", one_layer(6, 3, 0.5, True), 3, 38, "patches", False),
    ("... 4 x 4 windows, 64 filters", one_layer(5, 4, 0.5, True), 2, 32, "patches", False),
    ("... 1 window, 1024 filters", one_layer(6, 1, 0.5, True), 32, 32, "patches", False),
    (
        "3 x 3 windows, averaged over mirror images",
        one_layer(6, 3, 0.5, True), 3, 38, "patches", True,
    ),
    ("Two layers, the second normal", two_layers(), 16, 32, "patches", False),
]  # fmt: skip


def main(arguments):
    print(provenance())
    print(f"{speed_of_products():.0f} GFLOP/s in products\n")
    X, _, y, _ = load("cifar10", arguments.data)
    print("| map | p | accuracy | s |\n|---|---|---|---|")
    splits = []
    for seed in range(arguments.seeds):
        rows = np.random.RandomState(seed).permutation(len(X))[:13_000]
        zca = RegularizedZCA(reg=0.1).fit(X[rows[:10_000]] / 255)
        splits.append((zca.transform(X[rows] / 255).astype(np.float32), y[rows]))
    for title, architecture, n_networks, width, filters, is_mirrored in LINES:
        start, found = time.perf_counter(), []
        for seed, (Z, labels) in enumerate(splits):
            kernel = RandomFeatures(
                architecture,
                n_networks,
                width,
                filters=filters,
                image_shape=SHAPE,
                resample=False,
                random_state=seed,
            )
            if is_mirrored:
                kernel = Invariant(kernel, image_shape=SHAPE)
            moments = Moments(kernel, classes=range(10)).fit(Z[:10_000], labels[:10_000])
            found.append(ridge_accuracy(moments, Z[10_000:], labels[10_000:]))
        seconds = (time.perf_counter() - start) / arguments.seeds
        p = len(moments.C_)
        print(f"| {title} | {p} | {mean_std(found)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(parser(__doc__.splitlines()[0]).parse_args())
