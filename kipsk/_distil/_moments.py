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
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.optimize import minimize_scalar

from kipsk._closed_form import _label_solve, _ridge
from kipsk._closed_form._quadratic import Quadratic
from kipsk._distil._targets import Change
from kipsk._engine import current, sum_blocks
from kipsk._engine._blas import single_threaded_blas
from kipsk._types import AnyArray, Float64s, Floats, PyTree
from kipsk.kernels._base import KernelFunction

# Columns of one strip of the matrix of products. Each strip is computed right of the diagonal only:
# with strips this wide that is little more than half of the matrix, in products large enough.
_STRIP = 1024
# Rows of one block, at most: so many make a product long enough, and a block short enough to be
# one of many for workers.
_BLOCK_ROWS = 2500
# How many bytes the rows and the features of a block may take.
_BLOCK_BYTES = 256 * 2**20
# Relative ridges that are searched, in so many factorisations, with so many random signs.
_RIDGES = (1e-7, 1e2)
_FACTORISATIONS = 10
_PROBES = 16
# Of all rows, how many more than the model has parameters, for cross-validation; and an error that
# is worse than any.
_LEAST_LEFT = 0.01
_WORST = 1e30


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
        The number of rows.
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
            y_means=(self.y / n - mean) / scale,
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
    y: Floats,
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
        Slices are read in order, once for each draw.
    y : ndarray of shape (n, n_outputs)
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
        for draw in range(n_draws):
            for number, start in enumerate(range(0, n, size)):
                s = slice(start, start + size)
                block = X[s], y[s].astype(np.float64), weight[s] / n_draws
                filled = [_filled(part, size) for part in block]
                filled[2][len(block[2]) :] = 0
                yield (*filled, np.uint32(number + draw * -(-n // size)))

    function = Partial(_of_block, way)
    p = way.function.row_size(n_features)
    task_bytes = 4 * size * (2 * n_features + 3 * p) + 4 * p * p
    with jax.enable_x64(True), single_threaded_blas:
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


def of_rank(quadratic: Quadratic, rank: int) -> Quadratic:
    """Return the error of a model's part along the leading eigenvectors of H.

    Elsewhere it is as if the features were zero: there C is left out, too, without which the error
    would fall without end.
    """
    p = len(quadratic.H)
    if rank >= p:
        return quadratic
    values, vectors = eigh(quadratic.H, subset_by_index=(p - rank, p - 1))
    factor = vectors * np.sqrt(np.maximum(values, 0))
    return quadratic._replace(H=factor, C=vectors @ (vectors.T @ quadratic.C))


def positive_part(quadratic: Quadratic) -> Quadratic:
    """Return the error with the nearest positive semi-definite H, in the Frobenius norm.

    Along eigenvectors that are left out C is too, as in `of_rank`.
    """
    values, vectors = eigh(quadratic.H)
    kept = vectors[:, values > 0]
    H = (kept * values[values > 0]) @ kept.T
    return quadratic._replace(H=H, C=kept @ (kept.T @ quadratic.C))


def best_ridge(
    quadratic: Quadratic, held_out: Quadratic | None = None, least: float = 0.0
) -> float:
    """Return the relative ridge with which ridge regression on all rows predicts other rows best.

    Parameters
    ----------
    quadratic : Quadratic
        In float64.
    held_out : Quadratic or None
        The error of other rows, which is then minimised. With None generalised cross-validation
        stands for it; its trace is an average over random signs (Hutchinson 1990, "A stochastic
        estimator of the trace of the influence matrix"), so a ridge costs one factorisation.
    least : float
        The smallest ridge that may be chosen.

    Returns
    -------
    ridge : float
        In units of ``trace(H) / p``.
    """
    H, C, n = quadratic.H, quadratic.C, float(quadratic.n_rows)
    p = len(H)
    unit = np.trace(H) / p
    signs = np.random.RandomState(0).choice([-1.0, 1.0], size=(p, _PROBES))

    def error(log_ridge: float) -> float:
        ridge = np.exp(log_ridge) * unit
        try:
            factor = cho_factor(_ridge.add_to_diagonal(H, ridge), overwrite_a=True)
        except np.linalg.LinAlgError:  # below the rounding of H
            return _WORST
        solved = cho_solve(factor, np.concatenate([C, signs], axis=1))
        W, probes = solved[:, : C.shape[1]], solved[:, C.shape[1] :]
        if held_out is not None:
            return _error(held_out, W)
        freedom = p - ridge * np.mean(np.sum(signs * probes, axis=0))
        left = 1 - freedom / n
        # A model of as many parameters as rows fits them, whatever they are.
        return _error(quadratic, W) / left**2 if left > _LEAST_LEFT else _WORST

    low = max(_RIDGES[0], least)
    bounds = np.log((low, max(_RIDGES[1], 10 * low)))
    found = minimize_scalar(
        error, bounds=bounds, method="bounded", options={"maxiter": _FACTORISATIONS}
    )
    return float(np.exp(found.x))


def _error(quadratic: Quadratic, W: Float64s) -> float:
    squares = np.sum(W * (quadratic.H @ W - 2 * quadratic.C)) + np.sum(quadratic.y_squares)
    return float(squares)


def with_ridge(quadratic: Quadratic, ridge: float) -> Quadratic:
    """Return the error plus ``ridge trace(H)/p |w|^2`` of each output."""
    H = quadratic.H
    return quadratic._replace(H=_ridge.add_to_diagonal(H, ridge * np.trace(H) / len(H)))


def on_device(quadratic: Quadratic, dtype: str = "float32") -> Quadratic:
    """Return a quadratic as a step sees it: H and C in the precision of the rows."""
    H, C = (jnp.asarray(part, dtype) for part in (quadratic.H, quadratic.C))
    return Quadratic(H, C, *(jnp.asarray(part, jnp.float64) for part in quadratic[2:]))


@jax.jit
def features(function: KernelFunction, X: Array) -> Array:
    """Return the features of rows, compiled."""
    return function.features(function.prepare(X))


def solved_labels(
    quadratic: Quadratic, Phi_s: Floats, reg: float, label_reg: float | None
) -> tuple[Float64s, float]:
    """Return the best labels of a support set for all rows, and the relative ridge of the labels.

    Parameters
    ----------
    quadratic : Quadratic
        In float64.
    Phi_s : ndarray of shape (n_s, p)
    reg : float
        Relative ridge of the prediction.
    label_reg : float or None
        Relative ridge of the labels; None chooses it by generalised cross-validation.
    """
    Phi = np.asarray(Phi_s, np.float64)
    K_ss = Phi @ Phi.T
    ridge = reg * np.trace(K_ss) / len(K_ss)
    _ridge.fit_alpha(K_ss, np.ones((len(K_ss), 1)), ridge)  # raises, with the reason, if it fails
    regularised = _ridge.add_to_diagonal(K_ss, ridge)
    n = float(quadratic.n_rows)
    half = np.linalg.solve(regularised, Phi)
    normal = n * half @ np.asarray(quadratic.H) @ half.T
    moments = n * half @ np.asarray(quadratic.C)
    normal = (normal + normal.T) / 2
    if label_reg is None:
        y_squared = n * float(np.sum(quadratic.y_squares))
        label_reg = _label_solve.best_label_reg(normal, moments, regularised, y_squared, round(n))
    return _label_solve.solve_labels(normal, moments, regularised, label_reg), label_reg
