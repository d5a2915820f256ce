"""Figures of the gallery: no background, and text as far from black as from white."""

from typing import Any

import matplotlib.pyplot as plt

GREY = "#7b7b7b"
STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def suit_both_themes(gallery_conf: dict[str, Any], name: str) -> None:
    """Sphinx-Gallery calls this before each example, after it has reset matplotlib."""
    plt.rcParams.update(STYLE)
