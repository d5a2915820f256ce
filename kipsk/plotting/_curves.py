"""The loss and the validation score of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import check_option, refuse
from kipsk._types import Estimator, Given
from kipsk.plotting._base import AnyFigure, Colour, colours, distiller_of, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_OWNER = "DistillationCurveDisplay"
_QUANTITIES = ("loss", "score")


class DistillationCurveDisplay:
    """Loss and validation score of one or several runs against their steps.

    A run keeps no times, so there is no plot against seconds.

    Parameters
    ----------
    losses : dict of str to array-like of shape (n_iter,)
        For each run, by its name: the loss on the batch before each step.
    scores : dict of str to tuple (steps, scores), default=None
        For each run that was scored on held-out rows, by its name.
    score_name : str, default="score"
        What the scores are, to label the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first of `axes_`.
    axes_ : list of Axes
    figure_ : matplotlib Figure
    loss_lines_, score_lines_ : dict of str to Line2D
        The curve of each run, by its name.
    best_ : dict of str to Line2D
        The mark at the best score of each run, by its name.
    """

    ax_: Axes
    axes_: list[Axes]
    figure_: AnyFigure
    loss_lines_: dict[str, Line2D]
    score_lines_: dict[str, Line2D]
    best_: dict[str, Line2D]

    def __init__(
        self,
        losses: Mapping[str, ArrayLike],
        scores: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
        *,
        score_name: str = "score",
    ) -> None:
        self.losses = {name: np.asarray(loss) for name, loss in losses.items()}
        self.scores = {
            name: (np.asarray(steps), np.asarray(values))
            for name, (steps, values) in (scores or {}).items()
        }
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator | Mapping[str, Estimator],
        *,
        ax: Given = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the run of a distiller, or the runs of several.

        Parameters
        ----------
        estimator : KIPDistiller, KIPRegressor, Pipeline that ends with one, or dict of str to these
            Fitted. A run with ``early_stopping=True`` has scores.
        ax : matplotlib Axes or two of them, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : DistillationCurveDisplay
        """
        runs = estimator if isinstance(estimator, Mapping) else {"": estimator}
        losses, scores, names = {}, {}, set()
        for name, run in runs.items():
            distiller = distiller_of(_OWNER, run)
            if not hasattr(distiller, "loss_curve_"):
                raise ValueError(
                    f"{_OWNER} needs the losses of a run. Got a {type(distiller).__name__} without "
                    "loss_curve_: fit a KIPDistiller or KIPRegressor."
                )
            names.add("accuracy" if hasattr(distiller, "classes_") else "R2")
            losses[name] = distiller.loss_curve_
            if hasattr(distiller, "validation_scores_"):
                scores[name] = distiller.validation_steps_, distiller.validation_scores_
        score_name = names.pop() if len(names) == 1 else "score"
        return cls(losses, scores, score_name=score_name).plot(ax, **plot_params)

    def plot(self, ax: Given = None, *, show: str = "auto") -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or two of them, default=None
            Where to draw; None makes a figure.
        show : {"auto", "loss", "score"}, default="auto"
            "loss" and "score" draw one of the two. "auto" draws the loss and, if any run has
            scores, the score on Axes of its own; on a single `ax` it draws the loss alone.

        Returns
        -------
        display : DistillationCurveDisplay
        """
        check_option(_OWNER, "show", show, ("auto", *_QUANTITIES))
        if show == "score" and not self.scores:
            raise ValueError(
                f"{_OWNER} has no scores to show: fit the distiller with early_stopping=True, "
                "which scores it on held-out rows."
            )
        given = None if ax is None else list(np.ravel(ax))
        quantities = self._quantities(show, given)
        if given is not None and len(given) != len(quantities):
            rule = f"None or as many Axes as there are plots ({len(quantities)}: {quantities})"
            raise refuse(_OWNER, "ax", rule, ax)
        self.axes_ = _new_axes(len(quantities)) if given is None else given
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        self.loss_lines_, self.score_lines_, self.best_ = {}, {}, {}
        palette = dict(zip(self.losses, colours(_OWNER, len(self.losses)), strict=True))
        for axis, quantity in zip(self.axes_, quantities, strict=True):
            if quantity == "loss":
                self._plot_losses(axis, palette)
            else:
                self._plot_scores(axis, palette)
            axis.set_xlabel("steps")
            axis.spines[["top", "right"]].set_visible(False)
            if set(self.losses) != {""}:
                axis.legend(frameon=False)
        return self

    def _quantities(self, show: str, given: list[Axes] | None) -> list[str]:
        """Return what is drawn, one quantity for each of the Axes."""
        if show != "auto":
            return [show]
        if self.scores and (given is None or len(given) > 1):
            return list(_QUANTITIES)
        return ["loss"]

    def _plot_losses(self, ax: Axes, palette: dict[str, Colour]) -> None:
        for name, loss in self.losses.items():
            (self.loss_lines_[name],) = ax.plot(
                np.arange(len(loss)), loss, color=palette[name], linewidth=1.2, label=name
            )
        values = np.concatenate([np.zeros(0), *self.losses.values()])
        if len(values) and values.min() > 0:
            ax.set_yscale("log")
        ax.set(ylabel="loss on the batch", title="Loss")

    def _plot_scores(self, ax: Axes, palette: dict[str, Colour]) -> None:
        for name, (steps, values) in self.scores.items():
            colour = palette.get(name, "black")
            (self.score_lines_[name],) = ax.plot(
                steps, values, color=colour, marker="o", markersize=3, linewidth=1.2, label=name
            )
            if len(values):
                best = int(np.argmax(values))
                (self.best_[name],) = ax.plot(
                    steps[best],
                    values[best],
                    color=colour,
                    linestyle="none",
                    marker="*",
                    markersize=12,
                    markeredgecolor="white",
                    zorder=3,
                )
        ax.set(ylabel=self.score_name, title="Score on held-out rows (star: the best)")


def _new_axes(n: int) -> list[Axes]:
    """Return the n Axes of a new figure, side by side."""
    _, new = pyplot(_OWNER).subplots(1, n, figsize=(5 * n, 3.6), layout="constrained")
    return list(np.ravel(new))
