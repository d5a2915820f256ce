"""Ctrl-C: a fit by itself keeps what it has reached, and one of many ends all of them.

A search that went on with the next candidate would need a Ctrl-C for each, and would compare
scores of fits that were cut short.
"""

from __future__ import annotations

from kipsk._warn import calling_modules

# What fits many models, one after the other, and compares or combines them.
_SEARCHES = (
    "kipsk.evaluation",
    "sklearn.calibration",
    "sklearn.ensemble",
    "sklearn.feature_selection",
    "sklearn.model_selection",
    "sklearn.multiclass",
    "sklearn.multioutput",
    "sklearn.semi_supervised",
    "imblearn.ensemble",
)


def is_one_of_many() -> bool:
    """Return whether a search, or anything else that fits many models, waits for this fit."""
    return any(f"{name}.".startswith(f"{one}.") for name in calling_modules() for one in _SEARCHES)
