"""KIPDistiller with networks that are trained on the support between their uses."""

from __future__ import annotations

import pickle

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KernelRidgeNTK, KIPDistiller, KIPRegressor, LabelSolver
from kipsk._jax import own_settings
from kipsk.kernels import TrainedFeatures

from ._runs import FAST, assert_same_fit, loss_by_hand

KERNEL = TrainedFeatures("fc1", 3, 32, max_age=4, learning_rate=0.01)


@pytest.fixture(scope="module")
def learned(blobs):
    return KIPDistiller(KERNEL, **FAST).fit(*blobs)


def test_losses_are_those_of_networks_trained_by_hand(blobs):
    """Oracle: kernel ridge regression with the networks that the steps before have left.

    The support hardly moves, so that all steps train on the first one.
    """
    X, codes = blobs
    still = {**FAST, "max_iter": 9, "learning_rate": 1e-9}
    distiller = KIPDistiller(KERNEL, **still).fit(X, codes)
    support = distiller.X_s_, distiller.y_s_
    y_t = (codes[:, None] == np.arange(3)) - 1 / 3
    losses = []
    with own_settings():
        function = KERNEL._step_function().draw(jax.random.key(_seed_of(blobs)))
        function = function.begun(5, 3)
        advance = jax.jit(lambda function, step: function.advance(*support, step))
        for step in range(9):
            networks = np.asarray(function.pool.weights[step % 3])[None]
            kernel = TrainedFeatures("fc1", 1, 32, networks=networks)
            losses.append(loss_by_hand(kernel, distiller.reg_, support, X, y_t))
            function = advance(function, step)
    assert_allclose(distiller.loss_curve_, losses, rtol=1e-3)
    assert len(set(distiller.loss_curve_.round(6))) == 9


def _seed_of(blobs):
    """Return the seed that a fit draws for its networks."""
    seeds = []
    original = jax.random.key

    def noted(seed, **options):
        seeds.append(seed)
        return original(seed, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kipsk._kip._objectives.jax.random.key", noted)
        KIPDistiller(KERNEL, **{**FAST, "max_iter": 1}).fit(*blobs)
    return next(seed for seed in seeds if seed)


def test_labels_are_learned_or_stay(learned, blobs):
    X, codes = blobs
    fixed = KIPDistiller(KERNEL, labels="fixed", **FAST).fit(X, codes)
    assert set(fixed.y_s_.round(3).ravel()) == {-0.333, 0.667}
    assert np.abs(learned.y_s_ - fixed.y_s_).max() > 1e-3
    assert min(one.score(X, codes) for one in (learned, fixed)) > 0.9
    assert_same_fit(learned, KIPDistiller(KERNEL, **FAST).fit(X, codes))


def test_predictors_agree(learned, blobs, tmp_path):
    """Oracle: kernel ridge regression that trains its networks itself; pickles; files."""
    X = blobs[0]
    own = KernelRidgeNTK(KERNEL, reg=learned.reg_).fit(learned.X_s_, learned.y_s_)
    outputs = learned.predictor_.predict(X)
    assert_array_equal(own.predict(X), outputs)
    assert own.kernel_ == learned.predictor_.kernel_ != learned.kernel_ == KERNEL
    copy = pickle.loads(pickle.dumps(learned))
    assert_array_equal(copy.predictor_.predict(X), outputs)
    learned.export_support(tmp_path / "set.npz")
    loaded = KIPDistiller().load_support(tmp_path / "set.npz")
    assert_array_equal(loaded.predictor_.predict(X), outputs)


def test_a_stream_goes_on_with_its_networks(blobs):
    """Oracle: five passes over one batch are five steps of one run."""
    X, codes = blobs
    streams = [KIPDistiller(KERNEL, ipc=2, batch_size=120, random_state=0) for _ in range(2)]
    for _ in range(5):
        for number, stream in enumerate(streams):
            stream.partial_fit(X, codes, classes=[0, 1, 2])
            streams[number] = pickle.loads(pickle.dumps(stream)) if number else stream
    assert_array_equal(*[stream.loss_curve_ for stream in streams])
    assert_array_equal(*[stream.X_s_ for stream in streams])
    memory = [leaf for leaf in streams[0]._stream.leaves if leaf.shape == (3,)]
    assert sorted(memory[-1].tolist()) == [2, 3, 3]  # from 0, 1 and 2, by two, two and one steps


@pytest.mark.slow
def test_regressor(blobs):
    X = blobs[0]
    regressor = KIPRegressor(KERNEL, n_support=6, max_iter=20, random_state=0).fit(X, X[:, 0])
    assert regressor.score(X, X[:, 0]) > 0.5


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"kernel": [KERNEL, "fc1"]}, "'kernel'.*one kernel, and no list"),
        ({"labels": "solved"}, '\'labels\'.*"learned" or "fixed"'),
        ({"kernel": "fc1", "predict_kernel": KERNEL, "labels": "solved"}, "'labels'.*TrainedFeat"),
    ],
)
def test_what_has_no_labels_to_train_on_is_refused(params, match, blobs):
    with pytest.raises(ValueError, match=match):
        KIPDistiller(**{"kernel": KERNEL, **FAST, **params}).fit(*blobs)


def test_label_solver_refuses_it(blobs):
    with pytest.raises(ValueError, match="has no networks yet"):
        LabelSolver(KERNEL, 2).fit(*blobs)
