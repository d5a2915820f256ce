"""Scores on held-out rows, and the best support so far."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KernelRidgeNTK, KIPDistiller
from kipsk._kip._start import hold_out

from ._runs import FAST, ROWS

EARLY = FAST | {
    "early_stopping": True,
    "validation_fraction": 0.4,
    "n_iter_no_change": 5,
    "max_iter": 60,
    "learning_rate": 0.3,
    "snapshots": range(61),
}


@pytest.fixture(scope="module")
def overlapping(images):
    """Classes that overlap, so that training for long does not help."""
    X, y = images
    return X + 2 * np.random.default_rng(1).normal(size=X.shape).astype(np.float32), y


@pytest.fixture(scope="module")
def stopped(overlapping):
    return KIPDistiller(**EARLY).fit(*overlapping)


def held_out_rows(distiller, X, y):
    rng = np.random.RandomState(0)
    return hold_out(distiller._settings(), distiller._validate(X, y), rng)[1]


def test_scores_are_the_accuracy_on_held_out_rows(stopped, overlapping):
    """Oracle: `KernelRidgeNTK` on each snapshot."""
    held_out = held_out_rows(stopped, *overlapping)
    assert_array_equal(np.bincount(held_out.codes), [10, 8, 6])
    assert_array_equal(stopped.validation_steps_, range(stopped.n_iter_ + 1))
    expected = []
    for step in stopped.validation_steps_:
        ridge = KernelRidgeNTK("fc1", reg=stopped.reg_).fit(*stopped.snapshots_[step])
        expected.append(np.mean(ridge.predict(held_out.X).argmax(axis=1) == held_out.codes))
    assert len(set(expected)) > 2
    assert_allclose(stopped.validation_scores_, expected, rtol=1e-6)


def test_run_ends_after_the_best_score_and_returns_to_it(stopped):
    best = int(np.argmax(stopped.validation_scores_))
    assert 0 < best == stopped.best_iter_
    assert stopped.n_iter_ == best + 5 < 60
    assert len(stopped.loss_curve_) == stopped.n_iter_
    X_s, y_s = stopped.snapshots_[best]
    assert_array_equal(stopped.X_s_, X_s)
    assert_array_equal(stopped.y_s_, y_s)
    assert not np.array_equal(stopped.X_s_, stopped.snapshots_[stopped.n_iter_][0])


def test_held_out_rows_train_nothing(stopped, overlapping):
    """Oracle: the same steps, whatever stands in the held-out rows."""
    X, y = overlapping
    held_out = held_out_rows(stopped, X, y)
    rows = (X[:, None] == held_out.X).all(axis=2).any(axis=1)
    assert rows.sum() == len(held_out.X) > 20
    other = KIPDistiller(**EARLY).fit(np.where(rows[:, None], 100 + X, X), y)
    common = stopped.snapshots_.keys() & other.snapshots_.keys()
    assert len(common) > 5
    for step in common:
        assert_array_equal(other.snapshots_[step][0], stopped.snapshots_[step][0])
    assert not np.array_equal(other.validation_scores_, stopped.validation_scores_)


def test_scores_are_taken_every_fifth_of_the_patience(overlapping):
    params = EARLY | {"n_iter_no_change": 23, "max_iter": 18, "snapshots": None}
    distiller = KIPDistiller(**params).fit(*overlapping)
    assert_array_equal(distiller.validation_steps_, [0, 4, 8, 12, 16, 18])
    best = np.argmax(distiller.validation_scores_)
    assert distiller.best_iter_ == distiller.validation_steps_[best]
    # Another fit without it.
    distiller.set_params(early_stopping=False).fit(*overlapping)
    for name in ("best_iter_", "validation_scores_", "validation_steps_"):
        assert not hasattr(distiller, name)


def test_too_few_rows_to_hold_any_out(images):
    X, y = images
    message = "(?s)validation_fraction=0.1 of 6 rows .* raise it, or set early_stopping=False"
    with pytest.raises(ValueError, match=message):
        KIPDistiller(early_stopping=True, **FAST).fit(X[ROWS], y[ROWS])
