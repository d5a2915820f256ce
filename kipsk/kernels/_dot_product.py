"""Kernels of ``<x, x'>``, ``|x|^2`` and ``|x'|^2``: fully connected networks, RBF, Laplace."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist

from kipsk._checks import (
    check_any_rows,
    check_finite_rows,
    check_integer,
    check_option,
    check_positive,
)
from kipsk._closed_form._centre import centre_of, evenly
from kipsk._closed_form._products import matmul
from kipsk._types import AnyArray, Float64s, Floats
from kipsk.kernels._base import JaxKernel, KernelFunction, in_float64, with_constant
from kipsk.kernels._duals import DUALS
from kipsk.kernels._products import DotProductFunction, Rows, rows

# Lengths of rows are seen by the biases alone. They are drowned by features whose squares are so
# many times theirs, which matters where one of so few dimensions is lost.
_DROWNED = {1: 1e4, 2: 1e3}  # by the number of columns


@register_dataclass
@dataclass(frozen=True)
class FullyConnectedFunction(DotProductFunction):
    """Covariances of a deep network through Dense, activation, ..., Dense.

    What the kernel tells apart are angles. Between rows at a distance c from zero, in units of
    their deviation, they are near 1/c, so ``1 - cosine`` is near 1/c^2 and float32 has lost it. For
    such rows (those that have a `centre`) the products of n_features terms are computed about the
    centre, in float32, and the few operations that each entry goes through in float64.

    Attributes
    ----------
    centre : ndarray of shape (n_features,), or None
        As `centre_of` the training rows; float64 rows have digits enough without it.
    """

    w_std: float
    b_std: float
    depth: int = field(metadata={"static": True})
    kind: str = field(metadata={"static": True})
    activation: str = field(metadata={"static": True})
    centre: AnyArray | None = None

    def prepare(self, X: Array) -> Rows:
        if self.centre is None or X.dtype == jnp.float64:
            return rows(X)
        centre = jnp.asarray(self.centre, X.dtype)
        centred = X - centre
        exact = in_float64(centred)
        return Rows(centred, jnp.sum(exact * exact, axis=1), matmul(exact, in_float64(centre)))

    def cross(self, A: Rows, B: Rows) -> Array:
        if A.along is None or B.along is None:
            return super().cross(A, B)
        # <x, x'> = <u, u'> + <u, c> + <c, u'> + |c|^2  with  u = x - c, and |x - x'| = |u - u'|.
        products = in_float64(matmul(A.X, B.X.T))
        both = A.squares[:, None] + B.squares
        # The products are float32 still: what they leave of the distance of equal rows is no angle.
        is_equal = both - 2 * products <= 8 * jnp.finfo(A.X.dtype).eps * both
        a, b = self._squares(A)[:, None], self._squares(B)
        products = products + (A.along[:, None] + B.along) + self._centre_square(A)
        products = jnp.where(is_equal, (a + b) / 2, products)
        return self._of_products(products, a, b, A.X.shape[1])

    def exact(self, A: Rows) -> Rows:
        if A.along is None:
            return super().exact(A)
        return rows(in_float64(A.X) + in_float64(jnp.asarray(self.centre, A.X.dtype)))

    @property
    def has_features(self) -> bool:  # type: ignore[override]
        return self.depth == 0

    def features(self, A: Rows) -> Array:
        """Return the features of the linear kernel, ``w_std x / sqrt(n_features)`` and b_std."""
        X = A.X
        if A.along is not None:  # float32 would round the sum as it rounded the rows
            X = in_float64(A.X) + in_float64(jnp.asarray(self.centre, A.X.dtype))
        return with_constant(self.w_std / A.X.shape[1] ** 0.5 * X, self.b_std)

    def row_size(self, n_features: int) -> int:
        return n_features + self.has_features  # one more is the constant feature

    def diag(self, A: Rows) -> Array:
        return self._of_squares(self._squares(A), A.X.shape[1]).astype(A.X.dtype)

    def _squares(self, A: Rows) -> Array:
        """Return |x|^2 of the rows as they were given."""
        if A.along is None:
            return A.squares
        return A.squares + 2 * A.along + self._centre_square(A)

    def _centre_square(self, A: Rows) -> Array:
        # Of the centre that was subtracted: rounded as the rows are.
        return jnp.sum(jnp.square(in_float64(jnp.asarray(self.centre, A.X.dtype))))

    def _of_products(self, products: Array, a: Array, b: Array, n_features: int) -> Array:
        dual = DUALS[self.activation]
        k, a, b = (self._dense(value / n_features) for value in (products, a, b))
        ntk = k
        for _ in range(self.depth):
            k, dot = dual.pair(k, a, b)
            a, b = dual.diag(a)[0], dual.diag(b)[0]
            k, a, b, ntk = self._dense(k), self._dense(a), self._dense(b), ntk * dot
            ntk = k + self.w_std**2 * ntk
        return ntk if self.kind == "ntk" else k

    def _of_squares(self, a: Array, n_features: int) -> Array:
        a = self._dense(a / n_features)
        ntk = a
        for _ in range(self.depth):
            a, dot = DUALS[self.activation].diag(a)
            a = self._dense(a)
            ntk = a + self.w_std**2 * ntk * dot
        return ntk if self.kind == "ntk" else a

    def _dense(self, covariance: Array) -> Array:
        return self.w_std**2 * covariance + self.b_std**2


@register_dataclass
@dataclass(frozen=True)
class RBFFunction(DotProductFunction):
    """``exp(-|x - x'|^2 / (2 length_scale^2))``.

    Attributes
    ----------
    centre : ndarray of shape (n_features,), or None
        As `centre_of` the training rows. It is subtracted from all rows, of which the kernel sees
        differences alone: those of products far from zero cancel.
    """

    length_scale: float
    name: str = field(default="rbf", metadata={"static": True})  # see KernelFunction
    centre: AnyArray | None = None

    def prepare(self, X: Array) -> Rows:
        return rows(X if self.centre is None else X - jnp.asarray(self.centre, X.dtype))

    def _of_products(self, products: Array, a: Array, b: Array, n_features: int) -> Array:
        squared_distance = jnp.maximum(a + b - 2 * products, 0)
        return jnp.exp(-squared_distance / (2 * self.length_scale**2))

    def _of_squares(self, a: Array, n_features: int) -> Array:
        return jnp.ones_like(a)


@register_dataclass
@dataclass(frozen=True)
class LaplaceFunction(KernelFunction):
    """``exp(-|x - x'|_1 / length_scale)``."""

    length_scale: float
    name: str = field(default="laplace", metadata={"static": True})  # see KernelFunction

    def prepare(self, X: Array) -> Array:
        return X

    def cross(self, A: Array, B: Array) -> Array:
        # One row of A at a time, computed again for the gradient, because the differences of all
        # pairs would take n_features times the memory of the kernel matrix.
        @jax.checkpoint
        def row(a: Array) -> Array:
            difference = a - B
            # JAX takes 1 as the slope of |x| at 0. Here it is 0, because coordinates that coincide
            # have no direction.
            return jnp.sum(jnp.where(difference == 0, 0, jnp.abs(difference)), axis=1)

        return jnp.exp(-jax.lax.map(row, A) / self.length_scale)

    def diag(self, A: Array) -> Array:
        return jnp.ones_like(A[:, 0])


class _DotProductKernel(JaxKernel):
    """A kernel that computes products about the mean of its reference rows, if they are far from 0.

    The mean is no parameter: it changes how the kernel is rounded and not what it is. So a clone
    is without it until it is resolved, as all kernels are that come to be computed.
    """

    _centre: Float64s | None = None

    def _precision(self, dtype: str) -> str:
        """Return float64 where products are taken about the mean of the rows, else their dtype."""
        return dtype if self._centre is None else "float64"

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return the kernel with all that it takes from the reference rows X."""
        X = check_any_rows("X", X)
        check_finite_rows("X", X[evenly(X)])
        centre = centre_of(X)
        if centre is None and self._centre is None:
            return self
        kernel = type(self)(**self.get_params())
        kernel._centre = centre
        return kernel


class FullyConnected(_DotProductKernel):
    r"""Kernel of an infinitely wide fully connected network.

    The network is Dense, followed by ``depth`` times (activation, Dense). ``Dense`` maps a
    covariance K to ``w_std^2 K + b_std^2``. With T and T' the activation's duals, which are
    Gaussian expectations of the activation and of its derivative, the kernels are::

        K_0 = w_std^2 <x, x'> / n_features + b_std^2           Theta_0 = K_0
        K_l = w_std^2 T(K_{l-1}) + b_std^2
        Theta_l = K_l + w_std^2 T'(K_{l-1}) Theta_{l-1}

    ``"nngp"`` is K (Lee et al. 2018, arXiv 1711.00165), ``"ntk"`` is Theta (Jacot et al. 2018,
    arXiv 1806.07572), for parameters N(0, 1) that are scaled by ``w_std / sqrt(fan_in)`` and
    ``b_std``.

    Parameters
    ----------
    depth : int, default=1
        The number of hidden layers. With 0 the kernel is linear.
    kind : {"ntk", "nngp"}, default="ntk"
        The neural tangent kernel of a network whose layers all learn, or that of one whose readout
        alone does (a Gaussian process).
    w_std : float, default=sqrt(2)
        Standard deviation of the weights.
    b_std : float, default=0.1
        Standard deviation of the biases.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
        The nonlinearity; "gelu" is the exact one, not its tanh form.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.kernels import FullyConnected
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> FullyConnected(depth=1, kind="nngp", b_std=0.0)(X).round(4)
    array([[1.    , 0.3183],
           [0.3183, 1.    ]])
    """

    def __init__(
        self,
        depth: int = 1,
        kind: str = "ntk",
        w_std: float = 2**0.5,
        b_std: float = 0.1,
        activation: str = "relu",
    ) -> None:
        self.depth = depth
        self.kind = kind
        self.w_std = w_std
        self.b_std = b_std
        self.activation = activation

    def _doubt(self, X: Floats) -> str | None:
        """Say that of few and large features the angle is seen, and hardly the length.

        A network without biases is homogeneous: f(2 x) = 2 f(x). Of one column it learns two
        numbers, the slopes at either side of zero.
        """
        n_features = X.shape[1]
        if n_features not in _DROWNED or self.activation == "exp" or self.depth == 0:
            return None
        with np.errstate(over="ignore"):
            square = float(np.mean(np.square(X[evenly(X)], dtype=np.float64)))
        if self.w_std**2 * square <= _DROWNED[n_features] * self.b_std**2:
            return None
        if n_features > 1 and centre_of(X) is not None:
            return None  # of rows that lie in one direction, lengths are seen as a plane is
        seen = "their signs" if n_features == 1 else "their angles from zero"
        return (
            f"of rows of {n_features} columns, near {square**0.5:.3g}, {self!r} sees little but "
            f"{seen}, because its biases are drowned. Put StandardScaler in front, in a Pipeline, "
            "raise 'b_std', or take the kernel \"rbf\""
        )

    def function(self) -> FullyConnectedFunction:
        """Return the kernel as a pure JAX function."""
        owner = type(self).__name__
        return FullyConnectedFunction(
            w_std=check_positive(owner, "w_std", self.w_std),
            b_std=check_positive(owner, "b_std", self.b_std, zero=True),
            depth=check_integer(owner, "depth", self.depth, minimum=0),
            kind=check_option(owner, "kind", self.kind, ("ntk", "nngp")),
            activation=check_option(owner, "activation", self.activation, tuple(DUALS)),
            centre=self._centre,
        )


class _LengthScaleKernel(JaxKernel):
    """A stationary kernel whose length scale may be the median distance between rows."""

    _metric: str

    def __init__(self, length_scale: float | str = "auto") -> None:
        self.length_scale = length_scale

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return the kernel with ``length_scale="auto"`` replaced by X's median distance."""
        X = check_any_rows("X", X)
        check_finite_rows("X", X[evenly(X)])
        if not isinstance(self.length_scale, str):
            return super().resolve(X)
        check_option(
            type(self).__name__, "length_scale", self.length_scale, ("auto",), also=" or a number"
        )
        kernel = type(self)(length_scale=median_distance(X, self._metric))
        return kernel.resolve(X)

    def is_stationary(self) -> bool:
        """Return True."""
        return True

    def _checked_length_scale(self) -> float:
        if isinstance(self.length_scale, str):
            raise ValueError(
                f"The 'length_scale' parameter of {type(self).__name__} is "
                f"{self.length_scale!r}, which depends on data: call resolve(X) first."
            )
        return check_positive(type(self).__name__, "length_scale", self.length_scale)


class RBF(_LengthScaleKernel, _DotProductKernel):
    """Gaussian kernel, ``exp(-|x - x'|_2^2 / (2 length_scale^2))``.

    It is ``sklearn.gaussian_process.kernels.RBF`` with a fixed length scale, and
    ``sklearn.metrics.pairwise.rbf_kernel`` with ``gamma = 1 / (2 length_scale^2)``.

    Parameters
    ----------
    length_scale : float or "auto", default="auto"
        "auto" is the median Euclidean distance between training rows (at most 1000 of them), so
        raw pixels, standardised and whitened features work alike. ``resolve(X)`` returns the kernel
        with that number in place of "auto"; estimators publish it as ``kernel_``. To scikit-learn's
        Gaussian processes pass ``RBF().resolve(X)``: they also call the kernel on test rows alone
        or with test rows in place of X, from which "auto" would take another median.

    Examples
    --------
    >>> from kipsk.kernels import RBF
    >>> RBF().resolve([[0.0, 0.0], [3.0, 4.0]])
    RBF(length_scale=5.0)
    """

    _metric = "euclidean"

    def function(self) -> RBFFunction:
        """Return the kernel as a pure JAX function."""
        return RBFFunction(self._checked_length_scale(), centre=self._centre)


class Laplace(_LengthScaleKernel):
    """Laplacian kernel, ``exp(-|x - x'|_1 / length_scale)``.

    It is ``sklearn.metrics.pairwise.laplacian_kernel`` with ``gamma = 1 / length_scale``. Each pair
    of rows needs ``n_features`` operations that no matrix product can share, so the kernel
    costs some ten times as much as `RBF` or `FullyConnected`.

    Parameters
    ----------
    length_scale : float or "auto", default="auto"
        "auto" is the median city-block distance between training rows (at most 1000 of them). To
        scikit-learn's Gaussian processes pass ``Laplace().resolve(X)``, as with `RBF`.

    Examples
    --------
    >>> from kipsk.kernels import Laplace
    >>> Laplace().resolve([[0.0, 0.0], [3.0, 4.0]])
    Laplace(length_scale=7.0)
    """

    _metric = "cityblock"

    def function(self) -> LaplaceFunction:
        """Return the kernel as a pure JAX function."""
        return LaplaceFunction(self._checked_length_scale())


def median_distance(X: AnyArray, metric: str) -> float:
    """Return the median distance between different rows of an evenly spaced subset of X.

    The subset is not random, so that a kernel called again with the same reference rows is the same
    kernel. If all rows coincide the result is 1.
    """
    distances = pdist(X[evenly(X)].astype(np.float64), metric)
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0
