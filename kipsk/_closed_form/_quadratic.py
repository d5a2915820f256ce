"""The squared error over all rows of a linear model of features, as a function of the model.

Notation: ``Phi`` (n, p) features of rows, ``H = E[phi phi^T]`` (p, p), ``C = E[phi y^T]``
(p, n_outputs), ``W`` (p, n_outputs) a linear model of the features. With
``W = Phi_s^T (K_ss + ridge)^-1 y_s`` kernel ridge regression on a support set is such a model, and
its mean squared error over all rows is a polynomial of degree two in W, whatever their number.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._closed_form._products import matmul
from kipsk._types import PyTree


class Quadratic(NamedTuple):
    """The error of all rows as a function of W, in arrays of numpy or of JAX.

    Attributes
    ----------
    H : Array of shape (p, p) or (p, rank)
        ``E[phi phi^T]``, or R with ``R R^T`` near it and fewer columns than rows.
    C : Array of shape (p, n_outputs)
        ``E[phi y^T]``.
    y_squares : Array of shape (n_outputs,)
        ``E[y^2]`` of each output, or what else the error of W = 0 is.
    variances : Array of shape (n_outputs,)
        The variance of each output, in whose units `r2` is.
    n_rows : Array
        The number of rows whose weight is above zero.
    """

    H: PyTree
    C: PyTree
    y_squares: PyTree
    variances: PyTree
    n_rows: PyTree

    def times(self, W: Array) -> Array:
        """Return ``H W``."""
        if self.H.shape[0] == self.H.shape[1]:
            return matmul(self.H, W)
        return matmul(self.H, matmul(self.H.T, W))


@jax.custom_vjp
def mean_squares(quadratic: Quadratic, W: Array) -> Array:
    """Return ``E (y - W^T phi)^2`` of each output, of shape (n_outputs,).

    It is ``w^T H w - 2 w^T c + E y^2``. Its gradient ``2 (H w - c)`` is written out, because
    autodiff would multiply with H again.
    """
    return _forward(quadratic, W)[0]


def _forward(quadratic: Quadratic, W: Array) -> tuple[Array, Array]:
    difference = quadratic.times(W) - quadratic.C
    squares = jnp.sum(W * (difference - quadratic.C), axis=0) + quadratic.y_squares
    return squares, 2 * difference


def _backward(gradient: Array, cotangent: Array) -> tuple[None, Array]:
    return None, gradient * cotangent


mean_squares.defvjp(_forward, _backward)


def r2(quadratic: Quadratic, squares: Array) -> Array:
    """Return the mean over outputs of R2, from `mean_squares`; constant outputs do not count."""
    variances = quadratic.variances
    varies = variances > 1e-6 * quadratic.y_squares
    explained = jnp.where(varies, 1 - squares / jnp.where(varies, variances, 1), 0)
    return jnp.sum(explained) / jnp.maximum(jnp.sum(varies), 1)


@jax.custom_vjp
def kernel_moments(quadratic: Quadratic, Phi_s: Array) -> Array:
    """Return ``E[k k^T] = Phi_s H Phi_s^T`` of the kernel k between the support and a row.

    Its gradient is written out, because autodiff would multiply with H again.
    """
    return _kernel_moments(quadratic, Phi_s)[0]


def _kernel_moments(quadratic: Quadratic, Phi_s: Array) -> tuple[Array, Array]:
    product = quadratic.times(Phi_s.T)
    moments = matmul(Phi_s, product)
    return (moments + moments.T) / 2, product


def _of_kernel_moments(product: Array, cotangent: Array) -> tuple[None, Array]:
    return None, matmul(cotangent + cotangent.T, product.T)


kernel_moments.defvjp(_kernel_moments, _of_kernel_moments)


def squares_of(products: Array, moments: Array, y_squares: Array, alpha: Array) -> Array:
    """Return the mean squares of ``y - alpha^T k``, of shape (n_outputs,).

    Parameters
    ----------
    products : Array of shape (n_s, n_s)
        From `kernel_moments`.
    moments : Array of shape (n_s, n_outputs)
        ``E[k y^T]``.
    y_squares : Array of shape (n_outputs,)
    alpha : Array of shape (n_s, n_outputs)
    """
    return jnp.sum(alpha * (matmul(products, alpha) - 2 * moments), axis=0) + y_squares
