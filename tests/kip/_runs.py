"""What the tests of KIP share: runs that end early, and what is the same about two runs."""

from __future__ import annotations

from contextlib import contextmanager

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from kipsk import KernelRidgeNTK
from kipsk._distil import _run

# Most tests share shapes, kernel and optimiser, so that their steps are compiled once a file.
FAST = {"ipc": 2, "max_iter": 20, "random_state": 0}
SEVERAL = {**FAST, "batch_size": 40}
SHAPE = (4, 4, 1)  # of the fixture `images`
ROWS = [0, 1, 25, 26, 45, 46]  # two of each class of `images`


def assert_same_fit(one, other):
    assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(one.y_s_, other.y_s_)
    assert_array_equal(one.loss_curve_, other.loss_curve_)


def nearest(rows, X):
    """Return the row of X that is nearest to each of some rows."""
    return X[np.abs(rows[:, None] - X).max(axis=2).argmin(axis=1)]


def loss_by_hand(kernel, reg, support, X, y_t):
    """KIP's loss from `KernelRidgeNTK`, which has tests of its own."""
    predicted = KernelRidgeNTK(kernel, reg=reg).fit(*support).predict(X)
    return 0.5 * np.mean((y_t - predicted) ** 2)


@contextmanager
def raised_after(step, error):
    """Raise an error as soon as all is done that is due after so many steps."""
    original = _run.Looks.__call__

    def look(looks, state, done):
        is_over = original(looks, state, done)
        if done == step:
            raise error
        return is_over

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run.Looks, "__call__", look)
        yield


def interrupt(distiller, blobs, step):
    of = f"was interrupted after {step} of {distiller.max_iter} steps"
    with raised_after(step, KeyboardInterrupt), pytest.warns(ConvergenceWarning, match=of):
        return distiller.fit(*blobs)


def saved_steps(path):
    with np.load(path) as file:
        return len(file["losses"])


def assert_same_run(one, other):
    """Bit for bit; what a run has, and what it has not."""
    for name in (
        "X_s_",
        "y_s_",
        "n_iter_",
        "loss_curve_",
        "temperature_",
        "label_reg_",
        "frozen_",
        "validation_steps_",
        "validation_scores_",
        "best_iter_",
    ):
        assert hasattr(one, name) == hasattr(other, name), name
        assert_array_equal(getattr(one, name, 0), getattr(other, name, 0), err_msg=name)
    one_s, other_s = (getattr(distiller, "snapshots_", {}) for distiller in (one, other))
    assert one_s.keys() == other_s.keys()
    for step, (X_s, y_s) in one_s.items():
        assert_array_equal(X_s, other_s[step][0])
        assert_array_equal(y_s, other_s[step][1])


def noisy(key, rows):
    return rows + 0.1 * jax.random.normal(key, rows.shape, rows.dtype)
