"""A support set as images, or as a table."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipsk._checks import check_integer, check_option, refuse
from kipsk._estimators._pictures import (
    as_images,
    before,
    captions,
    in_space,
    is_shape_of,
    known_image_shape,
)
from kipsk._estimators._pictures import spread as evenly
from kipsk.plotting._base import GREY, OKABE_ITO, alone, axes, distiller_of, steps_before
from kipsk.plotting._table import draw_heatmap, draw_parallel, names_height

_OWNER = "SupportDisplay"

# In units of a tile's width: the gap between tiles, and the heights of bars and captions.
_GAP, _BARS, _CAPTION = 0.14, 0.3, 0.27
_INCHES = 0.72  # a tile's width


class SupportDisplay:
    """The rows of a support set with their labels, as images or as a table.

    Make one with `from_estimator` or, if transformers stand before the distiller in a Pipeline,
    with `from_pipeline`. Other rows, such as what ``fit_resample`` returned, are drawn by
    ``SupportDisplay(X_s, y_s, classes=np.unique(y_s)).plot()``.

    Parameters
    ----------
    X_s : array-like of shape (n_support, n_features)
        Rows.
    y_s : array-like of shape (n_support, n_classes), (n_support,) or (n_support, n_outputs)
        With `classes` soft labels, or the class of each row; without them targets.
    classes : array-like of shape (n_classes,), default=None
        None if y_s are targets of a regression. Words are classes in any case.
    image_shape : tuple (H, W, C), default=None
        The images that rows are.
    feature_names : array-like of shape (n_features,), default=None
        Names of the columns, for a heat map or parallel coordinates; None numbers them.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    kind_ : str
        What was drawn: "images", "heatmap" or "parallel".
    indices_ : ndarray of shape (n_drawn,)
        Rows of X_s in the order in which they were drawn.
    images_ : list of AxesImage
        Images: one for each row. Heat map: the one.
    bars_ : PolyCollection or None
        Images: the soft labels, a bar for each row and class.
    texts_ : list of Text
        Images: the captions.
    lines_ : list of Line2D
        Parallel coordinates: one for each row.

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

    ax_: Any
    figure_: Any
    kind_: str
    indices_: NDArray[np.intp]
    images_: list[Any]
    bars_: Any
    texts_: list[Any]
    lines_: list[Any]

    def __init__(
        self,
        X_s: ArrayLike,
        y_s: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        image_shape: tuple[int, int, int] | None = None,
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

    def _as_labels(self) -> NDArray[Any]:
        """Return y_s, classes as one-hot rows."""
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
        estimator: Any,
        *,
        image_shape: tuple[int, int, int] | None = None,
        space: str = "original",
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the support set of a distiller.

        Parameters
        ----------
        estimator : KIPDistiller, KIPRegressor or LabelSolver
            Fitted.
        image_shape : tuple (H, W, C), default=None
            The images that rows are. None is what the estimator or its kernel was given.
        space : {"original", "kernel"}, default="original"
            Rows in the units of X, back through the inverse of the distiller's ``preprocess_``, or
            as the kernel sees them.
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
        pipeline: Any,
        *,
        image_shape: tuple[int, int, int] | None = None,
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the support set of a Pipeline's distiller in the units of the Pipeline's X.

        Parameters
        ----------
        pipeline : Pipeline
            Fitted, with a distiller as its last step. The rows go back through the
            ``inverse_transform`` of all other steps.
        image_shape : tuple (H, W, C), default=None
            The images that rows of the Pipeline's X are. None is what the distiller or its kernel
            was given.
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
    def _of(cls, distiller: Any, image_shape: Any, space: str, steps: Any) -> Self:
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
        ax: Any = None,
        *,
        kind: str = "auto",
        max_rows: int = 100,
        n_columns: int = 10,
        soft_labels: bool = True,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure, as large as the rows need.
        kind : {"auto", "images", "heatmap", "parallel"}, default="auto"
            Images; a heat map with rows sorted by class, or by target, and features across; or
            parallel coordinates, a line for each row. "auto" is images if their shape is known,
            else a heat map. Of a table the colours and heights are of each feature's own range.
        max_rows : int, default=100
            Rows to draw at most, evenly spread over all.
        n_columns : int, default=10
            Images across.
        soft_labels : bool, default=True
            Draw soft labels, if there are any, below each image: a bar for each class, the
            largest, whose class is the caption, in colour.
        vmin, vmax : float, default=None
            Images: what is black and white. None are the 1st and 99th percentile of all rows drawn,
            as learned rows leave the range of pixels.

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
        self.kind_, self.indices_ = kind, evenly(len(self.X_s), max_rows)
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
        self, ax: Any, n_columns: int, soft_labels: bool, vmin: float | None, vmax: float | None
    ) -> None:
        rows, y_s = self.X_s[self.indices_], self._labels[self.indices_]
        images = as_images(_OWNER, rows, self.image_shape, vmin, vmax)
        names = captions(y_s, self.classes)
        n, height = len(images), images.shape[1] / images.shape[2]
        has_bars = soft_labels and self.classes is not None and self.y_s.ndim > 1
        n_across = min(n, n_columns)
        bars = _BARS + 0.06 if has_bars else 0.0
        cell = height + bars + _CAPTION + _GAP
        extent = n_across * (1 + _GAP), -(-n // n_across) * cell
        # At least as wide as the title.
        size = max(extent[0] * _INCHES, 4.0), extent[1] * _INCHES + 0.35
        self.ax_ = ax = axes(_OWNER, ax, size)
        corners = [(i % n_across * (1 + _GAP), i // n_across * cell) for i in range(n)]
        for image, name, (x, y) in zip(images, names, corners, strict=True):
            box = (x, x + 1, y + height, y)
            self.images_.append(ax.imshow(image, extent=box, interpolation="nearest"))
            text = y + height + bars + 0.03
            self.texts_.append(ax.text(x + 0.5, text, name, ha="center", va="top", fontsize=8))
        if has_bars:
            bottoms = [(x, y + height + bars) for x, y in corners]
            self.bars_ = _add_bars(ax, y_s, bottoms)
        ax.set(xlim=(-_GAP / 2, extent[0] - _GAP / 2), ylim=(extent[1], -_GAP / 2), aspect="equal")
        ax.axis("off")
        what = "; bars: their labels, and the class of the largest" if has_bars else ""
        ax.set_title(self._title() + what, fontsize=10, pad=8)

    def _plot_table(self, ax: Any, kind: str) -> None:
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


def _add_bars(ax: Any, y_s: NDArray[Any], corners: list[tuple[float, float]]) -> Any:
    """Draw labels as bars, on one scale, in strips whose bottom left corners are given."""
    from matplotlib.collections import PolyCollection

    low, high = min(float(y_s.min()), 0.0), max(float(y_s.max()), 0.0)
    scale = _BARS / ((high - low) or 1.0)
    n_classes = y_s.shape[1]
    boxes, colours = [], []
    for labels, (x, bottom) in zip(y_s, corners, strict=True):
        zero = bottom + low * scale  # y goes down
        largest = int(np.argmax(labels))
        for j, label in enumerate(labels):
            left, right = x + (j + 0.1) / n_classes, x + (j + 0.9) / n_classes
            top = zero - label * scale
            boxes.append([(left, zero), (left, top), (right, top), (right, zero)])
            colours.append(OKABE_ITO[0] if j == largest else GREY)
    bars = PolyCollection(boxes, facecolors=colours, linewidths=0)
    return ax.add_collection(bars, autolim=False)
