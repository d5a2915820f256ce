"""Maps that change: how a set by moments serves its own maps and unseen networks.

    python examples/reproduce/moments_maps.py --data DIR --sizes 1 4 16

Each map is a sample of networks with moments of its own, and every step draws one of them. The
table has the accuracy on all test images of CIFAR-10, 10 images per class: under the map that
predicts, and under networks that no step has seen.
"""

import time

import numpy as np
from _common import load, mean_std, parser, provenance, random_rows

from kipsk import KIPDistiller, Moments, RegularizedZCA
from kipsk.kernels import RandomFeatures

SHAPE = (32, 32, 3)
UNSEEN = 10_000  # the seed of networks of no map


def networks(n, seed):
    return RandomFeatures("convnet3", n, 32, image_shape=SHAPE, resample=False, random_state=seed)


def prepared(folder, held_out):
    X_train, X_test, y_train, y_test = load("cifar10", folder, held_out)
    zca = RegularizedZCA(reg=0.1).fit(X_train / 255)
    return zca.transform(X_train / 255), zca.transform(X_test / 255), y_train, y_test


def main(arguments):
    print(provenance(), end="\n\n")
    X, X_test, y, y_test = prepared(arguments.data, arguments.held_out)
    print("| maps | seed | own map | unseen networks | s for the pass, each | s for the steps |")
    print("|---|---|---|---|---|---|")
    for size in arguments.sizes:
        start = time.perf_counter()
        kernels = [networks(arguments.n_networks, seed) for seed in range(size)]
        moments = [Moments(kernel, classes=np.unique(y)).fit(X, y) for kernel in kernels]
        seconds = (time.perf_counter() - start) / size
        found = []
        for seed in range(arguments.seeds):
            start = time.perf_counter()
            rows = random_rows(X, y, 10, seed)
            model = KIPDistiller(
                kernels,
                init=(X[rows], y[rows]),
                max_iter=arguments.steps,
                learning_rate=0.05,
                reg=1e-2,
                random_state=seed,
            ).fit_moments(moments)
            steps = time.perf_counter() - start
            own = model.score(X_test, y_test)
            (unseen,) = model.evaluate(X_test, y_test, [networks(32, UNSEEN)]).values()
            found.append((own, unseen))
            print(
                f"| {size} | {seed} | {100 * own:.1f} | {100 * unseen:.1f} | {seconds:.0f} "
                f"| {steps:.0f} |",
                flush=True,
            )
        own, unseen = (mean_std(values) for values in zip(*found, strict=True))
        print(f"| {size} | all | {own} | {unseen} | | |", flush=True)


def options():
    result = parser(__doc__.splitlines()[0])
    result.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16], help="numbers of maps")
    result.add_argument("--n-networks", type=int, default=4, help="networks of a map (default: 4)")
    result.add_argument("--steps", type=int, default=300, help="steps (default: 300)")
    result.add_argument("--held-out", type=int, default=0, help="training rows for tests")
    return result


if __name__ == "__main__":
    main(options().parse_args())
