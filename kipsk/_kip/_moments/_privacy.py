"""Differentially private `Moments`: features of bounded norm, and sums that are released noisy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kipsk._checks import check_positive, refuse
from kipsk._closed_form._privacy import noise_deviation, noisy_sums
from kipsk._distil._moments import Sums, Way
from kipsk._kip._objectives import as_it_is
from kipsk._types import Estimator
from kipsk.augment._augmentations import without_flip


def bounded(moments: Estimator, way: Way, is_weighted: bool) -> Way:
    """Return the way to features of bounded norm.

    `is_weighted` says whether rows have weights of their own.
    """
    check_positive("Moments", "epsilon", moments.epsilon)
    if not 0 < check_positive("Moments", "delta", moments.delta) < 1:
        raise refuse("Moments", "delta", "a number > 0 and < 1", moments.delta)
    if is_weighted:
        raise ValueError("Moments with epsilon take no sample_weight: a row could weigh more.")
    if way.change is not None and without_flip(way.change.augmentation)[1] is not as_it_is:
        rule = 'None or "flip" with epsilon: others may mix rows'
        raise refuse("Moments", "augment", rule, moments.augment)
    return replace(way, max_norm=check_positive("Moments", "max_norm", moments.max_norm))


def released(moments: Estimator, sums: Sums) -> Sums:
    """Return the release of private sums: what it does not have is not known."""
    epsilon = check_positive("Moments", "epsilon", moments.epsilon)
    H, C, y = noisy_sums(
        sums.H, sums.C, sums.y, epsilon, moments.delta, moments.max_norm, _noise_generator()
    )
    n = max(float(y.sum()), 1.0)
    unknown = np.full_like(sums.x, np.nan)
    noise = noise_deviation(epsilon, moments.delta, np.sqrt(3) * moments.max_norm**2) ** 2
    return Sums(n, n, H, C, C.sum(axis=1), y, y, unknown, unknown, noise)


def _noise_generator() -> np.random.Generator:
    """Return a generator that the operating system seeds.

    The noise of two calls must not be the same: it would cancel in their difference.
    """
    return np.random.default_rng()
