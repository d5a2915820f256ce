"""How support images change in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import refuse
from kipsk._estimators._pictures import (
    as_images,
    before,
    captions,
    in_space,
    known_image_shape,
    spread,
)
from kipsk.plotting._base import alone, axes, distiller_of, snapshots_of, steps_before

_OWNER = "SnapshotDisplay"
_MAX_STEPS, _MAX_COLUMNS = 8, 10
_INCHES = 0.72  # an image's width


class SnapshotDisplay:
    """How support images change: a line for each snapshot, a column for each image.

    Make one with `from_estimator` or, if transformers stand before the distiller in a Pipeline,
    with `from_pipeline`.

    Parameters
    ----------
    snapshots : dict of int to array-like of shape (n_rows, n_features)
        The same rows after so many steps.
    image_shape : tuple (H, W, C)
        The images that rows are.
    names : sequence of str, default=None
        Captions of the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : AxesImage
        All images, in frames, as one.
    """

    ax_: Any
    figure_: Any
    image_: Any

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
        estimator: Any,
        *,
        rows: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        image_shape: tuple[int, int, int] | None = None,
        space: str = "original",
        ax: Any = None,
        **plot_params: Any,
    ) -> Self:
        """Draw the snapshots of a distiller.

        Parameters
        ----------
        estimator : KIPDistiller or KIPRegressor
            Fitted with `snapshots`.
        rows : sequence of int, default=None
            Rows of the support; None are ten of them, evenly spread.
        steps : sequence of int, default=None
            Keys of ``snapshots_``; None are eight of them, evenly spread, with the first and last.
        image_shape : tuple (H, W, C), default=None
            The images that rows are. None is what the estimator or its kernel was given.
        space : {"original", "kernel"}, default="original"
            Rows in the units of X, or as the kernel sees them.
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
        pipeline: Any,
        *,
        rows: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        image_shape: tuple[int, int, int] | None = None,
        ax: Any = None,
        **plot_params: Any,
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
        cls, distiller: Any, rows: Any, steps: Any, image_shape: Any, space: str, transformers: Any
    ) -> Self:
        found = snapshots_of(_OWNER, distiller)
        there = sorted(found)
        steps = [there[i] for i in spread(len(there), _MAX_STEPS)] if steps is None else list(steps)
        if not steps or not set(steps) <= set(there):
            raise refuse(_OWNER, "steps", f"None or some of the snapshots' steps {there}", steps)
        n = len(distiller.X_s_)
        which = spread(n, _MAX_COLUMNS) if rows is None else np.asarray(rows)
        is_index = which.ndim == 1 and len(which) and np.issubdtype(which.dtype, np.integer)
        if not is_index or which.min() < 0 or which.max() >= n:
            rule = f"None or a list of row numbers from 0 to {n - 1}"
            raise refuse(_OWNER, "rows", rule, rows)
        drawn = {
            step: before(transformers, in_space(_OWNER, distiller, found[step][0][which], space))
            for step in steps
        }
        last = found[steps[-1]][1][which]
        return cls(
            drawn,
            known_image_shape(distiller) if image_shape is None else image_shape,
            names=captions(last, getattr(distiller, "classes_", None)),
        )

    def plot(self, ax: Any = None, *, vmin: float | None = None, vmax: float | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        vmin, vmax : float, default=None
            What is black and white. None are the 1st and 99th percentile of all that is drawn.

        Returns
        -------
        display : SnapshotDisplay
        """
        stacked = np.concatenate(list(self.snapshots.values()))
        images = as_images(_OWNER, stacked, self.image_shape, vmin, vmax)
        n_steps = len(self.snapshots)
        n, (H, W) = len(images) // n_steps, images.shape[1:3]
        frame = max(1, W // 16)
        gaps = ((0, 0), (0, frame), (0, frame), (0, 0))
        tiles = np.pad(images, gaps, constant_values=1)
        H, W = H + frame, W + frame
        sheet = tiles.reshape(n_steps, n, H, W, 3).transpose(0, 2, 1, 3, 4)
        sheet = sheet.reshape(n_steps * H, n * W, 3)[:-frame, :-frame]
        size = max(n * _INCHES + 0.9, 3.5), n_steps * _INCHES * H / W + 0.9
        self.ax_ = ax = axes(_OWNER, ax, size)
        self.image_ = ax.imshow(sheet, interpolation="nearest")
        ax.set_yticks(np.arange(n_steps) * H + (H - frame - 1) / 2, list(map(str, self.snapshots)))
        ax.set_ylabel("steps")
        names = [""] * n if self.names is None else self.names
        ax.set_xticks(np.arange(n) * W + (W - frame - 1) / 2, names)
        ax.set_xlabel("support row" if self.names is None else "label after the last of these")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title("Support rows on the way", fontsize=10)
        self.figure_ = ax.figure
        return self
