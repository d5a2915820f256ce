"""Rows of a table as a heat map or as parallel coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kipsk._types import AnyArray, Float64s, Floats
from kipsk.plotting._base import Colour, colours, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

# The most names along an axis, and the most classes in a legend, that can still be read.
_MAX_NAMES = 30
_MAX_LEGEND = 20
# The most characters of a name that fits below an axis without being slanted.
_MAX_LEVEL = 3


def of_range(rows: Floats) -> Float64s:
    """Return each feature on a scale from 0, its lowest value, to 1; a constant one is 0.5."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    constant = high == low
    return np.where(constant, 0.5, (rows - low) / np.where(constant, 1, high - low))


def names_height(names: AnyArray) -> float:
    """Return the height in inches of slanted names below an axis; 0 if they are not slanted."""
    longest = max(len(str(name)) for name in names)
    return 0.055 * longest if longest > _MAX_LEVEL else 0.0


def name_columns(ax: Axes, names: AnyArray, what: str) -> None:
    """Write the names of columns below an axis, and `what` they name.

    Of many names every second, third, ... one is written, so that at most 30 are.
    """
    step = -(-len(names) // _MAX_NAMES)
    shown = np.arange(0, len(names), step)
    texts = [str(names[i]) for i in shown]
    if max(map(len, texts)) > _MAX_LEVEL:
        ax.set_xticks(shown, texts, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    else:
        ax.set_xticks(shown, texts, fontsize=8)
    ax.set_xlabel(what)


def draw_heatmap(
    ax: Axes, rows: Floats, key: AnyArray, classes: AnyArray | None, names: AnyArray
) -> AxesImage:
    """Draw a heat map: a line for each row, a column for each feature.

    Parameters
    ----------
    ax : matplotlib Axes
    rows : ndarray of shape (n_rows, n_features)
        Sorted by `key`.
    key : ndarray of shape (n_rows,)
        The code of each row's class, or its target if there are no classes.
    classes : ndarray of shape (n_classes,) or None
    names : ndarray of shape (n_features,)
        The names of the features.
    """
    image = ax.imshow(
        of_range(rows), aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest"
    )
    if classes is None:
        ends = [0, len(rows) - 1] if len(rows) > 1 else [0]
        ax.set_yticks(ends, [f"{key[i]:.3g}" for i in ends])
        ax.set_ylabel("support rows, sorted by target")
    else:
        codes, starts, counts = np.unique(key, return_index=True, return_counts=True)
        for start in starts[1:]:
            ax.axhline(start - 0.5, color="white", linewidth=1.5)
        step = -(-len(codes) // _MAX_NAMES)
        middles = (starts + (counts - 1) / 2)[::step]
        ax.set_yticks(middles, [str(classes[code]) for code in codes[::step]])
        ax.set_ylabel("support rows, by class")
    name_columns(ax, names, "feature")
    bar = ax.figure.colorbar(image, ax=ax, ticks=[0, 1], shrink=0.6, label="value of a feature")
    bar.ax.set_yticklabels(["lowest", "highest"])
    return image


def draw_parallel(
    owner: str, ax: Axes, rows: Floats, key: AnyArray, classes: AnyArray | None, names: AnyArray
) -> list[Line2D]:
    """Draw parallel coordinates: a line for each row, in the colour of its class or target.

    Parameters
    ----------
    owner : str
    ax, rows, key, classes, names
        As in `draw_heatmap`.
    """
    heights = of_range(rows)
    x = np.arange(rows.shape[1])
    of_row = _colours_of(owner, ax, key, classes)
    for position in range(len(x)):
        ax.axvline(position, color="0.85", linewidth=0.8, zorder=0)
    lines = [
        ax.plot(x, line, color=colour, linewidth=1, alpha=0.8)[0]
        for line, colour in zip(heights, of_row, strict=True)
    ]
    if classes is not None and len(classes) <= _MAX_LEGEND:
        _add_legend(ax, lines, key, classes)
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 1], ["lowest", "highest"])
    ax.set_ylabel("value of a feature")
    ax.spines[["top", "right"]].set_visible(False)
    name_columns(ax, names, "feature")
    return lines


def _colours_of(owner: str, ax: Axes, key: AnyArray, classes: AnyArray | None) -> list[Colour]:
    """Return the colour of each row; without classes, draw the scale of targets beside the Axes."""
    if classes is not None:
        palette = colours(owner, len(classes))
        return [palette[code] for code in key]
    plt = pyplot(owner)
    scale = plt.cm.ScalarMappable(plt.Normalize(key.min(), key.max()), "viridis")
    ax.figure.colorbar(scale, ax=ax, label="target")
    return [scale.to_rgba(value) for value in key]


def _add_legend(ax: Axes, lines: list[Line2D], key: AnyArray, classes: AnyArray) -> None:
    """Add a legend with the classes of the rows beside the Axes."""
    first = {code: line for code, line in zip(key[::-1], lines[::-1], strict=True)}
    codes = sorted(first)
    ax.legend(
        [first[code] for code in codes],
        [str(classes[code]) for code in codes],
        title="class",
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
    )
