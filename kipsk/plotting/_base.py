"""What the Displays share: matplotlib when it is needed, axes, colours, the distiller."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from kipsk._estimators._distiller import BaseDistiller

# Okabe and Ito's colours, which colour-blind people tell apart; the one that stands for all else.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
GREY = "#8c8c8c"


def pyplot(owner: str) -> Any:
    """Return matplotlib.pyplot, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{owner}.plot needs matplotlib: install it, or kipsk with its extra 'plot'."
        ) from error
    return plt


def axes(owner: str, ax: Any, figsize: tuple[float, float] | None = None) -> Any:
    """Return the Axes that were given, or those of a new figure."""
    plt = pyplot(owner)
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def colours(owner: str, n: int) -> list[Any]:
    """Return n colours: those that are easiest to tell apart, or for many a scale."""
    if n <= len(OKABE_ITO):
        return list(OKABE_ITO[:n])
    return list(pyplot(owner).get_cmap("viridis")(np.linspace(0, 1, n)))


def refuse_search(owner: str, name: str, value: Any) -> None:
    """Refuse a fitted search, which draws nothing: its best estimator does."""
    if hasattr(value, "best_estimator_"):
        raise ValueError(
            f"The {name!r} parameter of {owner} must be a distiller or a Pipeline that ends with "
            f"one. Got a {type(value).__name__} instead: pass search.best_estimator_."
        )


def distiller_of(owner: str, estimator: Any) -> Any:
    """Return a fitted distiller, the last step of a Pipeline if it is one."""
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


def alone(owner: str, estimator: Any) -> Any:
    """Return a fitted distiller; refuse a Pipeline, whose other steps would be left out."""
    if hasattr(estimator, "steps"):
        raise ValueError(
            f"The 'estimator' parameter of {owner}.from_estimator must be a distiller. Got a "
            f"Pipeline instead: call {owner}.from_pipeline, which takes the rows back through "
            "its other steps."
        )
    return distiller_of(owner, estimator)


def steps_before(owner: str, pipeline: Any) -> Any:
    """Return what stands before a distiller in a Pipeline, as something with ``steps``."""
    refuse_search(f"{owner}.from_pipeline", "pipeline", pipeline)
    if not hasattr(pipeline, "steps"):
        raise ValueError(
            f"The 'pipeline' parameter of {owner}.from_pipeline must be a Pipeline. Got "
            f"{pipeline!r} instead: call {owner}.from_estimator."
        )
    distiller_of(owner, pipeline)
    return Pipeline(pipeline.steps[:-1]) if len(pipeline.steps) > 1 else None


def snapshots_of(owner: str, distiller: Any) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Return the snapshots of a run, or say how to keep some."""
    found: dict[int, tuple[NDArray[Any], NDArray[Any]]] = getattr(distiller, "snapshots_", {})
    if not found:
        raise ValueError(
            f"{owner} needs the snapshots of a run. Got a {type(distiller).__name__} without any: "
            "fit a KIPDistiller or KIPRegressor with snapshots='log' or a list of steps."
        )
    return found
