"""KIPDistiller's variations: what each changes of the plain fit, and what it must not change."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kipsk import (
    KernelRidgeNTK,
    KernelRidgeNTKClassifier,
    KIPDistiller,
    LabelSolver,
    RegularizedZCA,
)
from kipsk._data._labels import one_hot
from kipsk._data._support import initial_support
from kipsk._descent import _schedule
from kipsk._distil import _loop
from kipsk._distil._label_solve import solve_labels_over
from kipsk._kip._preprocess import as_function
from kipsk._kip._start import hold_out
from kipsk.augment import Flip, MixUp
from kipsk.kernels import RBF, ConvNet, FullyConnected, RandomFeatures

# Compiled once for the module: most tests below share shapes, kernel and optimiser.
FAST = {"ipc": 2, "max_iter": 20, "random_state": 0}
SHAPE = (4, 4, 1)
ROWS = [0, 1, 25, 26, 45, 46]  # two of each class


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def images():
    """Classes 0 and 1 are bright on the left and on the right, each other's mirror; 2 in between.

    In float32, so that nothing is rounded on the way into an estimator.
    """
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [25, 20, 15])
    bright = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]])
    X = rng.normal(size=(60, 4, 4)) + 3 * bright[codes][:, None, :]
    return X.reshape(60, 16).astype(np.float32), codes


@pytest.fixture(scope="module")
def plain(images):
    return KIPDistiller(snapshots=[0], **FAST).fit(*images)


def assert_same_fit(one, other):
    assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(one.y_s_, other.y_s_)
    assert_array_equal(one.loss_curve_, other.loss_curve_)


def loss_by_hand(kernel, reg, support, X, y_t):
    """KIP's loss from `KernelRidgeNTK`, which has tests of its own."""
    predicted = KernelRidgeNTK(kernel, reg=reg).fit(*support).predict(X)
    return 0.5 * np.mean((y_t - predicted) ** 2)


# --- families of kernels -------------------------------------------------------------------------

MEMBERS = ["fc1", RBF()]


@pytest.fixture(scope="module")
def family(images):
    return KIPDistiller(MEMBERS, **FAST).fit(*images)


def test_family_of_one_is_that_kernel(plain, images):
    assert_same_fit(KIPDistiller(["fc1"], **FAST).fit(*images), plain)


@pytest.mark.parametrize("kernels", [["fc1", RBF(0.1)], [RBF(0.1), "fc1"]], ids=str)
def test_members_of_unlike_losses_are_no_divergence(kernels, images):
    """The start, of wrong labels, stays; one order ends with the larger of the two losses."""
    X, y = images
    params = FAST | {"learning_rate": 1e-9, "init": (X[ROWS], (y[ROWS] + 1) % 3)}
    losses = KIPDistiller(kernels, **params).fit(X, y).loss_curve_
    small, large = np.sort(losses[[0, -1]])
    assert large > 1.2 * max(small, 0.5 * np.mean(one_hot(y, 3) ** 2))


def test_family_that_diverges_at_once_warns(images):
    params = FAST | {"learning_rate": 1e4}
    with pytest.warns(ConvergenceWarning, match=r"diverged: its loss went from .*learning_rate"):
        KIPDistiller(MEMBERS[::-1], **params).fit(*images)


def test_member_of_weight_zero_is_never_drawn(plain, images):
    """Oracle: the fit of the other member."""
    distiller = KIPDistiller(MEMBERS, kernel_weights=[2, 0], **FAST).fit(*images)
    assert_allclose(distiller.loss_curve_, plain.loss_curve_, rtol=1e-4)
    assert_allclose(distiller.X_s_, plain.X_s_, atol=1e-3)


def test_each_step_is_under_one_member(images):
    """Oracle: the loss of the initial support under each, by hand; with it still, no others."""
    X, y = images
    still = FAST | {"max_iter": 80, "learning_rate": 1e-9, "snapshots": [0]}
    distiller = KIPDistiller(MEMBERS, kernel_weights=[3, 1], **still).fit(X, y)
    support, y_t = distiller.snapshots_[0], one_hot(y, 3)
    losses = [
        loss_by_hand(kernel, kernel.recommended_reg, support, X, y_t)
        for kernel in (FullyConnected(), RBF().resolve(X))
    ]
    is_member = np.isclose(distiller.loss_curve_[:, None], losses, rtol=1e-3)
    assert_array_equal(is_member.sum(axis=1), 1)
    assert abs(is_member[:, 0].mean() - 0.75) < 0.15


def test_members_are_drawn_as_often_as_their_weights_say():
    """Oracle: the binomial distribution; five deviations of 4000 draws are 0.04."""
    for weights in (np.array([0.5, 0.3, 0.2]), None):
        draws = _loop.draws(3, weights, 1, np.random.RandomState(0))
        shares = np.bincount([next(draws)[0] for _ in range(4000)]) / 4000
        assert_allclose(shares, [1 / 3] * 3 if weights is None else weights, atol=0.04)


def test_family_suits_all_members_and_the_first_predicts(family, images):
    X, y = images
    assert family.predictor_.kernel_ == family.kernel_ == FullyConnected()
    accuracies = family.evaluate(X, y)
    assert list(accuracies) == ["fc1", str(RBF())]
    assert min(accuracies.values()) > 0.95


@pytest.mark.parametrize("kernel", ["fc1", RBF(), "fc2_nngp"], ids=str)
def test_evaluate_equals_kernel_ridge_regression(kernel, family, images):
    """Oracle: the classifier, fitted on the support with soft labels."""
    X, y = images
    noisy = X + 3 * np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
    ridge = KernelRidgeNTKClassifier(kernel, classes=[0, 1, 2]).fit(family.X_s_, family.y_s_)
    score = ridge.score(noisy, y)
    assert 0.5 < score < 1
    assert family.evaluate(noisy, y, [kernel]) == {str(kernel): score}


# --- augmentation --------------------------------------------------------------------------------


def test_augmentation_that_changes_nothing(plain, images):
    """Oracle: the plain fit; targets are prepared at each step and not once."""
    distiller = KIPDistiller(augment=lambda key, rows: rows, **FAST).fit(*images)
    assert_allclose(distiller.loss_curve_, plain.loss_curve_, rtol=1e-5)
    assert_allclose(distiller.X_s_, plain.X_s_, atol=1e-5 * np.abs(plain.X_s_).max())


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


# --- preprocessing -------------------------------------------------------------------------------

CHAIN = make_pipeline(StandardScaler(), FunctionTransformer(jnp.tanh), RegularizedZCA(reg=0.1))
PREPROCESS = {
    "zca": RegularizedZCA(reg=0.1),
    "scale": StandardScaler(),
    "chain": CHAIN,
    "pca": PCA(3, random_state=0),
}


@pytest.mark.parametrize("preprocess", PREPROCESS.values(), ids=PREPROCESS)
def test_preprocess_inside_equals_a_pipeline(preprocess, images):
    """Oracle: the same transformer before the distiller, in float32 too. Any will do."""
    X, y = images
    inside = KIPDistiller(preprocess=preprocess, **FAST).fit(X, y)
    pipeline = make_pipeline(preprocess, KIPDistiller(**FAST)).fit(X, y)
    assert_allclose(inside.decision_function(X), pipeline.decision_function(X), atol=1e-5)
    assert_array_equal(inside.predict(X), pipeline.predict(X))
    assert inside.evaluate(X, y) == {"fc1": inside.score(X, y)}
    # In transformed units, and rows of X in raw ones.
    assert inside.X_s_.shape == (6, preprocess.transform(X).shape[1])
    assert inside.n_features_in_ == 16
    assert inside.preprocess is preprocess is not inside.preprocess_


@pytest.mark.parametrize("augment", [None, lambda key, rows: rows], ids=["plain", "augmented"])
def test_preprocess_is_fitted_as_a_copy(augment, images):
    """Oracle: the same transformer, fitted by hand; it runs in JAX after an augmentation."""
    X, y = images
    preprocess = RegularizedZCA(reg=0.1)
    distiller = KIPDistiller(preprocess=preprocess, augment=augment, **FAST).fit(X, y)
    assert not hasattr(preprocess, "whitening_")
    fitted = RegularizedZCA(reg=0.1).fit(X)
    assert_array_equal(distiller.preprocess_.whitening_, fitted.whitening_)
    by_hand = KIPDistiller(**FAST).fit(fitted.transform(X), y)
    assert_allclose(distiller.loss_curve_[0], by_hand.loss_curve_[0], rtol=1e-5)
    assert_allclose(distiller.loss_curve_, by_hand.loss_curve_, rtol=1e-3)
    expected = by_hand.decision_function(fitted.transform(X))
    assert_allclose(distiller.decision_function(X), expected, atol=1e-2)
    # Another fit without it.
    distiller.set_params(preprocess=None, augment=None).fit(X, y)
    assert not hasattr(distiller, "preprocess_")


def test_transformer_that_cannot_run_in_jax_is_refused_with_augment_alone(images):
    X, y = images
    distiller = KIPDistiller(preprocess=PCA(3), augment="flip", image_shape=SHAPE, **FAST)
    message = "(?s)'preprocess' .* RegularizedZCA, StandardScaler.*without 'augment' any"
    with pytest.raises(ValueError, match=message):
        distiller.fit(X, y)


TRANSFORMERS = {
    "scale": StandardScaler(),
    "scale, no mean": StandardScaler(with_mean=False),
    "scale, no std": StandardScaler(with_std=False),
    "scale, neither": StandardScaler(with_mean=False, with_std=False),
    "zca": RegularizedZCA(reg=0.1),
    "zca, no norm": RegularizedZCA(reg=0.1, layer_norm=False),
    "function": FunctionTransformer(jnp.tanh),
    "function with numbers": FunctionTransformer(jnp.roll, kw_args={"shift": 1, "axis": 1}),
    "no function": FunctionTransformer(),
    "pipeline": make_pipeline(StandardScaler(), "passthrough", RegularizedZCA(), None),
}


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_transformer_as_a_jax_function(transformer, dtype, tolerance):
    """Oracle: its own transform; on rows and a feature that are constant too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 7)) * np.arange(1, 8) + 5
    X[:, 3] = 2.0
    transformer = transformer.fit(X)
    rows = X[:6].astype(dtype)
    rows[1], rows[2], rows[3] = 0.1, 0, -1 / 3
    with jax.enable_x64(True):
        function = as_function("Mine", transformer, dtype)
        actual = jax.jit(lambda function, rows: function(rows))(function, rows)
        assert actual.dtype == dtype
        expected = np.asarray(transformer.transform(rows.astype(np.float64)))
    assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())


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


def test_second_fit_starts_where_the_first_ended(plain, images):
    """Oracle: the loss of the first one's support by hand."""
    X, y = images
    distiller = KIPDistiller(warm_start=True, **FAST).fit(X, y)
    assert_same_fit(distiller, plain)
    expected = loss_by_hand("fc1", plain.reg_, (plain.X_s_, plain.y_s_), X, one_hot(y, 3))
    distiller.set_params(snapshots=[0]).fit(X, y)
    assert_allclose(distiller.snapshots_[0][0], plain.X_s_, rtol=1e-6)
    assert_allclose(distiller.loss_curve_[0], expected, rtol=1e-3)
    assert distiller.loss_curve_[-1] < distiller.loss_curve_[0]


@pytest.mark.slow
def test_warm_start_with_more_and_fewer_rows(images):
    """Oracle: the rows of the fit before, the first of each class; new ones are real rows."""
    X, y = images
    params = FAST | {"snapshots": [0], "labels": "fixed"}
    distiller = KIPDistiller(warm_start=True, **params | {"ipc": 1}).fit(X, y)
    one = distiller.X_s_
    distiller.set_params(ipc=2).fit(X, y)
    start, labels = distiller.snapshots_[0]
    assert_allclose(start[::2], one, rtol=1e-6)
    assert_allclose(labels, np.repeat(np.eye(3), 2, axis=0) - 1 / 3, rtol=1e-6)
    classes = [y[np.abs(X - row).max(axis=1) < 1e-6].item() for row in start[1::2]]
    assert_array_equal(classes, [0, 1, 2])
    two = distiller.X_s_
    distiller.set_params(ipc=1).fit(X, y)
    assert_allclose(distiller.snapshots_[0][0], two[::2], rtol=1e-6)
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


# --- early stopping ------------------------------------------------------------------------------

EARLY = FAST | {
    "early_stopping": True,
    "validation_fraction": 0.4,
    "n_iter_no_change": 5,
    "max_iter": 60,
    "learning_rate": 0.3,
    "snapshots": range(61),
}


@pytest.fixture(scope="module")
def overlapping(images):
    """Classes that overlap, so that training for long does not help."""
    X, y = images
    return X + 2 * np.random.default_rng(1).normal(size=X.shape).astype(np.float32), y


@pytest.fixture(scope="module")
def stopped(overlapping):
    return KIPDistiller(**EARLY).fit(*overlapping)


def held_out_rows(distiller, X, y):
    rng = np.random.RandomState(0)
    return hold_out(distiller, distiller._validate(X, y), rng)[1]


def test_scores_are_the_accuracy_on_held_out_rows(stopped, overlapping):
    """Oracle: `KernelRidgeNTK` on each snapshot."""
    held_out = held_out_rows(stopped, *overlapping)
    assert_array_equal(np.bincount(held_out.codes), [10, 8, 6])
    assert_array_equal(stopped.validation_steps_, range(stopped.n_iter_ + 1))
    expected = []
    for step in stopped.validation_steps_:
        ridge = KernelRidgeNTK("fc1", reg=stopped.reg_).fit(*stopped.snapshots_[step])
        expected.append(np.mean(ridge.predict(held_out.X).argmax(axis=1) == held_out.codes))
    assert len(set(expected)) > 2
    assert_allclose(stopped.validation_scores_, expected, rtol=1e-6)


def test_run_ends_after_the_best_score_and_returns_to_it(stopped):
    best = int(np.argmax(stopped.validation_scores_))
    assert 0 < best == stopped.best_iter_
    assert stopped.n_iter_ == best + 5 < 60
    assert len(stopped.loss_curve_) == stopped.n_iter_
    X_s, y_s = stopped.snapshots_[best]
    assert_array_equal(stopped.X_s_, X_s)
    assert_array_equal(stopped.y_s_, y_s)
    assert not np.array_equal(stopped.X_s_, stopped.snapshots_[stopped.n_iter_][0])


def test_held_out_rows_train_nothing(stopped, overlapping):
    """Oracle: the same steps, whatever stands in the held-out rows."""
    X, y = overlapping
    held_out = held_out_rows(stopped, X, y)
    rows = (X[:, None] == held_out.X).all(axis=2).any(axis=1)
    assert rows.sum() == len(held_out.X) > 20
    other = KIPDistiller(**EARLY).fit(np.where(rows[:, None], 100 + X, X), y)
    common = stopped.snapshots_.keys() & other.snapshots_.keys()
    assert len(common) > 5
    for step in common:
        assert_array_equal(other.snapshots_[step][0], stopped.snapshots_[step][0])
    assert not np.array_equal(other.validation_scores_, stopped.validation_scores_)


def test_scores_are_taken_every_fifth_of_the_patience(overlapping):
    params = EARLY | {"n_iter_no_change": 23, "max_iter": 18, "snapshots": None}
    distiller = KIPDistiller(**params).fit(*overlapping)
    assert_array_equal(distiller.validation_steps_, [0, 4, 8, 12, 16, 18])
    best = np.argmax(distiller.validation_scores_)
    assert distiller.best_iter_ == distiller.validation_steps_[best]
    # Another fit without it.
    distiller.set_params(early_stopping=False).fit(*overlapping)
    for name in ("best_iter_", "validation_scores_", "validation_steps_"):
        assert not hasattr(distiller, name)


def test_too_few_rows_to_hold_any_out(images):
    X, y = images
    message = "(?s)validation_fraction=0.1 of 6 rows .* raise it, or set early_stopping=False"
    with pytest.raises(ValueError, match=message):
        KIPDistiller(early_stopping=True, **FAST).fit(X[ROWS], y[ROWS])


# --- snapshots and schedules ---------------------------------------------------------------------


def test_snapshots_are_shorter_fits(plain, images):
    """Oracle: real rows with their classes, and fits of so many steps of one length."""
    X, y = images
    params = FAST | {"schedule": "constant"}
    distiller = KIPDistiller(snapshots=[20, 5, 0, 99], **params).fit(X, y)
    assert list(distiller.snapshots_) == [0, 5, 20]
    X_s, y_s = distiller.snapshots_[0]
    assert_array_equal(X_s, plain.snapshots_[0][0])
    assert_allclose(np.abs(X_s[:, None] - X).max(axis=2).min(axis=1), 0, atol=1e-6)
    assert_allclose(y_s, np.repeat(np.eye(3), 2, axis=0) - 1 / 3, rtol=1e-6)
    shorter = KIPDistiller(**params | {"max_iter": 5}).fit(X, y)
    for step, fitted in ((5, shorter), (20, distiller)):
        X_s, y_s = distiller.snapshots_[step]
        assert_array_equal(X_s, fitted.X_s_)
        assert_array_equal(y_s, fitted.y_s_)
    assert_same_fit(KIPDistiller(**params).fit(X, y), distiller)  # looking changes nothing


def test_steps_of_log_snapshots(images):
    """Oracle: the list of the published sets, and every 500 from 1000 on."""
    distiller = KIPDistiller(snapshots="log", **FAST).fit(*images)
    assert list(distiller.snapshots_) == [0, 1, 2, 4, 6, 8, 12, 18, 20]
    later = KIPDistiller(snapshots="log", max_iter=2100)._settings().snapshots
    assert sorted(step for step in later if step > 400) == [483, 695, 1000, 1500, 2000, 2100]


@pytest.mark.parametrize("label_reg", [1e-3, pytest.param("auto", marks=pytest.mark.slow)])
def test_solved_labels_of_snapshots(label_reg, images):
    """Oracle: Label Solve for the snapshots' rows; the last one is what is published."""
    X, y = images
    params = FAST | {"labels": "solved", "label_reg": label_reg}
    distiller = KIPDistiller(snapshots=[0, 9], **params).fit(X, y)
    function, y_t = FullyConnected().function(), one_hot(y, 3, np.float32)
    reg = None if label_reg == "auto" else label_reg
    found = []
    for X_s, y_s in [*distiller.snapshots_.values(), (distiller.X_s_, distiller.y_s_)]:
        expected, used = solve_labels_over(function, X_s, X, y_t, distiller.reg_, reg)
        assert_allclose(y_s, expected, rtol=1e-6)
        found.append(used)
    assert distiller.label_reg_ == found[-1]
    assert (found[0] != found[-1]) == (reg is None)
    # Another fit without it.
    assert not hasattr(distiller.set_params(labels="learned").fit(X, y), "label_reg_")


def test_schedules(plain, images):
    """Oracle: optax's schedules, and the lengths by hand."""
    rates = _schedule.learning_rates("linear", 0.5, 4)
    assert_allclose(rates, [0.5, 0.375, 0.25, 0.125])
    pairs = [
        ("linear", optax.linear_schedule(1, 0, 20), 1e-4),
        ("constant", lambda step: 1, 0),
        ("cosine", optax.cosine_decay_schedule(1, 20), 1e-4),
    ]
    last = []
    for name, function, tolerance in pairs:
        named, custom = (
            KIPDistiller(schedule=schedule, **FAST).fit(*images) for schedule in (name, function)
        )
        assert_allclose(custom.loss_curve_, named.loss_curve_, rtol=tolerance)
        last.append(named.loss_curve_[-1])
    assert len(set(last)) == 3 and last[2] == plain.loss_curve_[-1]


def test_schedule_is_a_factor_of_the_learning_rate(images):
    """Oracle: Adam's first step is the learning rate, in units of the deviation."""
    X, y = images
    init = (1.1 * X[ROWS], y[ROWS])
    params = {"init": init, "schedule": lambda step: 0.25, "max_iter": 1, "learning_rate": 0.04}
    distiller = KIPDistiller(**params).fit(X, y)
    deviation = np.sqrt(np.mean(X.var(axis=0)))
    assert_allclose(np.abs(distiller.X_s_ - init[0]), 0.01 * deviation, rtol=1e-2)


# --- initial supports, shapes of images ----------------------------------------------------------


@pytest.mark.parametrize("init", ["noise", "herding"])
def test_initial_support(init, images):
    """Oracle: `initial_support`, which has tests of its own."""
    X, y = images
    distiller = KIPDistiller(init=init, snapshots=[0], **FAST).fit(X, y)
    rng = np.random.RandomState(0)
    expected, codes, _ = initial_support(X, y, np.arange(3), 2, init, rng)
    X_s, y_s = distiller.snapshots_[0]
    assert_allclose(X_s, expected, rtol=1e-6)
    assert_array_equal(y_s.argmax(axis=1), codes)
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


def test_numpy_function_after_an_augmentation_is_refused(images):
    X, y = images
    preprocess = FunctionTransformer(lambda rows: np.sqrt(np.asarray(rows) ** 2 + 1))
    distiller = KIPDistiller(augment=lambda key, x: x, preprocess=preprocess, **FAST)
    with pytest.raises(ValueError, match=r"(?s)'preprocess' parameter of KIPDistiller.*jax\.numpy"):
        distiller.fit(X, y)


def test_evaluate_with_the_ridge_and_the_kernel_of_the_fit(images):
    """Oracle: `score`."""
    X, y = images
    distiller = KIPDistiller("rbf", reg=1e-2, **FAST).fit(X, y)
    assert distiller.evaluate(X, y) == {"rbf": distiller.score(X, y)}
    assert distiller.evaluate(X, y, "fc1").keys() == {"fc1"}


class TanhScaler(StandardScaler):
    def transform(self, X, copy=None):
        return np.tanh(super().transform(X))


def test_subclass_with_a_transform_of_its_own_is_refused_after_an_augmentation(images):
    X, y = images
    KIPDistiller(preprocess=TanhScaler(), **FAST).fit(X, y)
    distiller = KIPDistiller(augment=lambda key, x: x, preprocess=TanhScaler(), **FAST)
    with pytest.raises(ValueError, match=r"'preprocess' parameter .* what its `transform` does"):
        distiller.fit(X, y)


def test_predictions_follow_the_fitted_transformer(images):
    """Oracle: the predictions before a parameter is changed, and before a fit that fails."""
    X, y = images
    distiller = KIPDistiller(preprocess=StandardScaler(), **FAST).fit(X, y)
    before = distiller.decision_function(X)
    distiller.set_params(preprocess=None)
    assert_array_equal(distiller.decision_function(X), before)
    distiller.set_params(preprocess=RegularizedZCA(), init=(X[:2, :3], y[:2]))
    with pytest.raises(ValueError, match="'init' parameter"):
        distiller.fit(X, y)
    assert_array_equal(distiller.decision_function(X), before)


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


def test_evaluate_after_a_pickle(images):
    """Oracle: `score`; kernels are the same by their parameters."""
    X, y = images
    distiller = KIPDistiller(RBF(), **FAST).fit(X, y)
    again = pickle.loads(pickle.dumps(distiller))
    expected = distiller.score(X, y)
    assert list(again.evaluate(X, y).values()) == [expected]
    assert list(distiller.evaluate(X, y, [RBF()]).values()) == [expected]


def test_labels_without_a_ridge_need_more_rows_than_labels(images):
    X, y = images
    distiller = KIPDistiller(labels="solved", label_reg=0, batch_size=FAST["ipc"] * 3, **FAST)
    with pytest.raises(ValueError, match=r"'label_reg' parameter .* 'auto' or at least 1e-10"):
        distiller.fit(X, y)
