"""A step of KIP whose kernel is computed in blocks, wherever an engine computes them.

The loss L is a function of two matrices, and the chain rule goes through both block by block:

    K_ss[i, j] = cross(exact(prepare(X_s[i])), exact(prepare(X_s[j])))       in blocks, i <= j
    K_st[i, b] = cross(prepare(X_s[i]), prepare(X_t[b]))                     in blocks
    L, dL/dK_ss, dL/dK_st                                                    here
    dL/dX_s = sum_ij (dK_ss[i, j]/dX_s)^T dL/dK_ss[i, j]                     in blocks
              + sum_ib (dK_st[i, b]/dX_s)^T dL/dK_st[i, b]                   in blocks

A block is of few support rows and few others, so that what is sent for it does not grow with
either set. Its vector-Jacobian product goes through its pairs again; nothing of them is kept
between the two passes, so any worker can compute any block. Fast kernels take the step of
`_step.steps`, which is one call of compiled code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk import _engine
from kipsk._descent import _step
from kipsk._descent._step import State
from kipsk._distil._objective import Objective, Targets
from kipsk._engine import Block, Engine
from kipsk._engine._sizes import pair_block_for
from kipsk.kernels._base import KernelFunction

# Arrays as large as a block's rows that its gradient may hold at a time.
_COPIES = 8


class Batch(NamedTuple):
    """Targets, and which of the placed trees they are."""

    targets: Targets
    tree: int


class _Shared(NamedTuple):
    """What the blocks of a step share.

    Attributes
    ----------
    X_s : Array of shape (n_s, n_features)
    targets : pytree of Arrays or None
        None where they are placed for the whole fit.
    """

    X_s: Any
    targets: Any


class _Among(NamedTuple):
    """A block of K_ss.

    Attributes
    ----------
    rows : Array of int
    columns : Array of int or None
        None on the diagonal, where they are the rows.
    """

    rows: Any
    columns: Any


class _Against(NamedTuple):
    """A block of K_st.

    Attributes
    ----------
    rows : Array of int
    targets : Array of int or None
        None where the targets are placed.
    """

    rows: Any
    targets: Any


@register_dataclass
@dataclass(frozen=True)
class _Kernel:
    """The kernel of a block.

    Attributes
    ----------
    function : KernelFunction
    prepares : bool
        Targets are rows, not prepared.
    """

    function: KernelFunction
    prepares: bool = field(metadata={"static": True})

    def among(self, sides: tuple[Array, Array | None]) -> Array:
        """Return a block of K_ss, in float64."""
        A, *B = (self.function.prepare(X) for X in sides if X is not None)
        if not B:
            return self.function.gram(A)
        return self.function.cross(self.function.exact(A), self.function.exact(B[0]))

    def against(self, X: Array, targets: Any) -> Array:
        """Return a block of K_st."""
        B = self.function.prepare(targets) if self.prepares else targets
        return self.function.cross(self.function.prepare(X), B)


@jax.jit
def _forward(kernel: _Kernel, placed: Any, block: _Among | _Against, shared: _Shared) -> Array:
    """Return a block of K_ss or of K_st."""
    if isinstance(block, _Among):
        return kernel.among(_sides(block, shared))
    return kernel.against(shared.X_s[block.rows], _targets(placed, block, shared))


@jax.jit
def _pull_back(
    kernel: _Kernel, placed: Any, own: tuple[_Among | _Against, Array], shared: _Shared
) -> Any:
    """Return the gradients by the support rows, and by nothing else, of ``<cotangent, block>``."""
    block, cotangent = own
    if isinstance(block, _Among):
        return jax.vjp(kernel.among, _sides(block, shared))[1](cotangent)[0]
    targets = _targets(placed, block, shared)
    return jax.vjp(lambda X: kernel.against(X, targets), shared.X_s[block.rows])[1](cotangent)[0]


def _sides(block: _Among, shared: _Shared) -> tuple[Array, Array | None]:
    return shared.X_s[block.rows], None if block.columns is None else shared.X_s[block.columns]


def _targets(placed: Any, block: _Against, shared: _Shared) -> Any:
    return placed if block.targets is None else _engine.take(shared.targets, block.targets)


@jax.jit
def _support_and_rows(
    objective: Objective, params: dict[str, Array], targets: Targets | None, n_steps: Array
) -> tuple[Array, Targets | None]:
    """Return X_s, and the targets of this step if they are made anew."""
    rows = None if targets is None else objective.rows(targets, n_steps)
    return objective.support(params), rows


@jax.jit
def _loss(
    objective: Objective, params: dict[str, Array], K_ss: Array, K_st: Array, y_t: Array
) -> tuple[tuple[Array, Array], tuple[dict[str, Array], Array, Array]]:
    """Return loss and score, and the loss's gradients by the numbers and both matrices."""

    def loss(params: dict[str, Array], K_ss: Array, K_st: Array) -> tuple[Array, Array]:
        return objective.of_matrices(params, K_ss, K_st, y_t)

    return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, K_ss, K_st)


# optax's transformations are static, as in `_step.steps`.
def _moved(
    objective: Objective,
    optimizer: Any,
    state: State,
    loss: Array,
    by_numbers: dict[str, Array],
    by_support: Array,
    rate: Array,
) -> State:
    X_s, pull_back = jax.vjp(objective.support, state.params)
    by_rows = pull_back(by_support.astype(X_s.dtype))[0]
    gradient = jax.tree.map(jnp.add, by_numbers, by_rows)
    return _step.moved(optimizer, state, loss, gradient, rate)


_compiled_moved = jax.jit(_moved, static_argnames="optimizer")


class BlockSteps:
    """Steps as `_step.steps` takes them, one a call.

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
            return _step.steps(objective, optimizer, state, targets, rates, n_steps)
        changes = objective.takes_rows and objective.augmentation is not None
        X_s, rows = _support_and_rows(
            objective, state.params, targets if changes else None, state.n_steps
        )
        targets = targets if rows is None else rows
        tree = batch.tree if isinstance(batch, Batch) and rows is None else None
        which = next(i for i, other in enumerate(self._objectives) if other is objective)
        sizes = _sizes(objective.function, X_s, self._block_size)
        blocks = _Blocks(X_s.shape, len(targets.y_t), tree, sizes)
        shared = _Shared(X_s, targets.prepared if tree is None else None)
        parts = self._engine.map(_forward, self._placed, blocks.forward(), shared, which)
        K_ss, K_st = blocks.joined(parts)
        values, (by_numbers, *by_matrices) = _loss(objective, state.params, K_ss, K_st, targets.y_t)
        backward = blocks.backward(*map(np.asarray, by_matrices))
        parts = self._engine.map(_pull_back, self._placed, backward, shared, which)
        by_support = blocks.summed(parts)
        state = _compiled_moved(
            objective, optimizer, state, values[0], by_numbers, by_support, rates[0]
        )
        loss, score = (np.asarray(value, np.float64)[None] for value in values)
        return state, (loss, score)


def _sizes(function: KernelFunction, X_s: Any, block_size: int | str) -> tuple[int, int]:
    """Return the most support rows and the most targets of a block."""
    n_s, n_features = X_s.shape
    if block_size != "auto":
        return min(n_s, int(block_size)), int(block_size)
    row_size = n_features + function.row_size(n_features)
    return pair_block_for(n_s, row_size, X_s.dtype.itemsize, function.pair_size(n_features))


class _Blocks:
    """The blocks of K_ss and of K_st, which are one pass.

    Parameters
    ----------
    shape : tuple of two int
        Of X_s.
    n_t : int
        Targets.
    tree : int or None
        Where the targets are placed, if they are.
    sizes : tuple of two int
        The most support rows and the most targets of a block.
    """

    def __init__(
        self, shape: tuple[int, ...], n_t: int, tree: int | None, sizes: tuple[int, int]
    ) -> None:
        (self._n_s, self._n_features), self._n_t, self._tree = shape, n_t, tree
        self._strips = _engine.indices(self._n_s, sizes[0])
        self._columns = _engine.indices(n_t, min(sizes[1], n_t))
        # Where strips and columns lie, if the last row comes again until all are full.
        self._at, self._at_columns = _slices(self._strips), _slices(self._columns)
        strips = range(len(self._strips))
        self._triangle = [(i, j) for i in strips for j in strips[i:]]

    def forward(self) -> Iterator[Block]:
        """Yield what the matrices are computed of."""
        for i, j in self._triangle:
            yield Block(own=_Among(self._strips[i], None if i == j else self._strips[j]))
        for columns in self._columns:
            for rows in self._strips:
                if self._tree is None:
                    yield Block(own=_Against(rows, columns))
                else:
                    yield Block(columns, self._tree, _Against(rows, None))

    def joined(self, parts: Iterator[Any]) -> tuple[Any, Any]:
        """Return K_ss and K_st."""
        n_full = self._at[-1].stop
        K_ss = np.zeros((n_full, n_full))
        for (i, j), part in zip(self._triangle, parts, strict=False):
            K_ss[self._at[i], self._at[j]] = part
        columns = [list(islice(parts, len(self._strips))) for _ in self._columns]
        K_st = np.concatenate([np.concatenate(column) for column in columns], axis=1)
        K_ss = np.triu(K_ss)[: self._n_s, : self._n_s]
        return K_ss + np.triu(K_ss, 1).T, K_st[: self._n_s, : self._n_t]

    def backward(self, by_K_ss: Any, by_K_st: Any) -> Iterator[Block]:
        """Yield what the gradient is computed of; a row that comes again counts once."""
        missing = self._at[-1].stop - self._n_s
        by_K_ss = np.pad(np.triu(by_K_ss) + np.triu(by_K_ss.T, 1), (0, missing))
        by_K_st = np.pad(by_K_st, ((0, missing), (0, self._at_columns[-1].stop - self._n_t)))
        cotangents = [by_K_ss[self._at[i], self._at[j]] for i, j in self._triangle]
        cotangents += [by_K_st[rows, columns] for columns in self._at_columns for rows in self._at]
        for block, cotangent in zip(self.forward(), cotangents, strict=True):
            yield block._replace(own=(block.own, cotangent))

    def summed(self, parts: Iterator[Any]) -> Any:
        """Return the gradient by all support rows, summed in block order."""
        by_support = np.zeros((self._at[-1].stop, self._n_features))
        of_blocks = [{i, j} for i, j in self._triangle]
        of_blocks += [{i} for _ in self._columns for i in range(len(self._strips))]
        for strips, part in zip(of_blocks, parts, strict=True):
            for i, by_rows in zip(sorted(strips), jax.tree.leaves(part), strict=True):
                by_support[self._at[i]] += by_rows
        return by_support[: self._n_s]


def _slices(rows: Sequence[Any]) -> list[slice]:
    """Return where blocks of one size lie."""
    size = len(rows[0])
    return [slice(i * size, (i + 1) * size) for i in range(len(rows))]


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
        yield _step.steps, batches
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
    X_s = params["X"]
    function, n_features = objective.function, X_s.shape[1]
    row_size = n_features + function.row_size(n_features)
    n_rows = _COPIES * sum(_sizes(function, X_s, block_size)) + len(X_s)
    return int(n_rows * row_size * X_s.dtype.itemsize)
