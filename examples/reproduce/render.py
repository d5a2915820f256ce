"""Write the tables of the talk into the pages of docs/results, from the CSVs of measured cells.

    python examples/reproduce/render.py [--check]

A table stands in the page that has the lines `<!-- begin NAME -->` and `<!-- end NAME -->`.
`--check` writes nothing, and fails if a page has other tables.
"""

import argparse
import re
import sys
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import numpy as np
from _record import RESULTS, read

PAGES = Path(__file__).parents[2] / "docs" / "results"
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
# The talk's data sets of which nothing was measured: their figures stand apart, to be opened.
OWN_FILES = ("mnist", "svhn", "cifar100")


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
    value = tenths(mean) if n_seeds == 1 else f"{tenths(mean)} ± {deviation:.1f} ({n_seeds} seeds)"
    difference = f"{float(tenths(mean)) - float(published):+.1f}" if published else ""
    # The last seed is in the command that measures all of them.
    last = max(reversed(group), key=lambda line: int(line["seed"] or line["n_seeds"]))
    return [
        published or "-", value, difference, minutes, steps, f"`{last['command']}`",
    ]  # fmt: skip


def tenths(percent):
    """Return a figure as it is shown: 81.35, which no binary number is, becomes 81.4."""
    return f"{percent + 1e-9:.1f}"


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
    rows, own = [], []
    for row, dataset in {**published, **groups}:
        figures = published.get((row, dataset), {})
        found = groups.get((row, dataset), {})
        ipcs = {ipc for ipc, _ in found}
        left = [ipc for ipc in figures if ipc not in ipcs]
        if left:
            pairs = " / ".join(map(str, left)), " / ".join(figures[ipc] for ipc in left)
            if dataset in OWN_FILES:
                own.append((dataset, row, pairs))
            else:
                rows.append([row, NAMES[dataset], *pairs, "not run", "", "", "", ""])
        for (ipc, _), group in sorted(found.items()):
            rows.append([row, NAMES[dataset], str(ipc), *cells_of(figures.get(ipc), group)])
    head = f"    python examples/reproduce/{name}.py --data DIR OPTIONS"
    return [head, "", *shown([HEADER, *rows]), *machines(lines), *with_own_files(name, own)]


def shown(rows):
    """Return the lines of a table, without empty columns; the first row is its head."""
    columns = [column for column in zip(*rows, strict=True) if set(column[1:]) - {"", "-"}]
    head, *body = zip(*columns, strict=True)
    return [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *body]]


def machines(lines):
    """Return the paragraph on where the figures were measured."""
    found = sorted({line["machine"] for line in lines})
    if len(found) < 2:
        return ["", f"Machine: {found[0]}."] if found else []
    parts = [machine.split(", ") for machine in found]
    ends = zip(*map(reversed, parts), strict=False)
    shared = [end[0] for end in takewhile(lambda end: len(set(end)) == 1, ends)][::-1]
    own = [", ".join(part[: len(part) - len(shared)]) for part in parts]
    return ["", f"Machines: {'; '.join(own)}{'; each with ' * bool(shared)}{', '.join(shared)}."]


def with_own_files(name, rows):
    """Return a part to open: what was published for sets of which nothing was measured."""
    if not rows:
        return []
    datasets = [dataset for dataset in OWN_FILES if dataset in {row[0] for row in rows}]
    names = [NAMES[dataset] for dataset in datasets]
    return [
        "",
        "<details>",
        f"<summary>With your own files: {', '.join(names)}</summary>",
        "",
        "The talk has these figures; nothing was measured beside them here. The command fills them "
        "in, from",
        f"{', '.join(f'`DIR/{dataset}.npz`' for dataset in datasets)}. `--rows` and `--ipc` take "
        "some of them.",
        "",
        f"    python examples/reproduce/{name}.py --data DIR --dataset {' '.join(datasets)}",
        "",
        *shown([HEADER[:4], *([row, NAMES[dataset], *pair] for dataset, row, pair in rows)]),
        "",
        "</details>",
    ]


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
    table_rows = [["data set", "rows", *(f"{what}, {ipc}" for what, ipc in columns)]]
    for dataset in datasets:
        for row in rows:
            found = [groups.get((dataset, row, *column)) for column in columns]
            if any(found):
                # Rows of the data have no soft labels.
                is_hard = row.startswith("random rows")
                cells = [
                    "–" if is_hard and what == "soft labels" else short(lines)
                    for (what, _), lines in zip(columns, found, strict=True)
                ]
                table_rows.append([NAMES[dataset], row, *cells])
    head = f"    python examples/reproduce/{name}.py --data DIR --sets SETS"
    return [head, "", *shown(table_rows), *machines(lines)]


def short(lines):
    """Return one figure of a table side by side."""
    if not lines:
        return "not run"
    mean, deviation, n_seeds, _, _ = measured(lines)
    return tenths(mean) + (f" ± {deviation:.1f}" if n_seeds > 1 else " (1 seed)")


SIDE_BY_SIDE = ("table_baselines", "table_protocols")


def rendered(page, folder=RESULTS):
    """Return the text of a page with all tables between markers as they should be."""

    def replace(match):
        make = side_by_side if match[2] in SIDE_BY_SIDE else table
        return "\n".join([match[1], "", *make(match[2], folder), "", match[3]])

    return re.sub(r"(<!-- begin (\w+) -->).*?(<!-- end \2 -->)", replace, page, flags=re.S)


def main(arguments):
    other = []
    for page in sorted(Path(arguments.pages).glob("*.md")):
        old = page.read_text()
        new = rendered(old, Path(arguments.folder))
        if new != old and arguments.check:
            other.append(str(page))
        elif new != old:
            page.write_text(new)
    if arguments.check:
        sys.exit(f"{', '.join(other)}: not what render.py writes: run it." if other else 0)


def options():
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("--check", action="store_true", help="only tell whether they are right")
    result.add_argument("--pages", default=PAGES, help="folder (default: docs/results)")
    result.add_argument("--folder", default=RESULTS, help="of the CSVs (default: results here)")
    return result


if __name__ == "__main__":
    main(options().parse_args())
