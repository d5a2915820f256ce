"""The temperature of probabilities: against scikit-learn's log-loss, and where nothing is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.metrics import log_loss

from kipsk._closed_form._temperature import best_temperature


def drawn(n, n_classes, temperature, seed=0):
    """Scores, and classes drawn with the probabilities softmax(scores / temperature)."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n, n_classes)) * 2
    below = np.cumsum(softmax(scores / temperature, axis=1), axis=1)[:, :-1]
    return scores, np.sum(rng.uniform(size=(n, 1)) > below, axis=1)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 7.0])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_finds_the_temperature_that_classes_were_drawn_with(temperature, n_classes):
    scores, codes = drawn(20000, n_classes, 1.0)
    scores = scores * temperature
    assert_allclose(best_temperature(scores, codes), temperature, rtol=0.05)


def test_is_the_minimum_of_the_log_loss():
    """Oracle: scikit-learn's log_loss around the minimum, on rows enough to forget the prior."""
    scores, codes = drawn(5000, 3, 2.5)
    best = best_temperature(scores, codes)
    losses = [log_loss(codes, softmax(scores / (best * f), axis=1)) for f in (0.9, 1.0, 1.1)]
    assert losses[1] == min(losses)


def test_rows_without_an_error_give_a_finite_confidence():
    """Oracle: by hand. The largest share is (n + 1) / (n + 2) where all rows have equal scores."""
    T = best_temperature(np.eye(4), np.arange(4))
    assert_allclose(softmax(np.eye(4) / T, axis=1).max(axis=1), 5 / 6, rtol=1e-4)
