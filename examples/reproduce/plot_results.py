"""Draw accuracy against seconds on CIFAR-10 into docs/_static, from the CSVs of measured figures.

    python examples/reproduce/plot_results.py

One panel is for 1, 10 and 50 images per class each. Curves are those of curves.csv, points those of
the tables' CSVs: the means of all seeds. The talk tells its compute to the order of magnitude, so
its figures stand at the right border, without seconds. Text and colours suit light and dark pages.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from _record import RESULTS, read
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from render import tenths

PICTURE = Path(__file__).parents[2] / "docs" / "_static" / "accuracy_seconds.svg"
DATASET = "cifar10"
IPCS = (1, 10, 50)
GREY = "#7b7b7b"  # as far from black as from white
STYLE = {
    "font.size": 11,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "svg.hashsalt": "kipsk",  # the same figures are the same file
}
TICKS = {5: "5 s", 15: "15 s", 60: "1 min", 300: "5 min", 1200: "20 min"}


class Figures(NamedTuple):
    """Lines of a table's CSV: those of `rows` whose settings have all of `words`."""

    table: str
    rows: tuple[str, ...]
    words: tuple[str, ...] = ()
    curve: str = ""  # the row of curves.csv that leads to them


class Series(NamedTuple):
    """What has one colour."""

    label: str
    colour: str
    marker: str
    parts: tuple[Figures, ...]


def by_moments(curve, *words):
    return Figures("table_moments", ("KIP by moments",), words, f"KIP by moments, {curve}")


PATCHES = ("architecture=shallow", "filters=patches", "power=0.25", "factor=1")
SERIES = (
    Series(
        "moments, 896 patches", "#d95f02", "o",
        (by_moments("896 patches", *PATCHES, "n_networks=28"),),
    ),
    Series(
        "moments, 192 patches", "#1b9e77", "s",
        (by_moments("192 patches", *PATCHES, "n_networks=6"),),
    ),
    Series(
        "moments, ConvNets", "#7570b3", "D",
        (
            by_moments("8 networks", "filters=normal", "n_networks=8"),
            by_moments("16 networks", "filters=normal", "n_networks=16"),
        ),
    ),
    Series(
        "batches, ConvNets", "#e7298a", "^",
        (
            Figures(
                "table_convnet",
                ("KIP ConvNet, KRR, no aug", "KIP ConvNet blind to mirroring, KRR"),
            ),
            Figures(
                "table_moments",
                ("KIP on batches, new networks at every step, for the same minutes",),
            ),
        ),
    ),
    Series(
        "batches, FC1", "#3a87c8", "v",
        (
            Figures(
                "table_fc",
                ("FC1 KIP (l)", "FC1 KIP (a+l)", "FC1 KIP (a+l) blind to mirroring"),
            ),
        ),
    ),
)  # fmt: skip
TALK = {"KIP ConvNet, KRR, no aug": "full", "KIP ConvNet, KRR, aug": "none"}  # how it is filled


def figures(part, ipc, folder=RESULTS):
    """Return the (seconds, accuracy) of a part: means over seeds, one for each setting."""
    groups = defaultdict(list)
    for line in read(folder / f"{part.table}.csv"):
        fits = line["dataset"] == DATASET and int(line["ipc"]) == ipc and line["row"] in part.rows
        if fits and set(part.words) <= set(line["settings"].split()) and line["minutes"]:
            groups[line["row"], line["settings"]].append(
                (60 * float(line["minutes"]), float(line["value"]))
            )
    return sorted(tuple(map(float, np.mean(group, axis=0))) for group in groups.values())


def curve(part, ipc, folder=RESULTS):
    """Return the (seconds, accuracy) on the way to the figures of a part."""
    lines = read(folder / "curves.csv") if part.curve else []
    return [
        (float(line["seconds"]), float(line["accuracy"]))
        for line in lines
        if (line["row"], line["dataset"], int(line["ipc"])) == (part.curve, DATASET, ipc)
    ]


def of_the_talk(ipc, folder=RESULTS):
    """Return the accuracy that was published, by row."""
    return {
        line["row"]: float(line["value"])
        for line in read(folder / "published.csv")
        if line["row"] in TALK and (line["dataset"], int(line["ipc"])) == (DATASET, ipc)
    }


def draw_measured(axes, ipc, folder):
    """Draw curves with small dots, and figures with large markers, the best one as a number."""
    best = (0.0, 0.0), ""
    for series in SERIES:
        for part in series.parts:
            on_the_way, at_the_end = curve(part, ipc, folder), figures(part, ipc, folder)
            if on_the_way:
                line = [*on_the_way, *at_the_end[:1]]
                axes.plot(*zip(*line, strict=True), color=series.colour, lw=1.6, marker=".", ms=4)
            if at_the_end:
                axes.plot(
                    *zip(*at_the_end, strict=True), series.marker, color=series.colour, ms=6.5
                )
            for point in at_the_end:
                best = max(best, (point, series.colour), key=lambda drawn: drawn[0][1])
    axes.annotate(
        tenths(best[0][1]), best[0], (0, 6), textcoords="offset points", ha="center", color=best[1]
    )


def draw_published(axes, ipc, folder):
    """Draw the talk's figures in their own narrow axes, the better one with a line to the left."""
    found = of_the_talk(ipc, folder)
    best = max(found.values())
    for row, value in found.items():
        axes[1].plot(0.3, value, "*", color=GREY, ms=11, fillstyle=TALK[row], clip_on=False)
        below = value < best
        axes[1].annotate(
            f"{value:.1f}", (0.3, value), (9, -2 if below else 2), textcoords="offset points",
            va="top" if below else "bottom",
        )  # fmt: skip
    for one in axes:
        one.axhline(best, color=GREY, lw=0.9, ls=(0, (1, 3)))


def picture(folder=RESULTS):
    """Return the figure."""
    figure, panels = plt.subplots(
        len(IPCS), 2, figsize=(4.9, 8.4), sharey=True, width_ratios=[5, 1.5],
        gridspec_kw={"wspace": 0.03, "hspace": 0.2},
    )  # fmt: skip
    for ipc, (axes, border) in zip(IPCS, panels, strict=True):
        draw_measured(axes, ipc, folder)
        draw_published((axes, border), ipc, folder)
        axes.set(xscale="log", xlim=(4, 2200), ylim=(36, 88))
        axes.set_title(f"{ipc} image{'s' * (ipc > 1)} per class", loc="left", fontsize=11)
        axes.xaxis.set(
            major_locator=FixedLocator(list(TICKS)),
            minor_locator=NullLocator(),
            major_formatter=FuncFormatter(lambda seconds, _: TICKS[seconds]),
        )
        axes.tick_params(labelbottom=ipc == IPCS[-1])
        axes.spines[["top", "right"]].set_visible(False)
        border.set(xlim=(0, 1), xticks=[])
        border.spines[["top", "right", "left"]].set_visible(False)
        border.tick_params(left=False)
    panels[1, 0].set_ylabel("test accuracy in %")
    panels[-1, 0].set_xlabel("time on one or two CPU cores")
    panels[-1, 1].set_xlabel("the talk:\nO(1000)\nGPU hours")
    handles = [
        plt.Line2D([], [], color=s.colour, marker=s.marker, ms=6.5, lw=1.6 * bool(s.parts[0].curve))
        for s in SERIES
    ]
    handles += [plt.Line2D([], [], color=GREY, marker="*", ms=11, lw=0)]
    handles += [plt.Line2D([], [], color=GREY, marker="*", ms=11, lw=0, fillstyle="none")]
    labels = [series.label for series in SERIES]
    labels += ["the talk", "the talk, augmented"]
    figure.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.905),
        ncols=2,
        frameon=False,
        columnspacing=1,
    )
    return figure


def main(arguments):
    path = Path(arguments.out)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with plt.rc_context(STYLE):
        figure = picture(Path(arguments.folder))
        figure.savefig(path, transparent=True, bbox_inches="tight", metadata=metadata)
    plt.close(figure)


def options():
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("--out", default=PICTURE, help="default: docs/_static/accuracy_seconds.svg")
    result.add_argument("--folder", default=RESULTS, help="of the CSVs (default: results here)")
    return result


if __name__ == "__main__":
    main(options().parse_args())
