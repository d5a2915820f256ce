"""A step of KIP whose kernel is computed in blocks, wherever an engine computes them.

The loss L is a function of two matrices, and the chain rule goes through both block by block:

    K_st[:, b] = cross(prepare(X_s), prepare(X_t[b]))                        in blocks
    K_ss[i, j] = cross(exact(prepare(X_s[i])), exact(prepare(X_s[j])))       in tiles with i <= j
    L, dL/dK_ss, dL/dK_st                                                    here
    dL/dX_s = sum_b (dK_st[:, b]/dX_s)^T dL/dK_st[:, b]                      in blocks
              + sum_ij (dK_ss[i, j]/dX_s)^T dL/dK_ss[i, j]                   in tiles

A block's vector-Jacobian product goes through its pairs again; nothing of them is kept between the
two passes, so any worker can compute any block. Fast kernels take the step of `_optimize.steps`,
which is one call of compiled code.
"""

from __future__ import annotations

import math
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


class Tile(NamedTuple):
    """A tile of K_ss.

    Attributes
    ----------
    rows : Array of int
    columns : Array of int or None
        None on the diagonal, where they are the rows.
    """

    rows: Any
    columns: Any


class _Pulled(NamedTuple):
    """What a block's vector-Jacobian product is taken of.

    Attributes
    ----------
    given : Tile, pytree of arrays, or None
        As in the pass forward.
    cotangent : Array
        The loss's gradient by the entries.
    """

    given: Any
    cotangent: Any


@register_dataclass
@dataclass(frozen=True)
class _Kernel:
    """The kernel of support rows with a block of targets, or among themselves.

    Attributes
    ----------
    function : KernelFunction
    prepares : bool
        Targets are rows, not prepared.
    """

    function: KernelFunction
    prepares: bool = field(metadata={"static": True})

    def with_targets(self, X_s: Array, targets: Any) -> Array:
        B = self.function.prepare(targets) if self.prepares else targets
        return self.function.cross(self.function.prepare(X_s), B)

    def among(self, sides: Tile) -> Array:
        """Return a tile of K_ss, of rows; in float64."""
        A = self.function.prepare(sides.rows)
        if sides.columns is None:
            return self.function.gram(A)
        B = self.function.prepare(sides.columns)
        return self.function.cross(self.function.exact(A), self.function.exact(B))


@jax.jit
def _forward(kernel: _Kernel, placed: Any, given: Any, X_s: Array) -> Array:
    """Return a block of K_st, whose targets are placed or given, or a tile of K_ss."""
    if isinstance(given, Tile):
        return kernel.among(_sides(X_s, given))
    return kernel.with_targets(X_s, given if placed is None else placed)


@jax.jit
def _pull_back(kernel: _Kernel, placed: Any, own: _Pulled, X_s: Array) -> Any:
    """Return the gradient by support rows, and by nothing else, of ``<cotangent, block>``.

    By all rows for a block of K_st, by a tile's own for one of K_ss.
    """
    given, cotangent = own
    if isinstance(given, Tile):
        return jax.vjp(kernel.among, _sides(X_s, given))[1](cotangent)[0]
    targets = given if placed is None else placed
    return jax.vjp(lambda X: kernel.with_targets(X, targets), X_s)[1](cotangent)[0]


def _sides(X_s: Array, tile: Tile) -> Tile:
    """Return the support rows of a tile."""
    return Tile(*(None if index is None else X_s[index] for index in tile))


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


# optax's transformations are static, as in `_optimize.steps`.
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
        size = self._size(objective, X_s, targets)
        blocks = _Blocks(len(X_s), targets, tree, size)
        sent = np.asarray(X_s)
        parts = self._engine.map(_forward, self._placed, blocks.forward(), sent, which=which)
        K_ss, K_st = blocks.joined(parts)
        values, (by_numbers, *by_matrices) = _loss(objective, state.params, K_ss, K_st, targets.y_t)
        backward = blocks.backward(*map(np.asarray, by_matrices))
        parts = self._engine.map(_pull_back, self._placed, backward, sent, which=which)
        by_support = blocks.summed(parts, X_s.shape[1])
        state = _compiled_moved(
            objective, optimizer, state, values[0], by_numbers, by_support, rates[0]
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
    """The tiles of K_ss and the blocks of K_st, which are one pass.

    Parameters
    ----------
    n_s : int
        Support rows.
    targets : Targets
    tree : int or None
        Where the targets are placed; None sends them with each block.
    block_size : int
        Targets of a block. A tile has as many pairs, at most.
    """

    def __init__(self, n_s: int, targets: Targets, tree: int | None, block_size: int) -> None:
        self._targets, self._tree = targets, tree
        self._n_s, self._n_t = n_s, len(targets.y_t)
        self._blocks = _engine.indices(self._n_t, block_size)
        strips = _engine.indices(n_s, max(1, math.isqrt(n_s * block_size)))
        self._side = len(strips[0])
        self._tiles = [
            Tile(rows, None if j == i else columns)
            for i, rows in enumerate(strips)
            for j, columns in enumerate(strips[i:], i)
        ]
        # Where a tile lies, if the last row comes again until all tiles are full.
        starts = np.stack(np.triu_indices(len(strips)), axis=1) * self._side
        self._at = [tuple(slice(at, at + self._side) for at in start) for start in starts]
        self._full = self._side * len(strips)

    def forward(self) -> Iterator[Block]:
        """Yield what the matrices are computed of."""
        for tile in self._tiles:
            yield Block(own=tile)
        for rows in self._blocks:
            placed, given = self._of(rows)
            yield placed._replace(own=given)

    def joined(self, parts: Iterator[Any]) -> tuple[Any, Any]:
        """Return K_ss and K_st."""
        K_ss = np.zeros((self._full, self._full))
        for at, part in zip(self._at, parts, strict=False):
            K_ss[at] = part
        K_ss = np.triu(K_ss)[: self._n_s, : self._n_s]
        K_st = np.concatenate(list(parts), axis=1)[:, : self._n_t]
        return K_ss + np.triu(K_ss, 1).T, K_st

    def backward(self, by_K_ss: Any, by_K_st: Any) -> Iterator[Block]:
        """Yield what the gradient is computed of; a row that comes again counts once."""
        by_K_ss = np.triu(by_K_ss) + np.triu(by_K_ss.T, 1)
        by_K_ss = np.pad(by_K_ss, (0, self._full - self._n_s))
        for tile, at in zip(self._tiles, self._at, strict=True):
            yield Block(own=_Pulled(tile, by_K_ss[at]))
        size = len(self._blocks[0])
        missing = size * len(self._blocks) - self._n_t
        by_K_st = np.pad(by_K_st, ((0, 0), (0, missing)))
        for i, rows in enumerate(self._blocks):
            placed, given = self._of(rows)
            yield placed._replace(own=_Pulled(given, by_K_st[:, i * size : (i + 1) * size]))

    def summed(self, parts: Iterator[Any], n_features: int) -> Any:
        """Return the gradient by all support rows, summed in block order."""
        by_support = np.zeros((self._full, n_features))
        for at, part in zip(self._at, parts, strict=False):
            for rows, by_rows in zip(at, part, strict=True):
                if by_rows is not None:
                    by_support[rows] += by_rows
        by_support = by_support[: self._n_s]
        for part in parts:
            by_support += part
        return by_support

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
