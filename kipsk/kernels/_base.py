"""The kernel contract: a scikit-learn object outside, a pure JAX function inside.

Users hold a `JaxKernel`. It has parameters, ``get_params``, works with ``clone``, and is called on
numpy arrays, so that it fits wherever scikit-learn takes a kernel. The rest of the package computes
with a `KernelFunction`, a pytree whose leaves are the numeric parameters. So it is an ordinary
argument of jitted code, and a new length scale does not compile anything again.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from sklearn.gaussian_process.kernels import Kernel

from kipsk._checks import check_finite_rows, check_rows
from kipsk._closed_form._products import matmul
from kipsk._closed_form._ridge import check_finite_gram
from kipsk._jax import own_settings
from kipsk._types import Floats, PyTree

#: Generator of the kernels' keys. It is named here because users can change JAX's default: a fitted
#: model stores its sampled networks as a seed, and has to draw the same ones again.
PRNG = "threefry2x32"

#: The number of the step whose networks score a support on its way: no step of a run has it.
FIXED_DRAW = 2**31 - 1


def in_float64(X: Array) -> Array:
    """Return X in float64, or in float32 where JAX is not told to use float64."""
    return X.astype(jax.dtypes.canonicalize_dtype(np.float64))


class KernelFunction:
    """A kernel as pure JAX: ``K(X1, X2) = cross(prepare(X1), prepare(X2))``.

    Subclasses are frozen dataclasses registered as pytrees. Everything that depends on one row
    alone belongs in `prepare`, which is evaluated once for rows that never change.

    Two subclasses with the same fields need a static field that tells them apart: JAX compares the
    static fields of registered dataclasses, not their classes, and would run the compiled code of
    one for the other.

    Attributes
    ----------
    is_random : bool
        Whether `draw` returns another kernel for another key. Rows then have to be prepared anew
        after each draw.
    has_features : bool
        Whether K(X1, X2) is the product of finite `features` of the rows. What a training set is to
        such a kernel are two sums over its rows, if the kernel does not change (`is_finite`).
    is_trained : bool
        Whether each step leaves another kernel to the next one, `advance`, which is made from the
        support and its labels.
    """

    is_random: bool = False
    has_features: bool = False
    is_trained: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether the kernel is a product of features that are the same at every step."""
        return self.has_features and not self.is_random

    def draw(self, key: Array) -> KernelFunction:
        """Return the kernel of the networks that a key draws; itself if nothing is drawn.

        `at` still draws other networks from it, one set for each step.
        """
        return self

    def at(self, step: Array | int) -> KernelFunction:
        """Return the kernel of one step of a run, drawn from this one's own key.

        A kernel that is random has to write both this and `draw`.
        """
        return self

    def fixed(self) -> KernelFunction:
        """Return the kernel that scores a support on its way, whatever the step."""
        return self.at(FIXED_DRAW)

    def begun(self, n_features: int, n_outputs: int) -> KernelFunction:
        """Return the kernel before the first step on rows and labels of so many columns.

        Only for kernels that are trained (`is_trained`), as `advance`.
        """
        raise NotImplementedError

    def advance(self, X_s: Array, y_s: Array, step: Array | int) -> Self:
        """Return the kernel after a step, trained on the support of that step."""
        raise NotImplementedError

    def prepare(self, X: Array) -> PyTree:
        """Return what the kernel needs of each row: a pytree whose leaves have ``len(X)`` rows."""
        raise NotImplementedError

    def cross(self, A: PyTree, B: PyTree) -> Array:
        """Return the kernel matrix of two prepared sets, of shape (n_a, n_b).

        In the precision of the rows, or in float64 where rows that lie far from zero need it.
        """
        raise NotImplementedError

    def exact(self, A: PyTree) -> PyTree:
        """Return a prepared set `in_float64`, as if it had been prepared in float64.

        Only the rows themselves may have the rounding of float32. A subclass whose prepared rows
        hold sums over features has to compute these again.
        """
        return jax.tree.map(in_float64, A)

    def gram(self, A: PyTree) -> Array:
        """Return the kernel matrix of one prepared set with itself, of shape (n_a, n_a).

        It is computed from the `exact` rows, because a ridge as small as 1e-6 is added to it.
        """
        A = self.exact(A)
        return self.cross(A, A)

    def diag(self, A: PyTree) -> Array:
        """Return the kernel of each prepared row with itself, of shape (n_a,)."""
        raise NotImplementedError

    def features(self, A: PyTree) -> Array:
        """Return Phi of a prepared set, of shape (n_a, p), with ``cross(A, B) = Phi_a Phi_b^T``.

        Only for kernels that have them (`has_features`).
        """
        raise NotImplementedError

    def row_size(self, n_features: int) -> int:
        """Return how many numbers a prepared row has."""
        return n_features

    def pair_size(self, n_features: int) -> int:
        """Return how many numbers one entry of the matrix is computed through.

        It is 1 for kernels that are matrix products and elementwise functions.
        """
        return 1

    def has_slow_pairs(self, n_features: int) -> bool:
        """Return whether each entry is a computation of its own, as that of a pair of images is.

        A step then goes through blocks of pairs, which workers may compute.
        """
        return self.pair_size(n_features) > 1

    def is_slow(self, n_features: int) -> bool:
        """Return whether computing a block takes far longer than sending its rows elsewhere.

        That is so for slow pairs, and for rows whose features networks compute.
        """
        return self.is_random or self.has_slow_pairs(n_features)


class FeatureFunction(KernelFunction):
    """A kernel whose prepared rows are its features."""

    has_features = True

    def cross(self, A: Array, B: Array) -> Array:
        return matmul(A, B.T)

    def diag(self, A: Array) -> Array:
        A = in_float64(A)
        return jnp.sum(A * A, axis=1)

    def features(self, A: Array) -> Array:
        return A


def not_known_yet(owner: str, name: str, value: str) -> ValueError:
    """Return the error for the bytes of an array that is still to be taken from rows."""
    return ValueError(
        f"The {name!r} parameter of {owner} must be an array for its bytes to be counted. Got "
        f"{value!r} instead, which depends on data: call kernel.resolve(X) first, or take the "
        "kernel that predicts, distiller.predictor_.kernel_."
    )


def with_constant(features: Array, constant: Array | float) -> Array:
    """Return features and one more, which is the same for all rows."""
    last = jnp.broadcast_to(jnp.asarray(constant, features.dtype), (len(features), 1))
    return jnp.concatenate([features, last], axis=1)


@jax.jit
def prepare(function: KernelFunction, X: Array) -> PyTree:
    """Return ``function.prepare(X)``, compiled."""
    return function.prepare(X)


@jax.jit
def evaluate(function: KernelFunction, X: Array, Y: Array | None = None) -> Array:
    """Return the kernel matrix of `exact` rows, compiled, in float64; None stands for X.

    Whoever solves with it has no use for float32: ``K(X, Y)`` and ``K(X)`` have to agree to more
    digits than the ridge, or a variance becomes negative.
    """
    A = function.prepare(X)
    if Y is None:
        return function.gram(A)
    return function.cross(function.exact(A), function.exact(function.prepare(Y)))


@jax.jit
def _evaluate_diag(function: KernelFunction, X: Array) -> Array:
    return function.diag(function.exact(function.prepare(X)))


class JaxKernel(Kernel):
    """Base of all kernels: scikit-learn's kernel interface over a `KernelFunction`.

    A subclass stores plain parameters in ``__init__`` and implements `function`.
    ``GaussianProcessRegressor`` does not tune these parameters (``theta`` is empty); search over
    them with ``GridSearchCV`` and names such as ``kernel__depth``.

    Attributes
    ----------
    recommended_reg : float
        The relative ridge that ``reg="auto"`` stands for.
    recommended_learning_rate : float
        The rate that ``learning_rate="auto"`` stands for, in units of the features' deviation.
    recommended_batch_size : int
        The target rows of a step that ``batch_size="auto"`` stands for.
    recommended_dtype : str
        The precision of predictions that ``dtype="auto"`` stands for.
    """

    recommended_reg: float = 1e-6
    recommended_learning_rate: float = 0.08
    recommended_batch_size: int = 5000
    recommended_dtype: str = "float64"

    def for_prediction(self) -> JaxKernel:
        """Return the kernel to predict with: this one, or a larger and fixed sample of networks."""
        return self

    def _precision(self, dtype: str) -> str:
        """Return the dtype that angles between rows of a dtype are computed in.

        Parameters
        ----------
        dtype : {"float32", "float64"}
            Of the rows.

        Returns
        -------
        precision : {"float32", "float64"}
            The same, for most kernels.
        """
        return dtype

    def _doubt(self, X: Floats) -> str | None:
        """Return why this kernel may be the wrong one for some rows, in words for their owner.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Training rows.

        Returns
        -------
        doubt : str or None
            What it does not see of the rows, and what to do; None if nothing is known against it.
        """
        return None

    @abstractmethod
    def function(self) -> KernelFunction:
        """Return the kernel as a pure JAX function; raises ValueError on bad parameters."""

    def _step_function(self) -> KernelFunction:
        """Return the function of the steps of a run, which may train it; `function` for most."""
        return self.function()

    def _trained(self, X: Floats, Y: Floats) -> JaxKernel:
        """Return the kernel that is made of rows and their targets, (n, n_outputs).

        This kernel itself, for all but those whose networks are trained.
        """
        return self

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return a kernel whose data-dependent parameters are set from the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Training rows.

        Returns
        -------
        kernel : JaxKernel
            This kernel itself if none of its parameters depends on data.
        """
        return self

    def __call__(
        self, X: ArrayLike, Y: ArrayLike | None = None, eval_gradient: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        """Return the kernel matrix as numpy.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Rows.
        Y : array-like of shape (n_y, n_features), default=None
            The reference rows; None stands for X. Data-dependent parameters are set from them,
            because scikit-learn passes the training rows here, in fit and in predict. Its Gaussian
            processes do not always do so: `resolve` the kernel before you pass it to one.
        eval_gradient : bool, default=False
            Whether to return also the (empty) gradient with respect to ``theta``.

        Returns
        -------
        K : ndarray of shape (n_x, n_y)
            In float64. Of rows in float32 the features of kernels that have finite ones are in
            float32, and all that is computed of pairs is in float64.
        gradient : ndarray of shape (n_x, n_x, 0)
            Only if ``eval_gradient``.

        Raises
        ------
        ValueError
            If X or Y is no matrix of finite numbers, or the kernel of its rows is not finite: a
            support vector machine would search for ever in a matrix with NaN.
        """
        X = check_rows("X", X)
        check_finite_rows("X", X)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        if Y is None:
            reference = X
        else:
            reference = Y = check_rows("Y", Y)
            check_finite_rows("Y", Y)
            if X.shape[1] != Y.shape[1]:
                raise ValueError(
                    f"X and Y must have the same number of features. Got X of shape {X.shape} "
                    f"and Y of shape {Y.shape} instead."
                )
        function = self.resolve(reference).function()
        with own_settings():
            K = np.array(
                evaluate(function, X.astype(dtype), None if Y is None else Y.astype(dtype))
            )
        check_finite_gram(K, "K(X)" if Y is None else "K(X, Y)")
        return (K, np.empty((*K.shape, 0))) if eval_gradient else K

    def diag(self, X: ArrayLike) -> Floats:
        """Return the diagonal of ``self(X)`` without computing the rest of the matrix.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Rows.

        Returns
        -------
        diagonal : ndarray of shape (n_x,)
            In float64, as the matrix.
        """
        X = check_rows("X", X)
        check_finite_rows("X", X)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        function = self.resolve(X).function()
        with own_settings():
            diagonal = np.array(_evaluate_diag(function, X.astype(dtype)))
        check_finite_gram(diagonal[:, None], "the diagonal of K(X)")
        return diagonal

    @property
    def stored_bytes(self) -> int:
        """Bytes of the arrays that the kernel has from data, such as filters and landmarks.

        They have to be kept with a distilled set that is made for this kernel, where numbers and
        a seed take next to nothing. Raises ValueError if the arrays are still to be taken from
        rows.
        """
        values = self.get_params(deep=False).values()
        arrays = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        return arrays + sum(v.stored_bytes for v in values if isinstance(v, JaxKernel))

    def is_stationary(self) -> bool:
        """Return whether the kernel depends on ``x - x'`` alone.

        Returns
        -------
        is_stationary : bool
            True for `RBF` and `Laplace`, False for all other kernels.
        """
        return False

    def __eq__(self, other: object) -> bool:
        """Return whether another kernel is of the same class, with equal parameters and arrays."""
        if type(other) is not type(self):
            return False
        own, its = self.get_params(), other.get_params()
        return all(np.array_equal(own[name], its[name]) for name in own)

    def __repr__(self) -> str:
        """Return the constructor call, with the shape of an array for its numbers."""
        shown = {
            name: f"<array of shape {value.shape}>"
            if isinstance(value, np.ndarray)
            else repr(value)
            for name, value in self.get_params().items()
        }
        return (
            f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"
        )
