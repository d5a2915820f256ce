from __future__ import annotations

import pickle

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss

from kipsk import KernelRidgeNTKClassifier, KIPDistiller
from kipsk._closed_form._temperature import best_temperature
from kipsk._data._labels import one_hot
from kipsk._distil._label_solve import solve_labels_over
from kipsk._kip._start import hold_out
from kipsk.kernels import RBF, FullyConnected, Laplace, RandomFeatures

# Compiled once for the session: most tests below share shapes, kernel and optimiser.
FAST = {"ipc": 2, "max_iter": 20, "random_state": 0}


@pytest.fixture(scope="module")
def blobs():
    """Three classes in five dimensions, away from the origin."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [50, 40, 30])
    return rng.normal(size=(120, 5)) + 3 * np.eye(5)[codes] + 1, codes


@pytest.fixture(scope="module")
def fitted(blobs):
    return KIPDistiller(**FAST).fit(*blobs)


def assert_same_fit(one, other):
    assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(one.y_s_, other.y_s_)
    assert_array_equal(one.loss_curve_, other.loss_curve_)


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
def test_overflow_ends_with_the_last_good_support(labels, max_iter, batch_size, blobs):
    """Oracle: the start, real rows: every step after the first overflows float32."""
    X, y = blobs
    params = FAST | {"max_iter": max_iter, "batch_size": batch_size, "labels": labels}
    distiller = KIPDistiller(learning_rate=1e38, **params)
    message = rf"stopped after 1 of {max_iter} steps.*Lower 'learning_rate' \(now 1e\+38\)"
    with pytest.warns(ConvergenceWarning, match=message):
        distiller.fit(X, y)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == 1
    distances = np.abs(distiller.X_s_[:, None] - X).max(axis=2)
    assert_allclose(distances.min(axis=1), 0, atol=1e-6)
    assert distiller.score(X, y) > 0.5


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features(value):
    X = np.full((20, 3), value)
    distiller = KIPDistiller(**FAST).fit(X, np.arange(20) % 2)
    assert np.isfinite(distiller.decision_function(X)).all()


def test_divergence_warns_and_stays_finite(blobs):
    with pytest.warns(ConvergenceWarning, match=r"diverged: its loss went from .*learning_rate"):
        distiller = KIPDistiller(**{**FAST, "learning_rate": 1e6}).fit(*blobs)
    assert np.isfinite(distiller.X_s_).all()


# --- probabilities -------------------------------------------------------------------------------


def test_probabilities_are_calibrated_on_other_rows(digits):
    """Oracle: on test rows no other temperature has a much smaller log-loss."""
    X, X_test, y, y_test = digits
    distiller = KIPDistiller(loss="platt", ipc=2, max_iter=60, random_state=0).fit(X, y)
    probabilities = distiller.predict_proba(X_test)
    assert probabilities.shape == (len(X_test), 10)
    assert_allclose(probabilities.sum(axis=1), 1)
    assert_array_equal(distiller.predict(X_test), probabilities.argmax(axis=1))
    scores = distiller.decision_function(X_test)
    best = np.exp(scores / best_temperature(scores, y_test))
    best /= best.sum(axis=1, keepdims=True)
    assert log_loss(y_test, probabilities) < log_loss(y_test, best) + 0.02
    # Confidence is what comes true, to within the noise of 450 rows.
    confidence, hits = probabilities.max(axis=1), distiller.predict(X_test) == y_test
    assert abs(confidence.mean() - hits.mean()) < 0.03


def test_probabilities_of_two_classes(blobs):
    X, codes = blobs
    distiller = KIPDistiller(loss="platt", **FAST).fit(X, codes == 2)
    probabilities = distiller.predict_proba(X)
    assert probabilities.shape == (120, 2)
    assert_array_equal(probabilities[:, 1] > 0.5, distiller.decision_function(X) > 0)


def test_held_out_rows_are_a_share_of_each_class_and_train_nothing(blobs, monkeypatch):
    """Whatever stands in the held-out rows, the same support is learned."""
    X, codes = blobs
    seen = []

    def temperature(scores, codes):
        seen.append(np.bincount(codes))
        return best_temperature(scores, codes)

    monkeypatch.setattr("kipsk._kip._distiller.best_temperature", temperature)
    distiller = KIPDistiller(loss="platt", validation_fraction=0.25, **FAST).fit(X, codes)
    assert_array_equal(seen, [[12, 10, 7]])
    data = distiller._validate(X, codes)
    _, held_out = hold_out(distiller, data, np.random.RandomState(FAST["random_state"]))
    rows = (data.X[:, None] == held_out.X).all(axis=2).any(axis=1)
    assert rows.sum() == 29
    other = KIPDistiller(loss="platt", validation_fraction=0.25, **FAST)
    assert_same_fit(distiller, other.fit(np.where(rows[:, None], 100 + X, X), codes))
    assert other.temperature_ != distiller.temperature_


def test_no_row_to_hold_out_takes_the_learned_temperature(blobs):
    X, codes = blobs
    for fraction in (0, 0.01):
        distiller = KIPDistiller(loss="platt", validation_fraction=fraction, **FAST).fit(X, codes)
        assert 0 < distiller.temperature_ < 1
        assert_allclose(distiller.predict_proba(X).sum(axis=1), 1)


def test_refit_with_another_loss_forgets_the_temperature(blobs):
    distiller = KIPDistiller(loss="platt", **FAST).fit(*blobs)
    distiller.set_params(loss="mse").fit(*blobs)
    assert not hasattr(distiller, "temperature_")
    distiller.set_params(loss="platt")
    with pytest.raises(NotFittedError, match="not fitted with loss='platt'"):
        distiller.predict_proba(blobs[0])


def test_probabilities_need_the_platt_loss(fitted, blobs):
    assert not hasattr(fitted, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba") as raised:
        fitted.predict_proba(blobs[0])
    assert "needs loss='platt'. Got loss='mse'" in str(raised.value.__cause__)
    assert not hasattr(fitted, "temperature_")


# --- sampled kernels -----------------------------------------------------------------------------

SAMPLED = RandomFeatures("fc1", width=32)


def test_sampled_networks(digits):
    X, X_test, y, y_test = digits
    kernel = RandomFeatures("convnet2", width=16, image_shape=(8, 8, 1))
    distiller = KIPDistiller(kernel, ipc=2, max_iter=100, random_state=0).fit(X, y)
    real_rows = KIPDistiller(kernel, ipc=2, max_iter=1, learning_rate=1e-9, random_state=0)
    scores = [model.score(X_test, y_test) for model in (distiller, real_rows.fit(X, y))]
    assert scores[0] > 0.9 and scores[0] > scores[1] + 0.1
    assert distiller.kernel_ == kernel
    assert distiller.predictor_.kernel_ == kernel.for_prediction()
    assert distiller.reg_ == kernel.recommended_reg
    assert distiller.learning_rate_ == kernel.recommended_learning_rate


def test_sampled_networks_are_drawn_from_random_state(blobs):
    one, same, other = (
        KIPDistiller(SAMPLED, ipc=2, max_iter=20, random_state=seed).fit(*blobs)
        for seed in (0, 0, 1)
    )
    assert_same_fit(one, same)
    assert np.abs(one.y_s_ - other.y_s_).max() > 1e-3


def test_networks_differ_from_step_to_step(blobs):
    """The loss of one batch, all rows, moves up and down with networks that are drawn anew."""
    X, y = blobs
    still = {"ipc": 2, "max_iter": 6, "learning_rate": 1e-9, "random_state": 0}
    drawn_anew = KIPDistiller(SAMPLED, **still).fit(X, y).loss_curve_
    fixed = KIPDistiller(RandomFeatures("fc1", width=32, resample=False), **still).fit(X, y)
    assert len(set(drawn_anew.round(6))) == 6
    assert_allclose(fixed.loss_curve_, fixed.loss_curve_[0], rtol=1e-4)


def test_prediction_with_the_exact_kernel(blobs):
    X, y = blobs
    distiller = KIPDistiller(SAMPLED, predict_kernel="fc1_nngp", **FAST).fit(X, y)
    assert distiller.predictor_.kernel_ == FullyConnected(kind="nngp")
    assert distiller.predictor_.reg_ == SAMPLED.recommended_reg
    assert distiller.score(X, y) > 0.9


def test_kernel_that_cannot_predict_is_refused_before_the_steps(blobs, monkeypatch):
    monkeypatch.setattr("kipsk._distil._run.descend", lambda *_: pytest.fail("steps were run"))
    with pytest.raises(ValueError, match="'image_shape' parameter of RandomFeatures"):
        KIPDistiller(predict_kernel="rf_convnet1", **FAST).fit(*blobs)


def test_labels_solved_for_sampled_networks(blobs):
    """Oracle: Label Solve for the same rows with the kernel that predicts."""
    X, y = blobs
    distiller = KIPDistiller(SAMPLED, labels="solved", label_reg=1e-6, **FAST).fit(X, y)
    expected, _ = solve_labels_over(
        SAMPLED.for_prediction().function(),
        distiller.X_s_,
        X.astype(np.float32),
        one_hot(y, 3, np.float32),
        distiller.reg_,
        1e-6,
    )
    assert_allclose(distiller.y_s_, expected, rtol=1e-6)


def test_batch_size_auto(fitted, blobs):
    assert fitted.batch_size_ == 5000
    X, codes = blobs
    sampled = KIPDistiller(SAMPLED, **FAST).fit(X, codes)
    assert sampled.batch_size_ == SAMPLED.recommended_batch_size == 500
    assert_same_fit(sampled, KIPDistiller(SAMPLED, batch_size=500, **FAST).fit(X, codes))
    assert KIPDistiller(batch_size=7, **FAST).fit(X, codes).batch_size_ == 7


def test_saved_sampled_distiller_predicts_the_same(blobs):
    X, codes = blobs
    distiller = KIPDistiller(SAMPLED, loss="platt", **FAST).fit(X, codes)
    copy = pickle.loads(pickle.dumps(distiller))
    assert_array_equal(copy.predict_proba(X), distiller.predict_proba(X))


def test_collapse_to_no_prediction_warns(blobs):
    """A rate far too large drives the learned scale to zero, where the loss is log(n_classes)."""
    distiller = KIPDistiller(
        loss="platt", ipc=2, max_iter=50, batch_size=30, learning_rate=10.0, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="diverged"):
        distiller.fit(*blobs)


def test_labels_are_centred_with_every_loss(blobs):
    for loss in ("mse", "platt"):
        distiller = KIPDistiller(loss=loss, ipc=2, max_iter=50, random_state=0).fit(*blobs)
        if loss == "platt":
            assert_allclose(distiller.y_s_.sum(axis=1), 0, atol=1e-6)
        assert abs(distiller.y_s_.sum(axis=1)).max() < 1
