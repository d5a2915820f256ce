"""The polynomial kernel and its monomials. Oracle: scikit-learn's polynomial_kernel."""

from __future__ import annotations

from math import comb

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from kipsk.kernels import Polynomial

X, Z = np.random.default_rng(0).standard_normal((2, 6, 4))
every_polynomial = pytest.mark.parametrize(
    ("degree", "coef0"), [(degree, coef0) for degree in (1, 2, 3) for coef0 in (0, 0.7)]
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("gamma", "sklearn_gamma"), [("auto", None), (0.3, 0.3)])
@every_polynomial
def test_equals_sklearn(degree, coef0, gamma, sklearn_gamma, dtype, close):
    kernel = Polynomial(degree, gamma, coef0)
    A, B = X.astype(dtype), Z.astype(dtype)
    oracle = {"degree": degree, "gamma": sklearn_gamma, "coef0": coef0}
    close(kernel(A, B), polynomial_kernel(X, Z, **oracle), dtype)
    close(kernel(A), polynomial_kernel(X, **oracle), dtype)
    close(kernel.diag(A), np.diag(polynomial_kernel(X, **oracle)), dtype)


@every_polynomial
def test_row_size_is_the_number_of_monomials(degree, coef0):
    """Oracle: the prepared rows, and monomials of degree at most `degree` counted by hand."""
    function = Polynomial(degree, coef0=coef0).function()
    Phi = function.prepare(jnp.asarray(X, jnp.float32))
    assert Phi.shape == (6, function.row_size(4))
    assert function.row_size(4) == comb(4 + degree, degree) == {1: 5, 2: 15, 3: 35}[degree]


def test_of_one_feature_by_hand(close):
    """(2 x z + 3)^2 = 4 x^2 z^2 + 12 x z + 9."""
    x, z = X[:, :1], Z[:, :1].T
    close(Polynomial(2, 2.0, 3.0)(X[:, :1], Z[:, :1]), 4 * (x * z) ** 2 + 12 * x * z + 9)


def test_too_many_monomials():
    message = r"'degree' parameter of Polynomial .* 300 features .* Got 2 instead\. It has 45451\."
    with pytest.raises(ValueError, match=message):
        Polynomial(2)(np.ones((2, 300)))
    assert Polynomial(1)(np.ones((2, 300))).shape == (2, 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"degree": 0}, "'degree' parameter of Polynomial must be an integer >= 1. Got 0"),
        ({"degree": 1.5}, "'degree' parameter of Polynomial must be an integer >= 1. Got 1.5"),
        ({"gamma": 0}, "'gamma' parameter of Polynomial must be a finite number > 0.* Got 0"),
        ({"gamma": "scale"}, "'gamma' parameter of Polynomial .* or \"auto\"\\. Got 'scale'"),
        ({"coef0": -1}, "'coef0' parameter of Polynomial must be a finite number >= 0. Got -1"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        Polynomial(**params)(X)
