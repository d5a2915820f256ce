"""A step of KIP whose kernel is computed in blocks, wherever an engine computes them.

The loss L is a function of two matrices, and the chain rule goes through both block by block:

    K_ss[i, j] = cross(exact(prepare(X_s[i])), exact(prepare(X_s[j])))       in blocks, i <= j
    K_st[i, b] = cross(prepare(X_s[i]), prepare(X_t[b]))                     in blocks
    L, dL/dK_ss, dL/dK_st                                                    here
    dL/dX_s = sum_ij (dK_ss[i, j]/dX_s)^T dL/dK_ss[i, j]                     in blocks
              + sum_ib (dK_st[i, b]/dX_s)^T dL/dK_st[i, b]                   in blocks

Kernels without slow pairs take the step of `kipsk._descent._step.steps`, which is one call of
compiled code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk import _engine
from kipsk._descent import _step
from kipsk._descent._loop import Take
from kipsk._descent._step import State
from kipsk._distil._objective import Batch, Objective, Params
from kipsk._distil._pair_blocks import BlockKernel, Blocks, Shared, forward, pull_back
from kipsk._distil._problem import Problem, Turn
from kipsk._distil._targets import Targets
from kipsk._engine import Engine
from kipsk._engine._sizes import pair_block_for
from kipsk._types import Floats
from kipsk.kernels._base import KernelFunction

# How many copies of a block's rows its gradient may hold at a time.
_COPIES = 8


@jax.jit
def _support_and_targets(
    objective: Objective, params: Params, targets: Targets | None, step: Array
) -> tuple[Array, Targets | None]:
    """Return X_s, and the targets of this step if every step changes them."""
    return objective.support(params), None if targets is None else targets.changed(step)


@jax.jit
def _loss(
    objective: Objective, params: Params, K_ss: Array, K_st: Array, targets: Targets
) -> tuple[tuple[Array, Array], tuple[Params, Array, Array]]:
    """Return loss and score, and the loss's gradients by the numbers and both matrices."""

    def loss(params: Params, K_ss: Array, K_st: Array) -> tuple[Array, Array]:
        return objective.of_matrices(params, K_ss, K_st, targets.y_t, targets.weight)

    return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, K_ss, K_st)


# The static argument is optax's transformation, as in `_step.steps`.
def _moved(
    optimizer: Any,
    objective: Objective,
    state: State,
    loss: Array,
    gradients: tuple[Params, Array],
    rate: Array,
) -> State:
    """Return the state after a step along the gradients by the numbers and by X_s."""
    by_numbers, by_support = gradients
    X_s, to_params = jax.vjp(objective.support, state.params)
    by_rows = to_params(by_support.astype(X_s.dtype))[0]
    gradient = jax.tree.map(jnp.add, by_numbers, by_rows)
    return _step.moved(optimizer, state, loss, gradient, rate)


_compiled_moved = jax.jit(_moved, static_argnames="optimizer")


class BlockSteps:
    """Steps as `Take` describes them, one a call, for kernels with slow pairs.

    Parameters
    ----------
    engine : Engine
    placed : object
        What the engine has placed: the kernel of each objective, and the batches that are known.
    problem : Problem
    """

    def __init__(self, engine: Engine, placed: Any, problem: Problem) -> None:
        self._engine, self._placed, self._problem = engine, placed, problem

    def __call__(
        self, turn: Turn, state: State, rates: Floats, n_steps: int
    ) -> tuple[State, tuple[Any, Any]]:
        """Return the state after one step, and loss and score before it."""
        problem, objective = self._problem, self._problem.objectives[turn.which]
        if not problem.has_slow_pairs(objective):
            return _fast(problem, turn, state, rates, n_steps)
        given = cast(Targets, turn.targets)  # moments are of features, whose pairs are fast
        changes = given.change is not None
        X_s, changed = _support_and_targets(
            objective, state.params, given if changes else None, state.n_steps
        )
        targets = given if changed is None else changed
        tree = turn.tree if changed is None else None
        sizes = _sizes(objective.function, X_s, problem.block_size)
        blocks = Blocks(X_s.shape, len(targets.y_t), tree, sizes)
        shared = Shared(X_s, targets.rows if tree is None else None)

        parts = self._engine.map(forward, self._placed, blocks.forward(), shared, turn.which)
        K_ss, K_st = blocks.joined(parts)
        seen = Targets(None, targets.y_t, weight=targets.weight)  # without the rows
        values, (by_numbers, *by_matrices) = _loss(objective, state.params, K_ss, K_st, seen)
        backward = blocks.backward(*map(np.asarray, by_matrices))
        parts = self._engine.map(pull_back, self._placed, backward, shared, turn.which)
        gradients = by_numbers, blocks.summed(parts)
        state = _compiled_moved(problem.optimizer, objective, state, values[0], gradients, rates[0])
        loss, score = (np.asarray(value, np.float64)[None] for value in values)
        return state, (loss, score)


def _fast(
    problem: Problem, turn: Turn, state: State, rates: Floats, n_steps: int
) -> tuple[State, tuple[Array, Array]]:
    """Take steps in one call of compiled code."""
    objective = problem.objectives[turn.which]
    return _step.steps(objective, problem.optimizer, state, turn.targets, rates, n_steps)


@contextmanager
def stepper(problem: Problem, batches: Sequence[Batch] = ()) -> Iterator[Take]:
    """Give what takes the steps of a run.

    Parameters
    ----------
    problem : Problem
    batches : sequence of Targets or of Quadratic
        Those that are known before the run; a turn's `tree` is the number of its batch here. The
        run may also take steps on other targets, whose `tree` is None.
    """
    slow = [objective for objective in problem.objectives if problem.has_slow_pairs(objective)]
    if not slow:
        yield lambda *call: _fast(problem, *call)
        return
    engine = _engine.current()
    prepares = problem.form.function is None
    kernels = [BlockKernel(objective.function, prepares) for objective in problem.objectives]
    # Every step changes the rows of its targets: there is nothing to place.
    changes = problem.form.change is not None
    trees = [] if changes else [batch.rows for batch in batches if isinstance(batch, Targets)]
    needed = max(_task_bytes(objective.function, problem) for objective in slow)
    with engine.place(kernels, trees, task_bytes=needed) as placed:
        yield BlockSteps(engine, placed, problem)


def _sizes(function: KernelFunction, X_s: Any, block_size: int | str) -> tuple[int, int]:
    """Return the most support rows and the most targets of a block."""
    n_s, n_features = X_s.shape
    if block_size != "auto":
        return min(n_s, int(block_size)), int(block_size)
    row_size = n_features + function.row_size(n_features)
    return pair_block_for(n_s, row_size, X_s.dtype.itemsize, function.pair_size(n_features))


def _task_bytes(function: KernelFunction, problem: Problem) -> int:
    """Return the memory of a block and its gradient, about."""
    X_s = problem.params["X"]
    n_features = X_s.shape[1]
    row_size = n_features + function.row_size(n_features)
    n_rows = _COPIES * sum(_sizes(function, X_s, problem.block_size)) + len(X_s)
    return int(n_rows * row_size * X_s.dtype.itemsize)
