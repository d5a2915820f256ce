"""What moments have to have in common to be added, loaded or distilled together."""

from __future__ import annotations

import pickle
from typing import Any

import joblib

from kipsk._checks import refuse
from kipsk._types import Estimator


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
        if value != other.get(name):
            raise ValueError(
                f"{what} must be of the same {name}. Got {str(other.get(name))[:200]} instead of "
                f"{value[:200]}: share one 'kernel_', one fitted transformer and one list of "
                "classes."
            )
