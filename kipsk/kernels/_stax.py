"""Kernels of neural-tangents (an optional extra), and an import of it that works on current JAX.

The last release, 0.6.5, cannot be imported with jax >= 0.6: two of its modules use names that JAX
has removed, and one of these also loads TensorFlow. Kernels and networks need neither module.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._checks import check_option, refuse
from kipsk._types import Given
from kipsk.architectures._layers import Shape, checked_shape
from kipsk.kernels._base import JaxKernel, KernelFunction, in_float64
from kipsk.kernels._pairs import all_pairs, pairs_among

# How many covariances between pixels a call may go through. An array of them takes 256 MiB in
# float32.
_TOGETHER = 2**26

# `experimental` imports TensorFlow; `_src.empirical` uses jax.core.Jaxpr, which jax 0.6 removed.
_BROKEN = ("neural_tangents.experimental", "neural_tangents._src.empirical")


class _Placeholder(ModuleType):
    """A module in place of one that cannot be imported; any public name of it is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def load_stax() -> ModuleType:
    """Import and return ``neural_tangents.stax`` without TensorFlow.

    Returns
    -------
    stax : module

    Raises
    ------
    ImportError
        If neural-tangents is not installed; the message names the extra.

    Notes
    -----
    If neural-tangents was not imported before, ``neural_tangents.experimental`` and its empirical
    kernels stay unavailable in this process.
    """
    if "neural_tangents" not in sys.modules:
        for name in _BROKEN:
            sys.modules.setdefault(name, _Placeholder(name))
    try:
        return importlib.import_module("neural_tangents.stax")
    except ImportError as error:
        for name in _BROKEN:
            if isinstance(sys.modules.get(name), _Placeholder):
                del sys.modules[name]
        raise ImportError(
            "kipsk.kernels.load_stax needs neural-tangents, which is not installed or cannot be "
            "imported: install it, or install kipsk with its extra 'neural-tangents'."
        ) from error


#: A function of two batches, ``(x1, x2)`` or ``(x1, x2, get)``, that returns their kernel matrix.
KernelFn = Callable[..., Array]


def _in_full_precision() -> AbstractContextManager[None]:
    """Return a context of float32 products on a GPU, unless its user has chosen another one.

    The default of products there has an error of 3e-4, which a ridge of 1e-6 does not survive.
    """
    chosen = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if jax.default_backend() == "cpu" or chosen is not None:
        return nullcontext()
    return jax.default_matmul_precision("highest")


@register_dataclass
@dataclass(frozen=True)
class StaxFunction(KernelFunction):
    """A function of two batches, evaluated in tiles of bounded memory."""

    kernel_fn: KernelFn = field(metadata={"static": True})
    image_shape: Shape | None = field(metadata={"static": True})
    get: str | None = field(metadata={"static": True})  # None if the function has no such argument

    def prepare(self, X: Array) -> Array:
        self._inputs(X)  # raises if rows do not have the shape of the images
        return X

    def cross(self, A: Array, B: Array) -> Array:
        if not (len(A) and len(B)):
            return jnp.zeros((len(A), len(B)), A.dtype)
        n_b = min(self._pairs_together(), len(B))
        n_a = min(max(1, self._pairs_together() // n_b), len(A))
        return all_pairs(self._block, (n_a, n_b), A, B)

    def gram(self, A: Array) -> Array:
        A = in_float64(A)
        if len(A) ** 2 <= self._pairs_together():
            return self._call(A, None)
        # Single pairs. A tile of several would pair rows with themselves, and there the derivative
        # of an arc cosine is infinite unless the function knows that both rows are the same.
        return jnp.fill_diagonal(pairs_among(self._block, 1, A), self.diag(A), inplace=False)

    def diag(self, A: Array) -> Array:
        return jax.lax.map(lambda x: self._call(x[None], None)[0, 0], A)

    def _block(self, A: Array, B: Array) -> Array:
        return self._call(A, B)

    def pair_size(self, n_features: int) -> int:
        return math.prod(self.image_shape[:2]) ** 2 if self.image_shape else 1

    def _pairs_together(self) -> int:
        return max(1, _TOGETHER // self.pair_size(0))

    def _inputs(self, X: Array) -> Array:
        if self.image_shape is None:
            return X
        if math.prod(self.image_shape) != X.shape[1]:
            raise refuse(
                "StaxKernel",
                "image_shape",
                f"(height, width, channels) of the images whose {X.shape[1]} values are a row of X",
                self.image_shape,
            )
        return X.reshape(len(X), *self.image_shape)

    def _call(self, A: Array, B: Array | None) -> Array:
        a, b = self._inputs(A), None if B is None else self._inputs(B)
        with _in_full_precision():
            if self.get is None:
                K = self.kernel_fn(a, a if b is None else b)
            else:
                K = self.kernel_fn(a, b, self.get)
        shape = (len(A), len(A if B is None else B))
        if getattr(K, "shape", None) != shape:
            raise ValueError(
                "The 'kernel_fn' parameter of StaxKernel must return a matrix, here of shape "
                f"{shape}. Got {getattr(K, 'shape', type(K).__name__)} instead: pass the kernel_fn "
                "of stax.serial, with get='ntk' or 'nngp', or a JAX function of two batches."
            )
        return K


class StaxKernel(JaxKernel):
    """A ``kernel_fn`` of neural-tangents, or any JAX function of two batches, as a kernel.

    Parameters
    ----------
    kernel_fn : callable
        A function ``kernel_fn(x1, x2, get)`` such as ``stax.serial`` returns, or ``kernel_fn(x1,
        x2)``. It returns the kernel matrix, and JAX has to be able to differentiate it. To be
        pickled it must be importable.
    image_shape : tuple (H, W, C), default=None
        The shape that each row is given before the call; None leaves rows as they are.
    get : {"ntk", "nngp"}, default="ntk"
        Passed on to `kernel_fn` if it has a parameter of this name.

    See Also
    --------
    Convolutional : Kernels of convolutional networks, many times faster.
    load_stax : Imports ``neural_tangents.stax``, also with current versions of JAX.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from kipsk.kernels import StaxKernel
    >>> def polynomial(x1, x2):
    ...     return (1 + x1 @ x2.T) ** 2
    >>> StaxKernel(polynomial)([[1.0, 0.0], [0.0, 1.0]])
    array([[4., 1.],
           [1., 4.]])
    """

    def __init__(
        self,
        kernel_fn: KernelFn,
        image_shape: tuple[int, int, int] | None = None,
        get: str = "ntk",
    ) -> None:
        self.kernel_fn = kernel_fn
        self.image_shape = image_shape
        self.get = get

    def function(self) -> StaxFunction:
        """Return the kernel as a pure JAX function."""
        if not callable(self.kernel_fn):
            rule = "a function of two batches, such as the last of stax.serial's three results"
            raise refuse("StaxKernel", "kernel_fn", rule, self.kernel_fn)
        check_option("StaxKernel", "get", self.get, ("ntk", "nngp"))
        shape: Given = self.image_shape
        if shape is not None:
            shape = list(shape) if isinstance(shape, np.ndarray) else shape
            shape = checked_shape("StaxKernel", "image_shape", shape, n_dims=(3,))
        takes_get = "get" in inspect.signature(self.kernel_fn).parameters
        return StaxFunction(self.kernel_fn, shape, self.get if takes_get else None)
