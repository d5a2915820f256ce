"""Which stage of a run is the best training set for a model of another kind.

A support set is learned for kernel ridge regression. The first steps from class centres serve
nearly every model; later ones serve kernel ridge regression alone (docs/results.md, "Training other
models").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing, column_or_1d, indexable

from kipsk._checks import check_fraction, refuse
from kipsk._targets import encode, held_out_rows

#: Steps after which the model is tried: the start, and powers of two.
STAGES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

#: The stage without a model to try.
SAFE_STAGE = 4


def check_downstream(owner: str, downstream: Any) -> Any:
    """Return the value of the parameter; raise ValueError if it is none of those it may have."""
    is_name = isinstance(downstream, str) and downstream in ("auto", "last")
    is_model = hasattr(downstream, "fit") and hasattr(downstream, "predict")
    if not is_name and (not is_model or isinstance(downstream, type)):
        raise refuse(owner, "downstream", "'auto', 'last' or a classifier", downstream)
    return downstream


def split(
    owner: str, X: Any, y: Any, fraction: Any, rng: np.random.RandomState
) -> tuple[Any, NDArray[Any], Any, NDArray[Any]]:
    """Return X, y to fit on, and X, y of the fraction of each class that is held out."""
    X, y = indexable(X, column_or_1d(y))
    _, codes = encode(owner, y)
    held = held_out_rows(codes, check_fraction(owner, "validation_fraction", fraction), rng)
    if not held.any():
        raise ValueError(
            f"validation_fraction={fraction} of {len(y)} rows holds no row out, rounded down, "
            "so there is nothing to try 'downstream' on: raise it, or set downstream='auto'."
        )
    X_fit, X_held = (_safe_indexing(X, np.flatnonzero(mask)) for mask in (~held, held))
    return X_fit, y[~held], X_held, y[held]


def hits(model: Any, X_s: Any, y_s: NDArray[Any], X: Any, y: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows of X a clone of the model gets right, trained on (X_s, y_s)."""
    if len(np.unique(y_s)) < 2:  # most classifiers refuse to learn one class
        return np.equal(y, y_s[0])
    return np.equal(y, clone(model).fit(X_s, y_s).predict(X))


def best_stage(
    stages: Mapping[int, tuple[Any, NDArray[Any]]],
    model: Any,
    X: Any,
    y: NDArray[Any],
) -> tuple[int, dict[int, float]]:
    """Return the stage that trains the model best, and the accuracies of all.

    The first stage stays unless another one is better by more than one standard error of their
    difference on the same held-out rows: the best of many noisy scores is not the best set.

    Parameters
    ----------
    stages : dict of int to (X_s, y_s)
        Support sets with class labels, by step; the first is the start.
    model : classifier
    X : ndarray or DataFrame of shape (n, n_features)
    y : ndarray of shape (n,)
        Held-out rows and their labels.

    Returns
    -------
    step : int
    accuracies : dict of int to float
    """
    right = {step: hits(model, *stage, X, y) for step, stage in stages.items()}
    accuracies = {step: float(np.mean(hit)) for step, hit in right.items()}
    start, best = min(stages), max(accuracies, key=lambda step: accuracies[step])
    difference = right[best].astype(np.float64) - right[start]
    is_better = difference.mean() > difference.std() / np.sqrt(len(difference))
    return (best if is_better else start), accuracies
