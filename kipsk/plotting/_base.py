"""What the Displays share: matplotlib, Axes and colours, and the distiller that is drawn."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from kipsk._estimators._distiller import BaseDistiller
from kipsk._types import AnyArray, Estimator, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: What Axes may lie in.
AnyFigure: TypeAlias = "Figure | SubFigure"

#: A colour of matplotlib: its code, or an array of red, green, blue and opacity.
Colour: TypeAlias = str | Floats

#: The colours of Okabe and Ito, which colour-blind people can tell apart.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")

#: For what a picture compares with: the baseline, real rows, labels that are not the largest.
GREY = "#8c8c8c"


def pyplot(owner: str) -> ModuleType:
    """Return matplotlib.pyplot, or raise an error that says how to install matplotlib."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{owner}.plot needs matplotlib: install it, or kipsk with its extra 'plot'."
        ) from error
    return plt


def axes(owner: str, ax: Axes | None, figsize: tuple[float, float]) -> Axes:
    """Return the Axes that were given, or those of a new figure of `figsize` inches."""
    plt = pyplot(owner)
    if ax is not None:
        return ax
    _, new = plt.subplots(figsize=figsize, layout="constrained")
    return new


def colours(owner: str, n: int) -> list[Colour]:
    """Return n colours: the first of Okabe and Ito's, or a scale if these are too few."""
    if n <= len(OKABE_ITO):
        return list(OKABE_ITO[:n])
    return list(pyplot(owner).get_cmap("viridis")(np.linspace(0, 1, n)))


def refuse_search(owner: str, name: str, value: object) -> None:
    """Refuse a fitted search, such as a GridSearchCV: its best estimator is what can be drawn."""
    if hasattr(value, "best_estimator_"):
        raise ValueError(
            f"The {name!r} parameter of {owner} must be a distiller or a Pipeline that ends with "
            f"one. Got a {type(value).__name__} instead: pass search.best_estimator_."
        )


def distiller_of(owner: str, estimator: Estimator) -> BaseDistiller:
    """Return a fitted distiller, or the fitted distiller that a Pipeline ends with."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    refuse_search(owner, "estimator", last)
    if not isinstance(last, BaseDistiller):
        raise ValueError(
            f"The 'estimator' parameter of {owner} must be a distiller (KIPDistiller, "
            f"KIPRegressor, LabelSolver) or a Pipeline that ends with one. Got {estimator!r} "
            "instead."
        )
    check_is_fitted(last, "predictor_")
    return last


def alone(owner: str, estimator: Estimator) -> BaseDistiller:
    """Return a fitted distiller; refuse a Pipeline, whose other steps would be left out."""
    if hasattr(estimator, "steps"):
        raise ValueError(
            f"The 'estimator' parameter of {owner}.from_estimator must be a distiller. Got a "
            f"Pipeline instead: call {owner}.from_pipeline, which takes the rows back through "
            "its other steps."
        )
    return distiller_of(owner, estimator)


def steps_before(owner: str, pipeline: Estimator) -> Pipeline | None:
    """Return the steps before a Pipeline's distiller as a Pipeline, or None if there are none."""
    refuse_search(f"{owner}.from_pipeline", "pipeline", pipeline)
    if not hasattr(pipeline, "steps"):
        raise ValueError(
            f"The 'pipeline' parameter of {owner}.from_pipeline must be a Pipeline. Got "
            f"{pipeline!r} instead: call {owner}.from_estimator."
        )
    distiller_of(owner, pipeline)
    return Pipeline(pipeline.steps[:-1]) if len(pipeline.steps) > 1 else None


def snapshots_of(owner: str, distiller: BaseDistiller) -> dict[int, tuple[AnyArray, AnyArray]]:
    """Return the snapshots of a run, or raise an error that says how to keep some."""
    found: dict[int, tuple[AnyArray, AnyArray]] = getattr(distiller, "snapshots_", {})
    if not found:
        raise ValueError(
            f"{owner} needs the snapshots of a run. Got a {type(distiller).__name__} without any: "
            "fit a KIPDistiller or KIPRegressor with snapshots='log' or a list of steps."
        )
    return found
