"""Networks that are trained on the support while it is distilled, and the kernel of them."""

from __future__ import annotations

import pickle
from operator import itemgetter

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.svm import SVC

from kipsk._jax import own_settings
from kipsk.architectures import (
    Activation,
    Architecture,
    Conv,
    Dense,
    Flatten,
    get_architecture,
)
from kipsk.architectures._function import apply, features
from kipsk.kernels import Invariant, Landmarks, TrainedFeatures, _pool, get_kernel
from kipsk.kernels._base import evaluate
from kipsk.kernels._pool import Kind

SHAPE = (2, 4, 1)
rng = np.random.default_rng(0)
X = rng.standard_normal((6, 8)).astype(np.float32)
Y = rng.standard_normal((6, 2)).astype(np.float32)
KERNEL = TrainedFeatures("fc1", 3, 4, max_age=6, learning_rate=0.01)
KIND = Kind(get_architecture("fc1"), 4, None)
IMAGES = Architecture((Conv(), Activation(), Flatten(), Dense()), b_std=0.0)


@jax.jit
def advance(function, support, step):
    return function.advance(*support, step)


@pytest.fixture(scope="module")
def begun():
    with own_settings():
        return KERNEL._step_function().begun(8, 2)


@pytest.mark.parametrize("kind", [KIND, Kind(IMAGES, 3, SHAPE)], ids=["rows", "images"])
def test_a_network_learns_by_adam(kind):
    """Oracle: optax on the parameters of the architecture's own function."""
    shape = kind.input_shape(8)
    with own_settings():
        learner = _pool.compiled_fresh(kind, jax.random.key(0), 8, 2)
        params = kind.params(learner.weights, 8, 2)
        adam = optax.adam(0.01)

        @jax.jit
        def update(params, state):
            def loss(params):
                return ((apply(kind.architecture, params, X.reshape(-1, *shape)) - Y) ** 2).mean()

            return adam.update(jax.tree.map(lambda g: g / 2, jax.grad(loss)(params)), state)

        state = adam.init(params)
        for _ in range(3):
            learner = _pool.compiled_trained(kind, learner, X, Y, np.array(0.01, np.float32))
            change, state = update(params, state)
            params = optax.apply_updates(params, change)
        assert learner.age == 3
        found = kind.params(learner.weights, 8, 2)
    for own, expected in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
        assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_each_step_trains_the_next_network_and_old_ones_are_drawn_anew(begun):
    """Ages by hand: the pool counts from 0, 2 and 4, and 7 is older than 6."""
    with own_settings():
        function, after = begun, [begun.pool]
        for step in range(12):
            function = advance(function, (X, Y), step)
            after.append(function.pool)
        for step in (0, 1):
            other = _pool.compiled_trained(
                KIND, jax.tree.map(itemgetter(step), begun.pool), X, Y, begun.learning_rate
            )
            assert_allclose(after[2].weights[step], other.weights, rtol=1e-5, atol=1e-6)
        assert_array_equal(after[2].weights[2], begun.pool.weights[2])
    ages = [pool.age.tolist() for pool in after]
    assert ages[0] == [0, 2, 4] and ages[3] == [1, 3, 5] and ages[6] == [2, 4, 6]
    assert ages[9] == [3, 5, 0] and ages[12] == [4, 6, 1]
    new, old = after[9], after[8]
    assert np.abs(new.weights[2] - old.weights[2]).max() > 0.1
    assert new.opt_state.count.tolist() == [3, 3, 0] and not new.opt_state.mu[2].any()


def test_a_step_sees_one_network_and_a_score_all(begun):
    """Oracle: the formula, with the architecture's own features."""
    with own_settings():
        hidden = [
            np.asarray(features(KIND.architecture, KIND.params(weights, 8, 2), X), np.float64)
            for weights in begun.pool.weights
        ]
        K_step, K_all = (np.asarray(evaluate(one, X)) for one in (begun.at(4), begun.fixed()))
    w_std, b_std = KIND.architecture.w_std, KIND.architecture.b_std
    expected = [w_std**2 * h @ h.T / 4 + b_std**2 for h in hidden]
    assert_allclose(K_step, expected[1], rtol=1e-5)
    assert_allclose(K_all, np.mean(expected, axis=0), rtol=1e-5)


def test_invariant_trains_on_mirror_images_too(begun):
    """Oracle: the kernel inside, on a support that has them."""
    mirrored = X.reshape(-1, *SHAPE)[:, :, ::-1].reshape(X.shape)
    both = np.concatenate([X, mirrored]), np.concatenate([Y, Y])
    around = Invariant(KERNEL, image_shape=SHAPE)
    with own_settings():
        found = advance(around._step_function().begun(8, 2), (X, Y), 0).base.pool
        assert_array_equal(found.weights, advance(begun, both, 0).pool.weights)
    assert_array_equal(around._trained(X, Y).kernel.networks, KERNEL.train(*both).networks)


def test_train_gives_networks_of_several_ages():
    """Ages 2, 4 and 6: the same training for a shorter life gives the same first networks."""
    trained = KERNEL.train(X, Y)
    assert trained.networks.shape == (3, 8 * 4 + 4 + 4 * 2 + 2)
    assert_array_equal(trained.networks, KERNEL.train(X.astype(np.float64), Y).networks)
    assert trained.train(X[:2], Y[:2]) is trained
    younger = clone(KERNEL).set_params(max_age=3).train(X, Y).networks  # 1, 2, 3
    older = clone(KERNEL).set_params(max_age=12).train(X, Y).networks  # 4, 8, 12
    assert (np.abs(older[0] - trained.networks[0]).max() > 1e-3) and younger.shape == older.shape
    assert np.abs(clone(KERNEL).set_params(random_state=1).train(X, Y).networks[0]).max() > 0
    with own_settings():
        kind, rate = KIND, np.array(0.01, np.float32)
        keys = jax.random.split(jax.random.fold_in(KERNEL._step_function()._key, 2), 3)
        learner = _pool.compiled_fresh(kind, keys[1], 8, 2)
        for _ in range(4):
            learner = _pool.compiled_trained(kind, learner, X, Y, rate)
    assert_array_equal(trained.networks[1], learner.weights)


def test_clone_pickle_repr_and_name():
    trained = KERNEL.train(X, Y)
    for kernel in (KERNEL, trained):
        for copy in (clone(kernel), pickle.loads(pickle.dumps(kernel))):
            assert copy == kernel and copy is not kernel
    assert trained != KERNEL and trained != KERNEL.train(X, -Y)
    assert "networks=<array of shape (3, 46)>" in repr(trained)
    assert eval(repr(KERNEL)) == KERNEL
    assert trained.stored_bytes == trained.networks.nbytes and KERNEL.stored_bytes == 0
    assert get_kernel("trained_fc2", width=8) == TrainedFeatures("fc2", width=8)


def test_other_models_take_it_trained():
    trained = KERNEL.train(X, Y)
    codes = np.arange(6) % 2
    SVC(kernel=trained, C=100).fit(X, codes).predict(X)
    for use in (
        lambda: SVC(kernel=KERNEL).fit(X, codes),
        lambda: KERNEL(X),
        lambda: KERNEL.diag(X),
        lambda: Landmarks(KERNEL, 2).resolve(X),
    ):
        with pytest.raises(ValueError, match=r"no networks yet.*kernel\.train\(X, y\)"):
            use()
    with pytest.raises(ValueError, match=r"must have \d+ numbers for each network"):
        trained(np.zeros((2, 60)))


BAD = [
    ({"architecture": Architecture((Flatten(), Dense()))}, "'architecture'.*can be trained"),
    ({"n_networks": 0}, "'n_networks'"),
    ({"width": 0.5}, "'width'"),
    ({"max_age": 0}, "'max_age'"),
    ({"max_age": 10**9}, "'max_age'.*<= 10000"),
    ({"n_steps": 7}, "'n_steps'.*<= max_age=6"),
    ({"learning_rate": 0}, "'learning_rate'"),
    ({"random_state": -1}, "'random_state'"),
    ({"networks": np.full((3, 46), "1")}, "'networks'"),
    ({"networks": np.zeros((2, 46))}, r"'networks'.*\(3, n_numbers\)"),
]


@pytest.mark.parametrize(("params", "match"), BAD)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        clone(KERNEL).set_params(**params).train(X, Y)


def test_bad_targets_and_a_rate_that_is_too_large():
    with pytest.raises(ValueError, match=r"y must have the shape \(6, n_outputs\)"):
        KERNEL.train(X, np.arange(6))
    with pytest.raises(ValueError, match=r"diverged.*'learning_rate'"):
        clone(KERNEL).set_params(learning_rate=1e30).train(X, Y)
