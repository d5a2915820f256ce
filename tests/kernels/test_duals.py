"""Dual activations against Gaussian integrals computed in numpy, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf

from kipsk.kernels._duals import DUALS

NETWORKS = [name for name in DUALS if name != "exp"]  # of which there are networks

pytestmark = pytest.mark.optimised

Array = NDArray[np.float64]
N = 16  # points of every test, so that operations compile for one shape


class Activation(NamedTuple):
    phi: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _cdf(u: Array) -> Array:
    return (1 + erf(u / np.sqrt(2))) / 2


def _density(u: Array) -> Array:
    return np.exp(-u * u / 2) / np.sqrt(2 * np.pi)


ACTIVATIONS = {
    "relu": Activation(lambda u: np.maximum(u, 0), lambda u: (u > 0).astype(float)),
    "erf": Activation(lambda u: erf(u), lambda u: 2 / np.sqrt(np.pi) * np.exp(-u * u)),
    "gelu": Activation(lambda u: u * _cdf(u), lambda u: _cdf(u) + u * _density(u)),
}


def expectation(f: Callable[[Array], Array], k: float, a: float, b: float) -> float:
    """``E[f(u) f(v)]`` by Gauss-Legendre quadrature in polar coordinates.

    With ``u = sqrt(a) r cos(t)`` and ``v = sqrt(b) r cos(t - angle)``, kinks at the origin lie on
    four rays; between these the integrand is smooth, so the result has some 12 digits.
    """
    angle = np.arccos(np.clip(k / np.sqrt(a * b), -1, 1))
    rays = np.sort(np.mod(np.pi / 2 * np.array([1, 3, 1, 3]) + [0, 0, angle, angle], 2 * np.pi))
    node, weight = np.polynomial.legendre.leggauss(120)
    r, radial = 6 * (node + 1), 6 * weight
    radial = radial * r * np.exp(-r * r / 2) / (2 * np.pi)
    total = 0.0
    for start, stop in zip(rays, [*rays[1:], rays[0] + 2 * np.pi], strict=True):
        half = (stop - start) / 2
        t = start + half * (node + 1)
        u = np.sqrt(a) * r[:, None] * np.cos(t)
        v = np.sqrt(b) * r[:, None] * np.cos(t - angle)
        total += radial @ (f(u) * f(v)) @ (half * weight)
    return total


def covariances(seed: int = 0, n: int = N) -> tuple[Array, Array, Array]:
    """Random k, a, b of all angles, away from coinciding and opposite points."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.2, 3, n), rng.uniform(0.2, 3, n)
    return np.linspace(-0.97, 0.97, n) * np.sqrt(a * b), a, b


def pair(activation: str, *arguments: Any, dtype: str = "float64") -> list[NDArray[Any]]:
    with jax.enable_x64(True):
        outputs = DUALS[activation].pair(*(jnp.asarray(x, dtype) for x in arguments))
        return [np.asarray(output) for output in outputs]


def gradients(activation: str, *arguments: Any, dtype: str = "float64") -> NDArray[Any]:
    """Slopes of both outputs in k, a and b, of shape (2, 3, n)."""
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x, dtype) for x in arguments]
        _, vjp = jax.vjp(DUALS[activation].pair, *arrays)
        one, zero = jnp.ones_like(arrays[0]), jnp.zeros_like(arrays[0])
        return np.array([vjp((one, zero)), vjp((zero, one))])


@pytest.mark.parametrize("activation", NETWORKS)
def test_pair_equals_quadrature(activation, close):
    k, a, b = covariances(n=N - 4)
    # Coinciding, parallel, opposite and independent points too.
    k = np.append(k, [0.7, 0.6, -0.7, 0.0])
    a, b = np.append(a, [0.7, 0.3, 0.7, 1.3]), np.append(b, [0.7, 1.2, 0.7, 0.4])
    for values, f in zip(pair(activation, k, a, b), ACTIVATIONS[activation], strict=True):
        close(values, [expectation(f, *point) for point in zip(k, a, b, strict=True)])


@pytest.mark.parametrize("activation", NETWORKS)
def test_diag_equals_quadrature(activation, close):
    a = np.geomspace(1e-4, 3, N)
    with jax.enable_x64(True):
        outputs = DUALS[activation].diag(jnp.asarray(a))
    for values, f in zip(outputs, ACTIVATIONS[activation], strict=True):
        close(values, [expectation(f, x, x, x) for x in a])


@pytest.mark.parametrize("activation", NETWORKS)
def test_pair_agrees_with_monte_carlo(activation):
    """A second oracle that shares no formula with the quadrature: 400 000 Gaussian pairs."""
    rng = np.random.default_rng(0)
    k, a, b = np.full(N, 0.5), np.full(N, 1.5), np.full(N, 0.8)
    u, v = rng.multivariate_normal([0, 0], [[a[0], k[0]], [k[0], b[0]]], 400_000).T
    for values, f in zip(pair(activation, k, a, b), ACTIVATIONS[activation], strict=True):
        samples = f(u) * f(v)
        assert abs(values[0] - samples.mean()) < 4 * samples.std() / np.sqrt(len(samples))


@pytest.mark.parametrize("activation", DUALS)
def test_dot_is_finite_difference_of_nngp_in_k(activation, close):
    k, a, b = covariances()
    step = 1e-5
    above, below = pair(activation, k + step, a, b)[0], pair(activation, k - step, a, b)[0]
    # A central difference is good to step^2 times the third derivative.
    close(pair(activation, k, a, b)[1], (above - below) / (2 * step), times=1e3)


@pytest.mark.parametrize("activation", DUALS)
def test_gradients_equal_finite_differences(activation, close):
    arguments = np.array(covariances(seed=1))
    step = 1e-5
    actual = gradients(activation, *arguments)
    for which, shift in enumerate(step * np.eye(3)[:, :, None]):
        above, below = pair(activation, *arguments + shift), pair(activation, *arguments - shift)
        for output in range(2):
            oracle = (above[output] - below[output]) / (2 * step)
            close(actual[output, which], oracle, times=1e4)


@pytest.mark.parametrize("activation", DUALS)
def test_float32_equals_float64(activation, close):
    k, a, b = covariances(seed=2)
    for single, double in zip(
        pair(activation, k, a, b, dtype="float32"), pair(activation, k, a, b), strict=True
    ):
        assert single.dtype == np.float32
        assert double.dtype == np.float64
        close(single, double)
    # Slopes of `dot` of relu grow as 1 / sin(angle) towards the ends.
    close(gradients(activation, k, a, b, dtype="float32"), gradients(activation, k, a, b), times=10)


@pytest.mark.parametrize("activation", DUALS)
def test_float32_equals_float64_at_large_variances(activation):
    """Raw pixels: variances up to 1e5, and pairs that coincide, nearly coincide or are opposite."""
    a = np.geomspace(1, 1e5, N).astype(np.float32)
    unit = 1 if activation == "erf" else a
    for gap in (0, 1e-5, 1e-2, 1, 2):
        k = a * np.float32(1 - gap)
        nngp, dot = pair(activation, k, a, a, dtype="float32")
        nngp64, dot64 = pair(activation, k, a, a)
        assert np.abs((nngp - nngp64) / unit).max() <= 1e-5
        # The angle is known to eps / angle, and to sqrt(eps) where it is rounding.
        assert np.abs(dot - dot64).max() <= (1e-6 if gap == 0 else 1e-4)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_relu_does_not_underflow_or_overflow(size, close):
    """Oracle: E[relu(u) relu(v)] is linear in the covariances; a b is beyond float32 here."""
    covariance = covariances()
    nngp, dot = pair("relu", *covariance)
    small, same = pair("relu", *(size * x for x in covariance), dtype="float32")
    close(small.astype(float) / size, nngp, dtype="float32")
    close(same, dot)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_is_exact_at_coinciding_points(dtype):
    """Oracle: E[relu(u)^2] = a / 2 and E[relu'(u)^2] = 1/2, also if k is a few roundings off.

    arccos turns an error of eps in the cosine into one of sqrt(eps): 3e-4 in float32.
    """
    a = np.random.default_rng(0).uniform(0.01, 100, N).astype(dtype)
    b = (a * np.random.default_rng(1).uniform(0.5, 2, N)).astype(dtype)
    for rounding in (-2, -1, 0, 1, 2):
        k = np.sqrt(a * b) * (1 + rounding * np.finfo(dtype).eps)
        nngp, dot = pair("relu", k, a, b, dtype=dtype)
        np.testing.assert_allclose(nngp, np.sqrt(a * b) / 2, rtol=8 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(dot, np.full_like(a, 0.5))


@pytest.mark.parametrize("activation", ["erf", "gelu"])
def test_coinciding_points_equal_diag_at_large_variances(activation):
    """Oracle: `diag` in float64, for a k that is a few roundings off."""
    a = np.geomspace(1, 1e5, N).astype(np.float32)
    with jax.enable_x64(True):
        oracle = DUALS[activation].diag(jnp.asarray(a, "float64"))
    for rounding in (-2, 0, 2):
        k = a * (1 + rounding * np.finfo(np.float32).eps)
        for values, desired in zip(pair(activation, k, a, a, dtype="float32"), oracle, strict=True):
            np.testing.assert_allclose(values, desired, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", DUALS)
def test_gradient_at_coinciding_points_is_that_of_diag(activation, dtype, close):
    """Oracle: moving a point together with its copy is moving it in `diag`."""
    a = np.linspace(0.3, 2.7, N)
    together = gradients(activation, a, a, a, dtype=dtype).sum(axis=1)
    with jax.enable_x64(True):
        outputs, vjp = jax.vjp(DUALS[activation].diag, jnp.asarray(a, dtype))
        one, zero = jnp.ones_like(outputs[0]), jnp.zeros_like(outputs[0])
        close(together[0], vjp((one, zero))[0], times=10)
        close(together[1], vjp((zero, one))[0], times=10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_at_opposite_points(dtype, close):
    """Oracle: relu(u) relu(-u) = 0; the slope of `dot` is infinite there and must stay finite."""
    a = np.linspace(0.3, 2.7, N)
    nngp, dot = pair("relu", -a, a, a, dtype=dtype)
    assert np.abs(nngp).max() <= 1e-7
    assert np.abs(dot).max() <= 1e-7
    slopes = gradients("relu", -a, a, a, dtype=dtype)
    assert np.isfinite(slopes).all()
    assert np.abs(slopes[0]).max() <= 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", DUALS)
def test_point_at_the_origin(activation, dtype, close):
    """Oracle: u = 0 almost surely, so E[phi(u) phi(v)] = phi(0) E[phi(v)] = 0; as with b_std=0."""
    k, a, b = np.zeros(N), np.zeros(N), np.zeros(N)
    a[0::3], b[1::3] = 1, 1
    nngp, dot = pair(activation, k, a, b, dtype=dtype)
    np.testing.assert_array_equal(nngp, 0)
    assert np.isfinite(dot).all()
    assert np.isfinite(gradients(activation, k, a, b, dtype=dtype)).all()
    with jax.enable_x64(True):
        assert DUALS[activation].diag(jnp.zeros(N, dtype))[0][0] == 0
