"""Support rows as images side by side, with captions, and with their labels as bars below."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kipsk._types import Floats
from kipsk.plotting._base import GREY, OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.image import AxesImage
    from matplotlib.text import Text

# In units of a tile's width: the gap between tiles, and the heights of bars and captions.
_GAP, _BARS, _CAPTION = 0.14, 0.3, 0.27
_INCHES = 0.72  # a tile's width


class Tiles(NamedTuple):
    """Where the tiles are, in units of a tile's width from the top left; y grows downwards.

    Attributes
    ----------
    corners : list of tuple (x, y)
        The top left corner of each tile.
    height : float
        The height of an image.
    bars : float
        The height of the strip for bars below an image; 0 if there are none.
    extent : tuple (width, height)
        The space that all tiles take, with the gaps between them.
    """

    corners: list[tuple[float, float]]
    height: float
    bars: float
    extent: tuple[float, float]

    @property
    def figsize(self) -> tuple[float, float]:
        """The size of a figure in inches: at least as wide as a title."""
        return max(self.extent[0] * _INCHES, 4.0), self.extent[1] * _INCHES + 0.35


def tiles(n: int, n_columns: int, height: float, has_bars: bool) -> Tiles:
    """Return places for n images of this height, `n_columns` of them side by side."""
    n_across = min(n, n_columns)
    bars = _BARS + 0.06 if has_bars else 0.0
    cell = height + bars + _CAPTION + _GAP
    return Tiles(
        corners=[(i % n_across * (1 + _GAP), i // n_across * cell) for i in range(n)],
        height=height,
        bars=bars,
        extent=(n_across * (1 + _GAP), -(-n // n_across) * cell),
    )


def draw_tiles(
    ax: Axes, images: Floats, captions: list[str], places: Tiles
) -> tuple[list[AxesImage], list[Text]]:
    """Draw images with their captions; return what was drawn."""
    drawn, texts = [], []
    for image, caption, (x, y) in zip(images, captions, places.corners, strict=True):
        box = (x, x + 1, y + places.height, y)
        drawn.append(ax.imshow(image, extent=box, interpolation="nearest"))
        below = y + places.height + places.bars + 0.03
        texts.append(ax.text(x + 0.5, below, caption, ha="center", va="top", fontsize=8))
    width, height = places.extent
    ax.set(xlim=(-_GAP / 2, width - _GAP / 2), ylim=(height, -_GAP / 2), aspect="equal")
    ax.axis("off")
    return drawn, texts


def draw_bars(ax: Axes, y_s: Floats, places: Tiles) -> PolyCollection:
    """Draw the labels of each tile as bars below its image, all on one scale."""
    from matplotlib.collections import PolyCollection

    low, high = min(float(y_s.min()), 0.0), max(float(y_s.max()), 0.0)
    scale = _BARS / ((high - low) or 1.0)
    n_classes = y_s.shape[1]
    boxes, colours = [], []
    for labels, (x, y) in zip(y_s, places.corners, strict=True):
        zero = y + places.height + places.bars + low * scale  # y grows downwards
        largest = int(np.argmax(labels))
        for j, label in enumerate(labels):
            left, right = x + (j + 0.1) / n_classes, x + (j + 0.9) / n_classes
            top = zero - label * scale
            boxes.append([(left, zero), (left, top), (right, top), (right, zero)])
            colours.append(OKABE_ITO[0] if j == largest else GREY)
    bars = PolyCollection(boxes, facecolors=colours, linewidths=0)
    ax.add_collection(bars, autolim=False)
    return bars
