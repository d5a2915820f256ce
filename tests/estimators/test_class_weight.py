"""class_weight of every estimator of classes. The oracle of a weight is a row that stands twice."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_sample_weight

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver, Moments
from kipsk._data._weights import row_weights
from kipsk.kernels import FullyConnected, Landmarks, RandomFeatures

STEPS = {"max_iter": 5, "dtype": "float64", "random_state": 0}


@pytest.fixture(scope="module")
def unequal():
    """30 rows of "a" and 10 of "b", which overlap; and the same with each row of "b" three times.

    The rows after the first 40 of the second are the copies.
    """
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 3))
    y = np.repeat(["a", "b"], [30, 10])
    X[y == "b", 0] += 1
    return X, y, np.concatenate([X, X[30:], X[30:]]), np.concatenate([y, y[30:], y[30:]])


def some_rows(X):
    """Return a start that does not depend on how often a row stands in X."""
    return X[[0, 1, 30, 31]], np.array(["a", "a", "b", "b"])


def test_weights_are_those_of_scikit_learn(unequal):
    _, y, _, _ = unequal
    classes, codes = np.unique(y, return_inverse=True)
    for given in ("balanced", {"b": 5}, {"a": 0.1, "b": 2}):
        found = row_weights("A", given, classes, codes)
        assert_allclose(found, compute_sample_weight(given, y), rtol=1e-14)
    assert row_weights("A", None, classes, codes) is None


def test_kernel_ridge_counts_rows_as_often(unequal):
    X, y, X_twice, y_twice = unequal
    model = KernelRidgeNTKClassifier(reg=0.1, class_weight={"b": 3}).fit(X, y)
    expected = KernelRidgeNTKClassifier(reg=0.1).fit(X_twice, y_twice)
    assert_allclose(model.decision_function(X), expected.decision_function(X), rtol=1e-8)

    weight, own = np.arange(1, 41), compute_sample_weight("balanced", y)
    model = KernelRidgeNTKClassifier(reg=1.0, class_weight="balanced").fit(X, y, weight)
    expected = KernelRidgeNTKClassifier(reg=1.0).fit(X, y, weight * own)
    assert_allclose(model.decision_function(X), expected.decision_function(X), rtol=1e-10)


KERNELS = {
    "rows": FullyConnected(depth=1),
    "features": RandomFeatures("fc1", 2, 16, resample=False),
}


@pytest.mark.parametrize("labels", ["learned", "fixed"])
@pytest.mark.parametrize(
    ("kernel", "batch_size"), [("rows", 1000), ("features", 1000), ("features", "all")]
)
def test_kip_counts_rows_as_often(batch_size, kernel, labels, unequal):
    X, y, X_twice, y_twice = unequal
    params = {**STEPS, "batch_size": batch_size, "labels": labels, "targets": "given"}
    params |= {"init": some_rows(X), "kernel": KERNELS[kernel]}
    model = KIPDistiller(class_weight="balanced", **params).fit(X, y)
    expected = KIPDistiller(**params).fit(X_twice, y_twice)
    plain = KIPDistiller(**params).fit(X, y)
    # Later steps are scaled by the deviation of the features, which copies change.
    assert_allclose(model.loss_curve_[0], expected.loss_curve_[0], rtol=1e-6)
    assert abs(plain.loss_curve_[0] / expected.loss_curve_[0] - 1) > 1e-3


def test_solved_labels_leave_out_weighted_rows(unequal):
    """Oracle: weighted least squares without each of the rows in turn."""
    X, y, _, _ = unequal
    kernel = FullyConnected(depth=1)
    params = {**STEPS, "labels": "solved", "targets": "given", "label_reg": 1e-9, "reg": 1e-3}
    params |= {"learning_rate": 1e-12, "kernel": kernel, "init": some_rows(X)}
    model = KIPDistiller(class_weight="balanced", **params).fit(X, y)
    K = kernel(some_rows(X)[0])
    K += 1e-3 * np.trace(K) / 4 * np.eye(4)
    A = kernel(X, some_rows(X)[0]) @ np.linalg.inv(K)
    Y = np.stack([y == "a", y == "b"], axis=1) - 0.5
    weight = compute_sample_weight("balanced", y)
    root = np.sqrt(weight)[:, None]
    errors = []
    for i in range(len(X)):
        others = np.arange(len(X)) != i
        labels = np.linalg.lstsq((root * A)[others], (root * Y)[others])[0]
        errors.append(weight[i] * (Y[i] - A[i] @ labels) ** 2)
    assert_allclose(model.loss_curve_[0], 0.5 * np.mean(errors), rtol=1e-5)
    labels = np.linalg.lstsq(root * A, root * Y)[0]
    assert_allclose(model.y_s_, labels, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("loss", "batch_size"), [("mse", 20), ("platt", 1000)])
def test_a_weight_of_one_changes_nothing(batch_size, loss, unequal):
    X, y, _, _ = unequal
    params = {**STEPS, "batch_size": batch_size, "loss": loss, "ipc": 2}
    model = KIPDistiller(class_weight={"a": 2.0, "b": 2.0}, **params).fit(X, y)
    expected = KIPDistiller(**params).fit(X, y)
    assert_allclose(model.X_s_, expected.X_s_, rtol=1e-10)
    assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-10)


def test_slow_pairs_count_rows_as_often():
    """The blocks of a convolutional kernel, whose loss is outside of compiled steps."""
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(12, 10)), np.repeat([0, 1], [9, 3])
    X[y == 1, :4] += 0.5
    twice = np.r_[:12, 9:12, 9:12]
    params = {
        "kernel": "convnet1", "image_shape": (2, 5, 1), "init": (X[[0, 9]], np.array([0, 1])),
        "max_iter": 1, "dtype": "float64", "targets": "given", "random_state": 0, "block_size": 3,
    }  # fmt: skip
    model = KIPDistiller(class_weight="balanced", **params).fit(X, y)
    expected = KIPDistiller(**params).fit(X[twice], y[twice])
    assert_allclose(model.loss_curve_[0], expected.loss_curve_[0], rtol=1e-9)


def test_label_solve_counts_rows_as_often(unequal):
    X, y, X_twice, y_twice = unequal
    params = {"support": [0, 1, 30, 31], "dtype": "float64"}
    for label_reg in (0.0, 1e-2):
        model = LabelSolver(label_reg=label_reg, class_weight="balanced", **params).fit(X, y)
        expected = LabelSolver(label_reg=label_reg, **params).fit(X_twice, y_twice)
        assert_allclose(model.y_s_, expected.y_s_, rtol=1e-6, atol=1e-9)


def test_the_teacher_is_weighted(unequal):
    """Oracle: kernel ridge regression with the weights, on which the targets follow by hand."""
    X, y, _, _ = unequal
    params = {**STEPS, "init": some_rows(X), "learning_rate": 1e-12, "targets": "smoothed"}
    model = KIPDistiller(class_weight="balanced", **params).fit(X, y)
    regs = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    teacher = KernelRidgeNTKClassifier(reg=regs, class_weight="balanced").fit(X, y)
    assert teacher.reg_ > 1e-6
    rest = model.decision_function(X) - teacher.decision_function(X)
    weight = compute_sample_weight("balanced", y)
    columns = np.stack([-rest, rest], axis=1) / 2 if rest.ndim == 1 else rest
    expected = 0.5 * np.mean(weight[:, None] * columns**2)
    assert_allclose(model.loss_curve_[0], expected, rtol=1e-6)


def test_rare_class_is_found():
    """Where a frequent class outweighs a rare one; scikit-learn's ridge classifier beside it."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], [570, 30])
    X = rng.standard_normal((600, 4))
    X[y == 1, 0] += 1.5
    scores = {}
    for given in (None, "balanced"):
        models = {
            "kip": KIPDistiller(ipc=3, class_weight=given, max_iter=50, random_state=0),
            "ridge": KernelRidgeNTKClassifier(class_weight=given),
            "solver": LabelSolver(class_weight=given, random_state=0),
            "sklearn": RidgeClassifier(class_weight=given),
        }
        for name, model in models.items():
            found = model.fit(X, y).predict(X)
            scores[name, given] = balanced_accuracy_score(y, found)
    for name in ("kip", "ridge", "solver"):
        assert scores[name, "balanced"] > scores[name, None] + 0.05
        assert scores[name, "balanced"] > scores["sklearn", "balanced"] - 0.03 > 0.7


def test_early_stopping_sees_weights(unequal):
    """The score on held-out rows is the balanced accuracy. Oracle: scikit-learn's, on all rows."""
    X, y, _, _ = unequal
    params = {"ipc": 2, "early_stopping": True, "validation_fraction": 0.4, "random_state": 0}
    params |= {"max_iter": 1, "learning_rate": 1e-12, "dtype": "float64"}
    model = KIPDistiller(class_weight="balanced", **params).fit(X, y)
    plain = KIPDistiller(**params).fit(X, y)
    # 12 rows of "a" and 4 of "b" are held out.
    found, expected = model.validation_scores_[0] * 24, plain.validation_scores_[0] * 16
    assert abs(found - round(found)) < 1e-4 and abs(expected - round(expected)) < 1e-4


def test_a_stream_takes_a_dict(unequal):
    X, y, _, _ = unequal
    params = {"ipc": 2, "batch_size": 20, "dtype": "float64", "random_state": 0}
    weighted, plain = (
        KIPDistiller(class_weight=given, **params).partial_fit(X, y, classes=["a", "b"])
        for given in ({"b": 3.0}, None)
    )
    assert not np.allclose(weighted.X_s_, plain.X_s_)
    same = KIPDistiller(class_weight={"b": 1}, **params).partial_fit(X, y, classes=["a", "b"])
    assert_array_equal(same.X_s_, plain.X_s_)
    with pytest.raises(ValueError, match=r"'class_weight' parameter of KIPDistiller must be None "):
        KIPDistiller(class_weight="balanced", **params).partial_fit(X, y, classes=["a", "b"])


@pytest.mark.parametrize(
    "estimator",
    [KIPDistiller(max_iter=1), LabelSolver(), KernelRidgeNTKClassifier()],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("equal", "None, \"balanced\" or a dict .* Got 'equal'"),
        (["a"], 'None, "balanced" or a dict'),
        ({"a": 0}, "finite numbers > 0"),
        ({"a": "2"}, "finite numbers > 0"),
        ({"a": np.nan}, "finite numbers > 0"),
        ({"c": 2}, r"whose keys are classes of y, \['a', 'b'\]\. Got \{'c': 2\}"),
    ],
)
def test_bad_input(given, message, estimator, unequal):
    X, y, _, _ = unequal
    with pytest.raises(ValueError, match="'class_weight' parameter of .*" + message):
        estimator.set_params(class_weight=given).fit(X, y)


def test_where_rows_have_no_class(unequal):
    X, y, _, _ = unequal
    soft = np.stack([y == "a", y == "b"], axis=1) * 1.0
    with pytest.raises(ValueError, match=r"'class_weight' .* give `sample_weight`"):
        KernelRidgeNTKClassifier(classes=["a", "b"], class_weight="balanced").fit(X, soft)
    moments = Moments(Landmarks("fc1", 5).resolve(X), classes=["a", "b"]).fit(X, y)
    with pytest.raises(ValueError, match=r"'class_weight' .*fit_moments.*`sample_weight`"):
        KIPDistiller(moments.kernel_, class_weight="balanced").fit_moments(moments)
    with pytest.raises(ValueError, match=r"'class_weight' .*fit_moments.*`sample_weight`"):
        LabelSolver(moments.kernel_, class_weight="balanced").fit_moments(moments, X[:4])
