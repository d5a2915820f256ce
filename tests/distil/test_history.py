"""Scores of a run, and what is kept of them. Oracle: the scores as they are written below."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kipsk._distil._history import History

NAN = math.nan


def history_of(scores):
    """A run that is scored every ten steps; its parameters are the number of steps."""
    history = History()
    for number, value in enumerate(scores):
        history.add_score(10 * number, value, {"X": np.array(10 * number)})
    return history


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.5], 0),
        ([0.5, 0.7, 0.6], 10),
        ([0.5, 0.7, 0.7], 10),  # the first of equal ones
        ([-3.0, -2.0], 10),
        ([NAN], 0),
        ([NAN, NAN], 0),
        ([NAN, 0.5, 0.4], 10),
        ([NAN, -5.0, NAN], 10),
        ([0.5, NAN, 0.7], 20),
        ([0.5, NAN, 0.4], 0),
        ([-math.inf, NAN, -1.0], 20),
    ],
)
def test_the_best_score_is_kept(scores, best):
    history = history_of(scores)
    assert history.best["X"] == best
    assert history.best_step == best
    assert history.scored == [10 * number for number in range(len(scores))]
    expected = [-math.inf if math.isnan(value) else value for value in scores]
    assert history.scores == expected


@pytest.mark.parametrize(
    ("scores", "is_stale"),
    [([0.5, 0.4], False), ([0.5, 0.4, 0.4], True), ([NAN, 0.5, NAN], False), ([NAN] * 3, True)],
)
def test_patience_counts_from_the_best_score(scores, is_stale):
    assert history_of(scores).is_stale(20) == is_stale
