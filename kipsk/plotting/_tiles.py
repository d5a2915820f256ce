"""Support rows as images side by side, with captions, and with their labels as bars below."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kipsk._types import Floats
from kipsk.plotting._base import GREY, OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.image import AxesImage
    from matplotlib.text import Text

# In units of a tile's width: the gap between tiles, the heights of bars and of a line of a caption.
_GAP, _BARS, _LINE = 0.14, 0.3, 0.2
_INCHES = 0.72  # a tile's width
_FONT = 8  # points
_MAX_LINES = 3


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
    captions : list of str
        What stands below each tile, in as many lines as it needs.
    """

    corners: list[tuple[float, float]]
    height: float
    bars: float
    extent: tuple[float, float]
    captions: list[str]

    @property
    def figsize(self) -> tuple[float, float]:
        """The size of a figure in inches: at least as wide as a title."""
        return max(self.extent[0] * _INCHES, 4.0), self.extent[1] * _INCHES + 0.35


def tiles(captions: list[str], n_columns: int, height: float, has_bars: bool) -> Tiles:
    """Return places for images of this height with captions, `n_columns` of them side by side."""
    n = len(captions)
    n_across = min(n, n_columns)
    bars = _BARS + 0.06 if has_bars else 0.0
    lines = [in_lines(caption, _INCHES * 72) for caption in captions]
    n_lines = max((len(one) for one in lines), default=1)
    cell = height + bars + _LINE * n_lines + 0.07 + _GAP
    return Tiles(
        corners=[(i % n_across * (1 + _GAP), i // n_across * cell) for i in range(n)],
        height=height,
        bars=bars,
        extent=(n_across * (1 + _GAP), -(-n // n_across) * cell),
        captions=["\n".join(one) for one in lines],
    )


def in_lines(caption: str, width: float) -> list[str]:
    """Return a caption in lines of at most so many points; what three lines do not hold ends in ….

    Lines end after a space, "_", "-", "/" or ".", and else where they are full.
    """
    from matplotlib.textpath import TextPath

    def fits(text: str) -> bool:
        return TextPath((0, 0), text, size=_FONT).get_extents().width <= width

    if fits(caption):
        return [caption]
    lines = [""]
    for word in re.findall(r"[^ _\-/.]*[ _\-/.]?", caption):
        if lines[-1] and not fits((lines[-1] + word).strip()):
            lines.append("")
        for letter in word:
            if lines[-1] and not fits(lines[-1] + letter):
                lines.append("")
            lines[-1] += letter
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) > _MAX_LINES:
        last = lines[_MAX_LINES - 1]
        while last and not fits(last + "…"):
            last = last[:-1]
        lines = [*lines[: _MAX_LINES - 1], last + "…"]
    return lines


def draw_tiles(ax: Axes, images: Floats, places: Tiles) -> tuple[list[AxesImage], list[Text]]:
    """Draw images with their captions; return what was drawn."""
    drawn, texts = [], []
    for image, caption, (x, y) in zip(images, places.captions, places.corners, strict=True):
        box = (x, x + 1, y + places.height, y)
        drawn.append(ax.imshow(image, extent=box, interpolation="nearest"))
        below = y + places.height + places.bars + 0.03
        texts.append(ax.text(x + 0.5, below, caption, ha="center", va="top", fontsize=_FONT))
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
