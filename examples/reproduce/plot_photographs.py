"""Draw real beside learned photographs of CIFAR-10 into docs/_static, with what they predict.

    python examples/reproduce/plot_photographs.py --data DIR

Ten random training images, one of each class, are the start of a run by moments, in the map of 192
patches. The figure has them above the ten images that the run made of them, and the accuracy of
kernel ridge regression on either ten under the kernel of this map, on all test images. Steps, rate,
power and ridge are those of table_moments.py for one image per class. It takes two minutes on two
cores. Text and colours suit light and dark pages.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from _common import SHAPES, load, parser, random_rows
from plot_results import GREY

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, Moments
from kipsk.kernels import Invariant, get_kernel

PICTURE = Path(__file__).parents[2] / "docs" / "_static" / "photographs.png"
NAMES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SHAPE = SHAPES["cifar10"]


def best_accuracy(model_of, values, X, y):
    """Return the best test accuracy of a baseline over its ridge: it gets the benefit of doubt."""
    return max(model_of(value).score(X, y) for value in values)


def draw(rows, titles):
    """Return the figure: a line of images for each title."""
    figure, axes = plt.subplots(
        len(rows), len(NAMES), figsize=(9, 2.5), gridspec_kw={"wspace": 0.06, "hspace": 0.35}
    )
    for line, images, title in zip(axes, rows, titles, strict=True):
        line[0].set_title(title, loc="left", fontsize=10, color=GREY)
        for ax, image in zip(line, images, strict=True):
            low, high = np.percentile(image, [1, 99])  # learned pixels leave the range of real ones
            ax.imshow(np.clip((image.reshape(SHAPE) - low) / (high - low), 0, 1))
            ax.axis("off")
    for ax, name in zip(axes[-1], NAMES, strict=True):
        ax.text(0.5, -0.08, name, color=GREY, ha="center", va="top", transform=ax.transAxes)
    return figure


def main():
    """Measure, print and draw."""
    arguments = parser(__doc__.partition("\n")[0])
    arguments.add_argument("--out", default=PICTURE, help="default: docs/_static/photographs.png")
    arguments = arguments.parse_args()
    X, X_test, y, y_test = load("cifar10", arguments.data)
    X, X_test = ((pixels / 255).astype(np.float32) for pixels in (X, X_test))
    few = random_rows(X, y, 1, seed=0)

    start = time.perf_counter()
    kernel = Invariant(get_kernel("patches", n_networks=6), image_shape=SHAPE)
    moments = Moments(kernel, classes=np.unique(y), verbose=1).fit(X, y)
    distiller = KIPDistiller(
        moments.kernel_, ipc=1, init=(X[few], y[few]), max_iter=1000, learning_rate=0.2, reg=0.1,
        random_state=0, verbose=1,
    ).fit_moments(moments, power=0.25)  # fmt: skip
    seconds = time.perf_counter() - start

    learned = 100 * distiller.score(X_test, y_test)
    real = 100 * best_accuracy(
        lambda reg: KernelRidgeNTKClassifier(moments.kernel_, reg=reg).fit(X[few], y[few]),
        (1e-4, 1e-2, 1),
        X_test,
        y_test,
    )
    print(f"real {real:.1f} %, learned {learned:.1f} %, {seconds:.0f} s")
    titles = (
        f"10 real images predict {real:.1f} % of the test images",
        f"10 learned images predict {learned:.1f} %",
    )
    figure = draw((X[few], distiller.X_s_), titles)
    figure.savefig(arguments.out, dpi=110, transparent=True, bbox_inches="tight")


if __name__ == "__main__":
    main()
