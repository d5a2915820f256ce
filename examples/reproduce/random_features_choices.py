"""How sampled ConvNet KIP grows with networks, width, steps and batch, on held-out training rows.

    python examples/reproduce/random_features_choices.py --data DIR

CIFAR-10, 10 images per class, whitened; 4000 of the training rows are held out and scored. One
seed; about twenty minutes on 2 CPU cores. Every line changes one thing of the first.
"""

from _common import parser, provenance
from random_features import Run, distil, load, preprocess

BASE = Run("cifar10", 10, 4, 32, 200)
CHANGES = [
    {},
    {"n_networks": 1},
    {"n_networks": 8},
    {"n_networks": 1, "width": 64},
    {"max_iter": 50},
    {"loss": "mse"},
    {"n_networks": 16, "width": 16},
    {"n_networks": 1, "width": 128},
    {"batch_size": 250},
    {"batch_size": 1000},
]


def main(arguments):
    print(provenance(), end="\n\n")
    print("| setting | held-out accuracy |")
    print("|---|---|")
    X_train, X_test, y_train, y_test = load(BASE.data, arguments.data, held_out=True)
    Z_train, Z_test = preprocess(BASE.data, X_train, X_test)
    for change in CHANGES[arguments.first :]:
        distiller = distil(BASE._replace(**change), Z_train, y_train, seed=0)
        name = ", ".join(f"{key}={value}" for key, value in (change or BASE._asdict()).items())
        accuracy = 100 * distiller.score(Z_test, y_test)
        print(f"| {name} | {accuracy:.1f} |", flush=True)


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--first", type=int, default=0, help="the line to start from")
    main(options.parse_args())
