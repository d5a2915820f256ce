"""Rows of a table, sorted by class or target: a heat map, or parallel coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipsk.plotting._base import colours, pyplot

# Names along an axis, and classes in a legend, that still can be read.
_MAX_NAMES = 30
_MAX_LEGEND = 20
# Characters of names that stand next to each other without being slanted.
_MAX_LEVEL = 3


def of_range(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return each feature from 0, its lowest value, to 1; a constant one is 0.5."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    constant = high == low
    return np.where(constant, 0.5, (rows - low) / np.where(constant, 1, high - low))


def names_height(names: NDArray[Any]) -> float:
    """Return the inches that names of features take below an axis, where they are slanted."""
    longest = max(len(str(name)) for name in names)
    return 0.055 * longest if longest > _MAX_LEVEL else 0.0


def name_columns(ax: Any, names: NDArray[Any], what: str) -> None:
    """Write the names of columns below an axis, of many every so many, and what they are."""
    step = -(-len(names) // _MAX_NAMES)
    shown = np.arange(0, len(names), step)
    is_long = max(len(str(names[i])) for i in shown) > _MAX_LEVEL
    rotation = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
    ax.set_xticks(shown, [str(names[i]) for i in shown], fontsize=8, **rotation)
    ax.set_xlabel(what)


def draw_heatmap(
    ax: Any,
    rows: NDArray[Any],
    key: NDArray[Any],
    classes: NDArray[Any] | None,
    names: NDArray[Any],
) -> Any:
    """Draw rows sorted by `key`, class codes or targets; return the AxesImage."""
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
    owner: str,
    ax: Any,
    rows: NDArray[Any],
    key: NDArray[Any],
    classes: NDArray[Any] | None,
    names: NDArray[Any],
) -> list[Any]:
    """Draw a line for each row, coloured by `key`, class codes or targets; return the lines."""
    heights = of_range(rows)
    x = np.arange(rows.shape[1])
    if classes is None:
        plt = pyplot(owner)
        scale = plt.cm.ScalarMappable(plt.Normalize(key.min(), key.max()), "viridis")
        of_row = [scale.to_rgba(value) for value in key]
        ax.figure.colorbar(scale, ax=ax, label="target")
    else:
        palette = colours(owner, len(classes))
        of_row = [palette[code] for code in key]
    for position in x:
        ax.axvline(position, color="0.85", linewidth=0.8, zorder=0)
    lines = [
        ax.plot(x, line, color=colour, linewidth=1, alpha=0.8)[0]
        for line, colour in zip(heights, of_row, strict=True)
    ]
    if classes is not None and len(classes) <= _MAX_LEGEND:
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
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 1], ["lowest", "highest"])
    ax.set_ylabel("value of a feature")
    ax.spines[["top", "right"]].set_visible(False)
    name_columns(ax, names, "feature")
    return lines
