"""Scores to probabilities by one number, the temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# Of log(temperature): from far sharper to far flatter than any scores with one-hot targets need.
_BOUNDS = (-12.0, 12.0)


def best_temperature(scores: NDArray[np.floating], codes: NDArray[np.integer]) -> float:
    """Return the temperature T of the smallest log-loss of ``softmax(scores / T)``.

    One number set on rows that the model was not trained on (Guo et al. 2017, arXiv 1706.04599,
    section 4.2). Where the scores separate the rows without an error the best T would be zero; so
    the right column's target is ``(n + 1) / (n + 2)`` and not 1, as in Platt 1999 ("Probabilistic
    outputs for support vector machines", section 2.2).

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes)
    codes : ndarray of shape (n,)
        The right column of each row.
    """
    n, n_classes = scores.shape
    target = np.full(scores.shape, 1 / (n + 2) / (n_classes - 1))
    target[np.arange(n), codes] = (n + 1) / (n + 2)

    def log_loss(log_temperature: Any) -> float:
        return -float(np.sum(target * log_softmax(scores * np.exp(-log_temperature), axis=1)))

    return float(np.exp(minimize_scalar(log_loss, bounds=_BOUNDS, method="bounded").x))
