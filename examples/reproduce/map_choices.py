"""Which map of features sees most: ridge regression on 10000 images of CIFAR-10, one change a line.

    python examples/reproduce/map_choices.py --data DIR

Accuracy is on 3000 other training images, the ridge by generalised cross-validation on the 10000.
All maps have about 2000 features, unless the line says otherwise. Test images are not touched.
"""

import time
from typing import NamedTuple

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
    GaussianPool,
    TwoSided,
    convnet,
    shallow,
)
from kipsk.kernels import Invariant, RandomFeatures

SHAPE = (32, 32, 3)


def one_layer(size=6, windows=3, threshold=0.5, contrast=None, activation=None, pool=None):
    first = Conv(size, padding="VALID", contrast=contrast), activation or TwoSided(threshold)
    return Architecture((*first, *(pool or (AdaptiveAvgPool(windows),)), Flatten(), Dense()))


def soft(windows, spread):
    return AvgPool(3), GaussianPool(windows, spread)


def orthogonal(size, n_channels, n_filters):
    """Return filters at right angles to each other, as long as normal ones are on average."""
    rng, n = np.random.default_rng(0), size**2 * n_channels
    blocks = [np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(-(-n_filters // n))]
    filters = np.sqrt(2) * np.concatenate(blocks, axis=1)[:, :n_filters]
    return filters.reshape(size, size, n_channels, n_filters).astype(np.float32)


class Line(NamedTuple):
    """A map: its architecture, its filters, and whether images are whitened before."""

    title: str
    architecture: Architecture
    n_networks: int
    width: int
    filters: str = "patches"
    is_whitened: bool = False
    is_mirrored: bool = False


RELU = Activation("relu")
LINES = [
    Line("ConvNet3, 4 networks of width 32", convnet(3), 4, 32, "normal", True),
    Line("ConvNet3, 16 networks of width 8", convnet(3), 16, 8, "normal", True),
    Line("ConvNet3, one network of width 128", convnet(3), 1, 128, "normal", True),
    Line("ConvNet3, filters from patches", convnet(3), 4, 32, "patches", True),
    Line("One layer, 114 normal filters", one_layer(), 3, 38, "normal", True),
    Line("... orthogonal filters", one_layer(), 3, 38, "orthogonal", True),
    Line("... filters from patches of whitened images", one_layer(), 3, 38, "patches", True),
    Line("... of images as they are", one_layer(), 3, 38),
    Line("... contrast normalised", one_layer(contrast=0.1), 3, 38),
    Line("... and images whitened", one_layer(contrast=0.1), 3, 38, "patches", True),
    Line("... and normal filters", one_layer(contrast=0.1), 3, 38, "normal"),
    Line("Contrast 0.1: threshold 0", one_layer(threshold=0, contrast=0.1), 3, 38),
    Line("... threshold 1", one_layer(threshold=1, contrast=0.1), 3, 38),
    Line("... one ReLU of 228 filters", one_layer(contrast=0.1, activation=RELU), 6, 38),
    Line("... filters of 4 x 4", one_layer(4, contrast=0.1), 3, 38),
    Line("... filters of 8 x 8", one_layer(8, 5, contrast=0.1), 1, 41),
    Line("... 2 x 2 windows, 256 filters", one_layer(5, 2, contrast=0.1), 8, 32),
    Line("... 4 x 4 windows, 64 filters", one_layer(5, 4, contrast=0.1), 2, 32),
    Line("... 1 window, 1024 filters", one_layer(6, 1, contrast=0.1), 32, 32),
    Line("... contrast 0.3", one_layer(contrast=0.3), 3, 38),
    Line("... contrast 0.03", one_layer(contrast=0.03), 3, 38),
    Line('Windows with soft borders: "shallow"', shallow(), 3, 38),
    Line("... spread 0.4", one_layer(contrast=0.1, pool=soft(3, 0.4)), 3, 38),
    Line("... spread 0.7", one_layer(contrast=0.1, pool=soft(3, 0.7)), 3, 38),
    Line("... 2 x 2 windows, 256 filters", shallow(windows=2), 8, 32),
    Line("... 4 x 4 windows, 64 filters", shallow(windows=4), 2, 32),
    Line("... a second layer of 3 x 3 filters", shallow(depth=2), 7, 32),
    Line("... mirror images", shallow(), 3, 38, is_mirrored=True),
]


def main(arguments):
    print(provenance())
    print(f"{speed_of_products():.0f} GFLOP/s in products\n")
    X, _, y, _ = load("cifar10", arguments.data)
    print("| map | p | accuracy | s |\n|---|---|---|---|")
    splits = []
    for seed in range(arguments.seeds):
        rows = np.random.RandomState(seed).permutation(len(X))[:13_000]
        zca = RegularizedZCA(reg=0.1).fit(X[rows[:10_000]] / 255)
        own = (X[rows] / 255).astype(np.float32)
        splits.append((own, zca.transform(own).astype(np.float32), y[rows]))
    for line in LINES:
        start, found = time.perf_counter(), []
        for seed, (as_they_are, whitened, labels) in enumerate(splits):
            Z = whitened if line.is_whitened else as_they_are
            filters = line.filters
            if filters == "orthogonal":
                filters = orthogonal(6, SHAPE[-1], line.n_networks * line.width)
            kernel = RandomFeatures(
                line.architecture,
                line.n_networks,
                line.width,
                filters=filters,
                image_shape=SHAPE,
                resample=False,
                random_state=seed,
            )
            if line.is_mirrored:
                kernel = Invariant(kernel, image_shape=SHAPE)
            moments = Moments(kernel, classes=range(10)).fit(Z[:10_000], labels[:10_000])
            found.append(ridge_accuracy(moments, Z[10_000:], labels[10_000:]))
        seconds = (time.perf_counter() - start) / arguments.seeds
        p = len(moments.C_)
        print(f"| {line.title} | {p} | {mean_std(found)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(parser(__doc__.splitlines()[0]).parse_args())
