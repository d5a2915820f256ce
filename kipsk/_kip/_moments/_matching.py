"""What moments have to have in common to be added, loaded or distilled together."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import numpy as np

from kipsk._checks import refuse
from kipsk._distil._moments import Sums
from kipsk._kip._moments._rows import classes_of
from kipsk._storage._describe import describe
from kipsk._types import Estimator
from kipsk.kernels._base import JaxKernel


def description_of(moments: Estimator, kernel: JaxKernel, n_outputs: int) -> dict[str, str]:
    """Return what moments have to have in common to be added."""
    names = getattr(moments, "feature_names_in_", None)
    classes = "None" if moments.classes is None else str(classes_of(moments).tolist())
    return {
        "kernel": describe(kernel),
        "preprocess": described_transformer(moments.preprocess),
        "classes": classes,
        "number of outputs": str(n_outputs),
        "columns": f"{moments.n_features_in_} {'' if names is None else names.tolist()}",
    }


def described_transformer(transformer: Estimator | None) -> str:
    """Return a text that is the same for transformers that were fitted alike."""
    if transformer is None:
        return "None"
    try:
        return f"{type(transformer).__name__} {joblib.hash(vars(transformer))}"
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        rule = f"a transformer that can be pickled, to tell it from others ({error})"
        raise refuse("Moments", "preprocess", rule, transformer) from error


def check_same(own: dict[str, str], other: dict[str, Any], what: str) -> None:
    """Refuse moments of another kernel, preprocess, classes or columns."""
    for name, value in own.items():
        its = str(other.get(name))
        if value != its:
            start = _first_difference(value, its)
            raise ValueError(
                f"{what} must be of the same {name}. Got {_part(its, start)} instead of "
                f"{_part(value, start)}: share one 'kernel_', one fitted transformer and one list "
                "of classes."
            )


def check_noise(own: bool, its: bool) -> None:
    """Refuse moments of which some are private and others are not."""
    if own != its:
        names = "with the noise of 'epsilon'", "without noise"
        raise ValueError(
            f"Moments {names[not own]} cannot be added to, or subtracted from, moments "
            f"{names[not its]}: the sum would have no guarantee. Give all an 'epsilon', or none."
        )


def check_left(left: Sums, first: Sums, second: Sums) -> None:
    """Refuse a difference that no rows have: what was subtracted was not in the first moments.

    Of any rows the weights of all classes and the squares of all features are not negative, up to
    rounding; with noise they may be.
    """
    squares, all_squares = np.diag(left.H), np.diag(first.H)
    is_less = np.any(squares < -1e-5 * all_squares)
    is_less |= np.any(left.y_squares < -1e-5 * first.y_squares)
    if left.weight <= 0 or (is_less and not first.noise):
        raise ValueError(
            f"{second.n_rows:.0f} rows cannot be removed from {first.n_rows:.0f}, of which some "
            "have to stay: subtract moments of rows that are in these."
        )


def _first_difference(a: str, b: str) -> int:
    """Return where the first parameter begins in which two descriptions differ."""
    stop = next((i for i, (own, its) in enumerate(zip(a, b, strict=False)) if own != its), 0)
    marks = (", ", "(", "[")
    return max(
        (a.rfind(mark, 0, stop) + len(mark) for mark in marks if mark in a[:stop]), default=0
    )


def _part(text: str, start: int) -> str:
    """Return a description from where it begins to differ, cut where it is long."""
    end = start + 160
    return ("..." if start else "") + text[start:end] + ("..." if len(text) > end else "")
