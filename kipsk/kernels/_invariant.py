"""Kernels for which an image and its mirror image are the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from numpy.typing import ArrayLike

from kipsk._checks import check_any_rows, check_finite_rows, refuse
from kipsk._jax import own_settings
from kipsk._types import Floats, PyTree
from kipsk.architectures._layers import checked_shape
from kipsk.kernels._base import FeatureFunction, JaxKernel, KernelFunction
from kipsk.kernels._infinite._convolutional import ConvolutionalFunction
from kipsk.kernels._products import DotProductFunction
from kipsk.kernels._registry import get_kernel, of_images


@dataclass(frozen=True)
class Mirror:
    """A function that mirrors images, given as rows, left to right."""

    image_shape: tuple[int, ...]

    def __call__(self, X: Array) -> Array:
        if math.prod(self.image_shape) != X.shape[1]:
            rule = f"(height, width, channels) of the images whose {X.shape[1]} values are a row"
            raise refuse("Invariant", "image_shape", rule, self.image_shape)
        return X.reshape(len(X), *self.image_shape)[:, :, ::-1].reshape(X.shape)


@register_dataclass
@dataclass(frozen=True)
class InvariantFunction(KernelFunction):
    """The mean of a kernel over the pairs of x or Tx with x' or Tx'.

    A prepared row is a pair of the base kernel's prepared rows: of x and of Tx.
    """

    base: KernelFunction
    transform: Callable[[Array], Array] = field(metadata={"static": True})
    # Whether K(Tx, Tx') = K(x, x') up to rounding. Two of the four terms are then enough.
    is_equivariant: bool = field(metadata={"static": True})

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        return self.base.is_random

    def draw(self, key: Array) -> InvariantFunction:
        return replace(self, base=self.base.draw(key))

    def at(self, step: Array | int) -> InvariantFunction:
        return replace(self, base=self.base.at(step))

    def prepare(self, X: Array) -> tuple[PyTree, PyTree]:
        return self.base.prepare(X), self.base.prepare(self.transform(X))

    def cross(self, A: tuple[PyTree, PyTree], B: tuple[PyTree, PyTree]) -> Array:
        K = self.base.cross(A[0], B[0]) + self.base.cross(A[1], B[0])
        if self.is_equivariant:
            return K / 2
        return (K + self.base.cross(A[0], B[1]) + self.base.cross(A[1], B[1])) / 4

    def exact(self, A: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        return self.base.exact(A[0]), self.base.exact(A[1])

    def gram(self, A: tuple[PyTree, PyTree]) -> Array:
        rows, images = self.exact(A)
        K = self.base.gram(rows)
        if not self.is_equivariant:
            K = (K + self.base.gram(images)) / 2
        mixed = self.base.cross(images, rows)
        return (K + (mixed + mixed.T) / 2) / 2

    def diag(self, A: tuple[PyTree, PyTree]) -> Array:
        return jax.lax.map(lambda a: self.gram(jax.tree.map(lambda leaf: leaf[None], a))[0, 0], A)

    def row_size(self, n_features: int) -> int:
        return 2 * self.base.row_size(n_features)

    def pair_size(self, n_features: int) -> int:
        size = self.base.pair_size(n_features)
        return size * (2 if self.is_equivariant else 4) if size > 1 else 1


@register_dataclass
@dataclass(frozen=True)
class InvariantFeaturesFunction(FeatureFunction):
    """The same of a kernel of features: its features are the mean of those of x and of Tx."""

    base: KernelFunction
    transform: Callable[[Array], Array] = field(metadata={"static": True})

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        return self.base.is_random

    @property
    def is_trained(self) -> bool:  # type: ignore[override]
        return self.base.is_trained

    def draw(self, key: Array) -> InvariantFeaturesFunction:
        return replace(self, base=self.base.draw(key))

    def at(self, step: Array | int) -> InvariantFeaturesFunction:
        return replace(self, base=self.base.at(step))

    def fixed(self) -> InvariantFeaturesFunction:
        return replace(self, base=self.base.fixed())

    def begun(self, n_features: int, n_outputs: int) -> InvariantFeaturesFunction:
        return replace(self, base=self.base.begun(n_features, n_outputs))

    def advance(self, X_s: Array, y_s: Array, step: Array | int) -> Self:
        """Train on the support and on what the transformation makes of it."""
        both = jnp.concatenate([X_s, self.transform(X_s)])
        return replace(self, base=self.base.advance(both, jnp.concatenate([y_s, y_s]), step))

    def prepare(self, X: Array) -> Array:
        own, other = (self.base.prepare(rows) for rows in (X, self.transform(X)))
        return (self.base.features(own) + self.base.features(other)) / 2

    def row_size(self, n_features: int) -> int:
        return self.base.row_size(n_features)

    def is_slow(self, n_features: int) -> bool:
        return self.base.is_slow(n_features)


class Invariant(JaxKernel):
    r"""A kernel averaged over a transformation that leaves classes alone, such as mirroring.

    With T, which is its own inverse::

        K'(x, x') = (K(x, x') + K(x, Tx') + K(Tx, x') + K(Tx, Tx')) / 4

    (Haasdonk & Burkhardt 2007, "Invariant kernel functions for pattern analysis and machine
    learning"). Kernel ridge regression with K' predicts the same for x and Tx. If K(Tx, Tx') =
    K(x, x'), it equals kernel ridge regression with K on the support rows and their images under T,
    with the same labels and twice the ridge: each support row counts for two. A step then takes
    twice the time. It takes four times the time with an exact convolutional kernel whose
    architecture tells left from right (by strides, or by a pooling that leaves out pixels on the
    right) or is used with a `transform` of your own.

    Parameters
    ----------
    kernel : str or kernel object, default="fc1"
        The kernel K.
    transform : "flip" or callable, default="flip"
        The transformation T. "flip" mirrors images left to right. A function must be hashable, map
        a JAX array of rows, (n, n_features), to an array of the same shape, and be its own
        inverse. For `FullyConnected` and `RBF` it must keep all lengths and angles.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X; needed for "flip". A `kernel` whose own image shape
        is None gets it too.

    Examples
    --------
    >>> from kipsk.kernels import Invariant
    >>> kernel = Invariant("fc1", image_shape=(1, 2, 1))
    >>> kernel([[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]).round(3)
    array([[2.857, 2.857]])
    """

    def __init__(
        self,
        kernel: str | JaxKernel = "fc1",
        transform: str | Callable[[Array], Array] = "flip",
        image_shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.kernel = kernel
        self.transform = transform
        self.image_shape = image_shape

    @property
    def recommended_reg(self) -> float:  # type: ignore[override]
        return self._base().recommended_reg

    @property
    def recommended_learning_rate(self) -> float:  # type: ignore[override]
        return self._base().recommended_learning_rate

    @property
    def recommended_batch_size(self) -> int:  # type: ignore[override]
        return self._base().recommended_batch_size

    @property
    def recommended_dtype(self) -> str:  # type: ignore[override]
        return self._base().recommended_dtype

    @property
    def stored_bytes(self) -> int:
        return self._base().stored_bytes

    def for_prediction(self) -> JaxKernel:
        """Return the mean of the kernel that `kernel` predicts with."""
        return self._of(self._base().for_prediction())

    def _precision(self, dtype: str) -> str:
        """Return that of the kernel inside."""
        return self._base()._precision(dtype)

    def _doubt(self, X: Floats) -> str | None:
        """Return that of the kernel inside."""
        return self._base()._doubt(X)

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return a kernel whose data-dependent parameters are set from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Training rows.

        Returns
        -------
        kernel : Invariant

        Raises
        ------
        ValueError
            If `transform` is not its own inverse on these rows, or does not keep the lengths and
            angles that the kernel depends on.
        """
        X = check_any_rows("X", X)
        some = X[:16]
        check_finite_rows("X", some)
        transform = self._transform()
        with own_settings():
            once = np.asarray(transform(jnp.asarray(some)))
            twice = np.asarray(transform(jnp.asarray(once))) if once.shape == some.shape else None
        if twice is None or not np.allclose(twice, some, 1e-4, 1e-4 * np.abs(some).max(initial=0)):
            rule = "a function that keeps the shape of rows and is its own inverse"
            raise refuse("Invariant", "transform", rule, self.transform)
        kernel = self._of(self._base().resolve(X))
        if getattr(kernel._step_function(), "is_equivariant", False):
            products, expected = once @ once.T, some @ some.T
            if not np.allclose(products, expected, 1e-4, 1e-4 * np.abs(expected).max(initial=0)):
                rule = f"a function that keeps lengths and angles of rows, for {self.kernel!r}"
                raise refuse("Invariant", "transform", rule, self.transform)
        return kernel

    def function(self) -> InvariantFunction | InvariantFeaturesFunction:
        """Return the kernel as a pure JAX function."""
        return self._around(self._base().function())

    def _step_function(self) -> InvariantFunction | InvariantFeaturesFunction:
        return self._around(self._base()._step_function())

    def _trained(self, X: Floats, Y: Floats) -> JaxKernel:
        """Train the kernel inside on the rows and on what the transformation makes of them."""
        with own_settings():
            images = np.asarray(self._transform()(jnp.asarray(X)))
        both = np.concatenate([X, images.astype(X.dtype)])
        return self._of(self._base()._trained(both, np.concatenate([Y, Y])))

    def _around(self, base: KernelFunction) -> InvariantFunction | InvariantFeaturesFunction:
        """Return the mean of a function of the kernel inside."""
        transform = self._transform()
        if base.has_features:
            return InvariantFeaturesFunction(base, transform)
        is_equivariant = isinstance(base, DotProductFunction)
        if isinstance(base, ConvolutionalFunction) and isinstance(transform, Mirror):
            is_equivariant = base.is_mirrored
        return InvariantFunction(base, transform, is_equivariant)

    def _transform(self) -> Callable[[Array], Array]:
        transform = self.transform
        if isinstance(transform, str) and transform == "flip":
            shape = self.image_shape
            if shape is None:
                rule = '(height, width, channels) for transform="flip"'
                raise refuse("Invariant", "image_shape", rule, None)
            return Mirror(checked_shape("Invariant", "image_shape", shape, n_dims=(3,)))
        if not callable(transform):
            rule = '"flip" or a hashable function of rows'
            raise refuse("Invariant", "transform", rule, transform)
        return transform

    def _base(self) -> JaxKernel:
        base = get_kernel(self.kernel)
        if self.image_shape is None:
            return base
        shape = checked_shape("Invariant", "image_shape", self.image_shape, n_dims=(3,))
        own = base.get_params().get("image_shape")
        if own is not None and tuple(own) != shape:
            raise refuse("Invariant", "image_shape", f"that of its kernel, {own}", self.image_shape)
        return of_images(base, shape)

    def _of(self, base: JaxKernel) -> Invariant:
        return Invariant(base, self.transform, self.image_shape)
