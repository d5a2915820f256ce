"""Kernels of networks that are trained while distilling, and of random ones, at equal time.

    python examples/reproduce/trained_features.py --data DIR --seconds 120

The runs are KIP with 10 images per class, from the start and with the loss of table_convnet.py, on
its data, 200 targets a step. Each takes as many steps as the same seconds of processor time
allow, so that other work on the machine does not count. The table has the accuracy of the kernel's
own regression and of a network that is trained on the set as in table_transfer.py.
"""

import time

import jax
import table_convnet as convnet
import table_transfer as transfer
from _common import SHAPES, mean_std, parser, provenance

from kipsk import KIPDistiller
from kipsk.kernels import Invariant, RandomFeatures, TrainedFeatures

ROWS = ("random", "trained", "random_mirrored", "trained_mirrored")
MEASURED = range(2, 10)  # steps: the first ones are compiled
CHOICES = 2000  # held-out rows that the regression is scored on, for choices


def kernel_of(row, dataset):
    architecture, shape = convnet.architecture_of(dataset), SHAPES[dataset]
    kernel = RandomFeatures(architecture, 4, 32, image_shape=shape)
    if row.startswith("trained"):
        kernel = TrainedFeatures(architecture, 5, 32, max_age=50, n_steps=2, image_shape=shape)
    return Invariant(kernel, image_shape=shape) if row.endswith("mirrored") else kernel


class Timed(KIPDistiller):
    """A distiller that notes the processor time after each step."""

    def _watch(self, run, checkpoint, tasks):
        def note(params):
            jax.block_until_ready(params())
            self.times_ = [*getattr(self, "times_", []), time.process_time()]

        return super()._watch(run, checkpoint, tasks)._replace(after=note)


def distiller(kernel, labels, seed, max_iter):
    return Timed(
        kernel,
        ipc=10,
        loss="platt",
        labels=labels,
        batch_size=200,
        validation_fraction=0.02,
        max_iter=max_iter,
        random_state=seed,
    )


def within(seconds, kernel, labels, X, y):
    """Return the steps that fit into seconds of processor time."""
    times = distiller(kernel, labels, 0, MEASURED.stop).fit(X, y).times_
    a_step = (times[MEASURED.stop - 1] - times[MEASURED.start - 1]) / len(MEASURED)
    return max(1, int(seconds / a_step))


def main(arguments):
    dataset, labels = arguments.dataset, arguments.labels
    whitened = int(SHAPES[dataset][-1] == 3)
    data, _ = convnet.prepared(dataset, arguments.data, arguments.held_out, whitened, 0)
    X, X_test, y, y_test = data
    scored = slice(CHOICES if arguments.held_out else None)
    print(provenance(), f"{arguments.seeds} seeds", sep=", ", end="\n\n")
    print("| data set | kernel | labels | steps | its own regression | ConvNet | minutes in all |")
    print("|---|---|---|---|---|---|---|")
    for row in arguments.rows:
        kernel, own, by_network, start = kernel_of(row, dataset), [], [], time.process_time()
        steps = within(arguments.seconds, kernel, labels, X, y)
        for seed in range(arguments.seeds):
            model = distiller(kernel, labels, seed, steps).fit(X, y)
            own.append(model.score(X_test[scored], y_test[scored]))
            params = {**transfer.TRAINING, "width": arguments.width}
            network = transfer.network(dataset, model.classes_, seed, params)
            by_network.append(network.fit(model.X_s_, model.y_s_).score(X_test, y_test))
        minutes = (time.process_time() - start) / 60
        figures = f"{mean_std(own)} | {mean_std(by_network)} | {minutes:.1f}"
        print(f"| {dataset} | {row} | {labels} | {steps} | {figures} |", flush=True)


def options():
    result = parser(__doc__.splitlines()[0])
    result.add_argument("--seconds", type=float, default=120, help="of each run's steps")
    result.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    result.add_argument("--dataset", choices=SHAPES, default="cifar10")
    result.add_argument("--labels", choices=("learned", "fixed"), default="learned")
    result.add_argument("--width", type=int, default=128, help="of the network that is trained")
    result.add_argument("--held-out", action="store_true", help="for choices: no test rows")
    return result


if __name__ == "__main__":
    main(options().parse_args())
