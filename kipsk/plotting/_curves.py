"""Loss and validation score of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import check_option, refuse
from kipsk.plotting._base import colours, distiller_of, pyplot

_OWNER = "DistillationCurveDisplay"
_QUANTITIES = ("loss", "score")


class DistillationCurveDisplay:
    """Loss and validation score of one or several runs against their steps.

    A run keeps no times, so there is no plot against seconds.

    Parameters
    ----------
    losses : dict of str to array-like of shape (n_iter,)
        By the run's name: the loss on the batch before each step.
    scores : dict of str to tuple (steps, scores), default=None
        Of runs that were scored on held-out rows.
    score_name : str, default="score"
        What the scores are, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first.
    axes_ : list of Axes
    figure_ : matplotlib Figure
    loss_lines_, score_lines_ : dict of str to Line2D
        By the run's name.
    best_ : dict of str to Line2D
        A mark at the best score of each run.
    """

    ax_: Any
    axes_: list[Any]
    figure_: Any
    loss_lines_: dict[str, Any]
    score_lines_: dict[str, Any]
    best_: dict[str, Any]

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
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **plot_params: Any) -> Self:
        """Draw the run of a distiller, or of several.

        Parameters
        ----------
        estimator : KIPDistiller, KIPRegressor, Pipeline that ends with one, or dict of str to these
            Fitted. There are scores with ``early_stopping=True``.
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

    def plot(self, ax: Any = None, *, show: str = "auto") -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or two of them, default=None
            Where to draw; None makes a figure.
        show : {"auto", "loss", "score"}, default="auto"
            One of the two, or "auto": the loss, and on Axes of its own the score, if some run has
            one. On a single `ax` that is the loss alone.

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
        if show != "auto":
            quantities = [show]
        elif self.scores and (given is None or len(given) > 1):
            quantities = ["loss", "score"]
        else:
            quantities = ["loss"]
        if given is None:
            plt = pyplot(_OWNER)
            _, given = plt.subplots(
                1, len(quantities), figsize=(5 * len(quantities), 3.6), layout="constrained"
            )
            given = list(np.ravel(given))
        if len(given) != len(quantities):
            rule = f"None or as many Axes as there are plots ({len(quantities)}: {quantities})"
            raise refuse(_OWNER, "ax", rule, ax)
        self.axes_, self.ax_, self.figure_ = given, given[0], given[0].figure
        self.loss_lines_, self.score_lines_, self.best_ = {}, {}, {}
        palette = dict(zip(self.losses, colours(_OWNER, len(self.losses)), strict=True))
        for axis, quantity in zip(given, quantities, strict=True):
            if quantity == "loss":
                self._plot_losses(axis, palette)
            else:
                self._plot_scores(axis, palette)
            axis.set_xlabel("steps")
            axis.spines[["top", "right"]].set_visible(False)
            if set(self.losses) != {""}:
                axis.legend(frameon=False)
        return self

    def _plot_losses(self, ax: Any, palette: dict[str, Any]) -> None:
        for name, loss in self.losses.items():
            style = {"color": palette[name], "linewidth": 1.2, "label": name}
            (self.loss_lines_[name],) = ax.plot(np.arange(len(loss)), loss, **style)
        values = np.concatenate([np.zeros(0), *self.losses.values()])
        if len(values) and values.min() > 0:
            ax.set_yscale("log")
        ax.set(ylabel="loss on the batch", title="Loss")

    def _plot_scores(self, ax: Any, palette: dict[str, Any]) -> None:
        for name, (steps, values) in self.scores.items():
            colour = palette.get(name, "black")
            style = {"marker": "o", "markersize": 3, "linewidth": 1.2, "label": name}
            (self.score_lines_[name],) = ax.plot(steps, values, color=colour, **style)
            if len(values):
                best = int(np.argmax(values))
                style = {"marker": "*", "markersize": 12, "markeredgecolor": "white", "zorder": 3}
                (self.best_[name],) = ax.plot(
                    steps[best], values[best], color=colour, linestyle="none", **style
                )
        ax.set(ylabel=self.score_name, title="Score on held-out rows (star: the best)")
