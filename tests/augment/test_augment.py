"""Random changes of rows.

Oracles: numpy and scipy.ndimage, image by image; what was drawn is read off the result.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

from kipsk.augment import (
    Augmentation,
    ChannelShift,
    Compose,
    Crop,
    Cutout,
    Flip,
    MixUp,
    Noise,
    Rotate,
    Shift,
    _pixels,
)
from kipsk.augment._apply import apply, check
from kipsk.augment._augmentations import get_augmentation

KEY = jax.random.key(3)
OF_IMAGES = [Flip(), Shift(0.25), Crop(), Rotate(), ChannelShift(), Cutout()]
ALL = [
    *OF_IMAGES,
    Noise(),
    MixUp(),
    Flip() >> Shift(0.25) >> Noise(),
    Compose([Flip(), MixUp()], 0.4),
]
ROTATED = jax.jit(_pixels.rotated)
SHAPES = [(8, 12, 3), (7, 5, 1)]


def make_images(n=40, shape=(8, 12, 3), seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(dtype)


def make_targets(n=40, n_classes=4, dtype=np.float32):
    return np.eye(n_classes, dtype=dtype)[np.arange(n) % n_classes]


@partial(jax.jit, static_argnums=(0, 1))
def compiled(augmentation, method, *arguments):
    return getattr(augmentation, method)(*arguments)


def changed(augmentation, images, key=KEY):
    return np.asarray(compiled(augmentation, "__call__", key, images))


def changed_both(augmentation, images, y, key=KEY):
    both = compiled(augmentation, "with_targets", key, images, y)
    return tuple(np.asarray(array) for array in both)


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


def test_pixels_of_a_share():
    assert [_pixels.pixels(fraction, 100) for fraction in (0.29, 0.295, 0.3, 1)] == [
        29,
        29,
        30,
        100,
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_against_scipy(shape):
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
        assert_allclose(found, expected, atol=1e-5)


def test_crop_keeps_at_least_its_fraction():
    """Oracle: an image that is its pixels' coordinates, so that a crop tells its window."""
    rows = np.broadcast_to(np.arange(20)[:, None], (20, 10))
    columns = np.broadcast_to(np.arange(10)[None], (20, 10))
    image = np.stack([rows, columns], axis=-1).astype(np.float32)
    new = changed(Crop(0.5), np.repeat(image[None], 1000, axis=0))
    # The inner pixels, which are not clipped at the edge.
    share = (new[:, 10, 5, 0] - new[:, 5, 5, 0]) / 5
    assert_allclose((new[:, 10, 5, 1] - new[:, 10, 2, 1]) / 3, share, atol=1e-5)
    assert share.min() + 1e-5 >= 0.5 and share.min() < 0.51
    assert share.max() > 0.99 and share.max() <= 1 + 1e-5
    assert abs(share.mean() - 0.75) < 0.02
    for axis, side in enumerate((20, 10)):
        start = new[:, 10, 5, axis] + 0.5 - share * ([10, 5][axis] + 0.5)
        place = (start / (side * (1 - share)))[share < 0.95]
        assert -1e-3 < place.min() < 0.02 and 0.98 < place.max() < 1 + 1e-3
        assert abs(place.mean() - 0.5) < 0.04


def test_crop_of_the_whole_is_the_image():
    images = make_images(5, (7, 5, 3))
    assert_array_equal(changed(Crop(1), images), images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [0, 10, -33, 90, 180])
def test_rotation_against_scipy(degrees, shape):
    images = make_images(3, shape)
    angles = jnp.full(3, np.radians(degrees), jnp.float32)
    expected = scipy.ndimage.rotate(
        images, degrees, axes=(2, 1), reshape=False, order=1, mode="grid-constant"
    )
    # Rounding of the coordinates in float32.
    assert_allclose(ROTATED(images, angles), expected, atol=2e-5)


def test_angles_are_uniform():
    """Oracle: an image whose value grows to the right, so that its slopes tell the angle."""
    image = np.broadcast_to(np.arange(9.0)[None, :, None] - 4, (9, 9, 1)).astype(np.float32)
    new = changed(Rotate(20), np.repeat(image[None], 1000, axis=0))[..., 0]
    angles = np.degrees(np.arctan2(new[:, 3, 4] - new[:, 5, 4], new[:, 4, 5] - new[:, 4, 3]))
    assert -20 - 1e-3 < angles.min() < -19.5 and 19.5 < angles.max() < 20 + 1e-3
    assert abs(angles.mean()) < 2 and abs(angles.std() - 20 / np.sqrt(3)) < 1


def test_channel_shift_moments():
    images = make_images(4000, (2, 3, 2)) * np.float32([1, 5]) + np.float32([0, 7])
    added = changed(ChannelShift(0.3), images) - images
    assert_allclose(added, np.broadcast_to(added[:, :1, :1], added.shape), atol=1e-5)
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


def test_mixup_mixes_both_in_the_same_proportion():
    """Oracle: the identity as targets, so that a new target tells what its row is made of."""
    n = 1000
    images = make_images(n, (2, 2, 1))
    new, weights = changed_both(MixUp(1), images, np.eye(n, dtype=np.float32))
    assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert ((weights != 0).sum(axis=1) <= 2).all()
    assert_allclose(new, np.einsum("ij,jhwc->ihwc", weights, images), atol=1e-5)
    share = np.diag(weights)
    assert abs(share.mean() - 0.5) < 0.06
    assert_allclose(share.var(), 1 / 12, rtol=0.15)
    partners = weights[~np.eye(n, dtype=bool)].reshape(n, n - 1).argmax(axis=1)
    assert len(np.unique(partners[share < 1])) > 0.5 * (share < 1).sum()


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


def test_mixup_of_rows():
    X, y = make_images(30, (6,)), make_targets(30)
    both = changed_both(MixUp(1), X, y)
    as_images = changed_both(MixUp(1), X.reshape(30, 2, 3, 1), y)
    assert_allclose(both[0], as_images[0].reshape(30, 6), atol=1e-6)
    assert_allclose(both[1], as_images[1], atol=1e-6)
    assert not np.array_equal(both[1], y)


def test_a_single_row_has_no_other_and_no_deviation():
    X, y = make_images(1, (4, 4, 1)), make_targets(1)
    new, new_y = changed_both(MixUp(1) >> Noise(), X, y)
    assert_allclose(new, X, atol=1e-6)
    assert_allclose(new_y, y, atol=1e-6)


# --- composition ---------------------------------------------------------------------------------


def test_compose_applies_one_after_the_other():
    """Oracle: a mark of two pixels, whose place tells what was done."""
    image = np.zeros((16, 24, 1), np.float32)
    image[8, 11:13, 0] = 1, 2
    new = changed(Flip() >> Shift(), np.repeat(image[None], 4000, axis=0))[..., 0]
    left, right = (np.argmax(new.reshape(4000, -1) == mark, axis=1) for mark in (1, 2))
    mirrored = left > right
    assert abs(mirrored.mean() - 0.5) < 0.04
    down, across = left // 24 - 8, left % 24 - np.where(mirrored, 12, 11)
    for moved, reach in [(down, 2), (across, 3)]:
        values, counts = np.unique(moved, return_counts=True)
        assert_array_equal(values, np.arange(-reach, reach + 1))
        assert np.abs(counts / 4000 - 1 / len(values)).max() < 0.04
    # Each has its own key: what one draws says nothing of the other.
    assert np.abs(np.corrcoef([mirrored, down, across]) - np.eye(3)).max() < 0.08


def test_p_of_compose_is_the_share_of_rows_that_go_through():
    images, y = make_images(1000, (4, 4, 1)), make_targets(1000)
    chain = Compose([lambda key, images: images + 1, lambda key, images: 2 * images, MixUp(1)], 0.3)
    new, new_y = changed_both(chain, images, y)
    kept = (new == images).all(axis=(1, 2, 3))
    assert abs(kept.mean() - 0.7) < 0.06
    assert_array_equal(new_y[kept], y[kept])
    assert (new_y[~kept] != y[~kept]).any(axis=1).mean() > 0.5  # others may be of the same class
    simple = Compose(chain.augmentations[:2], 0.3)
    new = changed(simple, images)
    went = ~(new == images).all(axis=(1, 2, 3))
    assert_array_equal(new[went], 2 * (images[went] + 1))
    assert_array_equal(changed_both(simple, images, y)[0], new)


def test_chains_are_one_tuple():
    flip, shift, noise = Flip(), Shift(), Noise()
    assert (flip >> shift) >> noise == flip >> (shift >> noise) == Compose((flip, shift, noise))
    assert (Compose([flip, shift], 0.5) >> noise).augmentations[0] == Compose([flip, shift], 0.5)
    assert (jnp.negative >> flip).augmentations == (jnp.negative, flip)
    assert (flip >> jnp.negative).augmentations == (flip, jnp.negative)
    with pytest.raises(TypeError, match="unsupported operand"):
        flip >> "shift"
    with pytest.raises(ValueError, match=r"brackets, such as Shift\(\)"):
        flip >> Shift


@dataclass(frozen=True)
class Negative(Augmentation):
    p: float = 0.5

    def change(self, key, images):
        return -images


def test_own_augmentations():
    images = make_images(1000, (2, 2, 1))
    new = changed(Negative(0.2), images)
    negative = (new == -images).all(axis=(1, 2, 3))
    assert abs(negative.mean() - 0.2) < 0.06
    assert_array_equal(new[~negative], images[~negative])
    assert (Negative() >> Flip()).augmentations == (Negative(), Flip())
    with pytest.raises(ValueError, match="'p' parameter of Negative"):
        Negative(2)
    with pytest.raises(NotImplementedError, match=r"change\(key, images\)"):
        Augmentation()(KEY, jnp.asarray(images))


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
def test_compiled_or_not(augmentation):
    images, y = make_images(), make_targets()
    each = augmentation.with_targets(KEY, jnp.asarray(images), jnp.asarray(y))
    for eager, fast in zip(each, changed_both(augmentation, images, y), strict=True):
        assert_allclose(eager, fast, atol=2e-5)


@pytest.mark.parametrize("augmentation", ALL[:8], ids=repr)
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
    assert eval(repr(augmentation)) == augmentation
    assert augmentation != Flip(0.123)


def test_parameters_become_plain_numbers():
    assert repr(Shift(np.float64(0.5), 1)) == "Shift(fraction=0.5, p=1.0)"
    assert Shift(1) == Shift(1.0) and hash(Shift(1)) == hash(Shift(1.0))


# --- names, rows, and checks ---------------------------------------------------------------------


def test_get_augmentation():
    assert get_augmentation("It", None) is None
    assert get_augmentation("It", "flip") == Flip()
    assert get_augmentation("It", "flip_shift") == Flip() >> Shift()
    for one in (Crop(), jnp.negative, partial(jnp.add, 1)):
        assert get_augmentation("It", one) is one
    for several in ([Flip(), jnp.negative], ("flip", jnp.negative)):
        assert get_augmentation("It", several) == Compose((Flip(), jnp.negative))


@dataclass
class NotFrozen:
    scale: float = 1.0

    def __call__(self, key, images):
        return images


BAD = [
    ("mirror", "None, one of ['flip', 'flip_shift'], an Augmentation such as Flip()", "'mirror'"),
    (3, "(key, images) -> images, or a list of these", "Got 3 "),
    ([], "not empty", "Got [] "),
    ([Flip(), None], "without None", "Got [Flip(p=0.5), None] "),
    ([Flip(), 3], "or a list of these", "Got 3 "),
    (Flip, "Write it with brackets, such as Flip().", "'augment'"),
    (NotFrozen(), "frozen=True", "NotFrozen(scale=1.0)"),
]


@pytest.mark.parametrize(("value", "rule", "got"), BAD, ids=[str(bad[0]) for bad in BAD])
def test_get_augmentation_refuses(value, rule, got):
    with pytest.raises(ValueError) as raised:
        get_augmentation("It", value)
    for part in ("'augment' parameter of It", rule, got):
        assert part in str(raised.value)


SHARES = [(kind, "fraction") for kind in (Shift, Crop, Cutout)]
SCALES = [(ChannelShift, "scale"), (Noise, "scale"), (MixUp, "alpha"), (Rotate, "degrees")]
BAD_PARAMETERS = [
    *((kind, name, value, "> 0 and <= 1") for kind, name in SHARES for value in (1.1, 8)),
    *((kind, name, value, "> 0") for kind, name in SHARES + SCALES for value in (0, -1, "a", None)),
    *((type(one), "p", value, "<= 1") for one in ALL[:8] for value in (1.5, 2)),
    *((type(one), "p", value, ">= 0") for one in ALL[:8] for value in (-0.1, np.nan, True)),
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


@pytest.mark.parametrize("augmentation", [*OF_IMAGES, Noise() >> Flip()], ids=repr)
def test_images_are_needed(augmentation):
    X, y = jnp.asarray(make_images(5, (12,))), jnp.asarray(make_targets(5))
    with pytest.raises(ValueError, match=r"shape \(5, 12\) instead: pass image_shape=\(H, W, C\)"):
        apply(augmentation, KEY, X, y, None)
    with pytest.raises(ValueError, match=r"'image_shape' parameter of It .* augment=.*Got None"):
        check("It", augmentation, X, y, None)


@pytest.mark.parametrize("augmentation", [Flip(), MixUp(), ALL[-2], ALL[-1]], ids=repr)
def test_apply_to_rows_that_are_images(augmentation):
    """Oracle: the augmentation of the images."""
    images, y = make_images(), make_targets()
    expected = changed_both(augmentation, images, y)
    applied = jax.jit(apply, static_argnums=(0, 4))
    X, y = applied(augmentation, KEY, images.reshape(40, -1), y, (8, 12, 3))
    assert_allclose(X, expected[0].reshape(40, -1), atol=2e-5)
    assert_allclose(y, expected[1], atol=1e-6)


def test_apply_to_rows():
    X, y = jnp.asarray(make_images(5, (6,))), jnp.asarray(make_targets(5))
    new, same = apply(lambda key, rows: rows[:, ::-1], KEY, X, y, None)
    assert_array_equal(new, X[:, ::-1])
    assert_array_equal(same, y)
    assert_array_equal(apply(Noise(), KEY, X, y, None)[0], Noise()(KEY, X))


def test_mixup_needs_targets():
    images = jnp.asarray(make_images())
    for augmentation in (MixUp(), Flip() >> MixUp()):
        with pytest.raises(TypeError, match=r"call with_targets\(key, images, y\)"):
            augmentation(KEY, images)
    with pytest.raises(ValueError, match=r"floating-point targets.*int32 instead: pass one-hot"):
        MixUp().with_targets(KEY, images, jnp.arange(40, dtype=jnp.int32))


@pytest.mark.parametrize(
    "augmentation", [Shift(), Noise(), MixUp(), ALL[-1], lambda key, images: images[:, ::-1]]
)
def test_check_passes(augmentation):
    images, y = make_images(100), make_targets(100)
    check("It", augmentation, images.reshape(100, -1), y, (8, 12, 3))
    if augmentation in (Noise(), MixUp()):
        check("It", augmentation, jnp.asarray(images.reshape(100, -1)), jnp.asarray(y), None)


def test_check_takes_numpy_in_double_precision():
    check("It", Flip(), make_images(5, (12,), dtype=np.float64), make_targets(5), (4, 3, 1))


def test_check_leaves_infinite_input_alone():
    X = make_images(5, (4,))
    X[0, 0] = np.inf
    check("It", lambda key, rows: 2 * rows, X, make_targets(5), None)


@dataclass(frozen=True)
class Targets(Augmentation):
    """Returns targets that are not what it got."""

    factor: float = np.nan
    columns: int = 4

    def with_targets(self, key, images, y):
        return images, self.factor * y[:, : self.columns]


CHECKS = [
    (
        lambda key, x: x[:, 1:],
        "must return images of .* gets, (70, 4, 3, 1). Got shape (70, 3, 3, 1)",
    ),
    (lambda key, x: x.astype(jnp.float16), "float32. Got dtype float16"),
    (lambda key, x: (x, x), "Got tuple from"),
    (lambda key, x: None, "Got NoneType from"),
    (lambda key, x: jnp.log(x), "must keep images finite. Got "),
    (Targets(), "must keep targets finite. Got 256 numbers that are not, on 64 rows"),
    (Targets(1.0, 2), "must return targets of .*, (70, 4). Got shape (70, 2)"),
    (lambda key, x: np.fliplr(x), "(TracerArrayConversionError): write it with jax.numpy"),
    (lambda key, x: x if x.sum() > 0 else -x, "jnp.where in place of `if`"),
    (lambda key, x: x * float(x.mean()), "must be a function that JAX can compile"),
    (lambda key, x: x[x > 0], "must be a function that JAX can compile"),
]


@pytest.mark.parametrize(("augmentation", "message"), CHECKS, ids=[c[1] for c in CHECKS])
def test_check_refuses(augmentation, message):
    X = make_images(70, (12,))
    with pytest.raises(ValueError) as raised:
        check("It", augmentation, X, make_targets(70), (4, 3, 1))
    for part in ("The 'augment' parameter of It", *message.split(".*")):
        assert part in str(raised.value)
    assert repr(augmentation) in str(raised.value)


def test_check_notes_whose_error_it_was():
    X, y = make_images(5, (12,)), make_targets(5)
    with pytest.raises(TypeError, match="2 were given") as raised:
        check("It", lambda images: images, X, y, (4, 3, 1))
    note = raised.value.__notes__[-1]  # JAX adds one too
    assert "the 'augment' parameter of It, called with a key" in note
    assert "(5, 4, 3, 1)" in note


@pytest.mark.parametrize("shape", [(4, 3, 2), (12,), 12, (4, 3, 1.0), (-4, -3, 1)])
def test_check_refuses_image_shapes(shape):
    with pytest.raises(ValueError, match="'image_shape' parameter of It must be") as raised:
        check("It", Flip(), make_images(5, (12,)), make_targets(5), shape)
    assert "Got " in str(raised.value)


def test_shift_of_no_pixel_is_refused():
    with pytest.raises(ValueError, match=r"'fraction' parameter of Shift must be at least 0\.125"):
        Shift(0.1)(KEY, jnp.zeros((2, 8, 8, 1)))
