"""Augmentations of rows, and what is tried before the first step."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk.augment import Augmentation, Flip, MixUp, Noise, Shift
from kipsk.augment._apply import apply, check

from ._images import ALL, KEY, OF_IMAGES, changed_both, make_images, make_targets


@pytest.mark.parametrize("augmentation", [*OF_IMAGES, Noise() >> Flip()], ids=repr)
def test_images_are_needed(augmentation):
    X, y = jnp.asarray(make_images(5, (12,))), jnp.asarray(make_targets(5))
    with pytest.raises(ValueError, match=r"shape \(5, 12\) instead: pass image_shape=\(H, W, C\)"):
        apply(augmentation, KEY, X, y, None)
    with pytest.raises(ValueError, match=r"'image_shape' parameter of It .* augment=.*Got None"):
        check("It", augmentation, X, y, None)


@pytest.mark.parametrize("augmentation", [Flip(), MixUp(), ALL[-2], ALL[-1]], ids=repr)
def test_apply_to_rows_that_are_images(augmentation, close):
    """Oracle: the augmentation of the images."""
    images, y = make_images(), make_targets()
    expected = changed_both(augmentation, images, y)
    applied = jax.jit(apply, static_argnums=(0, 4))
    X, y = applied(augmentation, KEY, images.reshape(40, -1), y, (8, 12, 3))
    close(X, expected[0].reshape(40, -1))
    close(y, expected[1])


def test_apply_to_rows():
    X, y = jnp.asarray(make_images(5, (6,))), jnp.asarray(make_targets(5))
    new, same = apply(lambda key, rows: rows[:, ::-1], KEY, X, y, None)
    assert_array_equal(new, X[:, ::-1])
    assert_array_equal(same, y)
    assert_array_equal(apply(Noise(), KEY, X, y, None)[0], Noise()(KEY, X))


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


def test_check_tries_the_first_rows_alone():
    """However many there are: more rows than memory could hold as images take no time."""
    shapes = []

    def note(key, images):
        shapes.append(images.shape)
        return images

    X = np.broadcast_to(np.float32(0), (10**9, 12))
    check("It", note, X, np.broadcast_to(np.float32(0), (10**9, 4)), (4, 3, 1))
    check("It", note, X[:5], np.zeros((5, 4), np.float32), None)
    assert set(shapes) == {(64, 4, 3, 1), (5, 12)}


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
        "must return images of .* gets, (64, 4, 3, 1). Got shape (64, 3, 3, 1)",
    ),
    (lambda key, x: x.astype(jnp.float16), "float32. Got dtype float16"),
    (lambda key, x: (x, x), "Got tuple from"),
    (lambda key, x: None, "Got NoneType from"),
    (lambda key, x: jnp.log(x), "must keep images finite. Got "),
    (Targets(), "must keep targets finite. Got 256 numbers that are not, on the first 64 rows"),
    (Targets(1.0, 2), "must return targets of .*, (64, 4). Got shape (64, 2)"),
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
