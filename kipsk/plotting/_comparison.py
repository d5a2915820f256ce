"""Reduced sets of several sizes: accuracy, and how many natural rows they are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipsk._checks import refuse
from kipsk.evaluation import summary
from kipsk.plotting._base import GREY, axes, colours

_OWNER = "ComparisonDisplay"
_LINE = 10  # points from one text to the next


class Curve(NamedTuple):
    """The accuracy of one reducer's sets.

    Attributes
    ----------
    n_rows, accuracy, deviation : ndarrays of shape (n_sizes,)
        Sorted by `n_rows`; mean and standard deviation over seeds and splits.
    """

    n_rows: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    deviation: NDArray[np.float64]


class Worth(NamedTuple):
    """How many rows of the baseline a set is worth: ``relation`` so many times as many."""

    reducer: str  #: what made the set
    n_rows: float  #: its rows
    accuracy: float  #: of the model trained on it
    relation: str  #: "=", or where the baseline's curve does not reach: ">" or "<"
    times: float  #: rows of the baseline over `n_rows`

    def __str__(self) -> str:
        times = f"×{self.times:.0f}" if self.times >= 9.5 else f"×{self.times:.2g}"
        return {"=": "", ">": "more than ", "<": "less than "}[self.relation] + times


class ComparisonDisplay:
    """The accuracy of a model on reduced sets against their size.

    Make one with `from_results`. With a baseline of natural rows each set is also read as worth so
    many times as many of them: the number of rows at which the baseline's curve reaches the same
    accuracy, interpolated in the logarithm of the number, over the set's own.

    Parameters
    ----------
    curves : dict of str to tuple (n_rows, accuracy, deviation) of array-likes
        By reducer.
    full : tuple (n_rows, accuracy), default=None
        Of all rows.
    baseline : str, default=None
        The reducer that takes natural rows at random. The curve ends in `full`.
    model : str, default=""
        The model's name, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to Line2D
        By reducer.
    full_line_ : Line2D or None
        At the accuracy of all rows.
    texts_ : list of Annotation
        What the sets are worth.
    """

    ax_: Any
    figure_: Any
    lines_: dict[str, Any]
    full_line_: Any
    texts_: list[Any]

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
        results: Any,
        *,
        model: str | None = None,
        data: str | None = None,
        baseline: str | None = None,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the results of a comparison.

        Parameters
        ----------
        results : DataFrame or dict of str to list
            Of `kipsk.evaluation.compare`, with several values of `ipc`. A reducer that is all rows
            (without an `ipc`, and ``reduce_seconds`` of 0) is drawn as a line across.
        model : str, default=None
            Which model. May be None if there is only one.
        data : str, default=None
            Which data set, of results with a column ``data``.
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
        lines = zip(*columns.values(), strict=True)
        rows = [dict(zip(columns, values, strict=True)) for values in lines]
        rows, _ = _only("data", data, rows)
        rows, model = _only("model", model, rows)
        full = None
        points: dict[str, list[tuple[float, ...]]] = {}
        for row in rows:
            point = row["n_rows"], row["accuracy"], row["deviation"]
            if not all(map(math.isfinite, point)):
                continue  # all of it failed
            if _is_missing(row.get("ipc")) and row["reduce_seconds"] == 0:
                full = point[:2]
            else:
                points.setdefault(row["reducer"], []).append(point)
        curves: Any = {name: tuple(zip(*some, strict=True)) for name, some in points.items()}
        display = cls(curves, full, baseline=baseline, model=model or "")
        return display.plot(ax, **plot_params)

    def worth(self) -> list[Worth]:
        """Return how many times as many rows of the baseline each set of the others is worth.

        Returns
        -------
        worths : list of Worth
            With ``reducer``, ``n_rows``, ``accuracy``, ``relation`` and ``times``. The relation is
            ">" where the accuracy is above all of the baseline's, and "<" where it is below all.
        """
        if self.baseline is None:
            return []
        natural = self.curves[self.baseline]
        sizes, accuracies = natural.n_rows, natural.accuracy
        if self.full is not None:
            inside = sizes < self.full[0]
            sizes = np.append(sizes[inside], self.full[0])
            accuracies = np.append(accuracies[inside], self.full[1])
        # By how many rows an accuracy has been reached: noise may lower a later one.
        reached, first = np.unique(np.maximum.accumulate(accuracies), return_index=True)
        needed = np.log(sizes[first])
        found = []
        for name, curve in self.curves.items():
            if name == self.baseline:
                continue
            for n, accuracy in zip(curve.n_rows, curve.accuracy, strict=True):
                relation = ">" if accuracy > reached[-1] else "<" if accuracy < reached[0] else "="
                # Above all of the curve not even its last set is enough.
                rows = (
                    sizes[-1] if relation == ">" else np.exp(np.interp(accuracy, reached, needed))
                )
                found.append(Worth(name, float(n), float(accuracy), relation, float(rows / n)))
        return found

    def plot(self, ax: Any = None, *, show_worth: bool = True) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        show_worth : bool, default=True
            Write what it is worth at each set, if there is a baseline.

        Returns
        -------
        display : ComparisonDisplay
        """
        self.ax_ = ax = axes(_OWNER, ax, (6.4, 4.2))
        others = [name for name in self.curves if name != self.baseline]
        palette = dict(zip(others, colours(_OWNER, len(others)), strict=True))
        self.lines_, self.full_line_ = {}, None
        for name, curve in self.curves.items():
            style = {"marker": "o", "markersize": 5, "capsize": 3, "linewidth": 1.5}
            container = ax.errorbar(
                curve.n_rows,
                curve.accuracy,
                curve.deviation,
                color=palette.get(name, GREY),
                label=name,
                **style,
            )
            self.lines_[name] = container.lines[0]
        if self.full is not None:
            n, accuracy = self.full
            self.full_line_ = ax.axhline(
                accuracy, color="black", linestyle="--", linewidth=1, label=f"all {n:.0f} rows"
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


def _write_worths(ax: Any, worths: list[Worth]) -> list[Any]:
    """Write what sets are worth right below them (curves rise to the right), one below another."""
    texts: list[Any] = []
    ax.autoscale_view()  # the limits are final, so that heights are
    last_n, last_y = 0.0, np.inf
    for worth in sorted(worths, key=lambda worth: (worth.n_rows, -worth.accuracy)):
        point = worth.n_rows, worth.accuracy
        height = ax.transData.transform(point)[1] * 72 / ax.figure.dpi  # in points
        is_near = worth.n_rows < 1.25 * last_n
        y = min(height, last_y) - _LINE if is_near else height - _LINE
        texts.append(
            ax.annotate(
                str(worth),
                point,
                xytext=(6, y - height),
                textcoords="offset points",
                fontsize=8,
                color="0.2",
            )
        )
        last_n, last_y = worth.n_rows, y
    return texts


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or pandas.NA."""
    return not isinstance(value, Real) or math.isnan(value)


def _only(
    name: str, chosen: str | None, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows of a model or data set, and its name, which may be left out if it is one."""
    there = list(dict.fromkeys(row.get(name) for row in rows))
    if chosen is None and len(there) == 1:
        chosen = there[0]
    if chosen not in there:
        raise refuse(_OWNER, name, f"one of {there}", chosen)
    return [row for row in rows if row.get(name) == chosen], chosen


def _number_sizes(ax: Any, sizes: set[float]) -> None:
    """Write the sizes themselves below a logarithmic axis, unless they are many."""
    from matplotlib.ticker import NullFormatter, NullLocator

    shown: list[float] = []
    for n in sorted(sizes):
        if not shown or n > 1.25 * shown[-1]:
            shown.append(n)
    if 0 < len(shown) <= 10:
        ax.set_xticks(shown, [f"{n:.0f}" for n in shown])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
