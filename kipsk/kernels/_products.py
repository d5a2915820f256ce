"""Matrices of ``<x, x'>``, ``|x|^2`` and ``|x'|^2``, which many kernels are functions of."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._closed_form._products import matmul
from kipsk.kernels._base import KernelFunction, in_float64


class Rows(NamedTuple):
    """Rows, with what a kernel of products needs of each row alone.

    Attributes
    ----------
    X : Array of shape (n, n_features)
        Less the centre c, where the kernel has one.
    squares : Array of shape (n,)
        ``|x|^2`` of these.
    along : Array of shape (n,), or None
        ``<x, c>`` of these; None where X is as it was given, or where no kernel asks for it.
    """

    X: Array
    squares: Array
    along: Array | None = None


@jax.custom_vjp
def _products(X: Array) -> Array:
    """Return ``X X^T``, of shape (n, n)."""
    return matmul(X, X.T)


# Autodiff would need two products, one for each factor.
_products.defvjp(
    lambda X: (_products(X), X),
    lambda X, cotangent: (matmul(cotangent + cotangent.T, X),),
)


def rows(X: Array) -> Rows:
    """Return rows as they are, with their squares."""
    return Rows(X, jnp.sum(X * X, axis=1))


class DotProductFunction(KernelFunction):
    def prepare(self, X: Array) -> Rows:
        return rows(X)

    def cross(self, A: Rows, B: Rows) -> Array:
        products = matmul(A.X, B.X.T)
        return self._of_products(products, A.squares[:, None], B.squares[None], A.X.shape[1])

    def exact(self, A: Rows) -> Rows:
        return rows(in_float64(A.X))

    def gram(self, A: Rows) -> Array:
        A = self.exact(A)
        products, n_features = _products(A.X), A.X.shape[1]
        K = self._of_products(products, A.squares[:, None], A.squares[None], n_features)
        # The diagonal is computed again, without the rounding of a product against two squares.
        return jnp.fill_diagonal(K, self.diag(A), inplace=False)

    def diag(self, A: Rows) -> Array:
        return self._of_squares(A.squares, A.X.shape[1])

    def _of_products(self, products: Array, a: Array, b: Array, n_features: int) -> Array:
        raise NotImplementedError

    def _of_squares(self, a: Array, n_features: int) -> Array:
        return self._of_products(a, a, a, n_features)
