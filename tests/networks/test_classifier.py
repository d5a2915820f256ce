"""FiniteNetworkClassifier: what it learns, and what it stores."""

from __future__ import annotations

import pickle

import jax
import numpy as np
import optax
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, networks
from kipsk.architectures import Activation, Architecture, Dense, Flatten, fully_connected
from kipsk.augment import Flip, MixUp, Noise, Shift
from kipsk.kernels import FullyConnected
from kipsk.networks import FiniteNetworkClassifier, apply
from kipsk.networks._prediction import _outputs

from ._classifiers import FAST, NAMES, scores


@pytest.fixture(scope="module")
def scaled_digits(digits):
    X, X_test, y, y_test = digits
    scaler = StandardScaler().fit(X)
    return scaler.transform(X)[:300], scaler.transform(X_test), y[:300], y_test


@pytest.mark.parametrize("activation", ["relu", pytest.param("erf", marks=pytest.mark.slow)])
def test_wide_networks_are_kernel_ridge_regression(activation):
    """Oracle: KernelRidgeNTK with no ridge, which infinitely wide networks converge to.

    The difference is of order 1/sqrt(width).
    """
    rng = np.random.default_rng(0)
    X, X_test = rng.standard_normal((12, 10)), rng.standard_normal((50, 10))
    y = rng.standard_normal((12, 3))
    oracle = KernelRidgeNTK(FullyConnected(activation=activation), reg=1e-9).fit(X, y)
    expected = oracle.predict(X_test)
    errors = []
    for width in (256, 4096):
        network = FiniteNetworkClassifier(
            fully_connected(1, activation),
            width=width,
            l2=0,
            centering=True,
            n_ensembles=3,
            max_iter=400,
            classes=NAMES,
            random_state=0,
        ).fit(X, y)
        assert network.loss_curve_[-1] < 1e-6 * network.loss_curve_[0]
        errors.append(np.abs(scores(network, X_test) - expected).max() / np.abs(expected).max())
    assert errors[1] < 0.08
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_one_hot_soft_labels_are_hard_labels(loss, blobs, close):
    X, codes = blobs
    soft = np.eye(3)[codes] - 1 / 3
    hard = FiniteNetworkClassifier(loss=loss, **FAST).fit(X, NAMES[codes])
    for targets in (soft, soft.tolist()):
        other = FiniteNetworkClassifier(loss=loss, classes=NAMES, **FAST).fit(X, targets)
        close(scores(other, X), scores(hard, X), np.float32, steps=FAST["max_iter"])
        assert_array_equal(other.predict(X), hard.predict(X))
    assert hard.score(X, NAMES[codes]) > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_learns_with_default_rates(optimizer, loss, parameterization, scaled_digits):
    X, X_test, y, y_test = scaled_digits
    network = FiniteNetworkClassifier(
        fully_connected(1, parameterization=parameterization),
        width=64,
        loss=loss,
        optimizer=optimizer,
        max_iter=300,
        random_state=0,
    ).fit(X, y)
    assert network.n_iter_ == len(network.loss_curve_) == 300
    assert network.loss_curve_[-1] < network.loss_curve_[0]
    assert network.score(X, y) > 0.85
    assert network.score(X_test, y_test) > 0.6


def test_learns_in_batches_with_augmented_images(scaled_digits):
    X, X_test, y, y_test = scaled_digits
    network = FiniteNetworkClassifier(
        "convnet1",
        width=16,
        image_shape=(8, 8, 1),
        loss="cross_entropy",
        batch_size=50,
        augment="flip_shift",
        max_iter=150,
        random_state=0,
    ).fit(X, y)
    assert network.score(X_test, y_test) > 0.5  # mirrored digits are other digits


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_learns_from_mixed_rows(loss, blobs):
    X, y = blobs
    augment = Noise() >> MixUp()
    network = FiniteNetworkClassifier(loss=loss, augment=augment, **FAST).fit(X, y)
    assert network.score(X, y) > 0.9
    assert len(np.unique(network.loss_curve_)) == network.n_iter_  # no batch like another
    copy = clone(network)
    assert copy.augment == augment
    assert_array_equal(copy.fit(X, y).loss_curve_, network.loss_curve_)


def test_names_of_augmentations(blobs):
    """Oracle: the objects that they stand for."""
    y = blobs[1]
    X = np.random.default_rng(0).normal(size=(len(y), 64))  # a shift moves these by a pixel
    settings = FAST | {"image_shape": (8, 8, 1), "max_iter": 10}
    trained = [
        FiniteNetworkClassifier(augment=augment, **settings).fit(X, y)
        for augment in ("flip", Flip(), "flip_shift", Flip() >> Shift(), ["flip", Shift()])
    ]
    first, *others = [network.loss_curve_ for network in trained]
    assert_array_equal(first, others[0])
    assert_array_equal(others[1], others[2])
    assert_array_equal(others[1], others[3])


def test_learning_rate_auto_is_a_quarter_of_the_stable_rate(blobs):
    """Oracle: a linear network, whose curvature is an eigenvalue of X^T X."""
    X, y = blobs
    architecture = fully_connected(0, w_std=2, b_std=0)
    curvature = np.linalg.eigvalsh(X.T @ X)[-1] * (2**2 / 4) / (30 * 3)
    rates = {
        (0.9, "auto"): 0.95 / curvature,
        (0.0, "auto"): 0.5 / curvature,
        (0.9, 30): 0.95 / curvature,
    }
    for (momentum, batch_size), rate in rates.items():
        network = FiniteNetworkClassifier(
            architecture, l2=0, momentum=momentum, batch_size=batch_size, **FAST
        ).fit(X, y)
        assert_allclose(network.learning_rate_, rate, rtol=1e-3)
    batches = FiniteNetworkClassifier(architecture, l2=0, batch_size=29, **FAST).fit(X, y)
    assert_allclose(batches.learning_rate_, 0.2 / curvature, rtol=0.1)


def test_ensemble_averages(blobs, close):
    """Oracle: the mean over networks of apply's outputs."""
    X, y = blobs
    network = FiniteNetworkClassifier(n_ensembles=3, **FAST).fit(X, y)
    assert len(network.params_) == 3
    assert not np.array_equal(*(network.params_[k][1]["weight"] for k in (0, 1)))
    each = [apply(network.architecture_, p, X.astype(np.float32)) for p in network.params_]
    close(scores(network, X), np.mean(each, axis=0), np.float32)
    network = FiniteNetworkClassifier(n_ensembles=3, loss="cross_entropy", **FAST).fit(X, y)
    each = [apply(network.architecture_, p, X.astype(np.float32)) for p in network.params_]
    expected = np.mean([softmax(f, axis=1) for f in each], axis=0)
    close(network.predict_proba(X), expected, np.float32)
    assert_allclose(scores(network, X), np.log(expected), atol=1e-4)


def test_label_scale_is_undone_by_predictions(blobs):
    """Oracle: a linear network, whose least squares are proportional to their targets."""
    X, y = blobs
    params = {"architecture": fully_connected(0), "l2": 0.1, "max_iter": 800, "random_state": 0}
    one = FiniteNetworkClassifier(**params).fit(X, y)
    other = FiniteNetworkClassifier(label_scale=8, **params).fit(X, y)
    assert_allclose(other.loss_curve_[-1] / one.loss_curve_[-1], 64, rtol=1e-3)
    assert_allclose(scores(other, X), scores(one, X), atol=1e-3)


def test_probabilities_only_with_cross_entropy(blobs):
    X, y = blobs
    network = FiniteNetworkClassifier(loss="cross_entropy", **FAST).fit(X, y)
    p = network.predict_proba(X)
    assert p.shape == (30, 3) and p.dtype == np.float64
    assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert_array_equal(network.predict(X), p.argmax(axis=1))
    network = FiniteNetworkClassifier(**FAST).fit(X, y)
    assert not hasattr(network, "predict_proba")
    with pytest.raises(AttributeError) as raised:
        network.predict_proba(X)
    assert "loss='cross_entropy'" in str(raised.value.__cause__ or raised.value)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_binary_decision_is_one_dimensional(loss, blobs):
    X, codes = blobs
    network = FiniteNetworkClassifier(loss=loss, **FAST).fit(X[:20], NAMES[codes[:20]])
    values = scores(network, X)
    assert values.shape == (30,)
    assert_array_equal(network.predict(X), NAMES[(values > 0).astype(int)])


def test_prediction_in_blocks_is_the_whole(blobs, monkeypatch, close):
    X, y = blobs
    network = FiniteNetworkClassifier(**FAST).fit(X, y)
    whole = scores(network, X)
    monkeypatch.setattr("kipsk._engine._sizes._BLOCK_BYTES", 3000)
    calls = []
    monkeypatch.setattr(
        "kipsk.networks._prediction._outputs",
        lambda *args: calls.append(len(args[-1])) or _outputs(*args),
    )
    close(scores(network, X), whole, np.float32)
    assert len(calls) > 3 and max(calls) < 10


@pytest.mark.parametrize(
    "params",
    [{}, {"batch_size": 7}, {"n_ensembles": 2, "centering": True}, {"loss": "cross_entropy"}],
)
def test_same_seed_same_network(params, blobs):
    X, y = blobs
    network = FiniteNetworkClassifier(**FAST | params).fit(X, y)
    again = clone(network).fit(X, y)
    assert_array_equal(scores(again, X), scores(network, X))
    assert_array_equal(again.loss_curve_, network.loss_curve_)
    other = clone(network).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(scores(other, X), scores(network, X))
    with jax.enable_x64(True):
        again = clone(network).fit(X, y)
        assert_array_equal(scores(again, X), scores(network, X))


def leaves(value, path=""):
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    elif isinstance(value, FiniteNetworkClassifier | Architecture | Dense | Flatten | Activation):
        value = vars(value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}")
    else:
        yield path, value


@pytest.mark.parametrize("centering", [False, True])
def test_saved_networks_predict_the_same(centering, blobs):
    X, codes = blobs
    network = FiniteNetworkClassifier(fully_connected(1), centering=centering, l2=0, **FAST)
    network.fit(X, NAMES[codes])
    for path, leaf in leaves(network):
        assert leaf is None or type(leaf) in {str, int, float, bool, np.ndarray}, (path, leaf)
    data = pickle.dumps(network)
    assert b"jax" not in data
    dumped = skops.io.dumps(network)
    kinds = skops.io.get_untrusted_types(data=dumped)
    assert all(kind.startswith("kipsk.") for kind in kinds)
    for loaded in (pickle.loads(data), skops.io.loads(dumped, trusted=kinds)):
        assert_array_equal(scores(loaded, X), scores(network, X))
        assert_array_equal(loaded.predict(X), network.predict(X))


def test_refits_compile_nothing(blobs, monkeypatch):
    X, y = blobs
    FiniteNetworkClassifier(**FAST).fit(X, y)
    n_compiled = networks._training.steps._cache_size()
    FiniteNetworkClassifier(**FAST | {"l2": 0.5, "random_state": 3, "max_iter": 70}).fit(2 * X, y)
    FiniteNetworkClassifier(learning_rate=0.1, schedule="constant", **FAST).fit(X, y)
    assert networks._training.steps._cache_size() == n_compiled


def test_optax_transformation(blobs):
    """Oracle: the same optimiser by name."""
    X, y = blobs
    rate = {"learning_rate": 0.1, "schedule": "constant"}
    named = FiniteNetworkClassifier(**FAST, **rate).fit(X, y)
    passed = FiniteNetworkClassifier(optimizer=optax.sgd(0.1, momentum=0.9), **FAST).fit(X, y)
    assert_allclose(passed.loss_curve_, named.loss_curve_, rtol=1e-4)
    assert passed.learning_rate_ is None
    assert_array_equal(clone(passed).fit(X, y).loss_curve_, passed.loss_curve_)


# --- what goes wrong -----------------------------------------------------------------------------


def test_the_estimator_is_a_public_name():
    assert "FiniteNetworkClassifier" in dir(networks)
    with pytest.raises(AttributeError, match="no attribute 'FiniteNetworkRegressor'"):
        _ = networks.FiniteNetworkRegressor


@pytest.mark.parametrize(
    ("batch_size", "augment"),
    [(30, None), (7, Noise(0.1))],
    ids=["all rows", "augmented batches"],
)
def test_looking_after_every_epoch_changes_nothing(batch_size, augment, blobs):
    """Oracle: the fit that nobody looks at, bit for bit."""
    settings = {"width": 8, "max_iter": 63, "learning_rate": 0.1, "random_state": 0}
    network = FiniteNetworkClassifier(batch_size=batch_size, augment=augment, **settings)
    unseen = clone(network).fit(*blobs)
    seen = []
    network.fit(*blobs, on_epoch=lambda n: seen.append(scores(n, blobs[0])))
    assert len(seen) == (63 if batch_size == 30 else 12)  # 5 steps an epoch, 3 left over
    assert_array_equal(network.loss_curve_, unseen.loss_curve_)
    assert_array_equal(scores(network, blobs[0]), scores(unseen, blobs[0]))
    if batch_size == 30:
        assert_array_equal(seen[-1], scores(network, blobs[0]))
    assert len({one.tobytes() for one in seen}) == len(seen)


@pytest.mark.parametrize("average", [0, 0.7])
def test_what_is_seen_after_an_epoch_is_the_network_of_that_moment(average, blobs):
    """Oracle: shorter fits, which a constant rate makes the same run."""
    settings = {"width": 8, "batch_size": 10, "schedule": "constant", "learning_rate": 0.1}
    settings["average"] = average
    network = FiniteNetworkClassifier(max_iter=9, random_state=0, centering=True, **settings)
    seen = []
    network.fit(*blobs, on_epoch=lambda n: seen.append(scores(n, blobs[0])))
    assert len(seen) == 3
    for epoch, values in enumerate(seen, start=1):
        shorter = clone(network).set_params(max_iter=3 * epoch).fit(*blobs)
        assert_allclose(values, scores(shorter, blobs[0]), rtol=0, atol=1e-5 if average else 0)
