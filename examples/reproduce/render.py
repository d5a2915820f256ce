"""Write the tables of the talk into docs/results.md, from the CSVs of measured cells.

    python examples/reproduce/render.py [--check]

Each table stands between the lines `<!-- begin NAME -->` and `<!-- end NAME -->`. `--check` writes
nothing, and fails if the page has other tables.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from _record import RESULTS, read

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
HEADER = (
    "row", "data set", "images per class", "published", "measured", "difference", "minutes",
    "steps", "options",
)  # fmt: skip
NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "digits",
}


def measured(lines):
    """Return mean, deviation, number of seeds, minutes and steps of the lines of one figure."""
    seeds = {line["seed"]: line for line in lines}  # of a seed measured again the last
    together = seeds.pop("", None)
    if together and int(together["n_seeds"]) >= len(seeds):
        mean, deviation, n_seeds = (together[k] for k in ("value", "deviation", "n_seeds"))
        seeds = {"": together}
    else:
        values = [float(line["value"]) for line in seeds.values()]
        mean, deviation, n_seeds = np.mean(values), np.std(values), len(values)
    minutes = [float(line["minutes"]) for line in seeds.values() if line["minutes"]]
    minutes = f"{np.mean(minutes):.2g}" if minutes else ""
    steps = "/".join(sorted({line["steps"] for line in seeds.values()} - {""}, key=int))
    return float(mean), float(deviation or 0), int(n_seeds), minutes, steps


def cells_of(published, group):
    """Return the cells of one line of the table after the images per class."""
    mean, deviation, n_seeds, minutes, steps = measured(group)
    shown = f"{mean:.1f}" if n_seeds == 1 else f"{mean:.1f} ± {deviation:.1f} ({n_seeds} seeds)"
    difference = f"{mean - float(published):+.1f}" if published else ""
    return [
        published or "-", shown, difference, minutes, steps, f"`{group[-1]['command']}`",
    ]  # fmt: skip


def table(name, folder=RESULTS):
    """Return the lines of a table: what was published and what was measured, in this order."""
    published = defaultdict(dict)
    for line in read(folder / "published.csv"):
        if line["table"] == name:
            published[line["row"], line["dataset"]][int(line["ipc"])] = line["value"]
    groups = defaultdict(lambda: defaultdict(list))  # a figure for each setting
    lines = [line for line in read(folder / f"{name}.csv") if "held_out" not in line["settings"]]
    for line in lines:
        key = line["row"], line["dataset"]
        groups[key][int(line["ipc"]), line["settings"]].append(line)
    rows = []
    for row, dataset in {**published, **groups}:
        figures = published.get((row, dataset), {})
        found = groups.get((row, dataset), {})
        ipcs = {ipc for ipc, _ in found}
        left = [ipc for ipc in figures if ipc not in ipcs]
        if left:
            pairs = " / ".join(map(str, left)), " / ".join(figures[ipc] for ipc in left)
            rows.append([row, NAMES[dataset], *pairs, "not run", "", "", "", ""])
        for (ipc, _), group in sorted(found.items()):
            rows.append([row, NAMES[dataset], str(ipc), *cells_of(figures.get(ipc), group)])
    shown = [f"| {' | '.join(cells)} |" for cells in [HEADER, ["---"] * len(HEADER), *rows]]
    head = f"    python examples/reproduce/{name}.py --data DIR OPTIONS"
    machines = sorted({line["machine"] for line in lines})
    return [head, "", *shown, *(part for m in machines for part in ("", f"Machine: {m}."))]


def side_by_side(name, folder=RESULTS):
    """Return the lines of a table of rows such as "KIP: NN": sizes and what follows the colon."""
    groups = defaultdict(list)
    lines = [line for line in read(folder / f"{name}.csv") if "held_out" not in line["settings"]]
    for line in lines:
        row, _, what = line["row"].rpartition(": ")
        groups[line["dataset"], row, what, int(line["ipc"])].append(line)
    if not groups:
        return ["Not run."]
    datasets, rows, whats, ipcs = (dict.fromkeys(values) for values in zip(*groups, strict=True))
    columns = [(what, ipc) for what in sorted(whats) for ipc in sorted(ipcs)]
    head = ["data set", "rows", *(f"{what}, {ipc}" for what, ipc in columns)]
    shown = [head, ["---"] * len(head)]
    for dataset in datasets:
        for row in rows:
            found = [groups.get((dataset, row, *column)) for column in columns]
            if any(found):
                shown.append([NAMES[dataset], row, *map(short, found)])
    machines = sorted({line["machine"] for line in lines})
    return [
        f"    python examples/reproduce/{name}.py --data DIR --sets SETS",
        "",
        *(f"| {' | '.join(cells)} |" for cells in shown),
        *(part for m in machines for part in ("", f"Machine: {m}.")),
    ]


def short(lines):
    """Return one figure of a table side by side."""
    if not lines:
        return "not run"
    mean, deviation, n_seeds, _, _ = measured(lines)
    return f"{mean:.1f}" + (f" ± {deviation:.1f}" if n_seeds > 1 else " (1 seed)")


SIDE_BY_SIDE = ("table_baselines",)


def rendered(page, folder=RESULTS):
    """Return the text of a page with all tables between markers as they should be."""

    def replace(match):
        make = side_by_side if match[2] in SIDE_BY_SIDE else table
        return "\n".join([match[1], "", *make(match[2], folder), "", match[3]])

    return re.sub(r"(<!-- begin (\w+) -->).*?(<!-- end \2 -->)", replace, page, flags=re.S)


def main(arguments):
    page = Path(arguments.page)
    old = page.read_text()
    new = rendered(old, Path(arguments.folder))
    if arguments.check:
        sys.exit(f"{page} is not what render.py writes: run it." if new != old else 0)
    page.write_text(new)


def options():
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("--check", action="store_true", help="only tell whether they are right")
    result.add_argument("--page", default=PAGE, help="default: docs/results.md")
    result.add_argument("--folder", default=RESULTS, help="of the CSVs (default: results here)")
    return result


if __name__ == "__main__":
    main(options().parse_args())
