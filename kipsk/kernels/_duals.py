"""Gaussian dual activations: what one nonlinearity does to a covariance.

For jointly Gaussian ``(u, v)`` of mean zero with variances ``a``, ``b`` and covariance ``k``, the
dual of an activation ``phi`` and its derivative are

    nngp(k, a, b) = E[phi(u) phi(v)]          dot(k, a, b) = E[phi'(u) phi'(v)]

A kernel of infinitely wide layers consists of these two functions and some sums. All functions here
broadcast, keep their arguments' dtype, and can be differentiated in reverse mode, also where two
points coincide.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Abramowitz & Stegun, Handbook of Mathematical Functions, 4.4.46: arccos(x) = sqrt(1 - x) p(x) on
# [0, 1] with |error| <= 2e-8, below float32 rounding. XLA's own arccos goes through atan2, which
# does not vectorise and takes a CPU about twenty times as long.
_TURN_COEFFICIENTS = tuple(
    coefficient / (2 * math.pi)
    for coefficient in (
        -0.0012624911,
        0.0066700901,
        -0.0170881256,
        0.0308918810,
        -0.0501743046,
        0.0889789874,
        -0.2145988016,
        1.5707963050,
    )
)

# For float64 (fdlibm, e_asin.c): arcsin(s) = s + s z p(z) / q(z) with z = s^2 on [0, 1/2]. It is
# correct but for the last digit or two.
_ARCSIN_NUMERATOR = (
    3.47933107596021167570e-05,
    7.91534994289814532176e-04,
    -4.00555345006794114027e-02,
    2.01212532134862925881e-01,
    -3.25565818622400915405e-01,
    1.66666666666666657415e-01,
)
_ARCSIN_DENOMINATOR = (
    7.70381505559019352791e-02,
    -6.88283971605453293030e-01,
    2.02094576023350569471e00,
    -2.40339491173441421878e00,
    1.0,
)


class Dual(NamedTuple):
    """The duals of one activation.

    Attributes
    ----------
    pair : callable
        ``(k, a, b) -> (nngp, dot)`` for two different points.
    diag : callable
        ``a -> (nngp, dot)`` for a point with itself, where ``k = a = b``.
    """

    pair: Callable[[Array, Array, Array], tuple[Array, Array]]
    diag: Callable[[Array], tuple[Array, Array]]


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Return a polynomial of x by Horner's rule; the highest power comes first."""
    result = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


def _is_one(cosine: Array) -> Array:
    """Return whether a cosine is 1 up to rounding; its two points are then taken to be parallel."""
    return 1 - cosine < 8 * jnp.finfo(cosine.dtype).eps


# Order-1 and order-0 arc-cosine kernels of the angle between two inputs (Cho & Saul 2009, eq. 6),
#   order1 = (sin t + (pi - t) cos t) / (2 pi),   order0 = (pi - t) / (2 pi),   t = arccos(cosine).
# Their derivatives are written out, because autodiff of arccos gives 0 * inf where the cosine is 1:
# for a point with itself, or a support row that still equals a training row. The order-0 kernel has
# a cusp there, with slopes of opposite signs on its two sides. Their mean, 0, is taken.
@jax.custom_jvp
def arccos_orders(cosine: Array) -> tuple[Array, Array]:
    """Return the order-1 and the order-0 kernel of a cosine, which share most of their work."""
    return orders_and_sine(cosine)[:2]


@arccos_orders.defjvp
def _arccos_orders_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (cosine,), (tangent,) = primals, tangents
    order1, order0, sine = orders_and_sine(cosine)
    return (order1, order0), (order0 * tangent, order0_slope(sine) * tangent)


def order0_slope(sine: Array) -> Array:
    """Return the derivative of the order-0 kernel by the cosine, from the sine over 2 pi."""
    is_parallel = sine == 0
    return jnp.where(is_parallel, 0, 1 / jnp.where(is_parallel, 1, sine)) / (4 * jnp.pi**2)


def orders_and_sine(cosine: Array) -> tuple[Array, Array, Array]:
    """Return the kernels of order 1 and 0, and the sine over 2 pi."""
    magnitude = jnp.abs(cosine)
    # Exactly 0 for parallel points, because arccos turns an error of eps into one of sqrt(eps).
    gap = jnp.where(_is_one(magnitude), 0, 1 - magnitude)
    root = jnp.sqrt(gap)
    # `turn` is arccos(|cosine|) / (2 pi).
    if cosine.dtype == jnp.float64:
        # With arccos(x) = 2 arcsin(sqrt((1 - x) / 2)) the argument of arcsin stays below 1/2.
        is_large = magnitude > 0.5
        z = jnp.where(is_large, gap / 2, magnitude * magnitude)
        s = jnp.where(is_large, root * 0.5**0.5, magnitude)
        arcsin = s + s * z * _polynomial(_ARCSIN_NUMERATOR, z) / _polynomial(_ARCSIN_DENOMINATOR, z)
        turn = jnp.where(is_large, 2 * arcsin, jnp.pi / 2 - arcsin) / (2 * jnp.pi)
    else:
        turn = root * _polynomial(_TURN_COEFFICIENTS, magnitude)
    order0 = jnp.where(cosine < 0, turn, 0.5 - turn)
    sine = root * jnp.sqrt(1 + magnitude) / (2 * jnp.pi)
    return sine + cosine * order0, order0, sine


def sqrt(a: Array) -> Array:
    """Return the square root, with a derivative at 0 that is 0 and not infinite."""
    is_zero = a == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, a)))


def cosine_of(k: Array, root_a: Array, root_b: Array) -> Array:
    """Return the cosine of the angle between two points, from the roots of their variances.

    By rounding it may be slightly above 1 for parallel points.
    """
    # A point at the origin, which b_std = 0 allows, has no angle. Any cosine will do there, because
    # it is multiplied by 0. Dividing by one root after the other neither overflows nor underflows,
    # as dividing by their product may. The roots are inverted because they are few and covariances
    # are many.
    inverse_a, inverse_b = (1 / jnp.where(root == 0, 1, root) for root in (root_a, root_b))
    return k * inverse_a * inverse_b


def _relu_pair(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    root_a, root_b = sqrt(a), sqrt(b)
    order1, order0 = arccos_orders(cosine_of(k, root_a, root_b))
    return root_a * root_b * order1, order0


def _relu_diag(a: Array) -> tuple[Array, Array]:
    return a / 2, jnp.full_like(a, 0.5)


def _gap(k: Array, a: Array, b: Array) -> Array:
    """Return a b - k^2 >= 0 without cancellation, and exactly 0 for parallel points."""
    root_a, root_b = sqrt(a), sqrt(b)
    scale = root_a * root_b
    gap = (scale - k) * (scale + k)
    is_parallel = _is_one(jnp.abs(cosine_of(k, root_a, root_b)))
    # Only the value is set to 0. The derivative is correct as it is, and for nearly parallel points
    # it is not zero.
    return gap - jax.lax.stop_gradient(jnp.where(is_parallel, gap, 0))


def _erf_pair(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    # Williams 1997, "Computing with infinite networks", eq. 11:
    #   nngp = 2/pi arcsin(2 k / sqrt((1 + 2a)(1 + 2b))), whose derivative by k is `dot`.
    # It is computed as an arctan of 2 k / root with root^2 = (1 + 2a)(1 + 2b) - 4 k^2, because an
    # arcsin near 1 loses half of the digits. So would that difference, hence `_gap`.
    root = jnp.sqrt(1 + 2 * (a + b) + 4 * _gap(k, a, b))
    return (2 / jnp.pi) * jnp.arctan2(2 * k, root), (4 / jnp.pi) / root


def _gelu_pair(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    # phi(u) = u Phi(u), where Phi is the normal distribution function. By Stein's lemma, with
    #   D = (1 + a)(1 + b) - k^2,  density = E[pdf(u) pdf(v)] = 1 / (2 pi sqrt(D)),
    #   P = E[Phi(u) Phi(v)] = 1/4 + arcsin(k / sqrt((1 + a)(1 + b))) / (2 pi):
    #   nngp = k P + density (a b + k^2 (1/(1+a) + 1/(1+b) - 1))
    #   dot  =   P + density  k (1/(1+a) + 1/(1+b) + 1/D)
    # Here P = arctan2(sqrt(D), -k) / (2 pi), and a b - k^2 is the gap, as in `_erf_pair`.
    gap = _gap(k, a, b)
    determinant = 1 + a + b + gap
    root = jnp.sqrt(determinant)
    density = 1 / (2 * jnp.pi * root)
    both = jnp.arctan2(root, -k) / (2 * jnp.pi)
    inverses = 1 / (1 + a) + 1 / (1 + b)
    nngp = k * both + density * (gap + k * k * inverses)
    return nngp, both + density * k * (inverses + 1 / determinant)


def _exp_pair(k: Array, a: Array, b: Array) -> tuple[Array, Array]:
    # Shankar et al. 2020, arXiv 2003.02237, section 4: exp(cosine - 1), times both norms. It is the
    # dual of r exp(u / r - 1) for u of deviation r, which depends on the input: no network has it.
    root_a, root_b = sqrt(a), sqrt(b)
    dot = jnp.exp(cosine_of(k, root_a, root_b) - 1)
    return root_a * root_b * dot, dot


def _exp_diag(a: Array) -> tuple[Array, Array]:
    return a, jnp.ones_like(a)


def _on_diagonal(
    pair: Callable[[Array, Array, Array], tuple[Array, Array]],
) -> Callable[[Array], tuple[Array, Array]]:
    return lambda a: pair(a, a, a)


DUALS: dict[str, Dual] = {
    "relu": Dual(_relu_pair, _relu_diag),
    "erf": Dual(_erf_pair, _on_diagonal(_erf_pair)),
    "gelu": Dual(_gelu_pair, _on_diagonal(_gelu_pair)),
    "exp": Dual(_exp_pair, _exp_diag),
}
