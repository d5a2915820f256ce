"""Averages of parameters, and the temperature of soft labels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from kipsk.networks import FiniteNetworkClassifier
from kipsk.networks._training import probabilities

from ._classifiers import FAST, NAMES, scores

RUN = {"width": 4, "learning_rate": 0.1, "schedule": "constant", "random_state": 0}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_average_of_all_parameters_on_the_way(optimizer, blobs):
    """Oracle: the sum over runs of 1, 2 and 3 steps and the start, by hand."""
    X, codes = blobs
    run = {**RUN, "optimizer": optimizer, "centering": True, "l2": 0}
    fits = [FiniteNetworkClassifier(max_iter=n, **run).fit(X, codes) for n in (1, 2, 3)]
    on_the_way = [fits[0].initial_params_[0], *(fit.params_[0] for fit in fits)]
    decay = 0.6
    factors = decay ** np.arange(3, -1, -1)
    averaged = FiniteNetworkClassifier(max_iter=3, average=decay, **run).fit(X, codes)
    for number, layer in enumerate(averaged.params_[0]):
        for name, found in layer.items():
            expected = sum(
                factor * params[number][name]
                for factor, params in zip(factors, on_the_way, strict=True)
            )
            assert_allclose(found, expected / factors.sum(), rtol=1e-5, atol=1e-6)
    assert_allclose(averaged.loss_curve_, fits[-1].loss_curve_, rtol=1e-6)  # the same run


def test_average_stops_where_the_run_fails(blobs):
    X, codes = blobs
    network = FiniteNetworkClassifier(average=0.9, **FAST | {"learning_rate": 1e3})
    with pytest.warns(ConvergenceWarning, match="stopped after"):
        network.fit(X, codes)
    assert np.isfinite(scores(network, X)).all()


def test_probabilities_of_labels():
    """Oracle: scipy's softmax."""
    y = np.random.default_rng(0).normal(size=(5, 3))
    assert_allclose(probabilities(y, 0.3), softmax(y / 0.3, axis=1), rtol=1e-6)
    assert_allclose(probabilities(y, 1e-4), np.eye(3)[y.argmax(axis=1)], atol=1e-6)


def test_a_small_temperature_makes_labels_hard(blobs, close):
    X, codes = blobs
    run = {"loss": "cross_entropy", **FAST}
    soft = np.random.default_rng(0).normal(size=(30, 3)) + 5 * np.eye(3)[codes]
    found = FiniteNetworkClassifier(classes=NAMES, temperature=1e-3, **run).fit(X, soft)
    hard = FiniteNetworkClassifier(**run).fit(X, NAMES[soft.argmax(axis=1)])
    close(scores(found, X), scores(hard, X), np.float32, steps=FAST["max_iter"])
