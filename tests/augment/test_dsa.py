"""Colours, scale and one augmentation of several. Oracles: numpy and scipy, image by image."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk.augment import ColorJitter, Flip, MixUp, OneOf, Rotate, Scale, Shift, dsa
from kipsk.augment._pixels import resized

from ._images import changed, changed_both, make_images, make_targets


def test_brightness_is_a_shift_in_units_of_the_deviation(close):
    images = 3 * make_images(2000, (2, 3, 2))
    new = changed(ColorJitter(0.8, 0, None), images)
    shift = (new - images).reshape(len(images), -1)
    assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=1e-5)
    u = shift[:, 0] / (0.8 * images.std())
    assert -0.5 <= u.min() < -0.49 and 0.49 < u.max() <= 0.5
    assert abs(u.mean()) < 0.03


def test_saturation_multiplies_what_channels_differ_by():
    images = make_images(2000, (2, 3, 3))
    new = changed(ColorJitter(0, 2, None), images)
    grey = images.mean(axis=-1, keepdims=True)
    assert_allclose(new.mean(axis=-1), grey[..., 0], atol=1e-5)
    factors = ((new - grey) * (images - grey)).sum((1, 2, 3)) / ((images - grey) ** 2).sum(
        (1, 2, 3)
    )
    assert 0 <= factors.min() < 0.02 and 1.98 < factors.max() <= 2
    assert_allclose(new, grey + factors[:, None, None, None] * (images - grey), atol=1e-5)
    one_channel = images[..., :1]
    assert_array_equal(changed(ColorJitter(0, 2, None), one_channel), one_channel)


def test_contrast_multiplies_what_pixels_differ_by():
    images = make_images(2000, (2, 3, 3)) + 5
    new = changed(ColorJitter(0, 0, 0.5), images)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    factors = new.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert 0.4999 < factors.min() < 0.51 and 1.49 < factors.max() < 1.5001
    assert_allclose(new, mean + factors[:, None, None, None] * (images - mean), atol=1e-4)


def test_scale_of_coordinates():
    """Oracle: an image whose value grows from its centre, so that slopes are one over factors."""
    down, right = np.mgrid[-5:6, -4:5].astype(np.float32)
    image = np.stack([down, right], axis=-1)
    new = changed(Scale(1.25), np.repeat(image[None], 1000, axis=0))
    assert_allclose(new[:, 5, 4], 0, atol=1e-5)  # the centre stays
    factors = 2 / np.stack([new[:, 6, 4, 0] - new[:, 4, 4, 0], new[:, 5, 5, 1] - new[:, 5, 3, 1]])
    assert abs(np.corrcoef(factors)[0, 1]) < 0.1  # height and width are drawn apart
    for own in factors:
        assert 0.8 - 1e-4 < own.min() < 0.803 and 1.247 < own.max() < 1.25 + 1e-3
    shrunk = np.asarray(resized(np.ones((1, 8, 8, 1), np.float32), np.full((1, 2), 0.5)))
    assert_array_equal(shrunk[0, [0, 1, 6, 7]], 0)  # empty pixels
    assert_array_equal(shrunk[0, 2:6, 2:6], 1)


def test_one_of_applies_one_to_the_whole_batch():
    images, y = make_images(6, (4, 4, 1)), make_targets(6)
    augmentation = OneOf([Flip(1), lambda key, images: -images])
    counts = [0, 0]
    for seed in range(40):
        new, same = changed_both(augmentation, images, y, jax.random.key(seed))
        assert_array_equal(same, y)
        one = next(i for i, x in enumerate([images[:, :, ::-1], -images]) if (new == x).all())
        counts[one] += 1
    assert min(counts) > 8
    assert OneOf([Flip(), MixUp()]).needs_images and not OneOf([MixUp()]).needs_images


def test_one_of_stays_one_in_a_chain():
    assert (dsa() >> Shift()).augmentations == (dsa(), Shift())


def test_dsa():
    kinds = [type(one) for one in dsa().augmentations]
    assert Flip in kinds and len(kinds) == 6
    assert [type(one) for one in dsa(flip=False).augmentations] == [k for k in kinds if k != Flip]
    assert Rotate(15.0) in dsa().augmentations


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Scale(1), "'ratio' parameter of Scale must be a number > 1. Got 1 "),
        (lambda: ColorJitter(-1), "'brightness' parameter of ColorJitter"),
        (lambda: ColorJitter(contrast=-1), "a finite number >= 0 or None. Got -1 "),
        (lambda: OneOf([]), "'augmentations' parameter of OneOf must be a list or tuple"),
    ],
)
def test_parameters(make, part):
    with pytest.raises(ValueError) as raised:
        make()
    assert part in str(raised.value)
