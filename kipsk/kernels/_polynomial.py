"""Polynomial kernels, whose features are the monomials."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from math import comb, factorial, prod

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._checks import check_auto, check_integer, check_positive, refuse
from kipsk.kernels._base import FeatureFunction, JaxKernel, with_constant

# Features beyond which a kernel of monomials is refused: their second moments fill 8 GB.
_MAX_FEATURES = 2**15


@register_dataclass
@dataclass(frozen=True)
class PolynomialFunction(FeatureFunction):
    """``(gamma <x, x'> + coef0)^degree``."""

    gamma: float | None  # None is 1 / n_features
    coef0: float
    degree: int = field(metadata={"static": True})

    def prepare(self, X: Array) -> Array:
        """Return the monomials of ``[sqrt(gamma) x, sqrt(coef0)]``.

        By the multinomial theorem the product of as many features as `degree`, in any order, counts
        as often as its factors can be put in order.
        """
        n_features = X.shape[1]
        self._check(n_features)
        gamma = 1 / n_features if self.gamma is None else self.gamma
        x = with_constant(jnp.sqrt(gamma).astype(X.dtype) * X, jnp.sqrt(self.coef0))
        factors = np.array(
            list(combinations_with_replacement(range(n_features + 1), self.degree)), int
        )
        orders = [
            factorial(self.degree) / prod(map(factorial, Counter(row).values()))
            for row in factors.tolist()
        ]
        monomials = jnp.asarray(np.sqrt(orders), X.dtype)
        for column in factors.T:
            monomials = monomials * x[:, column]
        return monomials

    def row_size(self, n_features: int) -> int:
        return comb(n_features + self.degree, self.degree)

    def _check(self, n_features: int) -> None:
        size = self.row_size(n_features)
        if size > _MAX_FEATURES:
            rule = f"so low that {n_features} features have at most {_MAX_FEATURES} monomials"
            raise ValueError(f"{refuse('Polynomial', 'degree', rule, self.degree)} It has {size}.")


class Polynomial(JaxKernel):
    """Kernel of polynomials in the features, ``(gamma <x, x'> + coef0)^degree``.

    It is ``sklearn.metrics.pairwise.polynomial_kernel``, computed by its finite features, the
    ``comb(n_features + degree, degree)`` monomials: for tables of few columns.

    Parameters
    ----------
    degree : int, default=2
        The degree, at least 1.
    gamma : float or "auto", default="auto"
        "auto" is ``1 / n_features``.
    coef0 : float, default=1.0
        What is added to the product, at least 0. With 0 all monomials are of the highest degree.

    Examples
    --------
    >>> from kipsk.kernels import Polynomial
    >>> Polynomial(degree=2, gamma=1.0)([[1.0, 2.0]], [[3.0, 1.0]])
    array([[36.]])
    """

    def __init__(self, degree: int = 2, gamma: float | str = "auto", coef0: float = 1.0) -> None:
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0

    def function(self) -> PolynomialFunction:
        """Return the kernel as a pure JAX function."""
        gamma = check_auto("Polynomial", "gamma", self.gamma, None)
        return PolynomialFunction(
            gamma=gamma,
            coef0=check_positive("Polynomial", "coef0", self.coef0, zero=True),
            degree=check_integer("Polynomial", "degree", self.degree, minimum=1),
        )
