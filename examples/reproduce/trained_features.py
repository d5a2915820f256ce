"""Kernels of networks that are trained while distilling, and of random ones, at equal time.

    python examples/reproduce/trained_features.py --data DIR --seconds 120

The runs are KIP on whitened CIFAR-10, 10 images per class, from the start and with the loss of
table_convnet.py, 200 targets a step. Each takes as many steps as the same seconds of processor time
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

SHAPE = SHAPES["cifar10"]
RANDOM = RandomFeatures("convnet3", 4, 32, image_shape=SHAPE)
TRAINED = TrainedFeatures("convnet3", 5, 32, max_age=50, n_steps=2, image_shape=SHAPE)
WIDE = TrainedFeatures("convnet3", 5, 64, max_age=50, image_shape=SHAPE)
KERNELS = {
    "random": RANDOM,
    "trained": TRAINED,
    "trained_wide": WIDE,
    "random_mirrored": Invariant(RANDOM, image_shape=SHAPE),
    "trained_mirrored": Invariant(TRAINED, image_shape=SHAPE),
}
MEASURED = range(2, 10)  # steps: the first ones are compiled


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
    held_out = convnet.HELD_OUT if arguments.held_out else 0
    X, X_test, y, y_test = convnet.prepared("cifar10", arguments.data, held_out, 1, 0)[0]
    print(provenance(), f"{arguments.seeds} seeds", sep=", ", end="\n\n")
    print("| kernel | labels | steps | its own regression | ConvNet-3 | minutes, network too |")
    print("|---|---|---|---|---|---|")
    for name in arguments.rows:
        kernel, own, by_network, start = KERNELS[name], [], [], time.process_time()
        steps = within(arguments.seconds, kernel, arguments.labels, X, y)
        for seed in range(arguments.seeds):
            model = distiller(kernel, arguments.labels, seed, steps).fit(X, y)
            own.append(model.score(X_test, y_test))
            params = {**transfer.TRAINING, "width": arguments.width}
            network = transfer.network("cifar10", model.classes_, seed, params)
            by_network.append(network.fit(model.X_s_, model.y_s_).score(X_test, y_test))
        minutes = (time.process_time() - start) / 60
        figures = f"{mean_std(own)} | {mean_std(by_network)} | {minutes:.1f}"
        print(f"| {name} | {arguments.labels} | {steps} | {figures} |", flush=True)


def options():
    result = parser(__doc__.splitlines()[0])
    result.add_argument("--seconds", type=float, default=120, help="of each run's steps")
    result.add_argument("--rows", nargs="+", choices=KERNELS, default=list(KERNELS))
    result.add_argument("--labels", choices=("learned", "fixed"), default="learned")
    result.add_argument("--width", type=int, default=128, help="of the network that is trained")
    result.add_argument("--held-out", action="store_true", help="for choices: no test rows")
    return result


if __name__ == "__main__":
    main(options().parse_args())
