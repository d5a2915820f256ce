"""What all rows are to a kernel of finite features, as sums over one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial, register_dataclass

from kipsk._closed_form._quadratic import Quadratic
from kipsk._distil._targets import Change
from kipsk._engine import current, sum_blocks
from kipsk._engine._blas import single_threaded_blas
from kipsk._jax import own_settings
from kipsk._types import AnyArray, Float64s, PyTree
from kipsk.kernels._base import KernelFunction

# Columns of one strip of the matrix of products. Each strip is computed right of the diagonal only:
# with strips this wide that is little more than half of the matrix, in products large enough.
_STRIP = 1024
# Rows of one block, at most: so many make a product long enough, and a block short enough to be
# one of many for workers.
_BLOCK_ROWS = 2500
# How many bytes the rows and the features of a block may take.
_BLOCK_BYTES = 256 * 2**20


class Rows(Protocol):
    """Rows of which slices are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and features."""

    def __getitem__(self, rows: slice, /) -> AnyArray:
        """Return some rows."""


class Sums(NamedTuple):
    """Weighted sums over rows, of features phi and of targets y as they were given.

    Of class labels y is the row of the class among the unit vectors, not centred. All are float64.

    Attributes
    ----------
    n_rows : float
        The number of rows of weight above zero, whatever their weights are.
    weight : float
        The sum of their weights.
    H : ndarray of shape (p, p)
        Of ``phi phi^T``.
    C : ndarray of shape (p, n_outputs)
        Of ``phi y^T``.
    phi : ndarray of shape (p,)
        Of phi.
    y, y_squares : ndarrays of shape (n_outputs,)
        Of y and of its squares.
    x, x_squares : ndarrays of shape (n_features,)
        Of the rows as the kernel sees them, and of their squares.
    noise : float
        The variance of the noise in each entry of H, where there is any.
    """

    n_rows: float
    weight: float
    H: Float64s
    C: Float64s
    phi: Float64s
    y: Float64s
    y_squares: Float64s
    x: Float64s
    x_squares: Float64s
    noise: float = 0.0

    def plus(self, other: Sums, sign: int = 1) -> Sums:
        """Return the sums over the rows of both, or over those of the first without the second."""
        added: Sums = jax.tree.map(lambda own, its: own + sign * its, self, other)
        return added._replace(noise=self.noise + other.noise)

    def quadratic(self, mean: Float64s, scale: Float64s) -> Quadratic:
        """Return the error of all rows for targets ``(y - mean) / scale``, in float64."""
        n = self.weight
        squares = self.y_squares - 2 * mean * self.y + n * mean**2
        return Quadratic(
            H=self.H / n,
            C=(self.C - np.outer(self.phi, mean)) / (n * scale),
            y_squares=squares / (n * scale**2),
            variances=np.maximum(self.y_squares / n - (self.y / n) ** 2, 0) / scale**2,
            n_rows=np.float64(self.n_rows),
        )


@register_dataclass
@dataclass(frozen=True)
class Way:
    """The way from rows to features.

    Attributes
    ----------
    function : KernelFunction
        A kernel of finite features.
    change : Change or None
        What is done to rows before, drawn anew for each draw.
    mirror_share : float
        The weight of the mirror images: they are counted exactly, beside the images themselves.
    mirrored : tuple (H, W, C) or None
        The shape of the images whose mirror images are counted.
    max_norm : float or None
        Features that are longer are shortened to it.
    """

    function: KernelFunction
    change: Change | None = None
    mirror_share: float = field(default=0.5, metadata={"static": True})
    mirrored: tuple[int, ...] | None = field(default=None, metadata={"static": True})
    max_norm: float | None = field(default=None, metadata={"static": True})

    def __call__(
        self, X: Array, y: Array, weight: Array, number: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Return rows as the kernel sees them, their features, targets and weights."""
        if self.mirrored is not None:
            images = X.reshape(len(X), *self.mirrored)[:, :, ::-1].reshape(X.shape)
            share = self.mirror_share
            X = jnp.concatenate([X, images])
            y = jnp.concatenate([y, y])
            weight = jnp.concatenate([(1 - share) * weight, share * weight])
        if self.change is not None:
            X, y = self.change(X, y, number)
        Phi = self.function.features(self.function.prepare(X))
        if self.max_norm is not None:
            # A little less, so that rounding makes no row longer.
            limit = self.max_norm * (1 - 1e-5)
            norms = jnp.linalg.norm(Phi, axis=1, keepdims=True)
            Phi = Phi * (limit / jnp.maximum(norms, limit))
            # A row without finite features would spoil all sums, and so tell that it is there.
            Phi = jnp.where(jnp.isfinite(Phi).all(axis=1, keepdims=True), Phi, 0)
            # In float32 a row more would change the rounding of all others.
            Phi = Phi.astype(jnp.float64)
        return X, Phi, y, weight


@jax.jit
def _of_block(way: Way, X: Array, y: Array, weight: Array, number: Array) -> dict[str, PyTree]:
    """Return the sums of one block, H as strips right of the diagonal."""
    X, Phi, y, weight = way(X, y, weight, number)
    weighted = (Phi * weight.astype(Phi.dtype)[:, None]).T
    p = len(weighted)
    width = -(-p // -(-p // _STRIP))
    # The small products are in float64: numbers in y may be far from zero.
    in_double = weighted.astype(jnp.float64)
    x = X.astype(jnp.float64)
    return {
        "strips": [
            jnp.matmul(weighted[i : i + width], Phi[:, i:], precision=jax.lax.Precision.HIGHEST)
            for i in range(0, p, width)
        ],
        "C": in_double @ y,
        "phi": jnp.sum(in_double, axis=1),
        "y": weight @ y,
        "y_squares": weight @ y**2,
        "x": weight @ x,
        "x_squares": weight @ x**2,
    }


def rows_of_block(way: Way, n_rows: int, n_features: int, block_size: int | str = "auto") -> int:
    """Return how many rows the blocks of a pass have: the same for all, and as few as can be.

    It depends on shapes alone, never on workers, and so do the sums.
    """
    if block_size == "auto":
        times = 1 if way.mirrored is None else 2
        row = 4 * times * (n_features + way.function.row_size(n_features))
        block_size = min(_BLOCK_ROWS // times, max(1, _BLOCK_BYTES // row))
    n_blocks = -(-n_rows // int(block_size))
    return -(-n_rows // n_blocks)


def sums_over(
    way: Way,
    X: Rows,
    y: Rows,
    weight: Float64s,
    *,
    block_size: int | str = "auto",
    n_draws: int = 1,
    progress: str | None = None,
) -> Sums:
    """Return the sums over all rows, in memory of one block and of the sums.

    Parameters
    ----------
    way : Way
    X : ndarray or Rows of shape (n, n_features)
        Slices are read in order, each once.
    y : ndarray or Rows of shape (n, n_outputs)
        It is sliced like X.
    weight : ndarray of shape (n,)
    block_size : int or "auto"
        The most rows of a block.
    n_draws : int
        How many times each row is changed at random. Each counts as one n-th of a row.
    progress : str or None
        The name of a progress bar.
    """
    n, n_features = X.shape
    size = rows_of_block(way, n, n_features, block_size)

    def blocks() -> Iterator[tuple[Any, ...]]:
        n_blocks = -(-n // size)
        for number, start in enumerate(range(0, n, size)):
            s = slice(start, start + size)
            block = X[s], y[s].astype(np.float64), weight[s] / n_draws
            filled = [_filled(part, size) for part in block]
            filled[2][len(block[2]) :] = 0
            # All draws of a block, so that a file is read once.
            for draw in range(n_draws):
                yield (*filled, np.uint32(number + draw * n_blocks))

    function = Partial(_of_block, way)
    p = way.function.row_size(n_features)
    task_bytes = 4 * size * (2 * n_features + 3 * p) + 4 * p * p
    with own_settings(), single_threaded_blas:
        total = sum_blocks(
            function,
            blocks(),
            n * n_draws,
            engine=current(),
            task_bytes=task_bytes,
            progress=progress,
        )
    strips = total.pop("strips")
    return Sums(
        n_rows=float(np.count_nonzero(weight)),
        weight=float(weight.sum()),
        H=_assembled(strips),
        **total,
    )


def _filled(part: AnyArray, size: int) -> AnyArray:
    """Return a block of full size, for which code is compiled; its first row fills up the last."""
    if len(part) == size:
        return part
    return np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])


def _assembled(strips: list[Float64s]) -> Float64s:
    """Return the symmetric matrix of its strips right of the diagonal."""
    p = strips[0].shape[1]
    H = np.empty((p, p))
    while strips:  # each is freed when it has been copied
        strip = strips.pop()
        start = p - strip.shape[1]
        stop = start + len(strip)
        H[start:stop, start:] = strip
        H[start:, start:stop] = strip.T
        own = H[start:stop, start:stop]
        own[:] = (own + own.T) / 2
    return H


@jax.jit
def features(function: KernelFunction, X: Array) -> Array:
    """Return the features of rows, compiled."""
    return function.features(function.prepare(X))
