"""Networks of finite width trained on distilled sets and on as many random rows.

    python examples/reproduce/random_features.py --data DIR --save SETS
    python examples/reproduce/transfer.py --data DIR --sets SETS

Each distilled set (SETS/RUN_SEED.npz) trains one network of `--width`; so does a random subset of
the training rows. Both get the same settings, chosen on held-out training rows (`--held-out`).
"""

import time
from pathlib import Path

import numpy as np
from _common import mean_std, parser, provenance
from random_features import NETWORKS, RUNS, load, preprocess

from kipsk.architectures import get_architecture
from kipsk.networks import FiniteNetworkClassifier


def network(run, seed, classes, arguments):
    architecture, image_shape = NETWORKS[run.data]
    return FiniteNetworkClassifier(
        get_architecture(architecture),
        width=arguments.width,
        image_shape=image_shape,
        optimizer="adam",
        learning_rate=3e-3,
        max_iter=arguments.steps,
        centering=True,
        l2=0.0,
        classes=classes,
        random_state=seed,
    )


def main(arguments):
    print(provenance(), f"width {arguments.width}, {arguments.steps} steps", sep=", ", end="\n\n")
    print("| run | trained on | seeds | network's test accuracy | minutes a network |")
    print("|---|---|---|---|---|")
    for name in arguments.runs:
        run = RUNS[name]
        X_train, X_test, y_train, y_test = load(run.data, arguments.data, arguments.held_out)
        Z_train, Z_test = preprocess(run.data, X_train, X_test)
        classes = np.unique(y_train)
        accuracies, minutes = {"distilled": [], "random rows": []}, []
        for seed in range(arguments.seeds):
            with np.load(Path(arguments.sets) / f"{name}_{seed % arguments.n_sets}.npz") as data:
                distilled = data["images"].reshape(len(data["images"]), -1), data["labels"]
            rng = np.random.RandomState(seed)
            rows = np.concatenate(
                [rng.permutation(np.flatnonzero(y_train == c))[: run.ipc] for c in classes]
            )
            one_hot = (y_train[rows][:, None] == classes) - 1 / len(classes)
            sets = {"distilled": distilled, "random rows": (Z_train[rows], one_hot)}
            for kind, (X, y) in sets.items():
                start = time.perf_counter()
                model = network(run, seed, classes, arguments).fit(X, y)
                accuracies[kind].append(model.score(Z_test, y_test))
                minutes.append((time.perf_counter() - start) / 60)
        for kind, values in accuracies.items():
            print(
                f"| {name} | {kind} | {arguments.seeds} | {mean_std(values)} "
                f"| {np.mean(minutes):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--sets", metavar="SETS", required=True, help="folder of distilled sets")
    options.add_argument("--runs", nargs="+", choices=RUNS, default=["cifar10_10", "fashion_10"])
    options.add_argument("--n-sets", type=int, default=3, help="sets of a run in SETS; the seeds "
                         "beyond draw other networks for the same sets")  # fmt: skip
    options.add_argument("--width", type=int, default=128)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--held-out", action="store_true", help="score on held-out training rows")
    main(options.parse_args())
