"""The labels of a support set as a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._types import Estimator, Given
from kipsk.plotting._base import AnyFigure, axes, distiller_of, steps_before
from kipsk.plotting._table import name_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_OWNER = "LabelDisplay"


class LabelDisplay:
    """The labels of a support set: a line for each support row, a column for each class.

    Parameters
    ----------
    y_s : array-like of shape (n_support, n_classes)
        Centred soft labels. The label of a real row would be one-hot minus ``1 / n_classes``.
    classes : array-like of shape (n_classes,)
        The class of each column.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : AxesImage
        The labels, in colours of a scale with 0 in its middle.
    """

    ax_: Axes
    figure_: AnyFigure
    image_: AxesImage

    def __init__(self, y_s: ArrayLike, classes: ArrayLike) -> None:
        self.y_s = np.asarray(y_s)
        self.classes = np.asarray(classes)

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, ax: Axes | None = None, **plot_params: Given
    ) -> Self:
        """Draw the labels of a distiller.

        Parameters
        ----------
        estimator : KIPDistiller, LabelSolver, or Pipeline that ends with one
            Fitted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : LabelDisplay
        """
        distiller = distiller_of(_OWNER, estimator)
        if not hasattr(distiller, "classes_"):
            raise ValueError(
                f"{_OWNER} draws the labels of classes. Got a {type(distiller).__name__} instead, "
                "whose targets are numbers: see SupportDisplay with kind='heatmap'."
            )
        return cls(distiller.y_s_, distiller.classes_).plot(ax, **plot_params)

    @classmethod
    def from_pipeline(
        cls, pipeline: Estimator, *, ax: Axes | None = None, **plot_params: Given
    ) -> Self:
        """Draw the labels of a Pipeline's distiller.

        Labels do not go through the Pipeline's other steps, so there is no way back to be taken.

        Parameters
        ----------
        pipeline : Pipeline
            Fitted, with a KIPDistiller or LabelSolver as its last step.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : LabelDisplay
        """
        steps_before(_OWNER, pipeline)
        return cls.from_estimator(pipeline, ax=ax, **plot_params)

    def plot(self, ax: Axes | None = None, *, cmap: str = "RdBu_r") -> Self:
        """Draw the matrix of labels.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        cmap : str, default="RdBu_r"
            A diverging colour map, whose middle stands for 0.

        Returns
        -------
        display : LabelDisplay
        """
        n, n_classes = self.y_s.shape
        size = float(np.clip(2.2 + 0.3 * n_classes, 3.6, 9)), float(np.clip(1.2 + 0.05 * n, 3.2, 9))
        self.ax_ = ax = axes(_OWNER, ax, size)
        largest = float(np.abs(self.y_s).max()) or 1.0
        self.image_ = ax.imshow(
            self.y_s,
            cmap=cmap,
            vmin=-largest,
            vmax=largest,
            aspect="auto",
            interpolation="nearest",
        )
        name_columns(ax, self.classes, "class")
        ax.set(ylabel="support row", title="Labels of the support")
        ax.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        ax.figure.colorbar(self.image_, ax=ax, label="label (centred)")
        self.figure_ = ax.figure
        return self
