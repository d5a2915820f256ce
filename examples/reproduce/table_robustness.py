"""How much the training of a network matters to what it learns from a distilled set.

    python examples/reproduce/table_robustness.py --data DIR --dataset cifar10 --sets SETS

Each row changes one of the settings of table_transfer.py. The distilled sets are also those of
table_transfer.py: sets of KIP with a sampled ConvNet kernel, which are made with the settings of
table_convnet.py if SETS does not hold them.
"""

import table_transfer as transfer

# Factors of the learning rate; SGD's own is a quarter of the largest stable one.
CHANGES = {
    "base": {},
    **{f"rate_x{factor:g}": {"learning_rate": 3e-3 * factor} for factor in (0.1, 0.3, 3, 10)},
    "sgd": {"optimizer": "sgd", "learning_rate": "auto"},
    **{f"l2_{l2:g}": {"l2": l2} for l2 in (1e-5, 1e-4, 1e-3)},
    **{f"label_scale_{scale}": {"label_scale": scale} for scale in (2, 8, 16)},
    "cross_entropy": {"loss": "cross_entropy"},
    "not_centred": {"centering": 0},
    "not_centred_l2": {"centering": 0, "l2": 1e-3},
    **{f"steps_{steps}": {"max_iter": steps} for steps in (50, 100, 500)},
}


def title(change):
    """Return "optimizer=sgd, learning_rate=auto"."""
    values = {k: f"{v:.1g}" if isinstance(v, float) else v for k, v in change.items()}
    return ", ".join(f"{k}={v}" for k, v in values.items()) or "as in table_transfer"


ROWS = {row: title(change) for row, change in CHANGES.items()}


def main(arguments):
    transfer.measure("table_robustness", ROWS, arguments, lambda row: ("kip", CHANGES[row]))


def options():
    return transfer.options(__doc__, ROWS, ipc=[10])


if __name__ == "__main__":
    main(options().parse_args())
