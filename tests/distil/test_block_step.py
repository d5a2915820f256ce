"""A step in blocks. Oracle: `_step.steps`, one compiled function that autodiff goes through."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import register_dataclass
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KIPDistiller
from kipsk._descent import _step
from kipsk._distil import _block_step
from kipsk._distil._objective import Labels, Objective
from kipsk._distil._problem import Problem, Turn
from kipsk._distil._targets import Change, Form
from kipsk.augment import Noise
from kipsk.kernels import RBF, ConvNet
from kipsk.kernels._base import JaxKernel, KernelFunction

OPTIMIZER = optax.scale_by_adam()


@register_dataclass
@dataclass(frozen=True)
class SlowFunction(KernelFunction):
    """``exp(-|x - x'|^2 / width)``, which says that it is slow."""

    width: float
    name: str = field(default="slow", metadata={"static": True})  # see KernelFunction

    def prepare(self, X):
        return {"X": X, "squares": jnp.sum(X * X, axis=1)}

    def cross(self, A, B):
        squares = A["squares"][:, None] + B["squares"] - 2 * A["X"] @ B["X"].T
        return jnp.exp(-squares / self.width)

    def diag(self, A):
        return jnp.ones_like(A["squares"])

    def pair_size(self, n_features):
        return 2**20


class Slow(JaxKernel):
    def __init__(self, width=20.0):
        self.width = width

    def function(self):
        return SlowFunction(self.width)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):  # as KIPDistiller.fit does
        yield


def problem(function=SlowFunction(20.0), n=23, n_s=6, d=16, optimizer=OPTIMIZER, **options):
    """A problem with `options`, targets, and a state before the first step."""
    rng = np.random.default_rng(0)
    X, X_s = (rng.standard_normal((k, d)).astype(np.float32) for k in (n, n_s))
    y, y_s = (np.eye(3, dtype=np.float32)[np.arange(k) % 3] - 1 / 3 for k in (n, n_s))
    prepares, change = options.pop("prepares", True), options.pop("change", None)
    objective = Objective(function, 1e-3, 1.3, **options)
    params = {"X": jnp.asarray(X_s)}
    if objective.labels.are_solved:
        if objective.labels.reg is None:
            params["log_label_reg"] = jnp.float32(-2)
    elif objective.labels.fixed is None:
        params["y"] = jnp.asarray(y_s, jnp.float32)
    if objective.loss == "platt":
        params["log_scale"] = jnp.float32(0.5)
    form = Form(function if prepares and change is None else None, change)
    targets = form(X, y.astype(np.float32))
    state = _step.initial_state(optimizer, params)
    return Problem([objective], None, form, optimizer, params, rng, 5), targets, state


def run(take, turn, state, n_steps=3):
    losses = []
    for _ in range(n_steps):
        state, values = take(turn, state, np.array([0.05], np.float32), 1)
        losses.append([float(value[0]) for value in values])
    return state, losses


def compiled(problem, targets, state, which=0, **options):
    """The oracle."""

    def take(turn, state, rates, n_steps):
        objective = problem.objectives[which]
        return _step.steps(objective, problem.optimizer, state, targets, rates, n_steps)

    return run(take, None, state, **options)


def in_blocks(problem, targets, state, block_size=5, *, known=True, **options):
    problem = problem._replace(block_size=block_size)
    with _block_step.stepper(problem, [targets] if known else []) as take:
        return run(take, Turn(0, targets, 0 if known else None), state, **options)


FIXED = jnp.asarray(np.eye(3)[np.arange(6) % 3] - 1 / 3, jnp.float32)
FROZEN = (jnp.arange(6 * 16).reshape(6, 16) % 3 == 0, jnp.ones((6, 16), jnp.float32))
KEY = jax.random.key(3, impl="threefry2x32")
CASES = {
    "learned labels": {},
    "fixed labels": {"labels": Labels(FIXED)},
    "solved labels": {"labels": Labels(reg=0.1, are_solved=True)},
    "solved labels, their ridge learned": {"labels": Labels(reg=None, are_solved=True)},
    "platt": {"loss": "platt"},
    "frozen": {"frozen": FROZEN},
    "rows": {"prepares": False},
    "augmented": {"change": Change(KEY, None, Noise(0.3), (4, 4, 1))},
}


QUICK = ("learned labels", "solved labels", "augmented")


@pytest.mark.parametrize(
    "case",
    [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)
def test_equals_the_compiled_step(case, close):
    """All numbers of the state after some steps: the gradient is in Adam's moments."""
    given = problem(**CASES[case])
    expected, losses = compiled(*given)
    actual, values = in_blocks(*given)
    close(values, losses, np.float32, steps=3)
    for one, other in zip(_step.leaves(actual), _step.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        close(one, other, np.float32, times=2, steps=3)  # Adam's moments are of squares too


def test_gradient_in_float64():
    """One step of plain descent of length one is the gradient; no rounding to hide behind."""
    single, targets, state = problem(optimizer=optax.identity())
    to_double = lambda leaf: leaf.astype(jnp.float64)  # noqa: E731
    targets = jax.tree.map(to_double, targets)
    state = _step.initial_state(optax.identity(), jax.tree.map(to_double, state.params))
    expected, _ = compiled(single, targets, state, n_steps=1)
    actual, _ = in_blocks(single, targets, state, n_steps=1)
    for name, value in expected.params.items():
        moved = np.abs(value - state.params[name]).max()
        assert moved > 1e-5
        assert_allclose(actual.params[name], value, rtol=0, atol=1e-10 * moved)


@pytest.mark.parametrize("block_size", [1, 7, 23, 100, "auto"])
def test_any_blocks(block_size, close):
    """Seven support rows fill no tiles of two or three."""
    given = problem(n_s=7)
    expected, losses = compiled(*given)
    actual, values = in_blocks(*given, block_size=block_size)
    close(values, losses, np.float32, steps=3)
    close(actual.params["X"], expected.params["X"], steps=3)


@pytest.mark.parametrize("case", ["learned labels", "rows"])
def test_batches_that_come_later_are_the_same(case):
    known, losses = in_blocks(*problem(**CASES[case]))
    later, values = in_blocks(*problem(**CASES[case]), known=False)
    assert values == losses
    assert_array_equal(known.params["X"], later.params["X"])


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_changes_nothing(where):
    given, targets, state = problem()
    if where == "loss":
        targets = replace(targets, y_t=targets.y_t.at[3, 1].set(jnp.nan))
    else:
        frozen = FROZEN[0], FROZEN[1].at[0, 1].set(jnp.inf)
        objective = replace(given.objectives[0], frozen=frozen, function=_Root(20.0))
        given = given._replace(objectives=[objective])
    expected, _ = compiled(given, targets, state)
    actual, _ = in_blocks(given, targets, state)
    assert bool(actual.failed)
    for one, other in zip(_step.leaves(actual), _step.leaves(expected), strict=True):
        assert_array_equal(one, other)


@register_dataclass
@dataclass(frozen=True)
class _Root(SlowFunction):
    """Finite, with a gradient of 0 * inf."""

    name: str = field(default="root", metadata={"static": True})

    def cross(self, A, B):
        values = super().cross({**A, "X": jnp.zeros_like(A["X"])}, B)
        return jnp.where(jnp.isfinite(values), values, 0.5) + jnp.sqrt(0 * A["X"][:, :1] ** 2) * 0


def test_a_family_takes_both_steps(close):
    """Fast members go through the compiled step."""
    family, targets, state = problem(prepares=False)
    (slow,) = family.objectives
    fast = replace(slow, function=RBF(2.0).function())
    family = family._replace(objectives=[slow, fast])
    with _block_step.stepper(family, [targets]) as take:
        for which in (0, 1):
            actual, values = run(take, Turn(which, targets, 0), state)
            expected, losses = compiled(family, targets, state, which)
            close(values, losses, np.float32, steps=3)
            close(actual.params["X"], expected.params["X"], steps=3)


def test_fast_kernels_are_not_cut():
    fast, targets, _ = problem(RBF(2.0).function())
    with _block_step.stepper(fast, [targets]) as take:
        assert not isinstance(take, _block_step.BlockSteps)


@pytest.mark.slow
def test_a_convolutional_kernel(close):
    function = ConvNet(1, image_shape=(4, 4, 1)).function()
    given = problem(function, n=7, n_s=3, labels=Labels(FIXED[:3]))
    expected, losses = compiled(*given, n_steps=2)
    actual, values = in_blocks(*given, block_size=4, n_steps=2)
    close(values, losses, np.float32, steps=2)
    close(actual.params["X"], expected.params["X"], steps=2)


class TestFit:
    """Through the estimators, with several batches."""

    def test_fit(self, digits, monkeypatch):
        X, _, y, _ = digits
        options = {"ipc": 1, "max_iter": 4, "batch_size": 30, "random_state": 0}
        options["targets"] = "given"  # whether they are smoothed depends on how slow a kernel is
        X, y = X[:70, ::4] / 16, y[:70]
        blocked = KIPDistiller(Slow(), block_size=7, **options).fit(X, y)
        monkeypatch.setattr(SlowFunction, "pair_size", lambda *_: 1)
        fused = KIPDistiller(Slow(), **options).fit(X, y)
        assert_allclose(blocked.loss_curve_, fused.loss_curve_, rtol=1e-4)
        assert_allclose(blocked.X_s_, fused.X_s_, rtol=1e-3, atol=1e-4)

    def test_partial_fit(self, digits, monkeypatch):
        X, _, y, _ = digits
        options = {"ipc": 1, "batch_size": 30, "random_state": 0}
        X, y = X[:70, ::4] / 16, y[:70]
        blocked = KIPDistiller(Slow(), block_size=7, **options).partial_fit(X, y, np.unique(y))
        monkeypatch.setattr(SlowFunction, "pair_size", lambda *_: 1)
        fused = KIPDistiller(Slow(), **options).partial_fit(X, y, np.unique(y))
        assert_allclose(blocked.loss_curve_, fused.loss_curve_, rtol=1e-4)
        assert_allclose(blocked.X_s_, fused.X_s_, rtol=1e-3, atol=1e-4)
