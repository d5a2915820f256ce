"""Random changes of rows.

Oracles: numpy, image by image; what was drawn is read off the result.
"""

from __future__ import annotations

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import augment
from kipsk.augment import ChannelShift, Compose, Crop, Cutout, Flip, MixUp, Noise, Rotate, Shift

from ._images import ALL, KEY, OF_IMAGES, changed, changed_both, make_images, make_targets


def shifted(image, down, right):
    """Return an image moved pixel by pixel."""
    new = np.zeros_like(image)
    height, width, _ = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                new[i, j] = image[i - down, j - right]
    return new


# --- each change, against numpy ------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_flip_mirrors_a_share(p):
    images = make_images(1000, (3, 5, 2))
    new = changed(Flip(p), images)
    is_mirror = (new == images[:, :, ::-1]).all(axis=(1, 2, 3))
    is_same = (new == images).all(axis=(1, 2, 3))
    assert (is_mirror ^ is_same).all()
    assert abs(is_mirror.mean() - p) < 0.06


@pytest.mark.parametrize(
    ("shape", "fraction", "reach"), [((8, 12, 3), 0.2, (1, 2)), ((5, 7, 1), 0.3, (1, 2))]
)
def test_shift_is_one_of_all_moves(shape, fraction, reach):
    image = make_images(1, shape)[0]
    new = changed(Shift(fraction), np.repeat(image[None], 2000, axis=0))
    moves = [(i, j) for i in range(-reach[0], reach[0] + 1) for j in range(-reach[1], reach[1] + 1)]
    counts = [(new == shifted(image, *move)).all(axis=(1, 2, 3)).sum() for move in moves]
    assert sum(counts) == 2000
    # Five deviations of a count.
    assert np.abs(np.array(counts) / 2000 - 1 / len(moves)).max() < 5 / np.sqrt(2000 * len(moves))


def test_shift_is_drawn_for_each_image():
    images = make_images(50, (16, 16, 1))
    for old, new in zip(images, changed(Shift(), images), strict=True):
        assert any((new == shifted(old, i, j)).all() for i in range(-2, 3) for j in range(-2, 3))


def test_crop_keeps_at_least_its_fraction(close):
    """Oracle: an image that is its pixels' coordinates, so that a crop tells its window."""
    rows = np.broadcast_to(np.arange(20)[:, None], (20, 10))
    columns = np.broadcast_to(np.arange(10)[None], (20, 10))
    image = np.stack([rows, columns], axis=-1).astype(np.float32)
    new = changed(Crop(0.5), np.repeat(image[None], 1000, axis=0))
    # The inner pixels, which are not clipped at the edge.
    share = (new[:, 10, 5, 0] - new[:, 5, 5, 0]) / 5
    rounding = close.tolerance("float32") * image.max()
    assert_allclose((new[:, 10, 5, 1] - new[:, 10, 2, 1]) / 3, share, atol=rounding)
    assert 0.5 - rounding <= share.min() < 0.51
    assert 0.99 < share.max() <= 1 + rounding
    assert abs(share.mean() - 0.75) < 0.02
    for axis, side in enumerate((20, 10)):
        start = new[:, 10, 5, axis] + 0.5 - share * ([10, 5][axis] + 0.5)
        place = (start / (side * (1 - share)))[share < 0.95]
        assert -1e-3 < place.min() < 0.02 and 0.98 < place.max() < 1 + 1e-3
        assert abs(place.mean() - 0.5) < 0.04


def test_crop_of_the_whole_is_the_image():
    images = make_images(5, (7, 5, 3))
    assert_array_equal(changed(Crop(1), images), images)


def test_angles_are_uniform():
    """Oracle: an image whose value grows to the right, so that its slopes tell the angle."""
    image = np.broadcast_to(np.arange(9.0)[None, :, None] - 4, (9, 9, 1)).astype(np.float32)
    new = changed(Rotate(20), np.repeat(image[None], 1000, axis=0))[..., 0]
    angles = np.degrees(np.arctan2(new[:, 3, 4] - new[:, 5, 4], new[:, 4, 5] - new[:, 4, 3]))
    assert -20 - 1e-3 < angles.min() < -19.5 and 19.5 < angles.max() < 20 + 1e-3
    assert abs(angles.mean()) < 2 and abs(angles.std() - 20 / np.sqrt(3)) < 1


def test_channel_shift_moments(close):
    images = make_images(4000, (2, 3, 2)) * np.float32([1, 5]) + np.float32([0, 7])
    added = changed(ChannelShift(0.3), images) - images
    rounding = close.tolerance("float32") * np.abs(images).max()
    assert_allclose(added, np.broadcast_to(added[:, :1, :1], added.shape), atol=rounding)
    added = added[:, 0, 0]
    deviation = 0.3 * images.std(axis=(0, 1, 2))
    assert np.abs(added.mean(axis=0) / deviation).max() < 0.08
    assert_allclose(added.std(axis=0), deviation, rtol=0.06)
    assert abs(np.corrcoef(added.T)[0, 1]) < 0.08


@pytest.mark.parametrize(
    ("shape", "size"), [((8, 12, 3), (2, 3)), ((7, 5, 1), (1, 1)), ((3, 2, 1), (1, 1))]
)
def test_cutout_is_one_of_all_windows(shape, size):
    image = make_images(1, shape)[0]
    new = changed(Cutout(0.25), np.repeat(image[None], 2000, axis=0))
    counts = []
    for i in range(shape[0] - size[0] + 1):
        for j in range(shape[1] - size[1] + 1):
            expected = image.copy()
            expected[i : i + size[0], j : j + size[1]] = 0
            counts.append((new == expected).all(axis=(1, 2, 3)).sum())
    assert sum(counts) == 2000
    n_places = len(counts)
    assert np.abs(np.array(counts) / 2000 - 1 / n_places).max() < 5 / np.sqrt(2000 * n_places)


def test_cutout_of_all():
    assert not changed(Cutout(1), make_images(3)).any()


@pytest.mark.parametrize("shape", [(2, 3, 2), (6,)], ids=["images", "rows"])
def test_noise_moments(shape):
    scales = np.linspace(1, 5, np.prod(shape)).reshape(shape).astype(np.float32)
    X = make_images(4000, shape) * scales + 3
    added = (changed(Noise(0.3), X) - X) / (0.3 * X.std(axis=0))
    assert np.abs(added.mean(axis=0)).max() < 0.08
    assert_allclose(added.std(axis=0), 1, rtol=0.06)
    assert np.abs(np.corrcoef(added.reshape(4000, -1).T) - np.eye(scales.size)).max() < 0.1


def test_mixup_mixes_both_in_the_same_proportion(close):
    """Oracle: the identity as targets, so that a new target tells what its row is made of."""
    n = 1000
    images = make_images(n, (2, 2, 1))
    new, weights = changed_both(MixUp(1), images, np.eye(n, dtype=np.float32))
    close(weights.sum(axis=1), np.ones(n))
    assert ((weights != 0).sum(axis=1) <= 2).all()
    close(new, np.einsum("ij,jhwc->ihwc", weights, images))
    share = np.diag(weights)
    assert abs(share.mean() - 0.5) < 0.06
    assert_allclose(share.var(), 1 / 12, rtol=0.15)
    partners = weights[~np.eye(n, dtype=bool)].reshape(n, n - 1).argmax(axis=1)
    assert len(np.unique(partners[share < 1])) > 0.5 * (share < 1).sum()


def test_mixup_of_rows(close):
    X, y = make_images(30, (6,)), make_targets(30)
    both = changed_both(MixUp(1), X, y)
    as_images = changed_both(MixUp(1), X.reshape(30, 2, 3, 1), y)
    close(both[0], as_images[0].reshape(30, 6))
    close(both[1], as_images[1])
    assert not np.array_equal(both[1], y)


def test_a_single_row_has_no_other_and_no_deviation(close):
    X, y = make_images(1, (4, 4, 1)), make_targets(1)
    new, new_y = changed_both(MixUp(1) >> Noise(), X, y)
    close(new, X)
    close(new_y, y)


# --- what all have in common ---------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_all_keep_the_shape_and_repeat(augmentation):
    images, y = make_images(shape=(7, 5, 1)), make_targets()
    new = changed_both(augmentation, images, y)
    for found, old in zip(new, (images, y), strict=True):
        assert found.shape == old.shape and found.dtype == old.dtype
    for found, same in zip(new, changed_both(augmentation, images, y), strict=True):
        assert_array_equal(found, same)
    other = changed_both(augmentation, images, y, jax.random.key(4))
    assert not np.array_equal(new[0], other[0])
    assert not np.array_equal(new[0], images)


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_compiled_or_not(augmentation, close):
    images, y = make_images(), make_targets()
    each = augmentation.with_targets(KEY, jnp.asarray(images), jnp.asarray(y))
    for eager, fast in zip(each, changed_both(augmentation, images, y), strict=True):
        close(eager, fast)


@pytest.mark.parametrize("augmentation", ALL[:10], ids=repr)
def test_double_precision_makes_the_same_changes(augmentation):
    images, y = make_images(dtype=np.float64), make_targets(dtype=np.float64)
    expected = changed_both(augmentation, images.astype(np.float32), y.astype(np.float32))
    with jax.enable_x64(True):
        new = changed_both(augmentation, images, y)
        single = changed_both(augmentation, images.astype(np.float32), y.astype(np.float32))
    for double, half, oracle in zip(new, single, expected, strict=True):
        assert double.dtype == np.float64 and half.dtype == np.float32
        assert_allclose(double, oracle, atol=1e-4)
        assert_allclose(half, oracle, atol=1e-4)


@pytest.mark.parametrize("kind", [type(one) for one in [*OF_IMAGES, Noise()]])
def test_p_is_the_share_that_changes(kind):
    images = make_images(400, (8, 8, 1))
    same = (changed(kind(p=0.3), images) == images).all(axis=(1, 2, 3))
    # One of nine shifts is none.
    assert abs(same.mean() - (0.7 + 0.3 / 9 if kind is Shift else 0.7)) < 0.1


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_objects_are_values(augmentation):
    same = copy.deepcopy(augmentation)
    assert same == augmentation and hash(same) == hash(augmentation)
    assert pickle.loads(pickle.dumps(augmentation)) == augmentation
    assert eval(repr(augmentation), vars(augment)) == augmentation
    assert augmentation != Flip(0.123)


def test_parameters_become_plain_numbers():
    assert repr(Shift(np.float64(0.5), 1)) == "Shift(fraction=0.5, p=1.0)"
    assert Shift(1) == Shift(1.0) and hash(Shift(1)) == hash(Shift(1.0))


# --- names, rows, and checks ---------------------------------------------------------------------


SHARES = [(kind, "fraction") for kind in (Shift, Crop, Cutout)]
SCALES = [(ChannelShift, "scale"), (Noise, "scale"), (MixUp, "alpha"), (Rotate, "degrees")]
BAD_PARAMETERS = [
    *((kind, name, value, "> 0 and <= 1") for kind, name in SHARES for value in (1.1, 8)),
    *((kind, name, value, "> 0") for kind, name in SHARES + SCALES for value in (0, -1, "a", None)),
    *((type(one), "p", value, "<= 1") for one in ALL[:10] for value in (1.5, 2)),
    *((type(one), "p", value, ">= 0") for one in ALL[:10] for value in (-0.1, np.nan, True)),
    (Rotate, "degrees", 181, "> 0 and <= 180"),
    (Compose, "augmentations", (), "not empty"),
    (Compose, "augmentations", Flip(), "a list or tuple"),
    (Compose, "augmentations", ["flip"], "(key, images) -> images. Got 'flip'"),
    (Compose, "augmentations", [Flip], "such as Flip()"),
]


@pytest.mark.parametrize(("kind", "name", "value", "rule"), BAD_PARAMETERS)
def test_parameters(kind, name, value, rule):
    with pytest.raises(ValueError) as raised:
        kind(**{name: value})
    assert f"The {name!r} parameter of {kind.__name__} must be" in str(raised.value)
    assert rule in str(raised.value)


def test_mixup_needs_targets():
    images = jnp.asarray(make_images())
    for augmentation in (MixUp(), Flip() >> MixUp()):
        with pytest.raises(TypeError, match=r"call with_targets\(key, images, y\)"):
            augmentation(KEY, images)
    with pytest.raises(ValueError, match=r"floating-point targets.*int32 instead: pass one-hot"):
        MixUp().with_targets(KEY, images, jnp.arange(40, dtype=jnp.int32))


def test_shift_of_no_pixel_is_refused():
    with pytest.raises(ValueError, match=r"'fraction' parameter of Shift must be at least 0\.125"):
        Shift(0.1)(KEY, jnp.zeros((2, 8, 8, 1)))
