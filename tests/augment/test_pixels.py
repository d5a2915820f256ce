"""Changes of pixels for given draws. Oracles: scipy.ndimage, image by image, and scipy.stats."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from numpy.testing import assert_allclose

from kipsk.augment import _pixels

from ._images import KEY, make_images

ROTATED = jax.jit(_pixels.rotated)
SHAPES = [(8, 12, 3), (7, 5, 1)]


def test_pixels_of_a_share():
    assert [_pixels.pixels(fraction, 100) for fraction in (0.29, 0.295, 0.3, 1)] == [
        29,
        29,
        30,
        100,
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_against_scipy(shape, close):
    """The centre of pixel i of the new image is at ``start + share * (i + 1/2)`` of the old."""
    images = make_images(6, shape)
    rng = np.random.default_rng(1)
    share = np.array([1, 1, 0.9, 0.5, 0.3, 0.01], np.float32)
    free = (1 - share)[:, None] * shape[:2]
    start = (rng.random((6, 2)) * free).astype(np.float32)
    start[2], start[3] = 0, free[3]  # in the corners
    new = jax.jit(_pixels.cropped)(jnp.asarray(images), jnp.asarray(share), jnp.asarray(start))
    for image, s, at, found in zip(images, share, start, new, strict=True):
        rows, columns = (at[k] + s * (np.arange(shape[k]) + 0.5) - 0.5 for k in range(2))
        grid = np.meshgrid(rows, columns, indexing="ij")
        expected = np.stack(
            [
                scipy.ndimage.map_coordinates(image[..., c], grid, order=1, mode="nearest")
                for c in range(shape[2])
            ],
            axis=-1,
        )
        close(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [0, 10, -33, 90, 180])
def test_rotation_against_scipy(degrees, shape, close):
    images = make_images(3, shape)
    angles = jnp.full(3, np.radians(degrees), jnp.float32)
    expected = scipy.ndimage.rotate(
        images, degrees, axes=(2, 1), reshape=False, order=1, mode="grid-constant"
    )
    close(ROTATED(images, angles), expected)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1, 4, 1000])
def test_symmetric_beta_against_scipy(alpha):
    share = jax.jit(_pixels.symmetric_beta, static_argnums=(1, 2))(KEY, alpha, 4000)
    share = np.asarray(share, np.float64)
    assert share.min() >= 0 and share.max() <= 1
    # Next to zero and one single precision has fewer numbers than the distribution.
    ends = 1e-6
    law = scipy.stats.beta(alpha, alpha)
    for x in np.linspace(ends, 1 - ends, 21):
        assert abs((share < x).mean() - law.cdf(x)) < 0.03
    assert abs((share < ends).mean() - (share > 1 - ends).mean()) < 0.05
    assert_allclose(share.var(), law.var(), rtol=0.05)
