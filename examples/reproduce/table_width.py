"""Does transfer improve with the width of the network?

    python examples/reproduce/table_width.py --data DIR --dataset cifar10 --sets SETS

The networks of table_transfer.py are trained at several widths, on the same distilled sets and on
equally many random rows.
"""

import table_transfer as transfer

WIDTHS = (16, 32, 64, 128, 256)
KINDS = {"kip": "KIP ConvNet", "random": "Random subset"}
ROWS = {
    f"{kind}_{width}": f"{title} -> NN of width {width}"
    for kind, title in KINDS.items()
    for width in WIDTHS
}


def setting(row):
    kind, width = row.split("_")
    return kind, {"width": int(width)}


def main(arguments):
    transfer.measure("table_width", ROWS, arguments, setting)


def options():
    return transfer.options(__doc__, ROWS, ipc=[10])


if __name__ == "__main__":
    main(options().parse_args())
