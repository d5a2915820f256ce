"""Augmented targets of KIPDistiller, and what it must not change."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kipsk import KIPDistiller
from kipsk._data._labels import one_hot
from kipsk.augment import Flip, MixUp

from ._runs import FAST, ROWS, SHAPE, assert_same_fit, loss_by_hand


def test_augmentation_that_changes_nothing(plain, images, close):
    """Oracle: the plain fit; targets are prepared at each step and not once."""
    distiller = KIPDistiller(augment=lambda key, rows: rows, **FAST).fit(*images)
    close(distiller.loss_curve_, plain.loss_curve_, np.float32, steps=FAST["max_iter"])
    close(distiller.X_s_, plain.X_s_, steps=FAST["max_iter"])


def test_augmentation_acts_on_all_targets_and_not_on_the_support(images):
    """Oracle: the fit on mirrored rows, from the same initial arrays."""
    X, y = images
    params = FAST | {"init": (X[ROWS], y[ROWS])}
    mirrored = X.reshape(60, *SHAPE)[:, :, ::-1].reshape(60, 16)
    expected = KIPDistiller(**params).fit(mirrored, y)
    distiller = KIPDistiller(augment=Flip(p=1.0), image_shape=SHAPE, **params).fit(X, y)
    assert_allclose(distiller.loss_curve_, expected.loss_curve_, rtol=1e-4)
    assert_allclose(distiller.X_s_, expected.X_s_, atol=1e-3)
    assert distiller.score(mirrored, y) > 0.95 > 0.5 > distiller.score(X, y)


def test_flips_of_images_whose_mirror_is_another_class(plain, images):
    """Oracle: the least loss where 0 and 1 cannot be told apart: half of each is predicted.

    Three quarters of the rows are then off by (1/2, -1/2, 0), which is 1/16 for the loss.
    """
    X, y = images
    flipped, again, other = (
        KIPDistiller(augment="flip", image_shape=SHAPE, **FAST | {"random_state": seed}).fit(X, y)
        for seed in (0, 0, 1)
    )
    assert plain.loss_curve_[-1] < 0.02
    assert flipped.loss_curve_.min() > 0.8 / 16
    assert (flipped.predict(X[y == 2]) == 2).all()  # its own mirror
    assert_same_fit(flipped, again)
    assert not np.array_equal(flipped.loss_curve_, other.loss_curve_)


def test_flips_are_drawn_anew_at_every_step(images):
    still = FAST | {"learning_rate": 1e-9}
    curve = KIPDistiller(augment="flip", image_shape=SHAPE, **still).fit(*images).loss_curve_
    assert len(set(curve.round(6))) == 20


@pytest.mark.slow
def test_mixup_mixes_rows_and_targets(images):
    """Oracle: the loss by hand on rows and targets mixed with the key of the first step."""
    X, y = images
    support = X[ROWS], one_hot(y[ROWS], 3)
    augment = MixUp(0.8)
    distiller = KIPDistiller(augment=augment, **FAST | {"init": (X[ROWS], y[ROWS])}).fit(X, y)
    # With initial arrays and one batch nothing is drawn before the augmentation's seed.
    seed = np.random.RandomState(0).randint(2**31)
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), 0)
    y_t = one_hot(y, 3, np.float32)
    X_mixed, y_mixed = map(np.asarray, augment.with_targets(key, X, y_t))
    assert np.abs(y_mixed - y_t).max() > 0.3
    expected = loss_by_hand("fc1", distiller.reg_, support, X_mixed, y_mixed)
    assert_allclose(distiller.loss_curve_[0], expected, rtol=1e-4)


BAD_AUGMENTATIONS = {
    "no image_shape": ("flip", None, "'image_shape' .* for augment=Flip"),
    "shape": (lambda key, rows: rows[:, :8], None, "'augment' .* of the shape"),
    "dtype": (lambda key, rows: rows.astype(jnp.bfloat16), None, "'augment' .* dtype"),
    "nan": (lambda key, rows: jnp.log(-jnp.abs(rows)), None, "'augment' .* keep images finite"),
    "numpy": (lambda key, rows: np.sin(rows), None, "'augment' .* jax.numpy in place of numpy"),
}


@pytest.mark.parametrize(
    "augment, image_shape, message", BAD_AUGMENTATIONS.values(), ids=BAD_AUGMENTATIONS
)
def test_augmentation_is_tried_before_the_steps(augment, image_shape, message, images, monkeypatch):
    monkeypatch.setattr("kipsk._distil._run.descend", lambda *_: pytest.fail("steps were run"))
    distiller = KIPDistiller(augment=augment, image_shape=image_shape, **FAST)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        distiller.fit(*images)
