"""The intrinsic dimension of support rows in the course of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._types import AnyArray, Estimator, Given, MatrixLike
from kipsk.metrics import sample_dimension, snapshot_dimensions
from kipsk.plotting._base import GREY, OKABE_ITO, AnyFigure, axes, distiller_of, snapshots_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_OWNER = "IntrinsicDimensionDisplay"


class IntrinsicDimensionDisplay:
    """The intrinsic dimension of the support rows in the course of a run, estimated by two-NN.

    Parameters
    ----------
    steps : array-like of shape (n_snapshots,)
        The number of steps before each snapshot.
    dimensions : array-like of shape (n_snapshots,)
        The dimension of the support rows at each snapshot, as
        `kipsk.metrics.snapshot_dimensions` returns them.
    reference : float, default=None
        The dimension of equally many real rows. The estimate depends on the number of rows, so that
        only sets of equal size can be compared.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : Line2D
    reference_line_ : Line2D or None
    """

    ax_: Axes
    figure_: AnyFigure
    line_: Line2D
    reference_line_: Line2D | None

    def __init__(
        self, steps: ArrayLike, dimensions: ArrayLike, *, reference: float | None = None
    ) -> None:
        self.steps = np.asarray(steps)
        self.dimensions = np.asarray(dimensions, dtype=np.float64)
        self.reference = reference

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: ArrayLike | None = None,
        *,
        random_state: Given = 0,
        ax: Axes | None = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the dimensions of a run's snapshots, of rows as the kernel sees them.

        Parameters
        ----------
        estimator : KIPDistiller or KIPRegressor, or Pipeline that ends with one
            Fitted with `snapshots`.
        X : array-like of shape (n_samples, n_features), default=None
            Real rows, as in `fit`, to compare with. As many of them as there are support rows are
            drawn ten times, and the reference is the mean of the ten dimensions.
        random_state : int, RandomState or None, default=0
            The seed of these draws.
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

    def plot(self, ax: Axes | None = None, **line_kw: Given) -> Self:
        """Draw the dimension against the steps.

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
        style: dict[str, Given] = {"marker": "o", "markersize": 4, "color": OKABE_ITO[0]}
        style["label"] = "support rows"
        (self.line_,) = ax.plot(self.steps, self.dimensions, **(style | line_kw))
        self.reference_line_ = None
        if self.reference is not None:
            self.reference_line_ = ax.axhline(
                self.reference, color=GREY, linestyle="--", label="equally many real rows"
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


def _as_kernel_sees(estimator: Estimator, distiller: Estimator, X: MatrixLike) -> AnyArray:
    """Return the rows of X after the transformers of a Pipeline and the distiller's own."""
    transformers = [step for _, step in getattr(estimator, "steps", ())[:-1]]
    for transformer in transformers:
        if hasattr(transformer, "transform"):
            X = transformer.transform(X)
    X = np.asarray(X)  # a distiller's own transformer is fitted on an array without column names
    preprocess = getattr(distiller, "preprocess_", None)
    return X if preprocess is None else np.asarray(preprocess.transform(X))
