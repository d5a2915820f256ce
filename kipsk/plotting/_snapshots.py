"""Support images in the course of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import refuse
from kipsk._estimators._pictures import (
    as_images,
    before,
    captions,
    evenly_spread,
    in_space,
    known_image_shape,
)
from kipsk._types import Estimator, Floats, Given, Ints
from kipsk.plotting._base import AnyFigure, alone, axes, distiller_of, snapshots_of, steps_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_OWNER = "SnapshotDisplay"
_MAX_STEPS, _MAX_COLUMNS = 8, 10
_INCHES = 0.72  # an image's width on the page


class SnapshotDisplay:
    """Support images in the course of a run: a line for each snapshot, a column for each image.

    Make one with `from_estimator` or, if transformers stand before the distiller in a Pipeline,
    with `from_pipeline`.

    Parameters
    ----------
    snapshots : dict of int to array-like of shape (n_rows, n_features)
        For each number of steps, the support rows after these steps.
    image_shape : tuple (H, W, C)
        The shape of the images that the rows are.
    names : sequence of str, default=None
        The captions of the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : AxesImage
        All images, with gaps between them, as one image.
    """

    ax_: Axes
    figure_: AnyFigure
    image_: AxesImage

    def __init__(
        self,
        snapshots: Mapping[int, ArrayLike],
        image_shape: tuple[int, ...] | None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        self.snapshots = {int(step): np.asarray(X_s) for step, X_s in snapshots.items()}
        self.image_shape = image_shape
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        *,
        rows: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        image_shape: tuple[int, int, int] | None = None,
        space: str = "original",
        ax: Axes | None = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the snapshots of a distiller.

        Parameters
        ----------
        estimator : KIPDistiller or KIPRegressor
            Fitted with `snapshots`.
        rows : sequence of int, default=None
            The numbers of the support rows to draw. None draws ten rows, evenly spread.
        steps : sequence of int, default=None
            The keys of ``snapshots_`` to draw. None draws eight snapshots, evenly spread, with the
            first and the last among them.
        image_shape : tuple (H, W, C), default=None
            The shape of the images that the rows are. None takes the shape that the estimator or
            its kernel was given.
        space : {"original", "kernel"}, default="original"
            Whether rows are drawn in the units of X or as the kernel sees them.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **plot_params
            For `plot`.

        Returns
        -------
        display : SnapshotDisplay
        """
        distiller = alone(_OWNER, estimator)
        display = cls._of(distiller, rows, steps, image_shape, space, None)
        return display.plot(ax, **plot_params)

    @classmethod
    def from_pipeline(
        cls,
        pipeline: Estimator,
        *,
        rows: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        image_shape: tuple[int, int, int] | None = None,
        ax: Axes | None = None,
        **plot_params: Given,
    ) -> Self:
        """Draw the snapshots of a Pipeline's distiller in the units of the Pipeline's X.

        Parameters
        ----------
        pipeline : Pipeline
            Fitted, with a distiller as its last step.
        rows, steps, image_shape, ax, **plot_params
            As in `from_estimator`.

        Returns
        -------
        display : SnapshotDisplay
        """
        transformers = steps_before(_OWNER, pipeline)
        distiller = distiller_of(_OWNER, pipeline)
        display = cls._of(distiller, rows, steps, image_shape, "original", transformers)
        return display.plot(ax, **plot_params)

    @classmethod
    def _of(
        cls,
        distiller: Estimator,
        rows: Sequence[int] | None,
        steps: Sequence[int] | None,
        image_shape: tuple[int, int, int] | None,
        space: str,
        transformers: Estimator,
    ) -> Self:
        found = snapshots_of(_OWNER, distiller)
        chosen = _chosen_steps(sorted(found), steps)
        which = _chosen_rows(len(distiller.X_s_), rows)
        drawn = {
            step: before(transformers, in_space(_OWNER, distiller, found[step][0][which], space))
            for step in chosen
        }
        last = found[chosen[-1]][1][which]
        return cls(
            drawn,
            known_image_shape(distiller) if image_shape is None else image_shape,
            names=captions(last, getattr(distiller, "classes_", None)),
        )

    def plot(
        self, ax: Axes | None = None, *, vmin: float | None = None, vmax: float | None = None
    ) -> Self:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        vmin, vmax : float, default=None
            The values that are drawn black and white. None takes the 1st and the 99th percentile
            of all values drawn.

        Returns
        -------
        display : SnapshotDisplay
        """
        stacked = np.concatenate(list(self.snapshots.values()))
        images = as_images(_OWNER, stacked, self.image_shape, vmin, vmax)
        n_steps = len(self.snapshots)
        n, (H, W) = len(images) // n_steps, images.shape[1:3]
        gap = max(1, W // 16)
        sheet = _sheet(images, n_steps, gap)
        height, width = H + gap, W + gap  # of an image with its gap
        size = max(n * _INCHES + 0.9, 3.5), n_steps * _INCHES * height / width + 0.9
        self.ax_ = ax = axes(_OWNER, ax, size)
        self.image_ = ax.imshow(sheet, interpolation="nearest")
        middles = np.arange(n_steps) * height + (H - 1) / 2
        ax.set_yticks(middles, list(map(str, self.snapshots)))
        ax.set_ylabel("steps")
        names = [""] * n if self.names is None else self.names
        ax.set_xticks(np.arange(n) * width + (W - 1) / 2, names)
        ax.set_xlabel("support row" if self.names is None else "label at the last snapshot")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title("Support rows during the run", fontsize=10)
        self.figure_ = ax.figure
        return self


def _chosen_steps(there: list[int], steps: Sequence[int] | None) -> list[int]:
    """Return the snapshots to draw, of those that there are."""
    if steps is None:
        return [there[i] for i in evenly_spread(len(there), _MAX_STEPS)]
    chosen = list(steps)
    if not chosen or not set(chosen) <= set(there):
        raise refuse(_OWNER, "steps", f"None or some of the snapshots' steps {there}", chosen)
    return chosen


def _chosen_rows(n: int, rows: Sequence[int] | None) -> Ints:
    """Return the numbers of the rows to draw, of n support rows."""
    if rows is None:
        return evenly_spread(n, _MAX_COLUMNS)
    which = np.asarray(rows)
    is_index = which.ndim == 1 and len(which) and np.issubdtype(which.dtype, np.integer)
    if not is_index or which.min() < 0 or which.max() >= n:
        raise refuse(_OWNER, "rows", f"None or a list of row numbers from 0 to {n - 1}", rows)
    return which


def _sheet(images: Floats, n_lines: int, gap: int) -> Floats:
    """Return images (n, H, W, 3) as one, in lines, with white gaps of some pixels between them."""
    gaps = ((0, 0), (0, gap), (0, gap), (0, 0))
    tiles = np.pad(images, gaps, constant_values=1)
    n, H, W, _ = tiles.shape
    lines = tiles.reshape(n_lines, n // n_lines, H, W, 3).transpose(0, 2, 1, 3, 4)
    return lines.reshape(n_lines * H, n // n_lines * W, 3)[:-gap, :-gap]
