"""Augmentations one after the other, and what an `augment` parameter may be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk.augment import Augmentation, Compose, Crop, Flip, MixUp, Noise, Shift
from kipsk.augment._augmentations import get_augmentation

from ._images import KEY, changed, changed_both, make_images, make_targets

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
