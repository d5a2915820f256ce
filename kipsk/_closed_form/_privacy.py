"""Differential privacy: sums over rows, released with Gaussian noise.

A release is (epsilon, delta) differentially private if no event is more than ``e^epsilon`` times,
plus delta, as likely with a row as without it. Here neighbours differ by one row added or removed.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri

from kipsk._types import Float64s

# More than the rounding errors of `_log_delta`, in units of its largest term.
_ROUNDING = 16 * np.finfo(float).eps
# How closely log(sigma) is searched; the result is larger by more than this.
_TOLERANCE = 1e-12


def noise_deviation(epsilon: float, delta: float, sensitivity: float) -> float:
    """Return the smallest standard deviation of Gaussian noise that is private.

    The analytic Gaussian mechanism (Balle & Wang 2018, arXiv 1805.06530, Theorem 8). With D the
    sensitivity, noise of deviation s on each entry is (epsilon, delta) differentially private if
    and only if ::

        Phi(D / (2 s) - epsilon s / D) - e^epsilon Phi(-D / (2 s) - epsilon s / D) <= delta

    The left side falls as s grows, so that one root is sought, for any epsilon. Rounding errors
    make the result larger, never smaller.

    Parameters
    ----------
    epsilon : float
        Above zero.
    delta : float
        Above zero and below one.
    sensitivity : float
        Above zero: the largest L2 norm of what one row adds to the released vector.
    """
    if not (0 < epsilon < np.inf and 0 < delta < 1 and 0 < sensitivity < np.inf):
        raise ValueError(
            "Noise needs a finite epsilon > 0, 0 < delta < 1 and a finite sensitivity > 0. Got "
            f"epsilon={epsilon!r}, delta={delta!r} and sensitivity={sensitivity!r}."
        )

    def excess(log_ratio: float) -> float:
        return _log_delta(epsilon, float(np.exp(log_ratio))) - float(np.log(delta))

    # The left side is below its first term, which is delta at the root of a quadratic equation.
    z = -float(ndtri(delta))
    root = np.hypot(z, np.sqrt(2 * epsilon))
    high = float(np.log((root + z) / (2 * epsilon) if z > 0 else 1 / (root - z)))
    # Where epsilon is small that is too much noise by far, and rounding may make it too little.
    low, step = high, float(np.log(2))
    while excess(high) > 0:
        high += step
    while excess(low) <= 0:
        low -= step
    log_ratio = brentq(excess, low, high, xtol=_TOLERANCE)
    # brentq stops within xtol + rtol * |log_ratio|.
    margin = _TOLERANCE * (2 + abs(log_ratio))
    return float(sensitivity * np.exp(log_ratio + margin))


def _log_delta(epsilon: float, ratio: float) -> float:
    """Return a bound from above, tight up to rounding, of the log of the smallest delta.

    Parameters
    ----------
    epsilon : float
    ratio : float
        The noise's deviation over the sensitivity.
    """
    half, shift = 0.5 / ratio, epsilon * ratio
    first = float(log_ndtr(half - shift))
    second = epsilon + float(log_ndtr(-half - shift))  # e^epsilon alone would overflow
    # The logs are of the size of the square of their arguments, and so are their errors.
    slack = _ROUNDING * (1 + (half + shift) ** 2)
    difference = min(second - first, 0.0) - slack
    return first + slack + float(np.log(-np.expm1(difference)))


def noisy_sums(
    H: Float64s,
    C: Float64s,
    y: Float64s,
    epsilon: float,
    delta: float,
    max_norm: float,
    rng: np.random.Generator,
) -> tuple[Float64s, Float64s, Float64s]:
    """Return sums over rows with noise that makes all three together differentially private.

    The guarantee is for real numbers and for random numbers that nobody else knows: a generator
    whose seed is published gives none. It does not cover what double precision may tell of the
    noise (Mironov 2012, "On significance of the least significant bits").

    Parameters
    ----------
    H : ndarray of shape (p, p)
        The sum of ``phi phi^T`` over the rows, phi being a row's features. Its upper triangle is
        read, and stands for the lower one.
    C : ndarray of shape (p, k)
        The sum of ``phi e^T``, e being the unit vector of the row's class.
    y : ndarray of shape (k,)
        The sum of e: how many rows each class has.
    epsilon, delta : float
        The privacy of the three sums together.
    max_norm : float
        No row's phi has a larger L2 norm; the caller has clipped them.
    rng : numpy.random.Generator

    Returns
    -------
    H : ndarray of shape (p, p)
        Symmetric, but the noise may have made eigenvalues negative.
    C : ndarray of shape (p, k)
    y : ndarray of shape (k,)
        Not rounded, and maybe negative.

    Notes
    -----
    What one row adds, with B for max_norm:

    - to H the matrix ``phi phi^T``, whose squares sum to
      ``sum_i phi_i^2 sum_j phi_j^2 = |phi|^4``: the norm is at most B^2. So both triangles can have
      noise of their own; their mean, which is symmetric, has half of its variance.
    - to C one column, phi: the norm is at most B, and B^2 for ``B C``.
    - to y a one: the norm is B^2 for ``B^2 y``.

    So the vector of H, ``B C`` and ``B^2 y`` has the sensitivity ``sqrt(3) B^2``, of
    which each part has the same share. Scaled back, the noise of C is divided by B and that of y
    by B^2.
    """
    deviation = noise_deviation(epsilon, delta, np.sqrt(3) * max_norm**2)
    upper = np.triu(H)
    noisy = upper + np.triu(H, 1).T + deviation * rng.standard_normal(H.shape)
    return (
        (noisy + noisy.T) / 2,
        C + deviation / max_norm * rng.standard_normal(C.shape),
        y + deviation / max_norm**2 * rng.standard_normal(y.shape),
    )
