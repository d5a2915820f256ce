"""Snapshots on the way, their solved labels, and schedules of the learning rate."""

from __future__ import annotations

import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KIPDistiller
from kipsk._data._labels import one_hot
from kipsk._descent import _schedule
from kipsk._distil._label_solve import solve_labels_over
from kipsk.kernels import FullyConnected

from ._runs import FAST, ROWS, assert_same_fit, nearest


def test_snapshots_are_shorter_fits(plain, images, close):
    """Oracle: real rows with their classes, and fits of so many steps of one length."""
    X, y = images
    params = FAST | {"schedule": "constant"}
    distiller = KIPDistiller(snapshots=[20, 5, 0, 99], **params).fit(X, y)
    assert list(distiller.snapshots_) == [0, 5, 20]
    X_s, y_s = distiller.snapshots_[0]
    assert_array_equal(X_s, plain.snapshots_[0][0])
    close(X_s, nearest(X_s, X))
    assert_allclose(y_s, np.repeat(np.eye(3), 2, axis=0) - 1 / 3, rtol=1e-6)
    shorter = KIPDistiller(**params | {"max_iter": 5}).fit(X, y)
    for step, fitted in ((5, shorter), (20, distiller)):
        X_s, y_s = distiller.snapshots_[step]
        assert_array_equal(X_s, fitted.X_s_)
        assert_array_equal(y_s, fitted.y_s_)
    assert_same_fit(KIPDistiller(**params).fit(X, y), distiller)  # looking changes nothing


def test_steps_of_log_snapshots(images):
    """Oracle: the list of the published sets, and every 500 from 1000 on."""
    distiller = KIPDistiller(snapshots="log", **FAST).fit(*images)
    assert list(distiller.snapshots_) == [0, 1, 2, 4, 6, 8, 12, 18, 20]
    later = KIPDistiller(snapshots="log", max_iter=2100)._settings().looking.snapshots
    assert sorted(step for step in later if step > 400) == [483, 695, 1000, 1500, 2000, 2100]


@pytest.mark.parametrize("label_reg", [1e-3, pytest.param("auto", marks=pytest.mark.slow)])
def test_solved_labels_of_snapshots(label_reg, images):
    """Oracle: Label Solve for the snapshots' rows; the last one is what is published."""
    X, y = images
    params = FAST | {"labels": "solved", "label_reg": label_reg}
    distiller = KIPDistiller(snapshots=[0, 9], **params).fit(X, y)
    function, y_t = FullyConnected().function(), one_hot(y, 3, np.float32)
    reg = None if label_reg == "auto" else label_reg
    found = []
    for X_s, y_s in [*distiller.snapshots_.values(), (distiller.X_s_, distiller.y_s_)]:
        expected, used = solve_labels_over(function, X_s, X, y_t, distiller.reg_, reg)
        assert_allclose(y_s, expected, rtol=1e-6)
        found.append(used)
    assert distiller.label_reg_ == found[-1]
    assert (found[0] != found[-1]) == (reg is None)
    # Another fit without it.
    assert not hasattr(distiller.set_params(labels="learned").fit(X, y), "label_reg_")


def test_schedules(plain, images):
    """Oracle: optax's schedules, and the lengths by hand."""
    rates = _schedule.learning_rates("linear", 0.5, 4)
    assert_allclose(rates, [0.5, 0.375, 0.25, 0.125])
    pairs = [
        ("linear", optax.linear_schedule(1, 0, 20), 1e-4),
        ("constant", lambda step: 1, 0),
        ("cosine", optax.cosine_decay_schedule(1, 20), 1e-4),
    ]
    last = []
    for name, function, tolerance in pairs:
        named, custom = (
            KIPDistiller(schedule=schedule, **FAST).fit(*images) for schedule in (name, function)
        )
        assert_allclose(custom.loss_curve_, named.loss_curve_, rtol=tolerance)
        last.append(named.loss_curve_[-1])
    assert len(set(last)) == 3 and last[2] == plain.loss_curve_[-1]


def test_schedule_is_a_factor_of_the_learning_rate(images):
    """Oracle: Adam's first step is the learning rate, in units of the deviation."""
    X, y = images
    init = (1.1 * X[ROWS], y[ROWS])
    params = {"init": init, "schedule": lambda step: 0.25, "max_iter": 1, "learning_rate": 0.04}
    distiller = KIPDistiller(**params).fit(X, y)
    deviation = np.sqrt(np.mean(X.var(axis=0)))
    assert_allclose(np.abs(distiller.X_s_ - init[0]), 0.01 * deviation, rtol=1e-2)


def test_labels_without_a_ridge_need_more_rows_than_labels(images):
    X, y = images
    distiller = KIPDistiller(labels="solved", label_reg=0, batch_size=FAST["ipc"] * 3, **FAST)
    with pytest.raises(ValueError, match=r"'label_reg' parameter .* 'auto' or at least 1e-10"):
        distiller.fit(X, y)
