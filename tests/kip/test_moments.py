"""`Moments`, `fit_moments` and ``batch_size="all"``: steps that see all rows at once."""

from __future__ import annotations

import pickle

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from kipsk import (
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    Moments,
    RegularizedZCA,
)
from kipsk._closed_form._quadratic import Quadratic
from kipsk._distil import _all_rows, _objective
from kipsk.augment import Flip, Shift
from kipsk.kernels import RBF, FullyConnected, Landmarks, Polynomial, RandomFeatures

CLASSES = [0, 1, 2]


@pytest.fixture(scope="module")
def blobs():
    """Three classes, 120 rows in random order; float32, so that nothing is rounded on the way."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(CLASSES, 40))
    return (rng.normal(size=(120, 16)) + 3 * np.eye(16)[codes]).astype(np.float32), codes


@pytest.fixture(scope="module")
def kernel(blobs):
    return Landmarks(RBF(6.0), 30).resolve(blobs[0])


@pytest.fixture(scope="module")
def moments(blobs, kernel):
    return Moments(kernel, classes=CLASSES).fit(*blobs)


def start(blobs):
    """Two rows of each class, as `init`."""
    X, y = blobs
    rows = np.concatenate([np.flatnonzero(y == c)[:2] for c in CLASSES])
    return X[rows], y[rows]


def features(kernel, X):
    """phi in numpy, float64."""
    return np.asarray(kernel.function().prepare(X), np.float64)


# --- sums ----------------------------------------------------------------------------------------


def test_moments_are_means_over_rows(blobs, kernel, moments):
    """Oracle: numpy in float64, of the features."""
    Phi, Y = features(kernel, blobs[0]), np.eye(3)[blobs[1]]
    assert_allclose(moments.H_, Phi.T @ Phi / 120, atol=1e-6)
    assert_allclose(moments.C_, Phi.T @ Y / 120, atol=1e-6)
    assert moments.n_rows_ == 120


def test_parts_add_up_and_are_removed(blobs, kernel, moments):
    X, y = blobs
    first = Moments(kernel, classes=CLASSES).fit(X[:50], y[:50])
    second = Moments(kernel, classes=CLASSES).fit(X[50:], y[50:])
    assert_allclose((first + second).H_, moments.H_, atol=1e-6)
    assert_allclose((first + second - second).H_, first.H_, atol=1e-12)
    assert (first + second - second).n_rows_ == 50
    chunks = Moments(kernel, classes=CLASSES)
    for rows in np.split(np.arange(120), [50]):
        chunks.partial_fit(X[rows], y[rows])
    assert_array_equal(chunks.H_, (first + second).H_)


def test_weights_are_repeated_rows(blobs, kernel):
    """Oracle: the rows, each as often as its weight says."""
    X, y = blobs
    weight = np.arange(120) % 3
    weighted = Moments(kernel, classes=CLASSES).fit(X, y, weight)
    repeated = Moments(kernel, classes=CLASSES).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    assert_allclose(weighted.H_, repeated.H_, atol=1e-6)
    assert_allclose(weighted.C_, repeated.C_, atol=1e-6)


def test_a_memory_map_is_read_in_blocks(blobs, kernel, moments, tmp_path):
    np.save(tmp_path / "rows.npy", blobs[0])
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    found = Moments(kernel, classes=CLASSES).fit(mapped, blobs[1])
    assert_array_equal(found.H_, moments.H_)
    blocks = Moments(kernel, classes=CLASSES, block_size=7).fit(mapped, blobs[1])
    assert_allclose(blocks.H_, moments.H_, atol=1e-6)


def test_names_of_columns_are_kept(blobs, kernel, moments):
    frame = pd.DataFrame(blobs[0], columns=[f"c{i}" for i in range(16)])
    found = Moments(kernel, classes=CLASSES).fit(frame, blobs[1])
    assert_array_equal(found.feature_names_in_, frame.columns)
    assert_array_equal(found.H_, moments.H_)
    with pytest.raises(ValueError, match="feature names"):
        found.partial_fit(frame[frame.columns[::-1]], blobs[1])
    assert found.n_rows_ == 120


def test_a_file_holds_all(blobs, kernel, moments, tmp_path):
    moments.save(tmp_path / "moments.npz")
    found = Moments(kernel, classes=CLASSES).load(tmp_path / "moments.npz")
    assert_array_equal(found.H_, moments.H_)
    assert_array_equal(found.classes_, moments.classes_)
    assert (found + moments).n_rows_ == 240
    assert_array_equal(pickle.loads(pickle.dumps(moments)).H_, moments.H_)


def test_mirror_images_are_counted_exactly():
    """Oracle: the moments of both images of each row."""
    X = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    y, shape = np.arange(30) % 2, (3, 4, 1)
    kernel = RandomFeatures("conv1", 2, 8, image_shape=shape, resample=False)
    mirrored = X.reshape(-1, *shape)[:, :, ::-1].reshape(X.shape)
    found = Moments(kernel, classes=[0, 1], augment="flip", image_shape=shape).fit(X, y)
    both = Moments(kernel, classes=[0, 1]).fit(np.concatenate([X, mirrored]), np.tile(y, 2))
    assert_allclose(found.H_, both.H_, atol=1e-6)
    assert_allclose(found.C_, both.C_, atol=1e-6)
    assert found.n_rows_ == 30


def test_preprocess_follows_the_augmentation():
    """Oracle: rows that were mirrored and whitened before."""
    X = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    y, shape = np.arange(30) % 2, (3, 4, 1)
    zca = RegularizedZCA(reg=0.1).fit(X)
    mirrored = X.reshape(-1, *shape)[:, :, ::-1].reshape(X.shape)
    found = Moments(
        Polynomial(2), classes=[0, 1], augment="flip", image_shape=shape, preprocess=zca
    ).fit(X, y)
    both = zca.transform(np.concatenate([X, mirrored]))
    expected = Moments(Polynomial(2), classes=[0, 1]).fit(both, np.tile(y, 2))
    assert_allclose(found.H_, expected.H_, atol=1e-5)


def test_draws_of_an_augmentation_are_many_rows():
    X = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
    params = {"classes": [0, 1], "image_shape": (4, 4, 1), "augment": Flip() >> Shift(0.25)}
    y = np.arange(20) % 2
    few = Moments(Polynomial(1), n_draws=2, random_state=0, **params).fit(X, y)
    many = [Moments(Polynomial(1), n_draws=64, random_state=s, **params).fit(X, y) for s in (1, 2)]
    near, far = abs(many[0].H_ - many[1].H_).max(), abs(few.H_ - many[0].H_).max()
    assert 0 < near < 0.5 * far
    assert few.n_rows_ == 20


# --- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["learned", "fixed"])
@pytest.mark.parametrize(
    "kernel", [Landmarks("fc1", 30), Polynomial(2), FullyConnected(depth=0)], ids=repr
)
def test_moments_are_all_rows(kernel, labels, blobs):
    """Oracle: the steps on one batch of all rows."""
    params = {"ipc": 2, "max_iter": 20, "labels": labels, "random_state": 0}
    found = KIPDistiller(kernel, batch_size="all", **params).fit(*blobs)
    expected = KIPDistiller(kernel, batch_size=120, **params).fit(*blobs)
    assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-4, atol=1e-6)
    assert_allclose(found.X_s_, expected.X_s_, atol=0.02)
    assert found.batch_size_ == "all"


def test_solved_labels_are_those_of_all_rows(blobs):
    """Oracle: leave-one-out on one batch of all rows; moments take the mean leverage."""
    params = {"ipc": 2, "max_iter": 30, "labels": "solved", "label_reg": 1e-4, "random_state": 0}
    params["targets"] = "given"
    found = KIPDistiller(Polynomial(2), batch_size="all", **params).fit(*blobs)
    expected = KIPDistiller(Polynomial(2), batch_size=120, **params).fit(*blobs)
    assert_allclose(found.loss_curve_[0], expected.loss_curve_[0], rtol=0.02)
    assert_allclose(found.loss_curve_[-1], expected.loss_curve_[-1], rtol=0.1)
    # At the end the same labels are solved for the same rows.
    learned = KIPDistiller(
        Polynomial(2), init=(found.X_s_, found.y_s_), batch_size=120, **params | {"max_iter": 1}
    )
    learned.set_params(learning_rate=1e-9).fit(*blobs)
    assert_allclose(found.y_s_, learned.y_s_, atol=1e-3)


def test_all_rows_without_features_go_through_blocks(blobs, monkeypatch):
    """Oracle: the kernel's matrix of all rows as a whole."""
    params = {"ipc": 2, "max_iter": 10, "random_state": 0}
    expected = KIPDistiller("fc1", batch_size=120, **params).fit(*blobs)
    monkeypatch.setattr(_objective, "_ENTRIES", 6 * 50)
    jax.clear_caches()  # the number of rows in a block is compiled in
    found = KIPDistiller("fc1", batch_size="all", **params).fit(*blobs)
    jax.clear_caches()
    assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-3)


def test_no_row_is_needed(blobs, kernel, moments):
    """Oracle: `fit` on the rows, from the same start."""
    params = {"init": start(blobs), "max_iter": 20, "random_state": 0}
    found = KIPDistiller(kernel, **params).fit_moments(moments, ridge=0)
    expected = KIPDistiller(kernel, batch_size="all", targets="given", **params).fit(*blobs)
    assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-4)
    assert_allclose(found.X_s_, expected.X_s_, atol=0.02)
    assert_array_equal(found.predict(blobs[0]), expected.predict(blobs[0]))
    assert found.n_features_in_ == 16
    assert found.ridge_ == 0


def test_owners_are_summed(blobs, kernel, moments):
    X, y = blobs
    parts = [Moments(kernel, classes=CLASSES).fit(X[i::3], y[i::3]) for i in range(3)]
    assert_allclose(sum(parts).H_, moments.H_, atol=1e-6)


def test_a_family_takes_moments_of_each(blobs, kernel, moments):
    second = Polynomial(2)
    others = Moments(second, classes=CLASSES).fit(*blobs)
    distiller = KIPDistiller([kernel, second], init=start(blobs), max_iter=60, random_state=0)
    distiller.fit_moments([moments, others], ridge=0)
    scores = distiller.evaluate(*blobs)
    assert len(scores) == 2
    assert min(scores.values()) > 0.9


def test_held_out_moments_stop_early(blobs, kernel):
    X, y = blobs
    own = Moments(kernel, classes=CLASSES).fit(X[:80], y[:80])
    other = Moments(kernel, classes=CLASSES).fit(X[80:], y[80:])
    distiller = KIPDistiller(
        kernel, init=start(blobs), max_iter=60, n_iter_no_change=20, early_stopping=True
    ).fit_moments(own, other, power=1)  # otherwise labels are solved after the last score
    score = np.max(distiller.validation_scores_)
    assert (
        distiller.validation_steps_[np.argmax(distiller.validation_scores_)] == distiller.best_iter_
    )
    # Oracle: R2 of the published support on the held-out rows.
    residual = np.eye(3)[y[80:]] - 1 / 3 - distiller.predictor_.predict(X[80:])
    variance = (np.eye(3)[y[80:]]).var(axis=0)
    assert_allclose(score, np.mean(1 - np.mean(residual**2, axis=0) / variance), atol=1e-4)


def test_ridge_is_that_of_all_rows(blobs):
    """Oracle: leave-one-out over ridges by `KernelRidgeNTK`, which averages as cross-validation."""
    X, y = blobs
    noisy = np.where(np.arange(120) % 4 == 0, (y + 1) % 3, y)
    kernel = Polynomial(2)
    moments = Moments(kernel, classes=CLASSES).fit(X, noisy)
    distiller = KIPDistiller(kernel, ipc=2, init="noise", max_iter=5, random_state=0)
    ridge = distiller.fit_moments(moments).ridge_
    grid = np.logspace(-7, 3, 41)
    model = KernelRidgeNTKClassifier(kernel, reg=list(grid)).fit(X, noisy)
    # Relative to trace(H)/p there, to trace(K)/n here: both traces are those of all features.
    p, n = len(moments.H_), len(X)
    assert 0.3 < (ridge / p) / (model.reg_ / n) < 3


def test_a_low_rank_is_near(blobs, kernel, moments):
    """Oracle: all of H."""
    params = {"init": start(blobs), "max_iter": 20, "random_state": 0}
    full = KIPDistiller(kernel, **params).fit_moments(moments, ridge=0)
    whole = KIPDistiller(kernel, **params).fit_moments(moments, ridge=0, rank=1000)
    near = KIPDistiller(kernel, **params).fit_moments(moments, ridge=0, rank=28)
    far = KIPDistiller(kernel, **params).fit_moments(moments, ridge=0, rank=4)
    assert_allclose(whole.loss_curve_, full.loss_curve_, rtol=1e-4)
    errors = [abs(one.loss_curve_ - full.loss_curve_).max() for one in (near, far)]
    assert errors[0] < 0.1 * errors[1]


@pytest.mark.parametrize("n_features", [30, 2500])
def test_a_metric_has_the_same_best_model_and_error(n_features, monkeypatch):
    """Oracle: eigenvalues by numpy. Of many features only the leading ones are taken to a power."""
    rng = np.random.default_rng(0)
    if n_features == 30:
        values = np.logspace(3, -2, 30)
    else:
        monkeypatch.setattr(_all_rows, "_LEADING", n_features // 28)  # 16 of them among the equal
        values = np.concatenate([np.logspace(3, 0, 12), np.full(n_features - 12, 0.1)])
    Q = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    H, C = (Q * values) @ Q.T, rng.normal(size=(n_features, 2))
    best = np.linalg.solve(H, C)
    left = np.array([0.5, 2.0])
    given = Quadratic(H, C, np.sum(best * C, axis=0) + left, np.zeros(2), np.float64(100))
    found = _all_rows.in_metric(given, 0.5)
    assert_allclose(np.linalg.solve(found.H, found.C), best, rtol=1e-6)
    for W in (best, best + 0.1, np.zeros_like(best)):
        error = np.sum(W * (found.H @ W - 2 * found.C), axis=0) + found.y_squares
        distance = np.sum((W - best) * (found.H @ (W - best)), axis=0)
        assert_allclose(error, left + distance, rtol=1e-6)
    taken = np.linalg.eigvalsh(found.H)[::-1]
    leading = np.sqrt(values[:28] / values[:28].mean()) if n_features > 30 else np.sqrt(values)
    ratio = taken[: len(leading)] / leading
    # Of many features, those of eigenvalues near the others are found roughly.
    assert_allclose(ratio[:8], ratio[0], rtol=1e-3)
    assert_allclose(ratio, ratio[0], rtol=0.05 if n_features > 30 else 1e-4)
    if n_features > 30:  # the others keep their proportions, on from the last of the leading ones
        others = (taken[28:] / taken[27]) / (values[28:] / values[27])
        assert_allclose(others[:-12], 1, rtol=1e-4)
        assert_allclose(others, 1, rtol=0.05)
    assert _all_rows.in_metric(given, 1.0) is given


def test_a_metric_from_rough_eigenvectors_has_no_negative_eigenvalue(monkeypatch):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    H = (Q * np.logspace(4, -2, 60)) @ Q.T
    rough = np.linalg.qr(Q[:, ::-1][:, :20] + 0.03 * rng.normal(size=(60, 20)))[0]
    values, turn = np.linalg.eigh(rough.T @ H @ rough)
    found = (rough @ turn)[:, ::-1]
    monkeypatch.setattr(_all_rows, "_leading", lambda H: (values[::-1], found, H @ found))
    given = Quadratic(H, np.ones((60, 1)), np.ones(1), np.zeros(1), np.float64(9))
    assert np.linalg.eigvalsh(_all_rows.in_metric(given, 0.5).H)[0] > 0


def test_steps_in_a_metric_come_nearer_to_ridge_regression(digits):
    """Oracle: the linear model of ridge regression on all rows, in the same few steps."""
    X, y = (digits[0] / 16).astype(np.float32), digits[2]
    moments = Moments(Landmarks(RBF(2.0), 150, random_state=0), classes=range(10)).fit(X, y)
    ridge = 1e-3
    quadratic = _all_rows.with_ridge(moments.quadratic(), ridge)
    best = np.linalg.solve(quadratic.H, quadratic.C)
    errors = {}
    for power in ("auto", 1):
        distiller = KIPDistiller(moments.kernel_, ipc=5, max_iter=150, random_state=0)
        predictor = distiller.fit_moments(moments, ridge=ridge, power=power).predictor_
        W = features(moments.kernel_, predictor.X_fit_).T @ predictor.dual_coef_
        errors[power] = np.sum((W - best) * (quadratic.H @ (W - best)))
    assert errors["auto"] < 0.5 * errors[1]


def test_labels_are_solved_after_steps_in_a_metric(digits):
    """Oracle: at labels a little off the loss by the definition, of all rows, is no smaller."""
    X, y = (digits[0] / 16).astype(np.float32), digits[2]
    moments = Moments(Landmarks(RBF(2.0), 50, random_state=0), classes=range(10)).fit(X, y)
    distiller = KIPDistiller(moments.kernel_, ipc=1, max_iter=30, reg=1e-3, random_state=0)
    distiller.fit_moments(moments, ridge=1e-3)
    quadratic = _all_rows.with_ridge(moments.quadratic(), 1e-3)
    Phi_s = features(moments.kernel_, distiller.X_s_)
    K = Phi_s @ Phi_s.T
    model = Phi_s.T @ np.linalg.inv(K + 1e-3 * np.trace(K) / 10 * np.eye(10))

    def error(y_s):
        W = model @ y_s
        return np.sum(W * (quadratic.H @ W - 2 * quadratic.C))

    found = error(distiller.y_s_)
    for change in np.random.default_rng(0).normal(size=(5, 10, 10)):
        assert error(distiller.y_s_ + 1e-2 * change) > found


@pytest.mark.parametrize("power", [-0.1, 1.1, "half", None])
def test_bad_powers(blobs, kernel, moments, power):
    with pytest.raises(ValueError, match="'power'"):
        KIPDistiller(kernel, init=start(blobs)).fit_moments(moments, power=power)


def test_a_metric_needs_a_ridge(blobs, kernel, moments):
    distiller = KIPDistiller(kernel, init=start(blobs), max_iter=2)
    with pytest.raises(ValueError, match=r"'power' .*with ridge=0"):
        distiller.fit_moments(moments, ridge=0, power=0.5)
    distiller.fit_moments(moments, ridge=0, power="auto")


def test_a_metric_needs_a_ridge_above_rounding(blobs):
    """Fewer rows than features: H has eigenvalues of zero, and rounding makes some negative."""
    X, y = blobs
    moments = Moments(Polynomial(2), classes=CLASSES).fit(X[:9], y[:9])
    distiller = KIPDistiller(Polynomial(2), ipc=1, init="noise", max_iter=2)
    with pytest.raises(ValueError, match=r"'ridge' of fit_moments .*power=1"):
        distiller.fit_moments(moments, ridge=1e-30)


def test_real_targets(blobs):
    X = blobs[0]
    y = 1000 + 5 * X[:, 0] - X[:, 1] * X[:, 2]
    kernel = Polynomial(2)
    moments = Moments(kernel).fit(X, y)
    params = {"n_support": 12, "init": (X[:12], y[:12]), "max_iter": 30, "reg": 1e-3}
    found = KIPRegressor(kernel, **params).fit_moments(moments, ridge=0)
    expected = KIPRegressor(kernel, batch_size="all", **params).fit(X, y)
    assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-3)
    assert_allclose(found.y_mean_, y.mean(), rtol=1e-6)
    assert found.predict(X).shape == (120,)


def test_a_run_is_resumed(blobs, kernel, moments, path):
    params = {"init": start(blobs), "max_iter": 20, "random_state": 0, "checkpoint_path": path}
    first = KIPDistiller(kernel, checkpoint_interval=5, **params).fit_moments(moments)
    again = KIPDistiller(kernel, checkpoint_interval=5, **params).fit_moments(moments)
    assert_array_equal(first.X_s_, again.X_s_)
    other = Moments(kernel, classes=CLASSES).fit(blobs[0][:60], blobs[1][:60])
    with pytest.raises(ValueError, match="moments 0"):
        KIPDistiller(kernel, checkpoint_interval=5, **params).fit_moments(other)
    with pytest.raises(ValueError, match="ridge"):
        KIPDistiller(kernel, checkpoint_interval=5, **params).fit_moments(moments, ridge=3.0)


def test_a_transformer_of_the_moments_is_the_models(blobs):
    X, y = blobs
    scaler = StandardScaler().fit(X)
    kernel = Polynomial(2)
    moments = Moments(kernel, classes=CLASSES, preprocess=scaler).fit(X, y)
    distiller = KIPDistiller(kernel, ipc=2, init="noise", random_state=0).fit_moments(moments)
    score = distiller.score(X, y)
    assert score > 0.9
    scaler.fit(100 * X)  # the model has its own
    assert distiller.score(X, y) == score


def test_a_support_file_holds_the_landmarks(blobs, tmp_path):
    kernel = Landmarks(RBF(6.0), 30)
    params = {"ipc": 2, "max_iter": 5, "random_state": 0}
    distiller = KIPDistiller(kernel, **params).fit(*blobs)
    distiller.export_support(tmp_path / "set.npz")
    loaded = KIPDistiller(kernel).load_support(tmp_path / "set.npz")
    expected = distiller.decision_function(blobs[0])
    assert_allclose(loaded.decision_function(blobs[0]), expected, atol=1e-6)


# --- privacy -------------------------------------------------------------------------------------


def test_noise_is_added_to_clipped_features(blobs):
    """Oracle: the moments of features of norm one; a large epsilon leaves them as they are."""
    X, y = blobs
    kernel = Polynomial(1)
    private = Moments(
        kernel, classes=CLASSES, epsilon=1e6, delta=1e-5, max_norm=1.0, random_state=0
    ).fit(X, y)
    Phi = features(kernel, X)
    Phi /= np.maximum(np.linalg.norm(Phi, axis=1, keepdims=True), 1)
    assert_allclose(private.H_, Phi.T @ Phi / 120, atol=1e-3)
    strict = Moments(kernel, classes=CLASSES, epsilon=0.1, random_state=0).fit(X, y)
    assert abs(strict.H_ - private.H_).max() > 10 * abs(private.H_ - Phi.T @ Phi / 120).max()
    assert np.linalg.eigvalsh(strict.quadratic().H).min() > -1e-9
    distiller = KIPDistiller(kernel, init=start(blobs), max_iter=30).fit_moments(private)
    assert distiller.score(X, y) > 0.8


def test_noise_of_two_calls_does_not_cancel(blobs):
    """With one seed the difference of two releases would be that of their rows."""
    X, y = blobs
    private = Moments(Polynomial(1), classes=CLASSES, epsilon=1.0, random_state=0)
    first, again = clone(private).fit(X, y), clone(private).fit(X, y)
    assert abs(first.H_ - again.H_).max() > 1e-3


def test_a_row_that_is_too_large_does_not_tell_on_itself(blobs):
    X = np.concatenate([blobs[0], np.full((1, 16), 1e25, np.float32)])
    private = Moments(Polynomial(2), classes=CLASSES, epsilon=1.0)
    assert np.isfinite(private.fit(X, np.append(blobs[1], 0)).H_).all()


def test_ridge_is_no_less_than_the_noise(blobs):
    X, y = blobs
    private = Moments(Polynomial(1), classes=CLASSES, epsilon=1.0).fit(X, y)
    distiller = KIPDistiller(Polynomial(1), init=start(blobs), max_iter=2).fit_moments(private)
    assert distiller.ridge_ > 0.9 * private.least_ridge() > 0


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("label_reg", [0.0, 1e-3, "auto"])
def test_label_solve_by_moments_is_that_by_rows(blobs, kernel, moments, label_reg):
    X, y = blobs
    rows = np.arange(0, 120, 9)
    params = {"reg": 1e-3, "label_reg": label_reg}
    expected = LabelSolver(kernel, support=rows, **params).fit(X, y)
    found = LabelSolver(kernel, **params).fit_moments(moments, X[rows])
    assert_allclose(found.y_s_, expected.y_s_, atol=1e-3)
    assert_allclose(found.label_reg_, expected.label_reg_, rtol=1e-2)
    assert_array_equal(found.predict(X), expected.predict(X))


def test_label_solve_refuses_moments_that_are_not_for_it(blobs, kernel, moments):
    X, y = blobs
    refused("same kernel", lambda: LabelSolver("fc1").fit_moments(moments, X[:5]))
    refused(
        "16 features of the moments. Got 3",
        lambda: LabelSolver(kernel).fit_moments(moments, X[:5, :3]),
    )
    reals = Moments(kernel).fit(X, X[:, 0])
    refused("class labels", lambda: LabelSolver(kernel).fit_moments(reals, X[:5]))
    scaled = Moments(kernel, classes=CLASSES, preprocess=StandardScaler().fit(X)).fit(X, y)
    refused("no 'preprocess'", lambda: LabelSolver(kernel).fit_moments(scaled, X[:5]))


def refused(message, call, error=ValueError):
    with pytest.raises(error, match=f"(?s){message}"):
        call()


def test_kernels_without_features(blobs):
    for kernel in ("fc1", RBF(), RandomFeatures("fc1")):
        refused(
            "finite features.*Landmarks.*resample=False",
            lambda k=kernel: Moments(k, classes=CLASSES).fit(*blobs),
        )


def test_too_many_features(blobs):
    wide = RandomFeatures("fc1", width=60000, resample=False)
    refused("take.*GiB.*lower.*width", lambda: Moments(wide, classes=CLASSES).fit(*blobs))


def test_other_moments(blobs, kernel, moments, tmp_path):
    X, y = blobs
    moments.save(tmp_path / "moments.npz")
    others = [
        Moments(Landmarks(RBF(6.0), 20).resolve(X), classes=CLASSES).fit(X, y),
        Moments(kernel, classes=[0, 1, 2, 3]).fit(X, y),
        Moments(kernel, classes=CLASSES, preprocess=StandardScaler().fit(X)).fit(X, y),
    ]
    for other, what in zip(others, ["kernel", "classes", "preprocess"], strict=True):
        refused(f"of the same {what}", lambda o=other: moments + o)
        refused(f"of the same {what}", lambda o=other: clone(o).load(tmp_path / "moments.npz"))
    refused("must have the same kernel", lambda: KIPDistiller("fc1").fit_moments(moments))
    refused("cannot be removed", lambda: moments - (moments + moments))
    refused("number of outputs", lambda: Moments(kernel).fit(X, y) + Moments(kernel).fit(X, X))
    refused("cannot be removed", lambda: moments - moments)
    one_class = Moments(kernel, classes=CLASSES).fit(X[y == 0], y[y == 0])
    refused("cannot be removed", lambda: moments - one_class - one_class)
    noisy = Moments(kernel, classes=CLASSES, epsilon=1.0).fit(X, y)
    refused("without noise.*with the noise", lambda: moments + noisy)
    refused("with the noise.*without noise", lambda: noisy - moments)
    refused(
        "with the noise", lambda: clone(noisy).fit(X, y).set_params(epsilon=None).partial_fit(X, y)
    )
    refused("damaged", lambda: Moments(kernel, classes=CLASSES).load(__file__))
    refused("not fitted", lambda: Moments(kernel).H_, NotFittedError)


def test_the_first_parameter_that_differs_is_named(blobs, moments):
    X, y = blobs
    other = Landmarks(RBF(5.0), 21, landmarks="random").resolve(X)
    refused(
        r"same kernel. Got \.\.\.length_scale=5.0.* instead of \.\.\.length_scale=6.0",
        lambda: moments + Moments(other, classes=CLASSES).fit(X, y),
    )


def test_moments_of_no_rows_are_refused(blobs, kernel, moments):
    X, y = blobs
    strange = moments - Moments(kernel, classes=CLASSES).fit(X[:9] + 1, y[:9])
    assert np.linalg.eigvalsh(strange.H_)[0] < 0 < np.diag(strange.H_).min()
    refused("negative eigenvalues", lambda: KIPDistiller(kernel).fit_moments(strange))


def test_defaults_of_fit_moments_need_no_rows(blobs, kernel, moments):
    X, _ = blobs
    own, noise = (
        KIPDistiller(kernel, ipc=2, max_iter=5, random_state=0, **params).fit_moments(moments)
        for params in ({}, {"init": "noise"})
    )
    assert_array_equal(own.X_s_, noise.X_s_)
    reals = Moments(kernel).fit(X, X[:, 0])
    model = KIPRegressor(kernel, n_support=20, max_iter=60, random_state=0).fit_moments(reals)
    assert model.reg_ == kernel.recommended_reg
    assert model.score(X, X[:, 0]) > 0.8
    refused("'labels'.*noise", lambda: model.set_params(labels="fixed").fit_moments(reals))


def test_what_moments_cannot_give(blobs, kernel, moments):
    X, y = blobs

    def fit(**params):
        return lambda: KIPDistiller(kernel, **{"init": start(blobs), **params}).fit_moments(moments)

    refused("'loss'.*mse.*platt", fit(loss="platt"))
    refused("'augment'.*parameter of the Moments", fit(augment=Flip()))
    refused("'early_stopping'.*held_out", fit(early_stopping=True))
    refused("'init'.*sees no rows.*Got 'kmeans'", fit(init="kmeans"))
    refused("'corruption'", fit(corruption=0.5))
    refused(
        "classes.*KIPDistiller.*numbers.*KIPRegressor",
        lambda: KIPRegressor(kernel, init=(X[:5], y[:5])).fit_moments(moments),
    )
    refused("one for each kernel", lambda: KIPDistiller([kernel, "rbf"]).fit_moments(moments))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epsilon": 0}, "'epsilon'.*> 0.*Got 0 "),
        ({"epsilon": 1.0, "delta": 1}, "'delta'.*< 1.*Got 1 "),
        ({"epsilon": 1.0, "max_norm": -1}, "'max_norm'"),
        ({"classes": None, "epsilon": 1.0}, "'epsilon'.*None without 'classes'"),
        ({"classes": [0]}, "at least 2 classes"),
        ({"classes": [0, 1]}, r"not among 'classes': \[2\]"),
        ({"dtype": "float16"}, "'dtype'"),
        ({"n_draws": 0}, "'n_draws'"),
        ({"block_size": 0}, "'block_size'"),
        ({"preprocess": StandardScaler()}, "not fitted"),
    ],
)
def test_bad_parameters(params, message, blobs, kernel):
    refused(message, lambda: Moments(kernel, **{"classes": CLASSES, **params}).fit(*blobs))


def test_bad_rows(blobs, kernel, moments):
    X, y = blobs
    found = Moments(kernel, classes=CLASSES)
    refused("NaN", lambda: found.fit(np.where(X > 3, np.nan, X), y))
    refused("inconsistent", lambda: found.fit(X, y[:-1]))
    refused("features", lambda: pickle.loads(pickle.dumps(moments)).partial_fit(X[:, :5], y))
    refused("numbers >= 0", lambda: found.fit(X, y, -np.ones(120)))
    refused("class labels that y holds", lambda: Moments(kernel).fit(X, y.astype(str)))
