"""The blocks of K_ss and of K_st: which there are, what each computes, how they become matrices.

A block is of few support rows and few others, so that what is sent for it does not grow with
either set. Its vector-Jacobian product goes through its pairs again; nothing of them is kept
between the two passes, so any worker can compute any block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._engine import Block, indices, take
from kipsk._types import Ints, PyTree
from kipsk.kernels._base import KernelFunction


class Shared(NamedTuple):
    """What the blocks of a step share.

    Attributes
    ----------
    X_s : Array of shape (n_s, n_features)
    targets : pytree of Arrays or None
        None where they are placed for the whole fit.
    """

    X_s: Array
    targets: PyTree


class Among(NamedTuple):
    """A block of K_ss.

    Attributes
    ----------
    rows : Array of int
    columns : Array of int or None
        None on the diagonal, where they are the rows.
    """

    rows: Ints
    columns: Ints | None


class Against(NamedTuple):
    """A block of K_st.

    Attributes
    ----------
    rows : Array of int
    targets : Array of int or None
        None where the targets are placed.
    """

    rows: Ints
    targets: Ints | None


@register_dataclass
@dataclass(frozen=True)
class BlockKernel:
    """The kernel of a block.

    Attributes
    ----------
    function : KernelFunction
    prepares : bool
        Whether targets still have to be prepared.
    """

    function: KernelFunction
    prepares: bool = field(metadata={"static": True})

    def among(self, sides: tuple[Array, Array | None]) -> Array:
        """Return a block of K_ss, in float64."""
        A, *B = (self.function.prepare(X) for X in sides if X is not None)
        if not B:
            return self.function.gram(A)
        return self.function.cross(self.function.exact(A), self.function.exact(B[0]))

    def against(self, X: Array, targets: PyTree) -> Array:
        """Return a block of K_st."""
        B = self.function.prepare(targets) if self.prepares else targets
        return self.function.cross(self.function.prepare(X), B)


@jax.jit
def forward(kernel: BlockKernel, placed: PyTree, block: Among | Against, shared: Shared) -> Array:
    """Return a block of K_ss or of K_st."""
    if isinstance(block, Among):
        return kernel.among(_sides(block, shared))
    return kernel.against(shared.X_s[block.rows], _targets(placed, block, shared))


@jax.jit
def pull_back(
    kernel: BlockKernel, placed: PyTree, own: tuple[Among | Against, Array], shared: Shared
) -> PyTree:
    """Return the gradients by the support rows, and by nothing else, of ``<cotangent, block>``."""
    block, cotangent = own
    if isinstance(block, Among):
        return jax.vjp(kernel.among, _sides(block, shared))[1](cotangent)[0]
    targets = _targets(placed, block, shared)
    return jax.vjp(lambda X: kernel.against(X, targets), shared.X_s[block.rows])[1](cotangent)[0]


def _sides(block: Among, shared: Shared) -> tuple[Array, Array | None]:
    return shared.X_s[block.rows], None if block.columns is None else shared.X_s[block.columns]


def _targets(placed: PyTree, block: Against, shared: Shared) -> PyTree:
    return placed if block.targets is None else take(shared.targets, block.targets)


class Blocks:
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
        self._strips = indices(self._n_s, sizes[0])
        self._columns = indices(n_t, min(sizes[1], n_t))
        # Where strips and columns lie, with the last row repeated to fill the last block.
        self._at, self._at_columns = _slices(self._strips), _slices(self._columns)
        strips = range(len(self._strips))
        self._triangle = [(i, j) for i in strips for j in strips[i:]]

    def forward(self) -> Iterator[Block]:
        """Yield what the matrices are computed of."""
        for i, j in self._triangle:
            yield Block(own=Among(self._strips[i], None if i == j else self._strips[j]))
        for columns in self._columns:
            for rows in self._strips:
                if self._tree is None:
                    yield Block(own=Against(rows, columns))
                else:
                    yield Block(columns, self._tree, Against(rows, None))

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
        """Yield what the gradient is computed of; a row that was repeated counts once."""
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
