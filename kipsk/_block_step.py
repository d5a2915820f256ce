"""A step of KIP whose kernel is computed in blocks, wherever an engine computes them.

The loss L is a function of two small matrices, and the chain rule goes through the large one block
by block:

    K_st[:, b] = cross(prepare(X_s), prepare(X_t[b]))                        in blocks
    L, dL/dK_ss, dL/dK_st                                                    here
    dL/dX_s = sum_b (dK_st[:, b]/dX_s)^T dL/dK_st[:, b]                      in blocks
              + (dK_ss/dX_s)^T dL/dK_ss                                      here

A block's vector-Jacobian product goes through its pairs again; nothing of them is kept between the
two passes, so any worker can compute any block. Fast kernels take the step of `_optimize.steps`,
which is one call of compiled code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk import _engine, _optimize
from kipsk._blocks import block_size_for
from kipsk._engine import Block, Engine
from kipsk._losses import Objective, Targets
from kipsk._optimize import State
from kipsk.kernels._base import KernelFunction

# Arrays as large as a block's rows that its gradient may hold at a time.
_COPIES = 8


class Batch(NamedTuple):
    """Targets, and which of the placed trees they are."""

    targets: Targets
    tree: int


@register_dataclass
@dataclass(frozen=True)
class _Kernel:
    """The kernel matrix of a support set with a block of targets.

    Attributes
    ----------
    function : KernelFunction
    prepares : bool
        Targets are rows, not prepared.
    """

    function: KernelFunction
    prepares: bool = field(metadata={"static": True})

    def __call__(self, X_s: Array, targets: Any) -> Array:
        B = self.function.prepare(targets) if self.prepares else targets
        return self.function.cross(self.function.prepare(X_s), B)


@jax.jit
def _forward(kernel: _Kernel, placed: Any, own: Any, X_s: Array) -> Array:
    """Return K_st of a block, which is placed or given."""
    return kernel(X_s, own if placed is None else placed)


@jax.jit
def _pull_back(kernel: _Kernel, placed: Any, own: Any, X_s: Array) -> Array:
    """Return the gradient by X_s, and by nothing else, of ``<cotangent, K_st>`` of a block."""
    given, cotangent = own
    targets = given if placed is None else placed
    return jax.vjp(lambda X: kernel(X, targets), X_s)[1](cotangent)[0]


@jax.jit
def _support_and_rows(
    objective: Objective, params: dict[str, Array], targets: Targets | None, n_steps: Array
) -> tuple[Array, Targets | None]:
    """Return X_s, and the targets of this step if they are made anew."""
    rows = None if targets is None else objective.rows(targets, n_steps)
    return objective.support(params), rows


@jax.jit
def _gram(function: KernelFunction, X_s: Array) -> Array:
    return function.gram(function.prepare(X_s))


@jax.jit
def _gram_pull_back(function: KernelFunction, X_s: Array, cotangent: Array) -> Array:
    return jax.vjp(lambda X: _gram(function, X), X_s)[1](cotangent)[0]


@jax.jit
def _loss(
    objective: Objective, params: dict[str, Array], K_ss: Array, K_st: Array, y_t: Array
) -> tuple[tuple[Array, Array], tuple[dict[str, Array], Array, Array]]:
    """Return loss and score, and the loss's gradients by the numbers and both matrices."""

    def loss(params: dict[str, Array], K_ss: Array, K_st: Array) -> tuple[Array, Array]:
        return objective.of_matrices(params, K_ss, K_st, y_t)

    return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, K_ss, K_st)


# optax's transformations are static, as in `_optimize.steps`.
def _moved(
    objective: Objective,
    optimizer: Any,
    state: State,
    loss: Array,
    by_numbers: dict[str, Array],
    by_gram: Array,
    by_blocks: Array,
    rate: Array,
) -> State:
    X_s, pull_back = jax.vjp(objective.support, state.params)
    by_rows = pull_back((by_gram + by_blocks).astype(X_s.dtype))[0]
    gradient = jax.tree.map(jnp.add, by_numbers, by_rows)
    return _optimize.moved(optimizer, state, loss, gradient, rate)


_compiled_moved = jax.jit(_moved, static_argnames="optimizer")


class BlockSteps:
    """Steps as `_optimize.steps` takes them, one a call.

    Parameters
    ----------
    engine : Engine
    placed : object
        The kernel of each objective, and the batches that are known.
    objectives : sequence of Objective
    block_size : int or "auto"
    """

    def __init__(
        self, engine: Engine, placed: Any, objectives: Sequence[Objective], block_size: int | str
    ) -> None:
        self._engine, self._placed = engine, placed
        self._objectives, self._block_size = objectives, block_size

    def __call__(
        self,
        objective: Objective,
        optimizer: Any,
        state: State,
        batch: Batch | Targets,
        rates: Array,
        n_steps: int,
    ) -> tuple[State, tuple[Any, Any]]:
        """Return the state after one step, and loss and score before it."""
        targets = batch.targets if isinstance(batch, Batch) else batch
        if not _is_slow(objective, state.params):
            return _optimize.steps(objective, optimizer, state, targets, rates, n_steps)
        changes = objective.takes_rows and objective.augmentation is not None
        X_s, rows = _support_and_rows(
            objective, state.params, targets if changes else None, state.n_steps
        )
        targets = targets if rows is None else rows
        tree = batch.tree if isinstance(batch, Batch) and rows is None else None
        which = next(i for i, other in enumerate(self._objectives) if other is objective)
        K_ss = _gram(objective.function, X_s)  # runs beside the blocks
        blocks = _Blocks(targets, tree, self._size(objective, X_s, targets))
        sent = np.asarray(X_s)
        parts = self._engine.map(_forward, self._placed, blocks.forward(), sent, which=which)
        K_st = blocks.joined(parts)
        values, (by_numbers, by_K_ss, by_K_st) = _loss(
            objective, state.params, K_ss, K_st, targets.y_t
        )
        by_gram = _gram_pull_back(objective.function, X_s, by_K_ss)
        backward = blocks.backward(np.asarray(by_K_st))
        by_blocks = np.zeros(X_s.shape)
        for part in self._engine.map(_pull_back, self._placed, backward, sent, which=which):
            by_blocks += part
        state = _compiled_moved(
            objective, optimizer, state, values[0], by_numbers, by_gram, by_blocks, rates[0]
        )
        loss, score = (np.asarray(value, np.float64)[None] for value in values)
        return state, (loss, score)

    def _size(self, objective: Objective, X_s: Array, targets: Targets) -> int:
        n_features, itemsize = X_s.shape[1], X_s.dtype.itemsize
        function = objective.function
        row_size = n_features + function.row_size(n_features)
        pair_size = function.pair_size(n_features)
        size = block_size_for(self._block_size, len(X_s), row_size, itemsize, pair_size)
        return min(size, len(targets.y_t))


class _Blocks:
    """The blocks of a batch.

    Parameters
    ----------
    targets : Targets
    tree : int or None
        Where the rows are placed; None sends them with each block.
    block_size : int
    """

    def __init__(self, targets: Targets, tree: int | None, block_size: int) -> None:
        self._targets, self._tree, self._n = targets, tree, len(targets.y_t)
        self._rows = _engine.indices(self._n, block_size)

    def forward(self) -> Iterator[Block]:
        """Yield what K_st is computed of."""
        for rows in self._rows:
            placed, given = self._of(rows)
            yield placed._replace(own=given)

    def joined(self, parts: Iterator[Any]) -> Any:
        """Return K_st from its blocks."""
        return np.concatenate(list(parts), axis=1)[:, : self._n]

    def backward(self, cotangent: Any) -> Iterator[Block]:
        """Yield what the gradient is computed of; a row that comes again counts once."""
        size = len(self._rows[0])
        missing = size * len(self._rows) - self._n
        cotangent = np.pad(cotangent, ((0, 0), (0, missing)))
        for i, rows in enumerate(self._rows):
            placed, given = self._of(rows)
            yield placed._replace(own=(given, cotangent[:, i * size : (i + 1) * size]))

    def _of(self, rows: Any) -> tuple[Block, Any]:
        if self._tree is None:
            return Block(), _engine.take(self._targets.prepared, rows)
        return Block(rows, self._tree), None


@contextmanager
def stepper(
    objectives: Sequence[Objective],
    batches: Sequence[Targets],
    params: dict[str, Any],
    block_size: int | str = "auto",
) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Give what takes the steps, and the batches as it wants them.

    Parameters
    ----------
    objectives : sequence of Objective
    batches : sequence of Targets
        Those that are known; others may be stepped on too.
    params : dict of Arrays
    block_size : int or "auto"
        Targets of a block of a slow kernel.
    """
    slow = [objective for objective in objectives if _is_slow(objective, params)]
    if not slow:
        yield _optimize.steps, batches
        return
    engine = _engine.current()
    kernels = [_Kernel(objective.function, objective.takes_rows) for objective in objectives]
    # Augmented rows are new at each step.
    changes = objectives[0].takes_rows and objectives[0].augmentation is not None
    trees = [] if changes else [targets.prepared for targets in batches]
    needed = max(_task_bytes(objective, params, block_size) for objective in slow)
    with engine.place(kernels, trees, task_bytes=needed) as placed:
        steps = BlockSteps(engine, placed, objectives, block_size)
        yield steps, [Batch(targets, i) for i, targets in enumerate(batches)]


def _is_slow(objective: Objective, params: dict[str, Any]) -> bool:
    function = objective.function
    return not function.is_random and function.pair_size(params["X"].shape[1]) > 1


def _task_bytes(objective: Objective, params: dict[str, Any], block_size: int | str) -> int:
    """Return the memory of a block and its gradient, about."""
    n_s, n_features = params["X"].shape
    itemsize = params["X"].dtype.itemsize
    row_size = n_features + objective.function.row_size(n_features)
    pair_size = objective.function.pair_size(n_features)
    size = block_size_for(block_size, n_s, row_size, itemsize, pair_size)
    return int(_COPIES * (n_s + size) * row_size * itemsize)
