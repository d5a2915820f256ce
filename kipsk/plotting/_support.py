"""A support set as images, or as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import check_integer, check_option, refuse
from kipsk._estimators._pictures import (
    as_images,
    before,
    captions,
    evenly_spread,
    in_space,
    is_shape_of,
    known_image_shape,
)
from kipsk._types import AnyArray, Estimator, Given, Ints
from kipsk.plotting._base import AnyFigure, alone, axes, distiller_of, steps_before
from kipsk.plotting._table import draw_heatmap, draw_parallel, names_height
from kipsk.plotting._tiles import draw_bars, draw_tiles, tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

_OWNER = "SupportDisplay"


class SupportDisplay:
    """The rows of a support set with their labels, as images or as a table.

    Make one with `from_estimator` or, if transformers stand before the distiller in a Pipeline,
    with `from_pipeline`. ``SupportDisplay(X_s, y_s, classes=np.unique(y_s)).plot()`` draws other
    rows, such as those that ``fit_resample`` returns.

    Parameters
    ----------
    X_s : array-like of shape (n_support, n_features)
        The support rows.
    y_s : array-like of shape (n_support, n_classes), (n_support,) or (n_support, n_outputs)
        With `classes`, the soft labels of the rows or their classes; without `classes`, their
        targets.
    classes : array-like of shape (n_classes,), default=None
        The class of each column of soft labels. None if y_s holds the targets of a regression;
        words in y_s are classes in any case.
    image_shape : tuple (H, W, C), default=None
        The shape of the images that the rows are. None if they are no images.
    feature_names : array-like of shape (n_features,), default=None
        The names of the columns, for a heat map or parallel coordinates. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    kind_ : str
        What was drawn: "images", "heatmap" or "parallel".
    indices_ : ndarray of shape (n_drawn,)
        The numbers of the rows of X_s, in the order in which they were drawn.
    images_ : list of AxesImage
        The image of each row, if the kind is "images"; the heat map, if it is "heatmap".
    bars_ : PolyCollection or None
        The soft labels, a bar for each row and class, if the kind is "images".
    texts_ : list of Text
        The captions, if the kind is "images".
    lines_ : list of Line2D
        The line of each row, if the kind is "parallel".

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from kipsk import LabelSolver
    >>> from kipsk.plotting import SupportDisplay
    >>> solver = LabelSolver(ipc=1, random_state=0).fit(*load_digits(return_X_y=True))
    >>> SupportDisplay.from_estimator(solver, image_shape=(8, 8, 1)).kind_
    'images'
    >>> plt.close()
    """

    ax_: Axes
    figure_: AnyFigure
    kind_: str
    indices_: Ints
    images_: list[AxesImage]
    bars_: PolyCollection | None
    texts_: list[Text]
    lines_: list[Line2D]

    def __init__(
        self,
        X_s: ArrayLike,
        y_s: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        feature_names: ArrayLike | None = None,
    ) -> None:
        self.X_s = np.asarray(X_s)
        self.y_s = np.asarray(y_s)
        if classes is None and self.y_s.dtype.kind in "OSUb":
            classes = np.unique(self.y_s)
        self.classes = None if classes is None else np.asarray(classes)
        self._labels = self._as_labels()
        self.image_shape = image_shape
        self.feature_names = None if feature_names is None else np.asarray(feature_names)

    def _as_labels(self) -> AnyArray:
        """Return y_s, in which the class of a row has become a one-hot row."""
        if self.classes is None or self.y_s.ndim != 1:
            return self.y_s
        is_class = self.y_s[:, None] == self.classes
        if not is_class.any(axis=1).all():
            others = np.unique(self.y_s[~is_class.any(axis=1)]).tolist()
            raise refuse(_OWNER, "y_s", f"made of the classes {self.classes.tolist()}", others)
        return is_class.astype(np.float64)

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        *,
        image_shape: tuple[int, int, int] | None = None,
        space: str = "original",
        ax: Axes | None = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the support set of a distiller.

        Parameters
        ----------
        estimator : KIPDistiller, KIPRegressor or LabelSolver
            Fitted.
        image_shape : tuple (H, W, C), default=None
            The shape of the images that the rows are. None takes the shape that the estimator or
            its kernel was given.
        space : {"original", "kernel"}, default="original"
            "original" draws rows in the units of X: they go back through the inverse of the
            distiller's ``preprocess_``. "kernel" draws them as the kernel sees them.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : SupportDisplay
        """
        return cls._of(alone(_OWNER, estimator), image_shape, space, None).plot(ax, **plot_params)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: Estimator,
        *,
        image_shape: tuple[int, int, int] | None = None,
        ax: Axes | None = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the support set of a Pipeline's distiller in the units of the Pipeline's X.

        Parameters
        ----------
        pipeline : Pipeline
            Fitted, with a distiller as its last step. Its rows go back through the
            ``inverse_transform`` of all other steps.
        image_shape : tuple (H, W, C), default=None
            The shape of the images that the rows of the Pipeline's X are. None takes the shape
            that the distiller or its kernel was given.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : SupportDisplay
        """
        steps = steps_before(_OWNER, pipeline)
        distiller = distiller_of(_OWNER, pipeline)
        display = cls._of(distiller, image_shape, "original", steps)
        return display.plot(ax, **plot_params)

    @classmethod
    def _of(
        cls,
        distiller: Estimator,
        image_shape: tuple[int, ...] | None,
        space: str,
        steps: Estimator,
    ) -> Self:
        rows = before(steps, in_space(_OWNER, distiller, distiller.X_s_, space))
        if image_shape is None:
            known = known_image_shape(distiller)
            image_shape = known if is_shape_of(known, rows.shape[1]) else None
        source = distiller if steps is None else next(step for _, step in steps.steps)
        names = getattr(source, "feature_names_in_", None)
        return cls(
            rows,
            distiller.y_s_,
            classes=getattr(distiller, "classes_", None),
            image_shape=image_shape,
            feature_names=names if names is not None and len(names) == rows.shape[1] else None,
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: str = "auto",
        max_rows: int = 100,
        n_columns: int = 10,
        soft_labels: bool = True,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that is as large as the rows need.
        kind : {"auto", "images", "heatmap", "parallel"}, default="auto"
            "images" draws each row as an image. "heatmap" draws a line for each row and a column
            for each feature, the rows sorted by class or target. "parallel" draws parallel
            coordinates: a line for each row. In both, colours and heights are within the range of
            each feature. "auto" is "images" if the shape of the images is known, else "heatmap".
        max_rows : int, default=100
            The largest number of rows that are drawn. If there are more, those that are drawn
            are evenly spread over them.
        n_columns : int, default=10
            The number of images in a line.
        soft_labels : bool, default=True
            Whether soft labels are drawn below each image, if there are any: a bar for each class.
            The largest bar is in colour, and its class is the caption.
        vmin, vmax : float, default=None
            The values that are drawn black and white in images. None takes the 1st and the 99th
            percentile of all values drawn, because learned rows leave the range of pixels.

        Returns
        -------
        display : SupportDisplay
        """
        kinds = ("auto", "images", "heatmap", "parallel")
        kind = check_option(_OWNER, "kind", kind, kinds)
        check_integer(_OWNER, "max_rows", max_rows, minimum=1)
        check_integer(_OWNER, "n_columns", n_columns, minimum=1)
        if kind == "auto":
            kind = "heatmap" if self.image_shape is None else "images"
        self.kind_, self.indices_ = kind, evenly_spread(len(self.X_s), max_rows)
        self.images_, self.texts_, self.lines_, self.bars_ = [], [], [], None
        if kind == "images":
            self._plot_images(ax, n_columns, soft_labels, vmin, vmax)
        else:
            self._plot_table(ax, kind)
        self.figure_ = self.ax_.figure
        return self

    def _title(self) -> str:
        n, drawn = len(self.X_s), len(self.indices_)
        return f"{n} support rows" if drawn == n else f"{drawn} of {n} support rows"

    def _plot_images(
        self,
        ax: Axes | None,
        n_columns: int,
        soft_labels: bool,
        vmin: float | None,
        vmax: float | None,
    ) -> None:
        rows, y_s = self.X_s[self.indices_], self._labels[self.indices_]
        images = as_images(_OWNER, rows, self.image_shape, vmin, vmax)
        has_bars = soft_labels and self.classes is not None and self.y_s.ndim > 1
        names = captions(y_s, self.classes)
        places = tiles(names, n_columns, images.shape[1] / images.shape[2], has_bars)
        self.ax_ = ax = axes(_OWNER, ax, places.figsize)
        self.images_, self.texts_ = draw_tiles(ax, images, places)
        title = self._title()
        if has_bars:
            self.bars_ = draw_bars(ax, y_s, places)
            title += "; bars: their labels, and the class of the largest"
        ax.set_title(title, fontsize=10, pad=8)

    def _plot_table(self, ax: Axes | None, kind: str) -> None:
        is_class = self.classes is not None
        labels = self._labels.reshape(len(self.y_s), -1)
        key = np.argmax(labels, axis=1) if is_class else labels[:, 0]
        self.indices_ = self.indices_[np.argsort(key[self.indices_], kind="stable")]
        rows, key = self.X_s[self.indices_], key[self.indices_]
        names = self.feature_names
        names = np.arange(rows.shape[1]).astype(str) if names is None else names
        n_features, below = rows.shape[1], names_height(names)
        if kind == "heatmap":
            size = (
                float(np.clip(2.5 + 0.22 * n_features, 5, 12)),
                2 + 0.035 * max(len(rows), 60) + below,
            )
            self.ax_ = axes(_OWNER, ax, size)
            self.images_ = [draw_heatmap(self.ax_, rows, key, self.classes, names)]
        else:
            size = float(np.clip(2.5 + 0.7 * n_features, 5, 12)), 3.8 + below
            self.ax_ = axes(_OWNER, ax, size)
            self.lines_ = draw_parallel(_OWNER, self.ax_, rows, key, self.classes, names)
        self.ax_.set_title(self._title(), fontsize=10)
