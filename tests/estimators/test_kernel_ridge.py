"""KernelRidgeNTK and KernelRidgeNTKClassifier against scikit-learn's KernelRidge."""

from __future__ import annotations

import pickle

import jax
import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from kipsk import KernelRidgeNTK, KernelRidgeNTKClassifier
from kipsk._estimators import _ridge_choice
from kipsk.kernels import RBF, FullyConnected

INDEFINITE = "the check hands an indefinite matrix as the kernel, which fit refuses"
EXPECTED_FAILURES = {
    "check_estimators_dtypes": INDEFINITE,
    "check_positive_only_tag_during_fit": INDEFINITE,
}
SMALL_RIDGE = "with so small a ridge rows far apart keep their own class, whatever their weight"
COPIES = "a leave-one-out error leaves out all the copies that a weight stands for"


def expected_failures(estimator):
    found = {"check_sample_weight_equivalence_on_dense_data": COPIES}
    found = found if estimator.reg == "auto" else {"check_class_weight_classifiers": SMALL_RIDGE}
    return found | (EXPECTED_FAILURES if estimator.kernel == "precomputed" else {})


# The checks have tables of two columns, far from standardised.
@pytest.mark.filterwarnings("ignore:.* may learn little of X")
@parametrize_with_checks(
    [
        KernelRidgeNTK(),
        KernelRidgeNTKClassifier(),
        KernelRidgeNTK(reg=1e-2),
        KernelRidgeNTKClassifier(reg=1e-2),
        KernelRidgeNTK(kernel="precomputed"),
    ],
    expected_failed_checks=expected_failures,
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    """X, X_test, Y: 30 training and 10 new rows, two outputs."""
    X, Y = make_regression(40, 6, n_targets=2, noise=20.0, random_state=0)
    return X[:30], X[30:], Y[:30] / 100


@pytest.fixture(scope="module")
def classes(digits):
    """X, X_test, y, y_test of four digits, with string labels."""
    X, X_test, y, y_test = digits
    names = np.array(["zero", "one", "two", "three"])
    few, few_test = np.flatnonzero(y < 4)[:80], np.flatnonzero(y_test < 4)[:40]
    return X[few], X_test[few_test], names[y[few]], names[y_test[few_test]]


def sklearn_ridge(kernel, X, Y, reg, sample_weight=None):
    """Oracle: scikit-learn's KernelRidge on the same kernel object, with its absolute ridge."""
    ridge = reg * np.average(kernel.diag(X), weights=sample_weight)
    return KernelRidge(kernel=kernel, alpha=ridge).fit(X, Y, sample_weight=sample_weight)


def centred(y):
    return (y[:, None] == np.unique(y)).astype(float) - 1 / len(np.unique(y))


@pytest.mark.parametrize("reg", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("kernel", [FullyConnected(2, "nngp"), RBF(2.0)], ids=repr)
def test_regressor_equals_sklearn(kernel, reg, data, close):
    X, X_test, Y = data
    model = KernelRidgeNTK(kernel, reg=reg).fit(X, Y)
    oracle = sklearn_ridge(kernel, X, Y, reg)
    # A ridge of 1e-6 has a condition of 1e6.
    close(model.dual_coef_, oracle.dual_coef_, times=10)
    close(model.predict(X_test), oracle.predict(X_test), times=10)
    assert model.reg_ == reg
    assert model.kernel_ == kernel
    one = KernelRidgeNTK(kernel, reg=reg).fit(X, Y[:, 0])
    assert one.dual_coef_.shape == (30,)
    assert one.predict(X_test).shape == (10,)
    close(one.predict(X_test), model.predict(X_test)[:, 0], times=10)


def test_names_and_auto_are_resolved_in_fit(data, close):
    X, X_test, Y = data
    model = KernelRidgeNTK("fc2_nngp").fit(X, Y)
    assert model.kernel_ == FullyConnected(2, "nngp")
    assert model.kernel == "fc2_nngp"
    assert model.reg_ == FullyConnected.recommended_reg
    close(model.predict(X_test), sklearn_ridge(model.kernel_, X, Y, model.reg_).predict(X_test))
    model = KernelRidgeNTK("rbf").fit(X, Y)
    assert model.kernel_ == RBF().resolve(X)
    close(model.predict(X_test[:3]), model.predict(X_test)[:3])  # training rows' length scale


@pytest.mark.parametrize("kernel", ["fc1", "precomputed"])
def test_sample_weight_is_repetition(kernel, data, close):
    """Oracles: rows given several times (0: not at all), and scikit-learn's weights."""
    X, X_test, Y = data
    weight = np.arange(30) % 4
    repeated = np.repeat(np.arange(30), weight)
    fc1 = FullyConnected()
    weighted, plain = KernelRidgeNTK(kernel, reg=0.01), KernelRidgeNTK(kernel, reg=0.01)
    if kernel == "precomputed":
        K = fc1(X)
        weighted.fit(K, Y, sample_weight=weight)
        plain.fit(K[np.ix_(repeated, repeated)], Y[repeated])
        actual, desired = weighted.predict(fc1(X_test, X)), plain.predict(fc1(X_test, X[repeated]))
    else:
        actual = weighted.fit(X, Y, sample_weight=weight).predict(X_test)
        desired = plain.fit(X[repeated], Y[repeated]).predict(X_test)
    close(actual, desired)
    close(actual, sklearn_ridge(fc1, X, Y, 0.01, weight).predict(X_test))
    assert not weighted.dual_coef_[weight == 0].any()
    equal = KernelRidgeNTK("fc1", reg=0.01).fit(X, Y, sample_weight=np.full(30, 7.0))
    more = KernelRidgeNTK("fc1", reg=0.01).fit(np.repeat(X, 7, 0), np.repeat(Y, 7, 0))
    close(equal.predict(X_test), more.predict(X_test))


def test_rows_of_weight_zero_do_not_count_for_the_length_scale(data, close):
    X, X_test, Y = data
    weight = np.arange(30) < 20
    weighted = KernelRidgeNTK("rbf", reg=0.01).fit(np.where(weight[:, None], X, 50), Y, weight)
    close(
        weighted.predict(X_test),
        KernelRidgeNTK("rbf", reg=0.01).fit(X[:20], Y[:20]).predict(X_test),
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_reg_sequence_takes_the_smallest_leave_one_out_error(weighted, data, close):
    """Oracle: scikit-learn's KernelRidge fitted without each row in turn."""
    X, X_test, Y = data
    kernel, regs = FullyConnected(), [1e-4, 1e-1, 1.0, 10.0]
    weight = np.arange(30) % 3 * 0.5 if weighted else np.ones(30)
    mean = np.average(kernel.diag(X), weights=weight)
    errors = []
    for reg in regs:
        squares = np.zeros(30)
        for i in range(30):
            rest = np.delete(np.arange(30), i)
            refit = KernelRidge(kernel="precomputed", alpha=reg * mean)
            refit.fit(kernel(X)[np.ix_(rest, rest)], Y[rest], sample_weight=weight[rest])
            squares[i] = np.mean((refit.predict(kernel(X)[i, rest][None]) - Y[i]) ** 2)
        errors.append(np.average(squares, weights=weight))
    model = KernelRidgeNTK(reg=regs).fit(X, Y, sample_weight=weight if weighted else None)
    close(model.loo_errors_, errors, times=10)
    best = regs[np.argmin(errors)]
    assert best not in (regs[0], regs[-1])
    assert model.reg_ == best
    alone = KernelRidgeNTK(reg=best).fit(X, Y, sample_weight=weight if weighted else None)
    close(model.predict(X_test), alone.predict(X_test))
    assert not hasattr(alone, "loo_errors_")
    assert not hasattr(model.set_params(reg=best).fit(X, Y), "loo_errors_")


REGS = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]


@pytest.mark.parametrize("n_rows", [2000, 20])
@pytest.mark.parametrize("kernel", ["fc1", "precomputed"])
def test_auto_takes_the_smallest_leave_one_out_error(n_rows, kernel, data, close, monkeypatch):
    """Oracle: the sequence, on all rows or on those that the seed draws."""
    monkeypatch.setattr(_ridge_choice, "_LEAVE_ONE_OUT_ROWS", n_rows)
    X, X_test, Y = data
    if kernel == "precomputed":
        X, X_test = FullyConnected()(X), FullyConnected()(X_test, X)
    y = Y[:, 0]
    model = KernelRidgeNTK(kernel).fit(X, y)
    drawn = slice(None)
    if n_rows < len(X):
        drawn = np.random.RandomState(0).permutation(len(X))[:n_rows]
        mean = np.mean(FullyConnected().diag(data[0]))
        drawn_mean = np.mean(FullyConnected().diag(data[0][drawn]))
        regs = np.array(REGS) * mean / drawn_mean  # the ridge of the fit, not that of the draw
    else:
        regs = REGS
    rows = X[drawn][:, drawn] if kernel == "precomputed" else X[drawn]
    searched = KernelRidgeNTK(kernel, reg=regs).fit(rows, y[drawn])
    close(model.loo_errors_, searched.loo_errors_, times=10)
    assert model.reg_ == REGS[np.argmin(searched.loo_errors_)] > 1e-6
    alone = KernelRidgeNTK(kernel, reg=model.reg_).fit(X, y)
    close(model.predict(X_test), alone.predict(X_test))


def test_auto_passes_over_ridges_below_the_rounding_of_a_matrix(data):
    X, _, Y = data
    K = RBF(3.0)(X)
    rounded = K - (np.linalg.eigvalsh(K)[0] + 1e-5) * np.eye(len(K))
    model = KernelRidgeNTK("precomputed").fit(rounded, Y[:, 0])
    assert np.isinf(model.loo_errors_[0]) and model.reg_ >= 1e-4
    with pytest.raises(ValueError, match="not positive semi-definite"):
        KernelRidgeNTK("precomputed").fit(K - 0.5 * np.eye(len(K)), Y[:, 0])


def test_auto_knows_noisy_labels_and_leaves_learned_rows_alone(classes):
    X, _, y, _ = classes
    rng = np.random.default_rng(0)
    noisy = np.where(rng.uniform(size=len(y)) < 0.4, rng.permutation(y), y)
    assert KernelRidgeNTKClassifier().fit(X, y).reg_ < 1e-1
    assert KernelRidgeNTKClassifier().fit(X, noisy).reg_ >= 1e-1
    learned = KernelRidgeNTKClassifier(classes=np.unique(y)).fit(X, centred(noisy))
    assert learned.reg_ == KernelRidgeNTK().fit(X, centred(noisy)).reg_ == 1e-6
    assert not hasattr(learned, "loo_errors_")


def test_reg_sequence_passes_over_a_ridge_too_small():
    X = np.repeat(np.random.default_rng(0).standard_normal((10, 3)), 2, axis=0)
    y = np.arange(20.0)
    model = KernelRidgeNTK(reg=[0.0, 1e-2]).fit(X, y)
    assert model.reg_ == 1e-2
    assert np.isinf(model.loo_errors_[0])
    with pytest.raises(ValueError, match=r"not positive definite.*raise 'reg'"):
        KernelRidgeNTK(reg=[0.0, 0.0]).fit(X, y)


def test_precomputed_equals_direct(data, close):
    X, X_test, Y = data
    kernel = FullyConnected()
    for reg in (1e-3, [1e-3, 1e-1]):
        direct = KernelRidgeNTK(kernel, reg=reg).fit(X, Y)
        given = KernelRidgeNTK("precomputed", reg=reg).fit(kernel(X), Y)
        close(given.predict(kernel(X_test, X)), direct.predict(X_test))
        assert given.kernel_ == "precomputed"
    assert KernelRidgeNTK("precomputed").fit(kernel(X), Y).reg_ == 1e-6


@pytest.mark.parametrize("block_size", [1, 3, 10, 1000, np.int64(4)])
def test_predictions_in_blocks_equal_dense(block_size, data, close):
    X, X_test, Y = data
    dense = KernelRidgeNTK().fit(X, Y).predict(X_test)
    close(KernelRidgeNTK(block_size=block_size).fit(X, Y).predict(X_test), dense, times=100)
    close(KernelRidgeNTK(block_size=block_size).fit(X, Y).predict(X_test[:1]), dense[:1], times=100)


def test_float32_equals_float64(data, close):
    X, X_test, Y = data
    double = KernelRidgeNTK(reg=1e-2).fit(X, Y)
    single = KernelRidgeNTK(reg=1e-2, dtype="float32").fit(X, Y)
    np.testing.assert_array_equal(single.dual_coef_, double.dual_coef_)  # fit is in float64
    close(single.predict(X_test), double.predict(X_test), dtype="float32", times=10)
    assert single.predict(X_test).dtype == np.float32
    rounded = X.astype(np.float32)
    from_single = KernelRidgeNTK(reg=1e-2).fit(rounded, Y)
    close(from_single.dual_coef_, KernelRidgeNTK(reg=1e-2).fit(rounded.astype(float), Y).dual_coef_)
    assert not jax.config.jax_enable_x64


def test_classifier_equals_sklearn(classes, close):
    X, X_test, y, y_test = classes
    model = KernelRidgeNTKClassifier(reg=1e-3).fit(X, y)
    scores = sklearn_ridge(FullyConnected(), X, centred(y), 1e-3).predict(X_test)
    close(model.decision_function(X_test), scores, times=10)
    assert list(model.classes_) == ["one", "three", "two", "zero"]
    np.testing.assert_array_equal(model.predict(X_test), np.unique(y)[scores.argmax(axis=1)])
    assert model.score(X_test, y_test) > 0.9


def test_binary_decision_is_one_dimensional_and_of_the_right_sign(classes, close):
    X, X_test, y, _ = classes
    y = y == "two"
    model = KernelRidgeNTKClassifier(reg=1e-3).fit(X, y)
    decision = model.decision_function(X_test)
    scores = sklearn_ridge(FullyConnected(), X, centred(y), 1e-3).predict(X_test)
    close(decision, scores[:, 1] - scores[:, 0], times=10)
    np.testing.assert_array_equal(model.predict(X_test), decision > 0)
    assert 0 < np.sum(decision > 0) < len(decision)


def test_target_matrix_with_classes(classes, close):
    X, X_test, y, _ = classes
    names = np.unique(y)
    hard = KernelRidgeNTKClassifier(reg=1e-3).fit(X, y)
    given = KernelRidgeNTKClassifier(reg=1e-3, classes=list(names)).fit(X, centred(y))
    close(given.decision_function(X_test), hard.decision_function(X_test))
    np.testing.assert_array_equal(given.predict(X_test), hard.predict(X_test))
    order = [2, 0, 3, 1]  # the columns' order is that of `classes`, sorted or not
    other = KernelRidgeNTKClassifier(reg=1e-3, classes=names[order]).fit(X, centred(y)[:, order])
    np.testing.assert_array_equal(other.predict(X_test), hard.predict(X_test))
    soft = np.random.default_rng(0).standard_normal((len(X), 4))
    regressor = KernelRidgeNTK(reg=1e-3).fit(X, soft)
    model = KernelRidgeNTKClassifier(reg=1e-3, classes=names).fit(X, soft)
    close(model.decision_function(X_test), regressor.predict(X_test))


@pytest.mark.parametrize("kernel", ["fc1", FullyConnected(2, "nngp"), RBF(), "precomputed"])
def test_copies_predict_the_same(kernel, classes, tmp_path):
    X, X_test, y, _ = classes
    if kernel == "precomputed":
        X, X_test = FullyConnected()(X), FullyConnected()(X_test, X)
    model = KernelRidgeNTKClassifier(kernel, reg=1e-3).fit(X, y)
    assert b"jax" not in pickle.dumps(model)
    joblib.dump(model, tmp_path / "model")
    skopsed = skops.io.dumps(model)
    for copy in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model"),
        skops.io.loads(skopsed, trusted=skops.io.get_untrusted_types(data=skopsed)),
        clone(model).fit(X, y),
    ):
        assert copy.get_params() == model.get_params()
        np.testing.assert_array_equal(
            copy.decision_function(X_test), model.decision_function(X_test)
        )
    for name, value in vars(model).items():
        assert not isinstance(value, jax.Array), name


def test_grid_search_over_reg_and_kernel(data):
    """Oracle: the same search with scikit-learn's KernelRidge, fold by fold."""
    X, _, Y = data
    kernels, regs, folds = [FullyConnected(), RBF(3.0)], [1e-3, 1e-1, 1.0], KFold(3)
    search = GridSearchCV(KernelRidgeNTK(), {"kernel": kernels, "reg": regs}, cv=folds).fit(X, Y)
    oracle = [
        np.mean(
            [
                sklearn_ridge(kernel, X[fit], Y[fit], reg).score(X[test], Y[test])
                for fit, test in folds.split(X)
            ]
        )
        for kernel in kernels
        for reg in regs
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], oracle, rtol=1e-6)
    nested = GridSearchCV(KernelRidgeNTK(FullyConnected()), {"kernel__depth": [0, 2]}, cv=folds)
    assert nested.fit(X, Y).best_estimator_.kernel_.depth in (0, 2)
