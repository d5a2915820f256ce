from __future__ import annotations

import pickle

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone, is_regressor
from sklearn.datasets import make_friedman1
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, KIPDistiller, KIPRegressor
from kipsk._distil import _run
from kipsk._kip._start import hold_out
from kipsk.augment import MixUp
from kipsk.kernels import RandomFeatures

# Most tests share shapes, kernel and optimiser, so that little is compiled.
FAST = {"n_support": 8, "max_iter": 20, "random_state": 0}
ATTRIBUTES = ("X_s_", "y_s_", "loss_curve_")


@pytest.fixture(scope="module")
def rows():
    """Rows of five features and a curved target, far from zero."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5))
    return X, 300 + 20 * (X[:, 0] + X[:, 1] ** 2 - X[:, 2]) + rng.normal(size=120)


@pytest.fixture(scope="module")
def two(rows):
    """The same with two outputs of different units."""
    X, y = rows
    return X, np.stack([y, 1e-3 * X[:, 3]], axis=1)


@pytest.fixture(scope="module")
def fitted(rows):
    return KIPRegressor(**FAST).fit(*rows)


def assert_same_fit(one, other):
    for name in ATTRIBUTES:
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_kind(fitted):
    assert is_regressor(fitted)
    for name in ("classes_", "predict_proba", "fit_resample", "partial_fit", "decision_function"):
        assert not hasattr(fitted, name)


# --- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["learned", "fixed", "solved"])
def test_prediction_is_kernel_ridge_on_the_support(labels, rows, close):
    """Oracle: scikit-learn's KernelRidge on the centred support, the ridge matched."""
    X, y = rows
    regressor = KIPRegressor(labels=labels, reg=1e-3, dtype="float64", **FAST).fit(X, y)
    X_s, y_s = regressor.X_s_, regressor.y_s_
    K_ss = regressor.kernel_(X_s)
    ridge = KernelRidge(alpha=1e-3 * np.trace(K_ss) / 8, kernel="precomputed")
    ridge.fit(K_ss, y_s - y.mean())
    close(regressor.predict(X), ridge.predict(regressor.kernel_(X, X_s)) + y.mean(), times=10)
    assert regressor.score(X, y) == r2_score(y, regressor.predict(X))
    assert_allclose(regressor.evaluate(X, y)["fc1"], regressor.score(X, y))


def test_first_loss_equals_numpy(rows):
    """Oracle: the published formula in numpy, with standardised targets."""
    X, y = rows
    z = (y - y.mean()) / y.std()
    given = {"init": (X[:8], y[:8]), "reg": 1e-3, "dtype": "float64"}
    regressor = KIPRegressor(max_iter=1, **given).fit(X, y)
    K_ss, K_ts = regressor.kernel_(X[:8]), regressor.kernel_(X, X[:8])
    regularised = K_ss + 1e-3 * np.trace(K_ss) / 8 * np.eye(8)
    expected = 0.5 * np.mean((z - K_ts @ np.linalg.solve(regularised, z[:8])) ** 2)
    assert_allclose(regressor.loss_curve_, [expected], rtol=1e-9)


@pytest.mark.parametrize("labels", ["learned", "solved"])
def test_targets_scaled_and_shifted(labels, rows, fitted):
    """Oracle: the predictions scaled and shifted; standardised targets are the same."""
    X, y = rows
    params = FAST | {"labels": labels, "dtype": "float64"}
    plain = KIPRegressor(**params).fit(X, y)
    other = KIPRegressor(**params).fit(X, -7e3 * y + 1e6)
    assert_allclose(-7e3 * plain.predict(X) + 1e6, other.predict(X), rtol=1e-6)
    assert_allclose(-7e3 * plain.y_s_ + 1e6, other.y_s_, rtol=1e-6)
    if labels == "learned":  # to the bit, where the numbers allow
        double = KIPRegressor(**FAST).fit(X, 2 * y)
        assert_array_equal(double.predict(X), 2 * fitted.predict(X))


def test_shapes_follow_y(rows, two, fitted):
    X, y = rows
    assert fitted.y_s_.shape == (8,) and fitted.predict(X).shape == (120,)
    column = KIPRegressor(**FAST).fit(X, y[:, None])
    assert column.y_s_.shape == (8, 1) and column.predict(X).shape == (120, 1)
    assert_array_equal(column.predict(X)[:, 0], fitted.predict(X))
    both = KIPRegressor(**FAST).fit(*two)
    assert both.y_s_.shape == (8, 2) and both.predict(X).shape == (120, 2)
    assert_allclose(both.y_mean_, two[1].mean(axis=0))
    assert_allclose(both.y_scale_, two[1].std(axis=0))
    # Each output counts alike, whatever its unit.
    r2 = r2_score(two[1], both.predict(X), multioutput="raw_values")
    assert r2.min() > 0.5
    assert both.score(*two) == r2.mean()


def test_constant_targets_are_predicted(rows):
    X, y = rows
    constant = KIPRegressor(**FAST).fit(X, np.full(120, 1e3))
    assert_array_equal(constant.predict(X), 1e3)
    both = KIPRegressor(**FAST).fit(X, np.stack([np.full(120, 5), y], axis=1))
    assert_array_equal(both.predict(X)[:, 0], 5)
    assert both.score(X, both.predict(X)) == 1


def test_pandas(rows, fitted):
    """Oracle: the fit on arrays."""
    X, y = rows
    frame = pd.DataFrame(X, columns=list("abcde"))
    named = KIPRegressor(**FAST).fit(frame, pd.Series(y, name="price"))
    assert_same_fit(named, fitted)
    assert_array_equal(named.predict(frame), fitted.predict(X))
    assert KIPRegressor(**FAST).fit(frame, pd.DataFrame({"price": y})).y_s_.shape == (8, 1)


def test_reg_auto_is_that_of_the_smallest_leave_one_out_error(rows, fitted):
    """Oracle: a loop over the rows that are left out; the kernel's own for sampled networks."""
    X, y = rows
    errors = {}
    for reg in (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        K = fitted.kernel_(X)
        K[np.diag_indices(120)] += reg * np.trace(K) / 120
        z = y - y.mean()
        parts = [np.delete(np.arange(120), i) for i in range(120)]
        predicted = [K[i, p] @ np.linalg.solve(K[np.ix_(p, p)], z[p]) for i, p in enumerate(parts)]
        errors[reg] = np.mean((z - predicted) ** 2)
    assert fitted.reg_ == min(errors, key=errors.get)
    noise = KIPRegressor(**FAST).fit(X, np.random.default_rng(0).normal(size=120))
    assert noise.reg_ == 1.0
    given = KIPRegressor(reg=0.5, **FAST).fit(X, y)
    assert given.reg_ == 0.5


# --- the start -----------------------------------------------------------------------------------

STILL = {"n_support": 8, "max_iter": 1, "learning_rate": 1e-9, "random_state": 0}


@pytest.mark.parametrize("init", ["sample", "herding"])
def test_real_rows_start_with_their_targets(init, rows):
    X, y = rows
    start = KIPRegressor(init=init, **STILL).fit(X, y)
    nearest = np.abs(start.X_s_[:, None] - X).max(axis=2).argmin(axis=1)
    assert len(set(nearest)) == 8
    assert_allclose(start.X_s_, X[nearest], atol=1e-6)
    assert_allclose(start.y_s_, y[nearest], rtol=1e-5)


def test_centres_start_with_the_mean_around_them(two):
    X, Y = two
    start = KIPRegressor(init="kmeans", **STILL).fit(X, Y)
    nearest = ((X[:, None] - start.X_s_) ** 2).sum(axis=2).argmin(axis=1)
    expected = [Y[nearest == i].mean(axis=0) for i in range(8)]
    assert_allclose(start.y_s_, expected, rtol=1e-4, atol=1e-7)


def test_noise_starts_at_the_mean_and_learns(rows):
    X, y = rows
    assert_allclose(KIPRegressor(init="noise", **STILL).fit(X, y).y_s_, y.mean(), rtol=1e-6)
    learned = KIPRegressor(init="noise", **FAST | {"max_iter": 150}).fit(X, y)
    assert learned.score(X, y) > 0.7


def test_initial_arrays_are_in_the_units_of_y(rows):
    X, y = rows
    given = KIPRegressor(init=(X[:8], y[:8]), labels="fixed", max_iter=20).fit(X, y)
    assert_allclose(given.y_s_, y[:8], rtol=1e-6)
    assert np.abs(given.X_s_ - X[:8]).max() > 0.1


def test_warm_start(rows, fitted):
    """Oracle: the arrays of the last fit as `init`. Other sizes: test_coding."""
    X, y = rows
    going_on = clone(fitted).set_params(warm_start=True).fit(X, y).fit(X, y)
    params = FAST | {"init": (fitted.X_s_, fitted.y_s_)}
    again = KIPRegressor(**params).fit(X, y)
    assert_allclose(going_on.predict(X), again.predict(X), rtol=1e-4)
    with pytest.raises(ValueError, match=r"y of one dimension\. Got 5 features and y of 2 columns"):
        going_on.fit(X, np.stack([y, y], axis=1))


# --- the run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["learned", "fixed", "solved"])
def test_loss_falls(labels, rows):
    regressor = KIPRegressor(labels=labels, **FAST).fit(*rows)
    assert regressor.loss_curve_[-1] < 0.8 * regressor.loss_curve_[0]
    assert regressor.n_iter_ == 20 == len(regressor.loss_curve_)


def test_better_than_as_many_rows_with_the_best_labels():
    """Oracle: kernel ridge regression on random rows whose labels are those best for all rows."""
    X, y = make_friedman1(3000, noise=1.0, random_state=0)
    X_test, y_test = X[2000:], y[2000:]
    X, y = X[:2000], y[:2000]
    regressor = KIPRegressor(n_support=20, max_iter=150, random_state=0).fit(X, y)
    score = regressor.score(X_test, y_test)
    K_ts = regressor.kernel_(X, X[:20])
    weights = np.linalg.lstsq(K_ts, y - y.mean(), rcond=1e-6)[0]
    solved = regressor.kernel_(X_test, X[:20]) @ weights + y.mean()
    plain = KernelRidgeNTK(reg=[1e-4, 1e-2, 1.0]).fit(X[:20], y[:20] - y.mean())
    assert score > 0.8
    assert score > r2_score(y_test, solved) + 0.1
    assert score > r2_score(y_test, plain.predict(X_test) + y.mean()) + 0.2


def test_early_stopping_scores_r2_on_held_out_rows(rows):
    """Oracle: r2_score of the published support on the rows that were held out."""
    X, y = rows
    params = FAST | {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 25}
    regressor = KIPRegressor(**params).fit(X, y)
    data, rng = regressor._validate(X, y), np.random.RandomState(0)
    _, held_out = hold_out(regressor._settings(), data, rng)
    expected = r2_score(held_out.labels(), regressor.predict(held_out.X))
    assert len(held_out.X) == 24
    best = regressor.validation_scores_.max()
    assert_allclose(best, expected, rtol=1e-4)
    assert (
        regressor.best_iter_ == regressor.validation_steps_[regressor.validation_scores_.argmax()]
    )


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"kernel": ["fc1", "rbf"], "batch_size": 40}, marks=pytest.mark.slow),
        pytest.param(
            {"kernel": RandomFeatures("fc1", width=32), "init": "kmeans"}, marks=pytest.mark.slow
        ),
        pytest.param({"augment": MixUp(), "preprocess": StandardScaler()}, marks=pytest.mark.slow),
        {"corruption": 0.2},
    ],
    ids=["family", "sampled", "augment", "corruption"],
)
def test_variations(params, rows):
    regressor = KIPRegressor(**FAST | params).fit(*rows)
    assert regressor.score(*rows) > 0.4
    assert_same_fit(clone(regressor).fit(*rows), regressor)


def test_snapshots_are_in_the_units_of_y(rows, fitted):
    snapshots = KIPRegressor(snapshots=[0, 20], **FAST).fit(*rows).snapshots_
    assert_array_equal(snapshots[20][0], fitted.X_s_)
    assert_array_equal(snapshots[20][1], fitted.y_s_)
    assert np.isin(snapshots[0][1].round(3), rows[1].round(3)).all()


def test_checkpoint(rows, fitted, tmp_path, monkeypatch):
    """Oracle: the fit that was not interrupted, bit for bit."""
    saving = KIPRegressor(checkpoint_path=tmp_path / "run.npz", checkpoint_interval=5, **FAST)

    def killed(looks, state, done, look=_run.Looks.__call__):
        look(looks, state, done)
        if done == 10:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(_run.Looks, "__call__", killed)
        with pytest.raises(MemoryError):
            saving.fit(*rows)
    assert_same_fit(clone(saving).fit(*rows), fitted)
    with pytest.raises(ValueError, match="belongs to another fit: y was"):
        clone(saving).fit(rows[0], rows[1] + 1)


def test_progress_shows_r2(rows, capsys):
    KIPRegressor(verbose=1, **FAST).fit(*rows)
    shown = capsys.readouterr().err
    assert "R2=" in shown and "accuracy" not in shown


# --- in and out ----------------------------------------------------------------------------------


def test_fit_distill_trains_other_regressors(rows, fitted):
    X_s, y_s = KIPRegressor(**FAST).fit_distill(*rows)
    assert_array_equal(X_s, fitted.X_s_)
    assert_array_equal(y_s, fitted.y_s_)
    assert KernelRidgeNTK(reg=1e-3).fit(X_s, y_s).predict(rows[0]).shape == (120,)


@pytest.mark.parametrize("columns", [1, 2])
def test_export_and_load(columns, two, tmp_path):
    X, Y = two
    Y = Y if columns == 2 else Y[:, 0]
    regressor = KIPRegressor(**FAST).fit(X, Y)
    regressor.export_support(tmp_path / "set.npz")
    loaded = KIPRegressor().load_support(tmp_path / "set.npz")
    assert_allclose(loaded.predict(X), regressor.predict(X), rtol=1e-9)
    assert_array_equal(loaded.y_s_.shape, regressor.y_s_.shape)
    assert_allclose(loaded.evaluate(X, Y)["fc1"], regressor.score(X, Y), rtol=1e-6)
    with pytest.raises(ValueError, match="real targets, not of classes: load it into a KIPReg"):
        KIPDistiller().load_support(tmp_path / "set.npz")


def test_load_of_other_files(rows, tmp_path):
    """Oracle: without a mean of y that of the support is taken."""
    X, y = rows
    np.savez(tmp_path / "plain.npz", images=X[:8], labels=y[:8])
    loaded = KIPRegressor(reg=1e-3).load_support(tmp_path / "plain.npz")
    plain = KernelRidgeNTK(reg=1e-3).fit(X[:8].astype(np.float32), y[:8] - y[:8].mean())
    assert_allclose(loaded.predict(X), plain.predict(X.astype(np.float32)) + y[:8].mean())
    KIPDistiller(ipc=2, max_iter=2).fit(X, y > 300).export_support(tmp_path / "classes.npz")
    with pytest.raises(ValueError, match="of classes, not of real targets: load it into a KIPDis"):
        KIPRegressor().load_support(tmp_path / "classes.npz")


def test_pickle_names_no_jax(rows, fitted):
    data = pickle.dumps(fitted)
    assert b"jax" not in data
    assert_array_equal(pickle.loads(data).predict(rows[0]), fitted.predict(rows[0]))


def test_pipeline_in_grid_search(rows):
    pipeline = make_pipeline(StandardScaler(), KIPRegressor(**FAST))
    grid = {"kipregressor__reg": [1e-6, 1e-3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(*rows)
    assert search.score(*rows) > 0.6


# --- what users get wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, message",
    [
        (
            {"n_support": 0},
            r"'n_support' parameter of KIPRegressor must be an integer.*Got 0 ",
        ),
        ({"n_support": 2.5}, "'n_support'.*an integer >= 1.*Got 2.5 "),
        ({"labels": "soft"}, "'labels'.*'learned', 'fixed', 'solved'.*Got 'soft' "),
        ({"labels": "fixed", "init": "noise"}, "'labels'.*with init='noise'.*Got 'fixed' "),
        ({"init": "random"}, "'init'.*'herding'.*Got 'random' "),
        ({"init": (np.ones((3, 5)), np.ones((3, 2)))}, r"'init'.*shape \(n_support,\).*\(3, 2\)"),
        ({"init": (np.ones((3, 4)), np.ones(3))}, r"'init'.*\(n_support, 5\).*shape \(3, 4\)"),
        ({"init": (np.ones((3, 5)), np.array([1, 2, np.nan]))}, r"init\[1\] contains NaN"),
        ({"reg": -1}, "'reg'.*Got -1 "),
        (
            {"early_stopping": True, "validation_fraction": 0.001},
            "validation_fraction=0.001 of 120 rows holds no row out",
        ),
    ],
)
def test_parameters(params, message, rows):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        KIPRegressor(**FAST | params).fit(*rows)


def test_targets_that_are_refused(rows, fitted):
    X, y = rows
    cases = {
        "Input y contains NaN": np.where(y > 300, np.nan, y),
        "Input y contains infinity": np.where(y > 300, np.inf, y),
        "needs numbers in y. Got dtype <U3 instead: KIPDistiller is for": np.where(
            y > 1, "a", "bcd"
        ),
        "could not convert string": np.where(y > 1, "a", "b").astype(object),
        "inconsistent numbers of samples": y[1:],
        "Found array with dim 3": y[:, None, None],
        "ense data is required": csr_array(y[:, None]),
    }
    for message, bad in cases.items():
        with pytest.raises((ValueError, TypeError), match=message):
            KIPRegressor(**FAST).fit(X, bad)
    with pytest.raises(ValueError, match="X has 3 features"):
        fitted.predict(X[:, :3])


def test_no_jax_setting_is_changed(rows):
    before = jax.config.jax_enable_x64
    KIPRegressor(**FAST).fit(*rows)
    assert jax.config.jax_enable_x64 == before
