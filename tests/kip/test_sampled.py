"""KIPDistiller with sampled networks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KIPDistiller
from kipsk._data._labels import one_hot
from kipsk._distil._label_solve import solve_labels_over
from kipsk.kernels import FullyConnected, RandomFeatures

from ._runs import FAST, assert_same_fit

SAMPLED = RandomFeatures("fc1", width=32)


def test_sampled_networks(digits):
    X, X_test, y, y_test = digits
    kernel = RandomFeatures("convnet2", width=16, image_shape=(8, 8, 1))
    distiller = KIPDistiller(kernel, ipc=2, max_iter=100, random_state=0).fit(X, y)
    real_rows = KIPDistiller(kernel, ipc=2, max_iter=1, learning_rate=1e-9, random_state=0)
    scores = [model.score(X_test[:200], y_test[:200]) for model in (distiller, real_rows.fit(X, y))]
    assert scores[0] > 0.9 and scores[0] > scores[1] + 0.1
    assert distiller.kernel_ == kernel
    assert distiller.predictor_.kernel_ == kernel.for_prediction()
    assert distiller.reg_ == kernel.recommended_reg
    assert distiller.learning_rate_ == kernel.recommended_learning_rate


def test_sampled_networks_are_drawn_from_random_state(blobs):
    one, same, other = (
        KIPDistiller(SAMPLED, ipc=2, max_iter=20, random_state=seed).fit(*blobs)
        for seed in (0, 0, 1)
    )
    assert_same_fit(one, same)
    assert np.abs(one.y_s_ - other.y_s_).max() > 1e-3


def test_networks_differ_from_step_to_step(blobs):
    """The loss of one batch, all rows, moves up and down with networks that are drawn anew."""
    X, y = blobs
    still = {"ipc": 2, "max_iter": 6, "learning_rate": 1e-9, "random_state": 0}
    drawn_anew = KIPDistiller(SAMPLED, **still).fit(X, y).loss_curve_
    fixed = KIPDistiller(RandomFeatures("fc1", width=32, resample=False), **still).fit(X, y)
    assert len(set(drawn_anew.round(6))) == 6
    assert_allclose(fixed.loss_curve_, fixed.loss_curve_[0], rtol=1e-4)


def test_prediction_with_the_exact_kernel(blobs):
    X, y = blobs
    distiller = KIPDistiller(SAMPLED, predict_kernel="fc1_nngp", **FAST).fit(X, y)
    assert distiller.predictor_.kernel_ == FullyConnected(kind="nngp")
    assert distiller.predictor_.reg_ == SAMPLED.recommended_reg
    assert distiller.score(X, y) > 0.9


def test_kernel_that_cannot_predict_is_refused_before_the_steps(blobs, monkeypatch):
    monkeypatch.setattr("kipsk._distil._run.descend", lambda *_: pytest.fail("steps were run"))
    with pytest.raises(ValueError, match="'image_shape' parameter of RandomFeatures"):
        KIPDistiller(predict_kernel="rf_convnet1", **FAST).fit(*blobs)


def test_labels_solved_for_sampled_networks(blobs):
    """Oracle: Label Solve for the same rows with the kernel that predicts."""
    X, y = blobs
    distiller = KIPDistiller(SAMPLED, labels="solved", label_reg=1e-6, **FAST).fit(X, y)
    expected, _ = solve_labels_over(
        SAMPLED.for_prediction().function(),
        distiller.X_s_,
        X.astype(np.float32),
        one_hot(y, 3, np.float32),
        distiller.reg_,
        1e-6,
    )
    assert_allclose(distiller.y_s_, expected, rtol=1e-6)


def test_batch_size_auto(fitted, blobs):
    assert fitted.batch_size_ == 5000
    X, codes = blobs
    sampled = KIPDistiller(SAMPLED, **FAST).fit(X, codes)
    assert sampled.batch_size_ == SAMPLED.recommended_batch_size == 500
    assert_same_fit(sampled, KIPDistiller(SAMPLED, batch_size=500, **FAST).fit(X, codes))
    assert KIPDistiller(batch_size=7, **FAST).fit(X, codes).batch_size_ == 7


def test_saved_sampled_distiller_predicts_the_same(blobs):
    X, codes = blobs
    distiller = KIPDistiller(SAMPLED, loss="platt", **FAST).fit(X, codes)
    copy = pickle.loads(pickle.dumps(distiller))
    assert_array_equal(copy.predict_proba(X[::4]), distiller.predict_proba(X[::4]))
