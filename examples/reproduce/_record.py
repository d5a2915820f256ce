"""What the scripts of the talk's tables share, and the CSV that each of their cells goes to."""

import csv
import datetime
import time
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import SHAPES, parser, provenance
from sklearn.base import clone

RESULTS = Path(__file__).parent / "results"
# One line for each seed, with an empty deviation; or one for several, with an empty seed.
COLUMNS = (
    "row", "dataset", "ipc", "seed", "value", "deviation", "n_seeds", "minutes", "steps",
    "settings", "command", "machine", "date",
)  # fmt: skip


class Cell(NamedTuple):
    """One accuracy to measure: a row of the table, by its key, at one seed.

    `params` are all that the figure depends on; with other ones it is another figure.
    """

    row: str
    dataset: str
    ipc: int
    seed: int
    params: dict


def table_parser(description, rows, datasets=("cifar10",), ipc=(1, 10, 50)):
    """Return a parser with the options of all scripts of tables."""
    result = parser(description)
    result.add_argument("--dataset", nargs="+", choices=SHAPES, default=list(datasets))
    result.add_argument("--ipc", nargs="+", type=int, default=list(ipc), help="images per class")
    result.add_argument("--rows", nargs="+", choices=rows, default=list(rows))
    result.add_argument(
        "--budget", type=float, metavar="MINUTES",
        help="for the steps of one fit: fewer steps, where the setting's would take longer",
    )  # fmt: skip
    result.add_argument(
        "--set", nargs="*", type=assignment, default=[], metavar="NAME=VALUE",
        help="other settings for the rows, such as max_iter=100",
    )  # fmt: skip
    result.add_argument("--held-out", action="store_true", help="score on held-out training rows")
    result.add_argument("--results", metavar="FILE", help="CSV (default: results/TABLE.csv here)")
    result.add_argument("--again", action="store_true", help="measure what is in the CSV, too")
    return result


def assignment(text):
    """Return ("max_iter", 100) of "max_iter=100"."""
    name, _, value = text.partition("=")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            pass
    return name, value


def read(path):
    """Return the lines of a CSV as dicts; none if there is no such file."""
    if not Path(path).exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shown(params):
    return " ".join(f"{name}={value}" for name, value in params.items())


def conditions(arguments, timed=False):
    """Return what the arguments add to the parameters of a cell: a budget only to a timed one."""
    found = {"budget": arguments.budget} if timed and arguments.budget is not None else {}
    return {**found, "held_out": 1} if arguments.held_out else found


class Table:
    """The cells of one table, kept in a CSV; what is there is not measured again.

    Parameters
    ----------
    name : str
        Of the script and of the CSV.
    titles : dict of str to str
        What a row is called in the CSV, by its key.
    arguments : Namespace
        Of `table_parser`.
    """

    def __init__(self, name, titles, arguments):
        self.titles, self.arguments = titles, arguments
        self.path = Path(arguments.results or RESULTS / f"{name}.csv")
        self.machine, self.steps = provenance(), {}
        print(self.machine, end="\n\n")

    def missing(self, params_of):
        """Yield each `Cell` to measure; `params_of(row, dataset, ipc, seed)` or None for none."""
        there = set()
        for line in [] if self.arguments.again else read(self.path):
            seeds = range(int(line["n_seeds"])) if line["seed"] == "" else [int(line["seed"])]
            key = line["row"], line["dataset"], int(line["ipc"]), line["settings"]
            there |= {(*key, seed) for seed in seeds}
        given = self.arguments
        for dataset, ipc, row in product(given.dataset, given.ipc, given.rows):
            for seed in range(given.seeds):
                params = params_of(row, dataset, ipc, seed)
                if params is None:
                    continue
                cell = Cell(row, dataset, ipc, seed, params)
                if (self.titles[row], dataset, ipc, shown(params), seed) not in there:
                    yield cell

    def max_iter(self, cell, distiller, X, y):
        """Return the steps of a fit: its `max_iter`, or what fits into the budget.

        Steps are timed once for all seeds of a cell, on a few batches of the rows, when the step
        is compiled.
        """
        budget, key = self.arguments.budget, (*cell[:3], shown(cell.params))
        if budget is None:
            return distiller.max_iter
        if key not in self.steps:
            n_support = distiller.ipc * len(np.unique(y))
            rows = np.random.RandomState(0).permutation(len(X))
            rows = rows[: 4 * max(distiller.batch_size, n_support)]
            times = []
            for n in (2, 2, 10):
                start = time.perf_counter()
                clone(distiller).set_params(max_iter=n).fit(X[rows], y[rows])
                times.append(time.perf_counter() - start)
            a_step = max(times[2] - times[1], 1e-3) / 8
            self.steps[key] = max(1, min(distiller.max_iter, int(60 * budget / a_step)))
        return self.steps[key]

    def record(self, cell, accuracy, seconds, steps="", title=None):
        """Append a cell: test accuracy as a fraction, and the seconds it took in all."""
        given = self.arguments
        command = f"--dataset {cell.dataset} --ipc {cell.ipc} --rows {cell.row}"
        command += f" --set {shown(dict(given.set))}" if given.set else ""
        command += f" --budget {given.budget:g}" if given.budget is not None else ""
        command += " --held-out" if given.held_out else ""
        command += " --sets SETS" if getattr(given, "sets", None) else ""
        line = {
            "row": title or self.titles[cell.row],
            "dataset": cell.dataset,
            "ipc": cell.ipc,
            "seed": cell.seed,
            "value": f"{100 * accuracy:.2f}",
            "deviation": "",
            "n_seeds": 1,
            "minutes": f"{seconds / 60:.2f}",
            "steps": steps,
            "settings": shown(cell.params),
            "command": f"{command} --seeds {given.seeds}",
            "machine": self.machine,
            "date": datetime.date.today().isoformat(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with open(self.path, "a", newline="") as file:  # closed, and so written, at once
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(line)
        shown_cells = [line[name] for name in COLUMNS[:5]] + [line["minutes"], steps]
        print("|", " | ".join(map(str, shown_cells)), "|", flush=True)
