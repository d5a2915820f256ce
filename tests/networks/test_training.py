"""Losses, steps and rates of training.

Oracles: formulas in numpy, jax.jacobian's explicit matrix.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk._descent._loop import Bar
from kipsk.architectures import convnet, fully_connected
from kipsk.augment import Flip, MixUp, Noise, Shift
from kipsk.augment._apply import apply
from kipsk.networks import _training, init
from kipsk.networks._rates import largest_curvature
from kipsk.networks._training import (
    MAX_STEPS_PER_CALL,
    Data,
    Problem,
    Schedule,
    auto_batch_size,
    get_optimizer,
    objective,
    outputs,
    probabilities,
    train,
)

LINEAR = fully_connected(0, w_std=1.3, b_std=0.5)
BOTH_PARAMETERIZATIONS = pytest.mark.parametrize("parameterization", ["ntk", "standard"])


@pytest.fixture(autouse=True)
def exact_products():
    """Accelerators round float32 products to fewer bits by default."""
    with jax.default_matmul_precision("highest"):
        yield


def make_data(n=6, n_features=4, n_outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.eye(n_outputs)[rng.integers(n_outputs, size=n)]
    X = rng.standard_normal((n, n_features))
    return Data(jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.float32))


def make_problem(architecture=LINEAR, loss="mse", momentum=0.9, data=None):
    shape = (data.X.shape[1] if data else 4,)
    return Problem(architecture, shape, loss, get_optimizer("sgd", momentum))


def draw(problem, n_outputs=3, width=5, seed=0):
    key = jax.random.key(seed)
    return init(problem.architecture, key, width, problem.input_shape, n_outputs)


def descend(problem, params, data, rates, l2=0.0, batch_size=100, centering=False):
    """Return the last good parameters, all losses, and whether the run failed."""
    rng = np.random.RandomState(0)
    schedule = Schedule(np.asarray(rates), l2, batch_size, centering)
    state, losses = train(problem, params, data, schedule, rng, bar=Bar("network", False))
    return state.good, losses, bool(state.failed)


def softmax(f):
    e = np.exp(f - f.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@BOTH_PARAMETERIZATIONS
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_steps_of_a_linear_network(loss, parameterization, close):
    """Oracle: three steps of heavy-ball descent by hand, in float64."""
    architecture = fully_connected(0, w_std=1.3, b_std=0.5, parameterization=parameterization)
    problem, data, l2, rates = make_problem(architecture, loss), make_data(), 0.3, [0.2, 0.1, 0.05]
    params = draw(problem)
    factors = (1.3 / np.sqrt(4), 0.5) if parameterization == "ntk" else (1.0, 1.0)
    X, y = (np.asarray(array, np.float64) for array in data)
    theta = [np.asarray(params[-1][name], np.float64) for name in ("weight", "bias")]
    velocity, expected = [0.0, 0.0], []
    for rate in rates:
        W, b = (factor * part for factor, part in zip(factors, theta, strict=True))
        f = X @ W + b
        if loss == "mse":
            value, slope = ((f - y) ** 2).mean() / 2, (f - y) / y.size
        else:
            value = -(y * np.log(softmax(f))).sum(axis=1).mean()
            slope = (softmax(f) - y) / len(y)
        expected.append(value + l2 / 2 * ((W**2).sum() + (b**2).sum()))
        slopes = X.T @ slope + l2 * W, slope.sum(axis=0) + l2 * b
        velocity = [0.9 * v + k * s for v, k, s in zip(velocity, factors, slopes, strict=True)]
        theta = [t - rate * v for t, v in zip(theta, velocity, strict=True)]
    trained, losses, failed = descend(problem, params, data, rates, l2)
    assert not failed
    close(losses, expected)
    close(trained[-1]["weight"], theta[0])
    close(trained[-1]["bias"], theta[1])


def test_centred_network_starts_at_zero_and_learns_what_is_left(close):
    """Oracle: the network on targets to which its initial outputs are added."""
    data = make_data()
    problem = make_problem(fully_connected(1), data=data)
    params = draw(problem)
    assert_array_equal(outputs(problem, params, params, data.X), 0)
    moved = data._replace(y=data.y + outputs(problem, params, None, data.X))
    _, expected, _ = descend(problem, params, moved, np.full(20, 0.1))
    _, losses, _ = descend(problem, params, data, np.full(20, 0.1), centering=True)
    close(losses, expected)


def jacobian(problem, params, X):
    leaves = jax.tree.leaves(jax.jacobian(lambda p: outputs(problem, p, None, X))(params))
    return np.concatenate([np.asarray(leaf).reshape(X.shape[0] * 3, -1) for leaf in leaves], axis=1)


def test_largest_curvature_is_that_of_the_explicit_matrix():
    """Oracle: eigenvalues of J^T J from jax.jacobian; the penalty's diagonal by hand."""
    data = make_data(n=8)
    for loss, scale in [("mse", 1 / 24), ("cross_entropy", 1 / 16)]:
        problem = make_problem(fully_connected(1), loss)
        params = draw(problem)
        J = jacobian(problem, params, data.X)
        # Leaves in the order of jax: of each Dense layer the biases, then the weights.
        diagonal = np.repeat([0.1**2, 2 / 4, 0.1**2, 2 / 5], [5, 20, 3, 15])
        for l2 in (0.0, 0.5):
            exact = np.linalg.eigvalsh(scale * J.T @ J + l2 * np.diag(diagonal))[-1]
            found = largest_curvature(problem, params, draw(problem, seed=1), data, l2)
            assert_allclose(found, exact, rtol=1e-3)


def test_bound_of_cross_entropy_is_above_its_curvature():
    """Oracle: the exact Gauss-Newton matrix, J^T (diag p - p p^T) J / n."""
    data = make_data(n=8)
    problem = make_problem(fully_connected(1), "cross_entropy")
    params = draw(problem)
    J = jacobian(problem, params, data.X).reshape(8, 3, -1)
    p = softmax(np.asarray(outputs(problem, params, None, data.X)))
    H = np.einsum("nc,cd->ncd", p, np.eye(3)) - np.einsum("nc,nd->ncd", p, p)
    exact = np.linalg.eigvalsh(np.einsum("ncp,ncd,ndq->pq", J, H, J) / 8)[-1]
    found = float(largest_curvature(problem, params, draw(problem, seed=1), data, 0.0))
    assert exact < found < 10 * exact


@BOTH_PARAMETERIZATIONS
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rates_below_the_bound_descend_and_above_it_diverge(momentum, parameterization):
    """Oracle: the theory of heavy-ball descent on a quadratic, 2 (1 + momentum) / L."""
    data, l2 = make_data(), 0.1
    architecture = fully_connected(0, parameterization=parameterization)
    problem = make_problem(architecture, momentum=momentum)
    params = draw(problem)
    curvature = float(largest_curvature(problem, params, draw(problem, seed=1), data, l2))
    bound = 2 * (1 + momentum) / curvature
    _, losses, failed = descend(problem, params, data, np.full(400, 0.95 * bound), l2)
    assert not failed and losses[-1] < losses[0] and np.ptp(losses[-20:]) < 1e-3
    _, losses, failed = descend(problem, params, data, np.full(400, 1.1 * bound), l2)
    assert failed or losses[-1] > 1e3 * losses[0]


def test_run_that_diverges_keeps_the_last_good_parameters(close):
    data = make_data()
    problem = make_problem()
    good, losses, failed = descend(problem, draw(problem), data, np.full(400, 1e4))
    assert failed
    last = np.flatnonzero(np.isfinite(losses))[-1]
    assert 0 < last < 390
    close(objective(problem, good, None, data, 0.0), losses[last], np.float32)


def test_run_in_several_calls_is_one_run(close):
    """Oracle: the same rates in calls of another length."""
    data, problem = make_data(), make_problem(fully_connected(1))
    rates = np.linspace(0.1, 0.01, MAX_STEPS_PER_CALL + 3)
    whole, losses, _ = descend(problem, draw(problem), data, rates)
    start, first, _ = descend(problem, draw(problem), data, rates[:1])
    assert len(losses) == len(rates) and losses[0] == first[0]
    close(losses[1], objective(problem, start, None, data, 0.0), np.float32)
    assert objective(problem, whole, None, data, 0.0) < losses[-1] < losses[0]


def test_batches_use_every_row_once_a_round():
    for n_rows, batch_size in [(7, 3), (1000, 30)]:
        batches = _training._batches(
            n_rows, batch_size, MAX_STEPS_PER_CALL, np.random.RandomState(0)
        )
        rows = np.concatenate([next(batches).ravel() for _ in range(3)])
        assert len(rows) == 3 * MAX_STEPS_PER_CALL * batch_size
        for start in range(0, len(rows) - n_rows, n_rows):
            assert len(np.unique(rows[start : start + n_rows])) == n_rows
    assert next(_training._batches(7, 7, 5, np.random.RandomState(0))) is None


def test_batches_are_what_steps_see(close):
    """Oracle: the loss of each batch at parameters that do not move."""
    data, problem = make_data(), make_problem()
    params = draw(problem)
    _, losses, _ = descend(problem, params, data, np.zeros(4), batch_size=2)
    rng = np.random.RandomState(0)
    rng.randint(2**31)  # the key of the augmentation
    rows = next(_training._batches(6, 2, MAX_STEPS_PER_CALL, rng))[:4]
    close(
        losses,
        [float(objective(problem, params, None, Data(*(a[r] for a in data)), 0.0)) for r in rows],
    )


def test_auto_batch_size():
    assert auto_batch_size(500, [64, 256, 10]) == 500
    assert auto_batch_size(501, [64, 256, 10]) == 100
    assert auto_batch_size(300, [2**21]) == 100
    assert auto_batch_size(300, [2**24]) == 32
    assert auto_batch_size(300, [2**40]) == 1


def test_probabilities(close):
    y = np.array([[1, 0, 0], [0.5, 0.5, 0], [2, 1, -1], [0, 0, 0], [-1, -1, -1]]) - 1 / 3
    expected = [[1, 0, 0], [0.5, 0.5, 0], [2 / 3, 1 / 3, 0], *[[1 / 3] * 3] * 2]
    p = probabilities(y)
    assert p.dtype == np.float32
    close(p, expected)


# --- augmentation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "augment, image_shape, n_losses",
    [
        (None, None, 1),
        (Flip() >> Shift(), (8, 8, 1), 4),
        (lambda key, images: images + jax.random.normal(key, (8, 8, 1)), (8, 8, 1), 4),
        (Noise() >> MixUp(1.0), None, 4),
    ],
    ids=["none", "images", "function", "rows"],
)
def test_steps_draw_new_changes(augment, image_shape, n_losses):
    """Oracle: a loss that stays the same without augmentation."""
    data = make_data(n_features=64)
    architecture, shape = (LINEAR, (64,)) if image_shape is None else (convnet(1), image_shape)
    problem = Problem(architecture, shape, "mse", get_optimizer("sgd", 0.0), augment, image_shape)
    _, losses, _ = descend(problem, draw(problem), data, np.zeros(4))
    assert len(np.unique(losses)) == n_losses


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_a_step_mixes_targets_too(loss, close):
    """Oracle: the objective on what the augmentation makes of the data."""
    data, augment = make_data(), MixUp(1.0)
    problem = Problem(LINEAR, (4,), loss, get_optimizer("sgd", 0.0), augment)
    params = draw(problem)
    _, losses, _ = descend(problem, params, data, np.zeros(2))
    key = jax.random.key(np.random.RandomState(0).randint(2**31))
    for i, found in enumerate(losses):
        mixed = Data(*apply(augment, jax.random.fold_in(key, i), *data, None))
        close(found, float(objective(problem, params, None, mixed, 0.0)))
