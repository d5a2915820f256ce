"""KIPDistiller with the loss 'platt': temperatures and probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss

from kipsk import KIPDistiller
from kipsk._closed_form._temperature import best_temperature
from kipsk._kip._start import hold_out

from ._runs import FAST, assert_same_fit


def test_probabilities_are_calibrated_on_other_rows(digits):
    """Oracle: on test rows no other temperature has a much smaller log-loss."""
    X, X_test, y, y_test = digits
    distiller = KIPDistiller(loss="platt", ipc=2, max_iter=60, random_state=0).fit(X, y)
    probabilities = distiller.predict_proba(X_test)
    assert probabilities.shape == (len(X_test), 10)
    assert_allclose(probabilities.sum(axis=1), 1)
    assert_array_equal(distiller.predict(X_test), probabilities.argmax(axis=1))
    scores = distiller.decision_function(X_test)
    best = np.exp(scores / best_temperature(scores, y_test))
    best /= best.sum(axis=1, keepdims=True)
    assert log_loss(y_test, probabilities) < log_loss(y_test, best) + 0.02
    # Confidence is what comes true, to within the noise of 450 rows.
    confidence, hits = probabilities.max(axis=1), distiller.predict(X_test) == y_test
    assert abs(confidence.mean() - hits.mean()) < 0.03


def test_probabilities_of_two_classes(blobs):
    X, codes = blobs
    distiller = KIPDistiller(loss="platt", **FAST).fit(X, codes == 2)
    probabilities = distiller.predict_proba(X)
    assert probabilities.shape == (120, 2)
    assert_array_equal(probabilities[:, 1] > 0.5, distiller.decision_function(X) > 0)


def test_held_out_rows_are_a_share_of_each_class_and_train_nothing(blobs, monkeypatch):
    """Whatever stands in the held-out rows, the same support is learned."""
    X, codes = blobs
    seen = []

    def temperature(scores, codes):
        seen.append(np.bincount(codes))
        return best_temperature(scores, codes)

    monkeypatch.setattr("kipsk._kip._distiller.best_temperature", temperature)
    distiller = KIPDistiller(loss="platt", validation_fraction=0.25, **FAST).fit(X, codes)
    assert_array_equal(seen, [[12, 10, 7]])
    data = distiller._validate(X, codes)
    rng = np.random.RandomState(FAST["random_state"])
    _, held_out = hold_out(distiller._settings(), data, rng)
    rows = (data.X[:, None] == held_out.X).all(axis=2).any(axis=1)
    assert rows.sum() == 29
    other = KIPDistiller(loss="platt", validation_fraction=0.25, **FAST)
    assert_same_fit(distiller, other.fit(np.where(rows[:, None], 100 + X, X), codes))
    assert other.temperature_ != distiller.temperature_


def test_no_row_to_hold_out_takes_the_learned_temperature(blobs):
    X, codes = blobs
    for fraction in (0, 0.01):
        distiller = KIPDistiller(loss="platt", validation_fraction=fraction, **FAST).fit(X, codes)
        assert 0 < distiller.temperature_ < 1
        assert_allclose(distiller.predict_proba(X).sum(axis=1), 1)


def test_refit_with_another_loss_forgets_the_temperature(blobs):
    distiller = KIPDistiller(loss="platt", **FAST).fit(*blobs)
    distiller.set_params(loss="mse").fit(*blobs)
    assert not hasattr(distiller, "temperature_")
    distiller.set_params(loss="platt")
    with pytest.raises(NotFittedError, match="not fitted with loss='platt'"):
        distiller.predict_proba(blobs[0])


def test_probabilities_need_the_platt_loss(fitted, blobs):
    assert not hasattr(fitted, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba") as raised:
        fitted.predict_proba(blobs[0])
    assert "needs loss='platt'. Got loss='mse'" in str(raised.value.__cause__)
    assert not hasattr(fitted, "temperature_")


def test_collapse_to_no_prediction_warns(blobs):
    """A rate far too large drives the learned scale to zero, where the loss is log(n_classes)."""
    distiller = KIPDistiller(
        loss="platt", ipc=2, max_iter=50, batch_size=30, learning_rate=10.0, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="diverged"):
        distiller.fit(*blobs)


def test_labels_are_centred_with_every_loss(blobs):
    for loss in ("mse", "platt"):
        distiller = KIPDistiller(loss=loss, ipc=2, max_iter=50, random_state=0).fit(*blobs)
        if loss == "platt":
            assert_allclose(distiller.y_s_.sum(axis=1), 0, atol=1e-6)
        assert abs(distiller.y_s_.sum(axis=1)).max() < 1
