"""What KIPDistiller starts from: frozen entries, the last fit, initial supports, image shapes."""

from __future__ import annotations

import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk import KIPDistiller, LabelSolver
from kipsk._data._labels import one_hot
from kipsk._data._support import draw
from kipsk.kernels import ConvNet, RandomFeatures

from ._runs import FAST, ROWS, SHAPE, assert_same_fit, loss_by_hand, nearest

# --- corruption ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corrupted(images):
    return KIPDistiller(corruption=0.3, snapshots=[0], **FAST).fit(*images)


def test_frozen_entries_stay_and_others_move(corrupted, plain):
    """Oracle: the initial support; three deviations of a share of 96 entries are 0.14."""
    start, frozen = corrupted.snapshots_[0][0], corrupted.frozen_
    assert frozen.shape == start.shape == (6, 16) and frozen.dtype == bool
    assert abs(frozen.mean() - 0.3) < 0.14
    assert_array_equal(corrupted.X_s_[frozen], start[frozen])
    assert (corrupted.X_s_ != start)[~frozen].all()
    assert corrupted.loss_curve_[-1] < 0.7 * corrupted.loss_curve_[0]
    assert not hasattr(plain, "frozen_")


def test_nothing_of_a_real_row_is_left_in_frozen_entries(corrupted, plain, images):
    """Oracle: the support of the same seed without corruption; noise has the data's moments."""
    start, real, frozen = corrupted.snapshots_[0][0], plain.snapshots_[0][0], corrupted.frozen_
    assert (start != real)[frozen].all()
    assert_array_equal(start[~frozen], real[~frozen])
    assert_same_fit(KIPDistiller(corruption=0.3, **FAST).fit(*images), corrupted)
    other = KIPDistiller(corruption=0.3, **FAST | {"random_state": 1}).fit(*images)
    assert not np.array_equal(other.frozen_, frozen)
    # Nearly all of 45 rows is noise.
    X, y = images
    params = {"ipc": 15, "corruption": 0.999, "max_iter": 1, "snapshots": [0], "random_state": 0}
    noise = KIPDistiller(**params).fit(X, y).snapshots_[0][0]
    assert_allclose(noise.mean(axis=0), X.mean(axis=0), atol=4 * X.std() / 45**0.5)
    assert_allclose(noise.std(), X.std(), rtol=0.1)


def test_frozen_entries_of_given_arrays_keep_their_values(images):
    X, y = images
    distiller = KIPDistiller(corruption=0.3, init=(X[ROWS], y[ROWS]), **FAST).fit(X, y)
    frozen = distiller.frozen_
    assert 0 < frozen.sum() < 96
    assert_array_equal(distiller.X_s_[frozen], X[ROWS][frozen])
    assert (distiller.X_s_ != X[ROWS])[~frozen].all()


def test_weight_decay_does_not_move_frozen_entries(images):
    X, y = images
    optimizer = optax.adamw(0.05, weight_decay=0.5)
    params = FAST | {"init": (X[ROWS], y[ROWS]), "corruption": 0.3, "optimizer": optimizer}
    distiller = KIPDistiller(**params).fit(X, y)
    frozen = distiller.frozen_
    assert_array_equal(distiller.X_s_[frozen], X[ROWS][frozen])
    assert (distiller.X_s_ != X[ROWS])[~frozen].all()


# --- warm start ----------------------------------------------------------------------------------


def test_second_fit_starts_where_the_first_ended(plain, images, close):
    """Oracle: the loss of the first one's support by hand."""
    X, y = images
    distiller = KIPDistiller(warm_start=True, **FAST).fit(X, y)
    assert_same_fit(distiller, plain)
    expected = loss_by_hand("fc1", plain.reg_, (plain.X_s_, plain.y_s_), X, one_hot(y, 3))
    distiller.set_params(snapshots=[0]).fit(X, y)
    close(distiller.snapshots_[0][0], plain.X_s_)
    assert_allclose(distiller.loss_curve_[0], expected, rtol=1e-3)
    assert distiller.loss_curve_[-1] < distiller.loss_curve_[0]


@pytest.mark.slow
def test_warm_start_with_more_and_fewer_rows(images, close):
    """Oracle: the rows of the fit before, the first of each class; new ones are real rows."""
    X, y = images
    params = FAST | {"snapshots": [0], "labels": "fixed"}
    distiller = KIPDistiller(warm_start=True, **params | {"ipc": 1}).fit(X, y)
    one = distiller.X_s_
    distiller.set_params(ipc=2).fit(X, y)
    start, labels = distiller.snapshots_[0]
    close(start[::2], one)
    assert_allclose(labels, np.repeat(np.eye(3), 2, axis=0) - 1 / 3, rtol=1e-6)
    for code, row in enumerate(start[1::2]):
        close(row[None], nearest(row[None], X[y == code]))
    two = distiller.X_s_
    distiller.set_params(ipc=1).fit(X, y)
    close(distiller.snapshots_[0][0], two[::2])
    assert distiller.X_s_.shape == (3, 16)


def test_warm_start_needs_the_classes_and_features_of_the_fit_before(plain, images):
    X, y = images
    distiller = KIPDistiller(warm_start=True, **FAST).fit(X, y)
    message = "(?s)go on from the last fit .*16 features and .*classes.* set warm_start=False"
    for other in [(X, y + 1), (X, np.minimum(y, 1)), (X[:, :8], y)]:
        with pytest.raises(ValueError, match=message):
            distiller.fit(*other)
    distiller.set_params(warm_start=False).fit(X, y)
    assert_same_fit(distiller, plain)


# --- initial supports, shapes of images ----------------------------------------------------------


@pytest.mark.parametrize("init", ["noise", "herding"])
def test_initial_support(init, images, close):
    """Oracle: `draw`, which has tests of its own."""
    X, y = images
    distiller = KIPDistiller(init=init, snapshots=[0], **FAST).fit(X, y)
    rng = np.random.RandomState(0)
    expected = draw(distiller._validate(X, y), 2, init, rng)
    X_s, y_s = distiller.snapshots_[0]
    close(X_s, expected.X)
    assert_array_equal(y_s.argmax(axis=1), expected.y.argmax(axis=1))
    assert distiller.loss_curve_[-1] < 0.9 * distiller.loss_curve_[0]


def test_shape_of_images_is_told_to_a_kernel_that_has_none(images):
    """Oracle: the kernel that knows it."""
    X, y = images
    params = FAST | {"max_iter": 3}
    without, knowing = (
        RandomFeatures("convnet1", width=8, image_shape=shape) for shape in (None, SHAPE)
    )
    distiller = KIPDistiller(without, image_shape=list(SHAPE), **params).fit(X, y)
    assert_same_fit(distiller, KIPDistiller(knowing, **params).fit(X, y))
    assert distiller.kernel_ == knowing and without.image_shape is None


@pytest.mark.slow
def test_shape_of_images_is_told_to_exact_kernels(images):
    X, y = images
    solver = LabelSolver("convnet1", ipc=1, image_shape=SHAPE, random_state=0).fit(X, y)
    expected = LabelSolver(ConvNet(1, image_shape=SHAPE), ipc=1, random_state=0).fit(X, y)
    assert solver.kernel_ == expected.kernel_
    assert_array_equal(solver.y_s_, expected.y_s_)
    assert solver.evaluate(X, y) == {"convnet1": expected.score(X, y)}


@pytest.mark.slow
def test_shape_of_images_is_told_to_exact_kernels_of_kip(images):
    """Oracle: the kernel that knows it."""
    X, y = images
    params = FAST | {"max_iter": 2}
    distiller = KIPDistiller("convnet1", image_shape=SHAPE, **params).fit(X, y)
    assert_same_fit(distiller, KIPDistiller(ConvNet(1, image_shape=SHAPE), **params).fit(X, y))


def test_frozen_noise_stays_over_warm_starts(images):
    """Oracle: the entries of the first fit."""
    X, y = images
    distiller = KIPDistiller(corruption=0.5, warm_start=True, **FAST).fit(X, y)
    frozen, noise = distiller.frozen_, distiller.X_s_[distiller.frozen_]
    distiller.set_params(random_state=5).fit(X, y)
    assert_array_equal(distiller.frozen_, frozen)
    assert_array_equal(distiller.X_s_[frozen], noise)
    with pytest.raises(ValueError, match="ipc of the last fit"):
        distiller.set_params(ipc=FAST["ipc"] + 1).fit(X, y)
