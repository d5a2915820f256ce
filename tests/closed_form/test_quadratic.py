"""The squared error of a linear model over all rows, from moments.

Oracle: the rows themselves, in numpy and float64; for gradients autodiff of the dense loss.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import r2_score

from kipsk._closed_form._quadratic import (
    Quadratic,
    kernel_moments,
    mean_squares,
    r2,
    squares_of,
)

N, P, N_S, N_OUT = 40, 7, 5, 3
rng = np.random.default_rng(0)
PHI, Y = rng.standard_normal((N, P)), rng.standard_normal((N, N_OUT)) + np.array([0, 2, -1])
W, PHI_S, ALPHA = (rng.standard_normal(shape) for shape in ((P, N_OUT), (N_S, P), (N_S, N_OUT)))
# Rows in a space of three dimensions: of them H is R R^T with R of shape (P, 3).
FLAT = PHI[:, :3] @ rng.standard_normal((3, P))


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def quadratic_of(Phi, y=Y, rank=None, dtype=np.float64):
    H = Phi.T @ Phi / N
    if rank is not None:
        _, values, rows = np.linalg.svd(Phi, full_matrices=False)
        H = (values * rows.T)[:, :rank] / np.sqrt(N)
    H, C = (jnp.asarray(part, dtype) for part in (H, Phi.T @ y / N))
    others = np.mean(y**2, axis=0), np.var(y, axis=0), float(N)
    return Quadratic(H, C, *(jnp.asarray(part, jnp.float64) for part in others))


either_form = pytest.mark.parametrize(
    ("Phi", "rank"), [(PHI, None), (FLAT, None), (FLAT, 3)], ids=["H", "singular H", "factor"]
)


@either_form
def test_times(Phi, rank, close):
    quadratic = quadratic_of(Phi, rank=rank)
    assert quadratic.H.shape == (P, rank or P)
    close(quadratic.times(W), Phi.T @ (Phi @ W) / N)


@either_form
def test_mean_squares(Phi, rank, close):
    squares = jax.jit(mean_squares)(quadratic_of(Phi, rank=rank), W)
    close(squares, np.mean((Y - Phi @ W) ** 2, axis=0))


@either_form
def test_gradient_of_mean_squares(Phi, rank, close):
    """Each output has a weight of its own, and the loss is not linear in the squares."""
    weights = jnp.asarray([1.0, -2.0, 0.5])
    quadratic = quadratic_of(Phi, rank=rank)

    def loss(W):
        return jnp.sum(weights * jnp.sin(mean_squares(quadratic, W)))

    def dense(W):
        return jnp.sum(weights * jnp.sin(jnp.mean((Y - Phi @ W) ** 2, axis=0)))

    close(jax.jit(jax.grad(loss))(W), jax.grad(dense)(W))


@either_form
def test_kernel_moments(Phi, rank, close):
    K_st = PHI_S @ Phi.T
    products = jax.jit(kernel_moments)(quadratic_of(Phi, rank=rank), PHI_S)
    close(products, K_st @ K_st.T / N)
    assert (products == products.T).all()


@either_form
def test_gradient_of_kernel_moments(Phi, rank, close):
    """The cotangent is not symmetric."""
    weights = rng.standard_normal((N_S, N_S))
    quadratic = quadratic_of(Phi, rank=rank)

    def loss(Phi_s):
        return jnp.sum(weights * jnp.sin(kernel_moments(quadratic, Phi_s)))

    def dense(Phi_s):
        K_st = Phi_s @ Phi.T
        return jnp.sum(weights * jnp.sin(K_st @ K_st.T / N))

    close(jax.jit(jax.grad(loss))(PHI_S), jax.grad(dense)(jnp.asarray(PHI_S)))


@either_form
def test_squares_of(Phi, rank, close):
    """Oracle also: `mean_squares` of the linear model that alpha is."""
    quadratic, K_st = quadratic_of(Phi, rank=rank), PHI_S @ Phi.T
    products, moments = kernel_moments(quadratic, PHI_S), PHI_S @ quadratic.C
    squares = squares_of(products, moments, quadratic.y_squares, jnp.asarray(ALPHA))
    close(squares, np.mean((Y - K_st.T @ ALPHA) ** 2, axis=0))
    close(squares, mean_squares(quadratic, PHI_S.T @ ALPHA))


def test_gradient_through_all_of_kernel_ridge_regression(close):
    """Oracle: autodiff of the loss over the rows, by the support's features, two ways."""
    quadratic, y_s = quadratic_of(PHI), rng.standard_normal((N_S, N_OUT))

    def alpha_of(Phi_s):
        return jnp.linalg.solve(Phi_s @ Phi_s.T + 0.1 * jnp.eye(N_S), y_s)

    def of_model(Phi_s):
        return jnp.sum(mean_squares(quadratic, Phi_s.T @ alpha_of(Phi_s)))

    def of_moments(Phi_s):
        moments = kernel_moments(quadratic, Phi_s), Phi_s @ quadratic.C, quadratic.y_squares
        return jnp.sum(squares_of(*moments, alpha_of(Phi_s)))

    def dense(Phi_s):
        return jnp.sum(jnp.mean((Y - PHI @ Phi_s.T @ alpha_of(Phi_s)) ** 2, axis=0))

    expected = jax.grad(dense)(jnp.asarray(PHI_S))
    for loss in (of_model, of_moments):
        close(jax.jit(jax.grad(loss))(PHI_S), expected)


def test_r2_equals_sklearn(close):
    quadratic = quadratic_of(PHI)
    squares = mean_squares(quadratic, W)
    close(r2(quadratic, squares), r2_score(Y, PHI @ W))


def test_constant_outputs_do_not_count(close):
    y = Y.copy()
    y[:, 1] = 3.0
    quadratic = quadratic_of(PHI, y)
    squares = mean_squares(quadratic, W)
    close(r2(quadratic, squares), r2_score(y[:, [0, 2]], (PHI @ W)[:, [0, 2]]))
    assert r2(quadratic_of(PHI, np.ones((N, 2))), jnp.zeros(2)) == 0


def test_moments_in_float32(close):
    """Oracle: float64. The squares of targets stay in float64."""
    single = quadratic_of(PHI, dtype=np.float32)
    squares = mean_squares(single, W.astype(np.float32))
    close(squares, mean_squares(quadratic_of(PHI), W), np.float32)
    products = kernel_moments(single, PHI_S.astype(np.float32))
    assert products.dtype == np.float32
    close(products, kernel_moments(quadratic_of(PHI), PHI_S))


def test_the_moments_are_constants():
    """Nothing flows back into them: what is differentiated is the model."""
    quadratic = quadratic_of(PHI)
    of_H = jax.grad(lambda H: jnp.sum(mean_squares(quadratic._replace(H=H), W)))(quadratic.H)
    assert (np.asarray(of_H) == 0).all()
