"""Filters from data: random patches of images, whitened."""

from __future__ import annotations

import numpy as np

from kipsk._types import AnyArray, Float64s, Floats
from kipsk.architectures import Conv

# Patches that the covariance, and the deviation of each filter's output, are estimated from.
_SAMPLE = 20_000
#: Training images that patches come from, at most.
MAX_IMAGES = 20_000
# Added to the variances along all directions, in units of their mean, before these are evened out.
_RELATIVE_RIDGE = 0.1
# The least mean variance of patches whose filters are numbers of float32.
_TINY = 1e-70


def patch_filters(
    images: AnyArray, layer: Conv, n_filters: int, rng: np.random.RandomState
) -> Floats:
    """Return random patches of images as the filters that whitened patches are compared with.

    With mean m and covariance S of all patches, the output of the filter of patch p is that of
    ``S^-1/2 (p - m)`` on the whitened patch ``S^-1/2 x`` (Coates & Ng 2011, section 2), times what
    brings its deviation over all patches to 1. S has a ridge.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)
        Training images.
    layer : Conv
        The convolution that the filters are for; the patches are as it sees them.
    n_filters : int
    rng : RandomState

    Returns
    -------
    filters : ndarray of shape (size, size, C, n_filters)
        In float32.

    Raises
    ------
    ValueError
        If the patches do not differ, so that there is no S^-1/2.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # reported just below
        patches = _random_patches(images, layer, _SAMPLE, rng)
        centred = patches - patches.mean(axis=0)
        covariance = centred.T @ centred / len(centred)
    variance = np.trace(covariance) / len(covariance)
    if not (np.isfinite(covariance).all() and variance > _TINY):
        raise ValueError(
            "The 'filters' parameter of RandomFeatures must not be \"patches\" for images whose "
            f"patches of {layer.size} x {layer.size} pixels do not differ or cannot be squared. "
            f"Got patches whose mean variance is {variance:.3g}: scale the pixels, leave constant "
            'images out, or set filters="normal".'
        )
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    inverse = (vectors / (values + _RELATIVE_RIDGE * values.mean())) @ vectors.T  # S^-1/2, twice
    chosen = _random_patches(images, layer, n_filters, rng) - patches.mean(axis=0)
    filters = chosen @ inverse
    outputs = patches @ filters.T
    deviations = outputs.std(axis=0)
    filters /= np.where(deviations > 0, deviations, 1)[:, None]
    shape = (n_filters, layer.size, layer.size, images.shape[-1])
    return filters.reshape(shape).transpose(1, 2, 3, 0).astype(np.float32)


def _random_patches(
    images: AnyArray, layer: Conv, n_patches: int, rng: np.random.RandomState
) -> Float64s:
    """Return random patches as rows, in float64, with contrast normalised as the layer does."""
    n, height, breadth, channels = images.shape
    size = layer.size
    numbers = rng.randint(n, size=n_patches)
    places = zip(
        numbers,
        rng.randint(height - size + 1, size=n_patches),
        rng.randint(breadth - size + 1, size=n_patches),
        strict=True,
    )
    found = np.empty((n_patches, size, size, channels))
    for patch, (number, i, j) in zip(found, places, strict=True):
        patch[:] = images[number, i : i + size, j : j + size]
    patches = found.reshape(n_patches, -1)
    if layer.contrast is None:
        return patches
    wholes = np.var(images, axis=(1, 2, 3), dtype=np.float64)[numbers]
    scales = np.sqrt(patches.var(axis=1) + layer.contrast * wholes)
    patches -= patches.mean(axis=1, keepdims=True)
    return patches / np.where(scales > 0, scales, 1)[:, None]
