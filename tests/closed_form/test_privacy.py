"""Sums with noise: against another implementation, the theorem itself, and drawn noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erfcx

from kipsk._closed_form._privacy import noise_deviation, noisy_sums

# diffprivlib 0.6.6: GaussianAnalytic(epsilon=..., delta=..., sensitivity=1.0)._scale
DIFFPRIVLIB = [
    (0.1, 1e-3, 17.404396203031258),
    (0.1, 1e-5, 30.749566131972788),
    (0.1, 1e-8, 45.93736018430632),
    (0.3, 1e-3, 7.070899001096839),
    (0.3, 1e-5, 11.23804446449488),
    (0.3, 1e-8, 16.066110220753018),
    (1.0, 1e-3, 2.574657018637214),
    (1.0, 1e-5, 3.7306316348148236),
    (1.0, 1e-8, 5.1003087871573465),
    (3.0, 1e-3, 1.0372517184874974),
    (3.0, 1e-5, 1.3905934566735738),
    (3.0, 1e-8, 1.818642942909505),
    (10.0, 1e-3, 0.4060595580186619),
    (10.0, 1e-5, 0.49988861992596245),
    (10.0, 1e-8, 0.6158466551932815),
]
EPSILONS = [1e-4, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]
DELTAS = [1e-12, 1e-8, 1e-5, 1e-3, 0.1]


def smallest_delta(epsilon, sigma):
    """The theorem's left side for sensitivity 1, as phi(u) (M(u) - M(v)), M being Mills' ratio.

    With u = epsilon sigma - 1 / (2 sigma) and v = epsilon sigma + 1 / (2 sigma), e^epsilon phi(v)
    is phi(u): nothing overflows, and the differences are those of numbers of ordinary size.
    """
    u, v = epsilon * sigma - 0.5 / sigma, epsilon * sigma + 0.5 / sigma
    return np.exp(-(u**2) / 2) / 2 * (erfcx(u / np.sqrt(2)) - erfcx(v / np.sqrt(2)))


@pytest.mark.parametrize(("epsilon", "delta", "sigma"), DIFFPRIVLIB)
def test_deviation_is_that_of_diffprivlib(epsilon, delta, sigma):
    """Its e^epsilon costs it digits: at (10, 1e-8) its own sigma misses delta by 2e-5 of it."""
    rtol = 2e-6 if epsilon == 10 else 1e-9
    assert_allclose(noise_deviation(epsilon, delta, 1.0), sigma, rtol=rtol)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("delta", DELTAS)
def test_deviation_is_the_smallest_that_the_theorem_allows(epsilon, delta):
    sigma = noise_deviation(epsilon, delta, 1.0)
    # The oracle's own rounding errors: a tenth of a millionth of delta at these parameters.
    assert smallest_delta(epsilon, sigma) <= delta * (1 + 1e-7)
    assert smallest_delta(epsilon, 0.99 * sigma) > delta
    assert smallest_delta(epsilon, (1 - 1e-6) * sigma) > delta


# mpmath 1.4.1, 80 digits and more: the deviation where the left side is delta. The result is
# at least that, also where cancellation takes digits.
@pytest.mark.parametrize(
    ("epsilon", "delta", "exact"),
    [
        (1e-06, 1e-12, 4122525.4027566016),
        (1e-05, 1e-10, 361903.8595094055),
        (0.1, 1e-05, 30.74956613197745),
        (1.0, 1e-08, 5.100308787529928),
        (1.0, 0.7, 0.38173310302367086),
        (10.0, 1e-08, 0.6158463557601218),
        (300.0, 1e-05, 0.048461267632760145),
        (1000.0, 1e-12, 0.02613899880240147),
    ],
)
def test_deviation_is_rounded_up(epsilon, delta, exact):
    sigma = noise_deviation(epsilon, delta, 1.0)
    assert exact <= sigma <= exact * (1 + (1e-9 if epsilon >= 0.1 else 1e-7))


def test_deviation_falls_with_epsilon_and_with_delta():
    by_epsilon = [noise_deviation(e, 1e-5, 1.0) for e in np.geomspace(1e-3, 1e5, 60)]
    by_delta = [noise_deviation(1.0, d, 1.0) for d in np.geomspace(1e-15, 0.99, 60)]
    assert np.all(np.diff(by_epsilon) < 0)
    assert np.all(np.diff(by_delta) < 0)


@pytest.mark.parametrize("sensitivity", [1e-9, 0.3, 7e8])
def test_deviation_is_proportional_to_the_sensitivity(sensitivity):
    expected = sensitivity * noise_deviation(0.7, 1e-6, 1.0)
    assert_allclose(noise_deviation(0.7, 1e-6, sensitivity), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("epsilon", "delta", "sensitivity"),
    [
        (0.0, 1e-5, 1.0),
        (-1.0, 1e-5, 1.0),
        (np.inf, 1e-5, 1.0),
        (np.nan, 1e-5, 1.0),
        (1.0, 0.0, 1.0),
        (1.0, 1.0, 1.0),
        (1.0, np.nan, 1.0),
        (1.0, 1e-5, 0.0),
        (1.0, 1e-5, np.inf),
    ],
)
def test_parameters_that_promise_nothing_are_refused(epsilon, delta, sensitivity):
    with pytest.raises(ValueError, match="Noise needs a finite epsilon > 0"):
        noise_deviation(epsilon, delta, sensitivity)


def sums(phi, codes, n_classes):
    """The three sums, row by row as they are defined."""
    targets = np.eye(n_classes)[codes]
    H = sum((np.outer(f, f) for f in phi), np.zeros((phi.shape[1],) * 2))
    C = sum((np.outer(f, t) for f, t in zip(phi, targets, strict=True)), np.zeros(1))
    return H, C, targets.sum(axis=0)


def clipped_rows(n, p, max_norm, seed=0):
    """Rows of norms up to max_norm, every other one on the bound."""
    rng = np.random.default_rng(seed)
    phi = rng.standard_normal((n, p))
    norms = max_norm * rng.uniform(size=(n, 1))
    norms[::2] = max_norm
    return phi * norms / np.linalg.norm(phi, axis=1, keepdims=True), rng.integers(0, 3, n)


def released(H, C, y, max_norm):
    """The vector that the noise is added to, with the same deviation for each entry."""
    parts = H.ravel(), max_norm * C.ravel(), max_norm**2 * y
    return np.concatenate(parts)


@pytest.mark.parametrize("max_norm", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("p", [1, 2, 8])
def test_one_row_moves_the_sums_by_no_more_than_the_sensitivity(max_norm, p):
    phi, codes = clipped_rows(60, p, max_norm)
    bound = np.sqrt(3) * max_norm**2
    everything = released(*sums(phi, codes, 3), max_norm)
    for i in range(len(phi)):
        rest = np.arange(len(phi)) != i
        without = released(*sums(phi[rest], codes[rest], 3), max_norm)
        assert np.linalg.norm(everything - without) <= bound * (1 + 1e-10)


def test_a_row_with_one_feature_moves_the_sums_by_all_of_the_sensitivity():
    phi = np.array([[0.0, 4.0, 0.0]])
    moved = released(*sums(phi, np.array([1]), 2), 4.0)
    assert_allclose(np.linalg.norm(moved), np.sqrt(3) * 16)


@pytest.mark.parametrize("max_norm", [0.5, 3.0])
def test_noise_has_the_deviations_of_the_scaled_parts(max_norm):
    """Oracle: sample deviations and correlations of 5000 draws, within five standard errors."""
    n, p, k = 5000, 3, 2
    sigma = noise_deviation(1.0, 1e-5, np.sqrt(3) * max_norm**2)
    phi, codes = clipped_rows(10, p, max_norm)
    H, C, y = sums(phi, codes % k, k)
    rng = np.random.default_rng(1)
    upper = np.triu_indices(p)
    # Off the diagonal two draws are averaged.
    of_H = np.where(upper[0] == upper[1], 1.0, np.sqrt(2))
    scale = {"H": of_H, "C": max_norm, "y": max_norm**2}
    draws = [noisy_sums(H, C, y, 1.0, 1e-5, max_norm, rng) for _ in range(n)]
    noise = np.hstack(
        [
            np.array([d[0][upper] - H[upper] for d in draws]) * scale["H"],
            np.array([(d[1] - C).ravel() for d in draws]) * scale["C"],
            np.array([d[2] - y for d in draws]) * scale["y"],
        ]
    )
    noise /= sigma
    assert_allclose(noise.mean(axis=0), 0, atol=5 / np.sqrt(n))
    assert_allclose(noise.std(axis=0), 1, atol=5 / np.sqrt(2 * n))
    correlations = np.corrcoef(noise.T)
    assert_allclose(correlations, np.eye(len(correlations)), atol=5 / np.sqrt(n))


def test_H_is_symmetric_to_the_last_bit_and_its_lower_triangle_is_not_read():
    phi, codes = clipped_rows(20, 5, 1.0)
    H, C, y = sums(phi, codes, 3)
    other = np.triu(H) + np.tril(np.full_like(H, np.nan), -1)
    noisy, again = (
        noisy_sums(G, C, y, 1.0, 1e-5, 1.0, np.random.default_rng(0))[0] for G in (H, other)
    )
    assert_array_equal(noisy, noisy.T)
    assert_array_equal(noisy, again)


def test_sums_are_left_as_they_were_and_keep_their_shapes():
    phi, codes = clipped_rows(20, 4, 1.0)
    before = sums(phi, codes, 3)
    after = noisy_sums(*before, 1.0, 1e-5, 1.0, np.random.default_rng(0))
    for kept, noisy, expected in zip(before, after, sums(phi, codes, 3), strict=True):
        assert_array_equal(kept, expected)
        assert noisy.shape == kept.shape
        assert np.all(noisy != kept)
