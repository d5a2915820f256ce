"""KIPDistiller with one exact kernel: what it learns, and that it does so again."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from kipsk import KernelRidgeNTKClassifier, KIPDistiller
from kipsk._data._labels import one_hot
from kipsk.kernels import RBF, FullyConnected, Laplace

from ._runs import FAST, assert_same_fit, nearest


@pytest.mark.parametrize("ipc, floor", [(10, None), (1, 0.93)])
def test_digits_accuracy(ipc, floor, digits):
    """Oracle: kernel ridge regression on all 1347 rows."""
    X, X_test, y, y_test = digits
    score = KIPDistiller(ipc=ipc, random_state=0).fit(X, y).score(X_test, y_test)
    if floor is None:
        floor = KernelRidgeNTKClassifier().fit(X, y).score(X_test, y_test) - 0.01
    assert score > floor


@pytest.mark.parametrize("init", ["sample", "noise", "kmeans", "herding"])
@pytest.mark.parametrize("labels", ["learned", "fixed", "solved"])
def test_loss_falls(labels, init, digits):
    X, X_test, y, y_test = digits
    # Noise with the covariance of all classes is far from any of them.
    params = FAST | ({"max_iter": 100} if init == "noise" else {})
    distiller = KIPDistiller(labels=labels, init=init, **params).fit(X, y)
    assert distiller.loss_curve_[-1] < 0.9 * distiller.loss_curve_[0]
    assert distiller.score(X_test, y_test) > 0.8
    assert distiller.X_s_.shape == (20, 64) and distiller.y_s_.shape == (20, 10)


def test_first_loss_equals_numpy(blobs):
    """Oracle: the published formula in numpy, with one-hot labels minus 1/C."""
    X, y = blobs
    rows = [0, 1, 60, 119]
    distiller = KIPDistiller(init=(X[rows], y[rows]), reg=1e-3, dtype="float64", max_iter=1)
    distiller.set_params(targets="given")
    distiller.fit(X, y)
    K_ss, K_ts = FullyConnected()(X[rows]), FullyConnected()(X, X[rows])
    regularised = K_ss + 1e-3 * np.trace(K_ss) / 4 * np.eye(4)
    y_s, y_t = np.eye(3)[y[rows]] - 1 / 3, np.eye(3)[y] - 1 / 3
    expected = 0.5 * np.mean((y_t - K_ts @ np.linalg.solve(regularised, y_s)) ** 2)
    assert_allclose(distiller.loss_curve_, [expected], rtol=1e-9)


def test_one_step_of_adam_moves_by_the_learning_rate_times_the_deviation(blobs):
    """Oracle: Adam's first step is the sign of the gradient times the learning rate."""
    X, y = 7 * blobs[0], blobs[1]
    deviation = np.sqrt(np.mean(X.var(axis=0)))
    start = X[:6] * 1.1
    params = {"init": (start, y[[0, 0, 60, 60, 119, 119]]), "max_iter": 1, "dtype": "float64"}
    distiller = KIPDistiller(learning_rate=0.01, **params).fit(X, y)
    assert distiller.n_iter_ == 1
    assert_allclose(np.abs(distiller.X_s_ - start), 0.01 * deviation, rtol=1e-3)
    labels = one_hot(np.array([0, 0, 1, 1, 2, 2]), 3)
    assert_allclose(np.abs(distiller.y_s_ - labels), 0.01, rtol=1e-3)


def test_initial_arrays(blobs):
    """Oracle: hard labels are one-hot minus 1/C; fixed soft labels come out as they went in."""
    X, y = blobs
    rows = np.array([0, 60, 100, 110])
    X_init = X[rows].astype(np.float32)
    before = X_init.copy()
    params = {"max_iter": 5}
    names = np.array(["ant", "bee", "cat"])
    hard = KIPDistiller(init=(X_init, names[y[rows]]), **params).fit(X, names[y])
    soft = KIPDistiller(init=(X_init, one_hot(y[rows], 3, np.float32)), **params).fit(X, y)
    assert_same_fit(hard, soft)
    assert_array_equal(X_init, before)
    labels = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    fixed = KIPDistiller(init=(X_init, labels), labels="fixed", **params).fit(X, y)
    assert_array_equal(fixed.y_s_, labels)
    assert not np.array_equal(fixed.X_s_, X_init)


def test_fixed_labels_are_one_hot_minus_the_mean(blobs):
    X_s, y_s = KIPDistiller(labels="fixed", **FAST).fit_distill(*blobs)
    assert X_s.dtype == np.float32 and y_s.dtype == np.float64
    assert_allclose(y_s, np.repeat(np.eye(3), 2, axis=0) - 1 / 3, rtol=1e-6)


def test_reproducible(fitted, blobs):
    assert_same_fit(KIPDistiller(**FAST).fit(*blobs), fitted)
    state = np.random.RandomState(0)
    assert_same_fit(KIPDistiller(**FAST | {"random_state": state}).fit(*blobs), fitted)
    other = KIPDistiller(**FAST | {"random_state": 1}).fit(*blobs)
    assert not np.array_equal(other.X_s_, fitted.X_s_)


@pytest.mark.parametrize("batch_size", [40, 7])
def test_several_batches(batch_size, blobs):
    X, y = blobs
    params = FAST | {"max_iter": 45, "batch_size": batch_size}
    distiller = KIPDistiller(**params).fit(X, y)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == 45
    assert distiller.score(X, y) > 0.95
    assert_same_fit(KIPDistiller(**params).fit(X, y), distiller)


def test_batch_as_large_as_the_set_is_the_set(fitted, blobs):
    assert_same_fit(KIPDistiller(batch_size=120, **FAST).fit(*blobs), fitted)


@pytest.mark.parametrize("kernel", [FullyConnected(b_std=0.0), RBF()], ids=["fc1", "rbf"])
def test_scale_of_the_features_does_not_matter(kernel, blobs):
    """Oracle: the fit on X. Without biases the kernel of 255 X is 255^2 that of X; RBF adapts."""
    X, y = blobs
    params = FAST | {"dtype": "float64"}
    one = KIPDistiller(kernel, **params).fit(X, y)
    other = KIPDistiller(kernel, **params).fit(255 * X, y)
    assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-6)
    assert_allclose(other.X_s_, 255 * one.X_s_, rtol=1e-5)
    assert_allclose(other.decision_function(255 * X), one.decision_function(X), atol=1e-5)


def test_offset_of_the_features_does_not_matter(blobs):
    """Oracle: the fit on X. An RBF kernel knows differences only."""
    X, y = blobs
    params = FAST | {"dtype": "float64"}
    one = KIPDistiller("rbf", **params).fit(X, y)
    other = KIPDistiller("rbf", **params).fit(X + 1000, y)
    assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-4)
    assert_allclose(other.X_s_ - 1000, one.X_s_, atol=1e-3)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_optax_transformation_equals_adam(schedule, blobs):
    """Oracle: optax's own Adam and schedule."""
    rate = 0.03 if schedule == "constant" else optax.cosine_decay_schedule(0.03, 20)
    custom = KIPDistiller(optimizer=optax.adam(rate), learning_rate=99.0, **FAST).fit(*blobs)
    named = KIPDistiller(learning_rate=0.03, schedule=schedule, **FAST).fit(*blobs)
    assert_allclose(custom.loss_curve_, named.loss_curve_, rtol=1e-3)
    assert_allclose(custom.X_s_, named.X_s_, atol=1e-3)


def test_schedules_and_optimizers_differ(fitted, blobs):
    for change in ({"schedule": "constant"}, {"optimizer": "adabelief"}):
        other = KIPDistiller(**FAST, **change).fit(*blobs)
        assert other.loss_curve_[0] == fitted.loss_curve_[0]
        assert other.loss_curve_[-1] != fitted.loss_curve_[-1]
        assert other.loss_curve_[-1] < 0.7 * other.loss_curve_[0]


def test_verbose_shows_loss_and_accuracy(blobs, capsys):
    KIPDistiller(verbose=1, **FAST).fit(*blobs)
    output = capsys.readouterr()
    assert output.out == ""
    for part in ("KIP", "20/20", "loss=0.0", "accuracy="):
        assert part in output.err
    KIPDistiller(**FAST).fit(*blobs)
    assert capsys.readouterr() == ("", "")


def test_float32_is_near_float64(fitted, blobs):
    """Oracle: the same run in float64."""
    X, y = blobs
    exact = KIPDistiller(dtype="float64", **FAST).fit(X, y)
    assert exact.X_s_.dtype == np.float64 and fitted.X_s_.dtype == np.float32
    assert_allclose(fitted.loss_curve_, exact.loss_curve_, rtol=1e-3)
    assert_allclose(fitted.decision_function(X), exact.decision_function(X), atol=1e-2)


def test_global_jax_setting_is_neither_changed_nor_used(fitted, blobs):
    assert not jax.config.jax_enable_x64
    assert jax.numpy.ones(1).dtype == np.float32
    with jax.enable_x64(True):
        assert_same_fit(KIPDistiller(**FAST).fit(*blobs), fitted)
        assert jax.config.jax_enable_x64
    assert not jax.config.jax_enable_x64


ALIASES = {
    "fc1": FullyConnected(),
    "fc2": FullyConnected(depth=2),
    "fc1_nngp": FullyConnected(kind="nngp"),
    "rbf": RBF(),
    "laplace": Laplace(),
}


@pytest.mark.parametrize("alias", ALIASES)
def test_alias_equals_its_kernel_object(alias, blobs):
    X, y = blobs
    named = KIPDistiller(alias, **FAST).fit(X, y)
    assert named.loss_curve_[-1] < 0.7 * named.loss_curve_[0]
    assert named.score(X, y) > 0.9
    assert named.kernel == alias
    kernel = ALIASES[alias]
    same = KIPDistiller(kernel, **FAST).fit(X, y)
    assert_same_fit(same, named)
    assert repr(same.kernel) == repr(kernel)  # untouched
    assert same.kernel_ == kernel.resolve(X.astype(np.float32))
    assert isinstance(getattr(same.kernel_, "length_scale", 1.0), float)
    assert same.reg_ == kernel.recommended_reg


def test_what_auto_stands_for_is_published(fitted):
    kernel = FullyConnected()
    assert fitted.reg_ == kernel.recommended_reg
    assert fitted.learning_rate_ == kernel.recommended_learning_rate
    assert not hasattr(fitted, "label_reg_")


@pytest.mark.parametrize("max_iter", [1, 32, 33])
def test_length_of_the_loss_curve(max_iter, blobs):
    distiller = KIPDistiller(**FAST | {"max_iter": max_iter}).fit(*blobs)
    assert distiller.n_iter_ == max_iter == len(distiller.loss_curve_)
    assert np.isfinite(distiller.loss_curve_).all()


@pytest.mark.parametrize(
    "labels, max_iter, batch_size",
    [("learned", 1, 120), ("solved", 1, 120), ("fixed", 20, 120), ("learned", 45, 40)],
)
def test_overflow_ends_with_the_last_good_support(labels, max_iter, batch_size, blobs, close):
    """Oracle: the start, real rows: every step after the first overflows float32."""
    X, y = blobs
    params = FAST | {"max_iter": max_iter, "batch_size": batch_size, "labels": labels}
    distiller = KIPDistiller(learning_rate=1e38, **params)
    message = rf"stopped after 1 of {max_iter} steps.*Lower 'learning_rate' \(now 1e\+38\)"
    with pytest.warns(ConvergenceWarning, match=message):
        distiller.fit(X, y)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == 1
    close(distiller.X_s_, nearest(distiller.X_s_, X))
    assert distiller.score(X, y) > 0.5


# All rows coincide: the steps follow rounding, and the loss may end higher than it was.
@pytest.mark.filterwarnings("ignore:KIPDistiller diverged")
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features(value):
    X = np.full((20, 3), value)
    distiller = KIPDistiller(**FAST).fit(X, np.arange(20) % 2)
    assert np.isfinite(distiller.decision_function(X)).all()


def test_divergence_warns_and_stays_finite(blobs):
    with pytest.warns(ConvergenceWarning, match=r"diverged: its loss went from .*learning_rate"):
        distiller = KIPDistiller(**{**FAST, "learning_rate": 1e6}).fit(*blobs)
    assert np.isfinite(distiller.X_s_).all()
