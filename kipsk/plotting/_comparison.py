"""The accuracy of reduced sets of several sizes, and how many natural rows each is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import refuse
from kipsk._types import Given
from kipsk.evaluation import summary
from kipsk.plotting._base import GREY, AnyFigure, axes, colours
from kipsk.plotting._worth import Curve, Worth, worths_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation

_OWNER = "ComparisonDisplay"
_LINE = 10  # points from one text down to the next
_NEAR = 1.25  # sizes whose ratio is smaller have texts that would touch

#: A line of a summary: the names of its columns and their values.
_Line: TypeAlias = dict[str, Any]


class ComparisonDisplay:
    """The accuracy of a model on reduced sets against their size.

    Make one with `from_results`. If there is a baseline of natural rows, the picture also says how
    many natural rows each learned row is worth: the number of rows at which the baseline's curve
    reaches the accuracy of a set, divided by the number of rows of the set. The curve is
    interpolated in the logarithm of the number of rows.

    Parameters
    ----------
    curves : dict of str to tuple (n_rows, accuracy, deviation) of array-likes
        The curve of each reducer, by its name.
    full : tuple (n_rows, accuracy), default=None
        The number of all rows, and the accuracy of the model trained on them.
    baseline : str, default=None
        The name of the reducer that takes natural rows at random. Its curve ends in `full`.
    model : str, default=""
        The model's name, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to Line2D
        The curve of each reducer, by its name.
    full_line_ : Line2D or None
        The line at the accuracy of all rows.
    texts_ : list of Annotation
        What the sets are worth.
    """

    ax_: Axes
    figure_: AnyFigure
    lines_: dict[str, Line2D]
    full_line_: Line2D | None
    texts_: list[Annotation]

    def __init__(
        self,
        curves: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
        full: tuple[float, float] | None = None,
        *,
        baseline: str | None = None,
        model: str = "",
    ) -> None:
        self.curves = {}
        for name, curve in curves.items():
            arrays = [np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in curve]
            order = np.argsort(arrays[0], kind="stable")
            self.curves[name] = Curve(*(part[order] for part in arrays))
        self.full = full
        self.baseline = baseline
        self.model = model
        if baseline is not None and baseline not in self.curves:
            rule = f"None or one of the reducers {list(self.curves)}"
            raise refuse(_OWNER, "baseline", rule, baseline)

    @classmethod
    def from_results(
        cls,
        results: Given,
        *,
        model: str | None = None,
        data: str | None = None,
        baseline: str | None = None,
        ax: Axes | None = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the results of a comparison.

        Parameters
        ----------
        results : DataFrame or dict of str to list
            What `kipsk.evaluation.compare` returns for several values of `ipc`. The reducer that
            stands for all rows (it has no `ipc`, and ``reduce_seconds`` of 0) is drawn as a line
            across.
        model : str, default=None
            The model whose accuracies are drawn. May be None if there is only one.
        data : str, default=None
            The data set whose results are drawn, if the results have a column ``data``. May be
            None if there is only one.
        baseline : str, default=None
            The reducer that takes natural rows at random, such as ``CoresetSampler("random")``.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : ComparisonDisplay
        """
        table = summary(results)
        columns = {name: list(table[name]) for name in table}
        rows = zip(*columns.values(), strict=True)
        lines = [dict(zip(columns, values, strict=True)) for values in rows]
        lines, _ = _only("data", data, lines)
        lines, model = _only("model", model, lines)
        full = None
        points: dict[str, list[tuple[float, float, float]]] = {}
        for line in lines:
            point = line["n_rows"], line["accuracy"], line["deviation"]
            if not all(map(math.isfinite, point)):
                continue  # every seed and split of it failed
            if _is_missing(line.get("ipc")) and line["reduce_seconds"] == 0:
                full = point[:2]
            else:
                points.setdefault(line["reducer"], []).append(point)
        curves = {name: tuple(np.transpose(some)) for name, some in points.items()}
        display = cls(curves, full, baseline=baseline, model=model or "")
        return display.plot(ax, **plot_params)

    def worth(self) -> list[Worth]:
        """Return how many rows of the baseline a row of each other set is worth.

        Returns
        -------
        worths : list of Worth
            With ``reducer``, ``n_rows``, ``accuracy``, ``relation`` and ``times``. The relation is
            ">" where the accuracy is above the whole curve of the baseline, and "<" where it is
            below the whole curve. The list is empty if there is no baseline.
        """
        if self.baseline is None:
            return []
        natural = self.curves[self.baseline]
        others = {name: curve for name, curve in self.curves.items() if name != self.baseline}
        return worths_of(others, natural, self.full)

    def plot(self, ax: Axes | None = None, *, show_worth: bool = True) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        show_worth : bool, default=True
            Write at each set what it is worth, if there is a baseline.

        Returns
        -------
        display : ComparisonDisplay
        """
        self.ax_ = ax = axes(_OWNER, ax, (6.4, 4.2))
        others = [name for name in self.curves if name != self.baseline]
        palette = dict(zip(others, colours(_OWNER, len(others)), strict=True))
        self.lines_, self.full_line_ = {}, None
        for name, curve in self.curves.items():
            container = ax.errorbar(
                curve.n_rows,
                curve.accuracy,
                curve.deviation,
                color=palette.get(name, GREY),
                label=name,
                marker="o",
                markersize=5,
                capsize=3,
                linewidth=1.5,
            )
            self.lines_[name] = container.lines[0]
        if self.full is not None:
            n, accuracy = self.full
            self.full_line_ = ax.axhline(
                accuracy,
                color=ax.title.get_color(),
                linestyle="--",
                linewidth=1,
                label=f"all {n:.0f} rows",
            )
        ax.set_xscale("log")
        _number_sizes(ax, {n for curve in self.curves.values() for n in curve.n_rows})
        worths = self.worth() if show_worth else []
        self.texts_ = _write_worths(ax, worths)
        ax.set(xlabel="rows to train on", ylabel="test accuracy")
        title = f"Accuracy of {self.model}" if self.model else "Accuracy on reduced sets"
        if worths:
            title += "; ×N: worth N times as many natural rows"
        ax.set_title(title, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
        self.figure_ = ax.figure
        return self


def _write_worths(ax: Axes, worths: list[Worth]) -> list[Annotation]:
    """Write below each set what it is worth; texts that would touch go one below another.

    Below and to the right of a set is free space, as curves rise to the right.
    """
    texts: list[Annotation] = []
    ax.autoscale_view()  # heights on the page are known once the limits are final
    last_n, last_y = 0.0, np.inf
    for worth in sorted(worths, key=lambda worth: (worth.n_rows, -worth.accuracy)):
        point = worth.n_rows, worth.accuracy
        height = ax.transData.transform(point)[1] * 72 / ax.figure.dpi  # in points
        is_near = worth.n_rows < _NEAR * last_n
        y = min(height, last_y) - _LINE if is_near else height - _LINE
        texts.append(
            ax.annotate(
                str(worth),
                point,
                xytext=(6, y - height),
                textcoords="offset points",
                fontsize=8,
            )
        )
        last_n, last_y = worth.n_rows, y
    return texts


def _is_missing(value: object) -> bool:
    """Return whether a value is None, NaN or pandas.NA."""
    return not isinstance(value, Real) or math.isnan(value)


def _only(name: str, chosen: str | None, lines: list[_Line]) -> tuple[list[_Line], str | None]:
    """Return the lines of one model or data set, and its name.

    `chosen` may be None if the lines are all of the same model or data set.
    """
    there = list(dict.fromkeys(line.get(name) for line in lines))
    if chosen is None and len(there) == 1:
        chosen = there[0]
    if chosen not in there:
        raise refuse(_OWNER, name, f"one of {there}", chosen)
    return [line for line in lines if line.get(name) == chosen], chosen


def _number_sizes(ax: Axes, sizes: set[float]) -> None:
    """Label a logarithmic axis with the sizes themselves, unless there are more than ten."""
    from matplotlib.ticker import NullFormatter, NullLocator

    shown: list[float] = []
    for n in sorted(sizes):
        if not shown or n > _NEAR * shown[-1]:
            shown.append(n)
    if 0 < len(shown) <= 10:
        ax.set_xticks(shown, [f"{n:.0f}" for n in shown])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
