"""The kernel contract: a scikit-learn object outside, a pure JAX function inside.

`JaxKernel` is what users hold: parameters, ``clone``, ``get_params``, and a call on numpy arrays,
so that it works wherever scikit-learn takes a kernel. `KernelFunction` is what the rest of the
package computes with: a pytree whose leaves are the numeric parameters, so that it is an ordinary
argument of jitted code and a new length scale does not compile anything again.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray
from sklearn.gaussian_process.kernels import Kernel

from kipsk._checks import check_rows

#: Generator of all keys. Not JAX's default, which users can set: a fitted model with sampled
#: networks is a seed, and has to draw them again.
PRNG = "threefry2x32"


def in_float64(X: Array) -> Array:
    """Return X in float64, or in float32 where JAX is not told to use float64."""
    return X.astype(jax.dtypes.canonicalize_dtype(np.float64))


class KernelFunction:
    """A kernel as pure JAX: ``K(X1, X2) = cross(prepare(X1), prepare(X2))``.

    Subclasses are frozen dataclasses registered as pytrees. All that depends on one row alone
    belongs in `prepare`, which is evaluated once for rows that never change.

    Two subclasses with the same fields need a static field that tells them apart: JAX compares the
    static fields of registered dataclasses, not their classes, and would run the compiled code of
    one for the other.

    Attributes
    ----------
    is_random : bool
        Whether `draw` gives another kernel for another key; rows are then prepared for each anew.
    """

    is_random: bool = False

    def draw(self, key: Array) -> KernelFunction:
        """Return the kernel of one step; only kernels of sampled networks differ."""
        return self

    def at(self, step: Array | int) -> KernelFunction:
        """Return the kernel of one step of a run, drawn from this one's own key."""
        return self

    def prepare(self, X: Array) -> Any:
        """Return per-row quantities: a pytree whose leaves have ``len(X)`` rows."""
        raise NotImplementedError

    def cross(self, A: Any, B: Any) -> Array:
        """Return the kernel matrix of two prepared sets, of shape (n_a, n_b)."""
        raise NotImplementedError

    def exact(self, A: Any) -> Any:
        """Return a prepared set `in_float64`, with nothing left of float32 but the rows' rounding.

        Subclasses whose prepared rows hold sums over features prepare these anew.
        """
        return jax.tree.map(in_float64, A)

    def gram(self, A: Any) -> Array:
        """Return the kernel matrix of one prepared set with itself, of shape (n_a, n_a).

        Of its `exact` rows: it is what a ridge as small as 1e-6 is added to.
        """
        A = self.exact(A)
        return self.cross(A, A)

    def diag(self, A: Any) -> Array:
        """Return the kernel of each prepared row with itself, of shape (n_a,)."""
        raise NotImplementedError

    def row_size(self, n_features: int) -> int:
        """Return how many numbers a prepared row is."""
        return n_features

    def pair_size(self, n_features: int) -> int:
        """Return how many numbers one entry of the matrix goes through; many make a slow kernel."""
        return 1

    def has_slow_pairs(self, n_features: int) -> bool:
        """Return whether each entry is a computation of its own, as that of a pair of images is.

        A step then goes through blocks of pairs, which workers may compute.
        """
        return self.pair_size(n_features) > 1

    def is_slow(self, n_features: int) -> bool:
        """Return whether a block of entries takes far longer than to send its rows elsewhere.

        That is so for slow pairs, and for rows whose features networks compute.
        """
        return self.is_random or self.has_slow_pairs(n_features)


@jax.jit
def prepare(function: KernelFunction, X: Array) -> Any:
    """Return ``function.prepare(X)``, compiled."""
    return function.prepare(X)


@jax.jit
def evaluate(function: KernelFunction, X: Array, Y: Array | None = None) -> Array:
    """Return the kernel matrix of rows, compiled, in their precision."""
    A = function.prepare(X)
    K = function.gram(A) if Y is None else function.cross(A, function.prepare(Y))
    return K.astype(X.dtype)


@jax.jit
def _evaluate_diag(function: KernelFunction, X: Array) -> Array:
    return function.diag(function.prepare(X)).astype(X.dtype)


class JaxKernel(Kernel):
    """Base of all kernels: scikit-learn's kernel interface over a `KernelFunction`.

    A subclass stores plain parameters in ``__init__`` and implements `function`. Its parameters
    are no tunable hyper-parameters of ``GaussianProcessRegressor`` (``theta`` is empty); search
    over them with ``GridSearchCV`` and names such as ``kernel__depth``.

    Attributes
    ----------
    recommended_reg : float
        The relative ridge that ``reg="auto"`` stands for.
    recommended_learning_rate : float
        The step, in units of the features' deviation, of ``learning_rate="auto"``.
    recommended_batch_size : int
        The target rows of a step of ``batch_size="auto"``.
    recommended_dtype : str
        The precision that ``dtype="auto"`` predicts in.
    """

    recommended_reg: float = 1e-6
    recommended_learning_rate: float = 0.08
    recommended_batch_size: int = 5000
    recommended_dtype: str = "float64"

    def for_prediction(self) -> JaxKernel:
        """Return the kernel to predict with: a sampled one's larger, fixed sample."""
        return self

    @abstractmethod
    def function(self) -> KernelFunction:
        """Return the kernel as a pure JAX function; raises ValueError on bad parameters."""

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return a kernel whose data-dependent parameters are set from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Training rows.

        Returns
        -------
        kernel : JaxKernel
            This one if none of its parameters depends on data.
        """
        return self

    def __call__(
        self, X: ArrayLike, Y: ArrayLike | None = None, eval_gradient: bool = False
    ) -> Any:
        """Return the kernel matrix as numpy.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Rows.
        Y : array-like of shape (n_y, n_features), default=None
            The reference rows; None stands for X. Data-dependent parameters are set from them,
            because scikit-learn passes the training rows here, in fit and in predict (its Gaussian
            processes do not always: `resolve` the kernel first).
        eval_gradient : bool, default=False
            Also return the (empty) gradient with respect to ``theta``.

        Returns
        -------
        K : ndarray of shape (n_x, n_y)
            In float32 if X is float32, else in float64.
        gradient : ndarray of shape (n_x, n_x, 0)
            Only if ``eval_gradient``.
        """
        X = check_rows("X", X)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        if Y is None:
            reference = X
        else:
            reference = Y = check_rows("Y", Y)
            if X.shape[1] != Y.shape[1]:
                raise ValueError(
                    f"X and Y must have the same number of features. Got X of shape {X.shape} "
                    f"and Y of shape {Y.shape} instead."
                )
        function = self.resolve(reference).function()
        with jax.enable_x64(True):
            K = np.array(
                evaluate(function, X.astype(dtype), None if Y is None else Y.astype(dtype))
            )
        return (K, np.empty((*K.shape, 0))) if eval_gradient else K

    def diag(self, X: ArrayLike) -> NDArray[Any]:
        """Return the diagonal of ``self(X)`` without the rest of it.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Rows.

        Returns
        -------
        diagonal : ndarray of shape (n_x,)
            In float32 if X is float32, else in float64.
        """
        X = check_rows("X", X)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        function = self.resolve(X).function()
        with jax.enable_x64(True):
            return np.array(_evaluate_diag(function, X.astype(dtype)))

    def is_stationary(self) -> bool:
        """Return whether the kernel depends on ``x - x'`` alone.

        Returns
        -------
        is_stationary : bool
            False for all kernels but `RBF` and `Laplace`.
        """
        return False

    def __repr__(self) -> str:
        """Return the constructor call."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({arguments})"
