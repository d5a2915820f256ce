"""What FiniteNetworkClassifier refuses, and runs that diverge."""

from __future__ import annotations

import numpy as np
import optax
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from kipsk.architectures import fully_connected
from kipsk.augment import MixUp
from kipsk.networks import FiniteNetworkClassifier

from ._classifiers import FAST, NAMES, scores


@pytest.mark.parametrize("params", [{}, {"n_ensembles": 2}])
def test_diverging_run_warns_and_keeps_the_last_good_network(params, blobs):
    X, y = blobs
    network = FiniteNetworkClassifier(learning_rate=1e3, **FAST | params)
    with pytest.warns(ConvergenceWarning, match=r"stopped after .*Lower 'learning_rate' \(now 1e"):
        network.fit(X, y)
    assert 1 <= network.n_iter_ < 200
    assert len(network.loss_curve_) == network.n_iter_
    assert np.isfinite(network.loss_curve_).all()
    assert np.isfinite(scores(network, X)).all()
    diverging = FiniteNetworkClassifier(learning_rate=30.0, **FAST | {"max_iter": 2})
    with pytest.warns(ConvergenceWarning, match=r"diverged: its loss went from"):
        diverging.fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"Lower 'max_iter' or use smaller steps"):
        network.set_params(optimizer=optax.sgd(1e3)).fit(X, y)


PARAMETERS = [
    ({"architecture": "fc"}, ["'architecture'", "Got 'fc' "]),
    ({"width": 0}, ["'width'", "an integer >= 1", "Got 0 "]),
    ({"image_shape": (2, 3, 1)}, ["'image_shape'", "= 4", "Got (2, 3, 1) "]),
    ({"architecture": "convnet1"}, ["'image_shape'", "look at pixels", "Got None "]),
    ({"architecture": "convnet2", "image_shape": (2, 2, 1)}, ["AvgPool", "1 x 1 pixels"]),
    ({"augment": "flip"}, ["'image_shape'", "augment=Flip(p=0.5)", "Got None "]),
    ({"augment": "mirror"}, ["'augment'", "None, one of ['flip', 'flip_shift'], an Augmentation"]),
    ({"augment": MixUp}, ["'augment'", "Write it with brackets, such as MixUp()"]),
    ({"augment": lambda key, x: x[:, :2]}, ["'augment'", "(30, 4). Got shape (30, 2)"]),
    ({"loss": "hinge"}, ["'loss'", "['mse', 'cross_entropy']", "Got 'hinge' "]),
    ({"optimizer": "lion"}, ["'optimizer'", "or an optax.Gradient", "Got 'lion' "]),
    ({"learning_rate": 0}, ["'learning_rate'", 'a finite number > 0 or "auto"', "Got 0 "]),
    ({"learning_rate": "big"}, ["'learning_rate'", '> 0 or "auto"', "Got 'big' "]),
    ({"momentum": 1}, ["'momentum'", "in [0, 1)", "Got 1 "]),
    ({"momentum": -0.1}, ["'momentum'", "a finite number >= 0", "Got -0.1 "]),
    ({"schedule": "linear"}, ["'schedule'", "['cosine', 'step', 'constant']", "Got 'linear' "]),
    ({"l2": -1}, ["'l2'", "a finite number >= 0", "Got -1 "]),
    ({"max_iter": 0}, ["'max_iter'", "an integer >= 1", "Got 0 "]),
    ({"batch_size": 0}, ["'batch_size'", 'an integer >= 1 or "auto"', "Got 0 "]),
    ({"centering": "yes"}, ["'centering'", "True or False", "Got 'yes' "]),
    ({"label_scale": 0}, ["'label_scale'", "a finite number > 0", "Got 0 "]),
    ({"average": 1}, ["'average'", "in [0, 1)", "Got 1 "]),
    ({"temperature": 0, "loss": "cross_entropy"}, ["'temperature'", "> 0 or None", "Got 0 "]),
    ({"temperature": 2}, ["'temperature'", "None with loss='mse'", "Got 2 "]),
    ({"n_ensembles": 0}, ["'n_ensembles'", "an integer >= 1", "Got 0 "]),
]


IDS = [f"{next(iter(params))}-{i}" for i, (params, _) in enumerate(PARAMETERS)]


@pytest.mark.parametrize("params, parts", PARAMETERS, ids=IDS)
def test_parameters(params, parts, blobs):
    with pytest.raises(ValueError) as raised:
        FiniteNetworkClassifier(**FAST | params).fit(*blobs)
    for part in parts:
        assert part in str(raised.value)
    if parts[0].startswith("'"):
        assert "FiniteNetworkClassifier" in str(raised.value)


def test_targets_and_shapes(blobs):
    X, y = blobs
    soft = np.eye(3)[y] - 1 / 3
    for targets, params, message in [
        (soft, {}, r"y should be a 1d array.*classes=distiller\.classes_"),
        (soft, {"classes": ["a", "b"]}, r"column for each of the 2 'classes'.*\(30, 3\)"),
        (soft, {"classes": ["a", "a", "b"]}, r"'classes' parameter of FiniteNetworkClassifier"),
        (np.where(soft > 0, np.nan, soft), {"classes": NAMES}, "contains NaN"),
        (np.full(30, 5), {}, "at least 2 classes in y. Got 1 class instead: 5"),
        (X[:, 0], {}, "Unknown label type: continuous"),
    ]:
        with pytest.raises(ValueError, match=message):
            FiniteNetworkClassifier(**FAST, **params).fit(X, targets)
    with pytest.raises(ValueError, match=r"X\.reshape\(len\(X\), -1\)"):
        FiniteNetworkClassifier(**FAST).fit(X.reshape(30, 2, 2, 1), y)
    with pytest.raises(NotFittedError):
        FiniteNetworkClassifier().predict(X)


def test_untrainable_start(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"must be finite and not zero.*StandardScaler"):
        FiniteNetworkClassifier(**FAST).fit(1e30 * X, y)
    with pytest.raises(ValueError, match=r"untrained network.*is not finite.*StandardScaler"):
        FiniteNetworkClassifier(learning_rate=0.1, **FAST).fit(1e30 * X, y)
    flat = fully_connected(0, b_std=0)
    with pytest.raises(ValueError, match=r"Got a largest curvature of 0.0 instead"):
        FiniteNetworkClassifier(flat, l2=0, **FAST).fit(0 * X, y)


def test_looking_needs_a_single_network(blobs):
    with pytest.raises(ValueError, match=r"'n_ensembles' .* must be 1 with 'on_epoch'\. Got 2"):
        FiniteNetworkClassifier(n_ensembles=2).fit(*blobs, on_epoch=print)
