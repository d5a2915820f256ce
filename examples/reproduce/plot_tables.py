"""Draw the regrets of reduced tables against their size, from the CSV of tables.py.

    python examples/reproduce/plot_tables.py --results tables.csv --max-rows 3000

The picture goes into docs/_static. A panel is for each learner, and the first for the mean of all.
A regret of 0 is as good as all rows, one of 1 as 10 random rows of each class, as in the tables
that `tables.py --render` prints of the same CSV.
"""

import argparse

import matplotlib.pyplot as plt
from _tables import DISTILLER, KIP, KMEANS, RANDOM, with_regrets
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from plot_results import GREY, PICTURE, STYLE
from tables import Results

TARGET = PICTURE.parent / "which_rows.svg"
SERIES = {
    RANDOM: ("random rows", "#8a8a8a", "x"),
    KMEANS: ("k-means centres", "#3a87c8", "v"),
    "agglomerative": ("Ward's centres", "#7570b3", "s"),
    KIP: ("fit_resample", "#d95f02", "o"),
    DISTILLER: ("the distiller's own predictions", "#1b9e77", "D"),
}
MEAN = "mean of the learners"
LOWEST, HIGHEST = -1.2, 1.4  # what is below is far better than all rows of a learner


def panels(lines):
    """Return the names of panels and, by (panel, method), mean regrets by rows per class."""
    means = with_regrets(lines)
    means = means[means["ipc"] > 0]
    of_learners = means.groupby(["learner", "method", "ipc"])["regret"].mean()
    # As in the tables: the mean over the learners of each table, then over the tables.
    of_tables = means.groupby(["method", "ipc", "table"])["regret"].mean()
    of_all = of_tables.groupby(["method", "ipc"]).mean()
    learners = list(dict.fromkeys(means["learner"]))
    found = {(MEAN, method): of_all.get(method) for method in SERIES}
    for learner in learners:
        of_one = of_learners.loc[learner]
        found |= {(learner, method): of_one.get(method) for method in SERIES}
    return [MEAN, *learners], found


def draw(lines, target):
    """Draw the picture."""
    names, found = panels(lines)
    sizes = sorted({size for part in found.values() if part is not None for size in part.index})
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            -(-len(names) // 3), 3, figsize=(7.5, 7.5), sharex=True, sharey=True
        )
        for name, axes in zip(names, grid.flat, strict=False):
            axes.set_title(name, fontsize=11, loc="left")
            for height in (0, 1):
                axes.axhline(height, color=GREY, linewidth=0.8, linestyle=":")
            for method, (label, colour, marker) in SERIES.items():
                part = found[name, method]
                if part is not None:
                    style = {"color": colour, "marker": marker, "markersize": 5}
                    axes.plot(part.index, part.clip(lower=LOWEST), label=label, **style)
            axes.set(xscale="log", ylim=(LOWEST - 0.1, HIGHEST))
            axes.xaxis.set_major_locator(FixedLocator(sizes))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
            axes.spines[["top", "right"]].set_visible(False)
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("rows per class", color=GREY)
        figure.supylabel("regret", color=GREY)
        figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="upper center", ncols=3,
                      frameon=False)  # fmt: skip
        figure.tight_layout(rect=(0, 0, 1, 0.93))
        figure.savefig(target, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", metavar="FILE", default="tables.csv")
    parser.add_argument("--max-rows", type=int, default=20000)
    parser.add_argument("--target", default=TARGET)
    args = parser.parse_args()
    draw(Results(args.results).lines(args.max_rows), args.target)
