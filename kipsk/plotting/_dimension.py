"""The intrinsic dimension of support rows in a run."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipsk.metrics import sample_dimension, snapshot_dimensions
from kipsk.plotting._base import GREY, OKABE_ITO, axes, distiller_of, snapshots_of

_OWNER = "IntrinsicDimensionDisplay"


class IntrinsicDimensionDisplay:
    """How many dimensions the support rows have, by two-NN, on the way of a run.

    Parameters
    ----------
    steps : array-like of shape (n_snapshots,)
        After how many steps.
    dimensions : array-like of shape (n_snapshots,)
        See `kipsk.metrics.snapshot_dimensions`.
    reference : float, default=None
        That of as many real rows: the estimate depends on how many rows there are.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : Line2D
    reference_line_ : Line2D or None
    """

    ax_: Any
    figure_: Any
    line_: Any
    reference_line_: Any

    def __init__(
        self, steps: ArrayLike, dimensions: ArrayLike, *, reference: float | None = None
    ) -> None:
        self.steps = np.asarray(steps)
        self.dimensions = np.asarray(dimensions, dtype=np.float64)
        self.reference = reference

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        random_state: Any = 0,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the dimensions of a run's snapshots, in the units that the kernel sees.

        Parameters
        ----------
        estimator : KIPDistiller or KIPRegressor, or Pipeline that ends with one
            Fitted with `snapshots`.
        X : array-like of shape (n_samples, n_features), default=None
            Real rows, as in `fit`, to compare with: the mean of ten draws of as many of them as
            there are support rows.
        random_state : int, RandomState or None, default=0
            For these draws.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : IntrinsicDimensionDisplay
        """
        distiller = distiller_of(_OWNER, estimator)
        steps, dimensions = snapshot_dimensions(snapshots_of(_OWNER, distiller))
        reference = None
        if X is not None:
            rows = _as_kernel_sees(estimator, distiller, X)
            reference = sample_dimension(rows, len(distiller.X_s_), random_state=random_state)
        return cls(steps, dimensions, reference=reference).plot(ax, **plot_params)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kw
            For ``ax.plot``.

        Returns
        -------
        display : IntrinsicDimensionDisplay
        """
        self.ax_ = ax = axes(_OWNER, ax, (5.2, 3.6))
        style = {"marker": "o", "markersize": 4, "color": OKABE_ITO[0], "label": "support rows"}
        (self.line_,) = ax.plot(self.steps, self.dimensions, **(style | line_kw))
        self.reference_line_ = None
        if self.reference is not None:
            self.reference_line_ = ax.axhline(
                self.reference, color=GREY, linestyle="--", label="as many real rows"
            )
            ax.legend(frameon=False)
        if len(self.steps) > 2 and self.steps.max() > 20:
            ax.set_xscale("symlog", linthresh=1)
            ax.set_xlim(left=-0.2 if self.steps.min() == 0 else None)
            ax.xaxis.set_major_formatter("{x:g}")
        ax.set(xlabel="steps", ylabel="two-NN dimension", title="Intrinsic dimension")
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
        self.figure_ = ax.figure
        return self


def _as_kernel_sees(estimator: Any, distiller: Any, X: Any) -> NDArray[Any]:
    """Return rows of X after the Pipeline's transformers and the distiller's own."""
    transformers = [step for _, step in getattr(estimator, "steps", ())[:-1]]
    for transformer in transformers:
        if hasattr(transformer, "transform"):
            X = transformer.transform(X)
    X = np.asarray(X)  # a distiller fits its own transformer on an array, without columns' names
    preprocess = getattr(distiller, "preprocess_", None)
    return X if preprocess is None else np.asarray(preprocess.transform(X))
