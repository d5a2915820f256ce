"""The distillers among scikit-learn's and imbalanced-learn's tools."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from imblearn.pipeline import Pipeline as ImbalancedPipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks

from kipsk import (
    KernelRidgeNTK,
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    RegularizedZCA,
)
from kipsk.baselines import CoresetSampler
from kipsk.kernels import RBF, FullyConnected, RandomFeatures
from kipsk.kernels._base import JaxKernel
from kipsk.networks import FiniteNetworkClassifier

FAST = {"ipc": 2, "max_iter": 20, "random_state": 0}
DISTILLERS = [
    KIPDistiller(**FAST),
    KIPDistiller(RBF(), labels="solved", **FAST),
    LabelSolver(ipc=2, random_state=0),
    LabelSolver(FullyConnected(depth=2), support="kmeans", ipc=2, random_state=0),
]
NAMES = np.array(["ant", "bee", "cat"])
# The checks have tables of few columns, far from standardised.
UNLIKE = (
    "ignore:.* may learn little of X",
    "ignore:.* can hardly tell rows apart",
    "ignore:.* has learned next to nothing",
)
IDS = ["kip", "kip-solved", "ls", "ls-kmeans"]
each_distiller = pytest.mark.parametrize("distiller", DISTILLERS, ids=IDS)
one_of_each = pytest.mark.parametrize("distiller", DISTILLERS[::2], ids=IDS[::2])


@pytest.mark.filterwarnings(*UNLIKE)
@pytest.mark.filterwarnings("ignore:Fewer rows than ipc:UserWarning")  # toy sets; see test_support
@parametrize_with_checks(
    [
        KIPDistiller(ipc=3, max_iter=30),
        LabelSolver(ipc=3),
        FiniteNetworkClassifier(width=32, max_iter=150),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings(*UNLIKE)
@pytest.mark.filterwarnings("ignore:Fewer rows than n_support:UserWarning")
@parametrize_with_checks([KIPRegressor(n_support=5, max_iter=30)], legacy=False)
def test_sklearn_checks_of_the_interface(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings(*UNLIKE)
@pytest.mark.filterwarnings("ignore:Fewer rows than (ipc|n_support):UserWarning")
@parametrize_with_checks(
    [
        KIPDistiller(RandomFeatures("fc1", width=64), ipc=3, max_iter=30, loss="platt"),
        KIPDistiller(ipc=3, max_iter=30, labels="solved"),
        KIPDistiller(["fc1", "rbf"], ipc=3, max_iter=30, corruption=0.1, init="herding"),
        KIPRegressor(n_support=5, max_iter=30),
        KIPRegressor(n_support=5, max_iter=30, labels="solved", init="kmeans"),
        FiniteNetworkClassifier(width=32, max_iter=150, loss="cross_entropy"),
    ]
)
def test_sklearn_checks_of_variations(estimator, check):
    is_sampled = isinstance(getattr(estimator, "kernel", None), RandomFeatures)
    if is_sampled and check.func.__name__ == "check_methods_subset_invariance":
        pytest.skip("to 1e-7: see test_predictions_of_sampled_networks_in_parts, to float32")
    check(estimator)


def test_predictions_of_sampled_networks_in_parts(blobs):
    """Features are in float32: how they are rounded depends on how many rows there are.

    The dual coefficients, for a ridge of 5e-3, make thousands of such errors one of 1e-3 at most.
    """
    X, y = blobs
    kernel = RandomFeatures("fc1", width=64)
    distiller = KIPDistiller(kernel, loss="platt", **FAST).fit(X, y)
    parts = [distiller.decision_function(row) for row in X[:6, None]]
    assert_allclose(np.concatenate(parts), distiller.decision_function(X[:20])[:6], atol=1e-3)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [50, 40, 30])
    return rng.normal(size=(120, 5)) + 3 * np.eye(5)[codes] + 1, codes


@pytest.fixture(scope="module")
def binary(blobs):
    X, codes = blobs
    return X, (codes == 2).astype(int)


def assert_same_fit(one, other):
    assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(one.y_s_, other.y_s_)


LABELS = {
    "str": np.array(["no", "yes"]),
    "bool": np.array([False, True]),
    "float": np.array([1.0, 2.0]),  # with fractions scikit-learn sees a regression
    "negative int": np.array([-7, -3]),
    "object": np.array(["b", "c"], dtype=object),
}


@pytest.mark.parametrize("names", LABELS.values(), ids=LABELS)
@one_of_each
def test_binary_labels_of_any_type(distiller, names, binary):
    """Oracle: the fit on 0 and 1, bit for bit."""
    X, codes = binary
    distiller = clone(distiller)
    reference = clone(distiller).fit(X, codes)
    distiller.fit(X, names[codes])
    assert_same_fit(distiller, reference)
    assert_array_equal(distiller.classes_, names)
    assert distiller.classes_.dtype == names.dtype
    scores = distiller.decision_function(X)
    assert scores.shape == (120,)
    assert_array_equal(distiller.predict(X), names[(scores > 0).astype(int)])
    assert distiller.score(X, names[codes]) > 0.8


@each_distiller
def test_pandas(distiller, blobs):
    """Oracle: the fit on numpy arrays."""
    X, codes = blobs
    frame = pd.DataFrame(X, columns=list("abcde"))
    named = clone(distiller).fit(frame, pd.Series(NAMES[codes]))
    assert_array_equal(named.feature_names_in_, list("abcde"))
    plain = clone(distiller).fit(X, codes)
    assert_same_fit(named, plain)
    assert_array_equal(named.predict(frame), NAMES[plain.predict(X)])
    with pytest.raises(ValueError, match="feature names should match"):
        named.predict(frame[list("edcba")])


@each_distiller
def test_fit_distill_is_a_training_set_for_kernel_ridge(distiller, blobs):
    """Oracle: KernelRidgeNTK fitted on what fit_distill returns."""
    X, y = blobs[0].astype(np.float32), blobs[1]
    distiller = clone(distiller)
    X_s, y_s = distiller.fit_distill(X, y)
    assert X_s.shape == (6, 5) and y_s.shape == (6, 3)
    ridge = KernelRidgeNTK(distiller.kernel_).fit(X_s, y_s)
    assert_allclose(distiller.decision_function(X), ridge.predict(X), atol=1e-12)
    assert_array_equal(distiller.predict(X), ridge.predict(X).argmax(axis=1))


# These rows are few, and a k-means centre for each class says nearly all of them.
may_learn_nothing = pytest.mark.filterwarnings("ignore:KIPDistiller.fit_resample learned no better")


@each_distiller
def test_fit_resample_gives_the_class_of_the_largest_label(distiller, blobs):
    X, codes = blobs
    X_s, y_s = clone(distiller).fit_distill(X, codes)
    resampler = clone(distiller)
    if isinstance(resampler, KIPDistiller):
        resampler.set_params(downstream="last")
    X_r, y_hard = resampler.fit_resample(X, NAMES[codes])
    assert_array_equal(X_r, X_s)
    assert_array_equal(y_hard, NAMES[y_s.argmax(axis=1)])


@may_learn_nothing
def test_fit_resample_with_fixed_labels_is_balanced(blobs):
    X, codes = blobs
    _, y_hard = KIPDistiller(["fc1"], labels="fixed", **FAST).fit_resample(X, NAMES[codes])
    assert_array_equal(y_hard, ["ant", "ant", "bee", "bee", "cat", "cat"])


@one_of_each
def test_refit_resets(distiller, binary, digits):
    """Oracle: a fresh fit, after fits on another shape, other classes and a data frame."""
    X, y = binary
    distiller = clone(distiller).fit(digits[0][:300], digits[2][:300])
    assert distiller.decision_function(digits[1]).shape == (450, 10)
    distiller.fit(pd.DataFrame(X, columns=list("abcde")), y)
    distiller.fit(X, y)
    fresh = clone(distiller).fit(X, y)
    assert_same_fit(distiller, fresh)
    assert vars(distiller).keys() == vars(fresh).keys()
    assert distiller.n_features_in_ == 5
    assert_array_equal(distiller.classes_, [0, 1])
    assert distiller.decision_function(X).shape == (120,)


@each_distiller
def test_fit_changes_no_parameter_and_clone_gives_an_equal_fit(distiller, blobs):
    distiller = clone(distiller)
    before = repr(distiller), {k: id(v) for k, v in distiller.get_params(deep=False).items()}
    fitted = distiller.fit(*blobs)
    after = repr(distiller), {k: id(v) for k, v in distiller.get_params(deep=False).items()}
    assert after == before
    copy = clone(fitted)
    assert not hasattr(copy, "X_s_")
    assert_same_fit(copy.fit(*blobs), fitted)


def test_parameters_of_the_kernel_can_be_set():
    distiller = KIPDistiller(FullyConnected()).set_params(kernel__depth=3, ipc=5)
    assert distiller.get_params()["kernel__depth"] == distiller.kernel.depth == 3
    assert clone(distiller).kernel == FullyConnected(depth=3)


def walk(value, path=""):
    """Yield (path, leaf) of all that an estimator holds."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    elif isinstance(value, KIPDistiller | LabelSolver | KernelRidgeNTK | JaxKernel):
        value = vars(value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from walk(part, f"{path}.{key}")
    else:
        yield path, value


@each_distiller
def test_attributes_are_numpy_arrays_and_plain_objects(distiller, blobs):
    fitted = clone(distiller).fit(*blobs)
    leaves = dict(walk(fitted))
    assert {".X_s_", ".predictor_.dual_coef_"} <= leaves.keys()
    for path, leaf in leaves.items():
        assert leaf is None or type(leaf) in {str, int, float, bool, np.ndarray}, (path, leaf)
        assert not isinstance(leaf, np.ndarray) or leaf.dtype != object, path


def with_skops(estimator):
    data = skops.io.dumps(estimator)
    kinds = skops.io.get_untrusted_types(data=data)
    assert all(kind.startswith("kipsk.") for kind in kinds)
    return skops.io.loads(data, trusted=kinds)


def with_joblib(estimator, path):
    joblib.dump(estimator, path / "distiller.joblib")
    return joblib.load(path / "distiller.joblib")


@each_distiller
def test_saved_distillers_predict_the_same(distiller, blobs, tmp_path):
    """Oracle: the predictions before. A pickle that names no JAX class loads without a device."""
    X, y = blobs
    fitted = clone(distiller).fit(X, y)
    data = pickle.dumps(fitted)
    assert b"jax" not in data
    for loaded in (pickle.loads(data), with_joblib(fitted, tmp_path), with_skops(fitted)):
        assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
        assert_array_equal(loaded.predict(X), fitted.predict(X))
        assert loaded.get_params(deep=False).keys() == fitted.get_params(deep=False).keys()


def test_grid_search_in_two_processes(blobs):
    """Oracle: the best estimator fitted in this process."""
    X, y = blobs
    grid = {"reg": [1e-6, 1e-2], "kernel": ["fc1", RBF()]}
    search = GridSearchCV(KIPDistiller(ipc=2, max_iter=3, random_state=0), grid, cv=2, n_jobs=2)
    search.fit(X, y)
    assert search.cv_results_["mean_test_score"].min() > 0.8
    assert_same_fit(search.best_estimator_, clone(search.best_estimator_).fit(X, y))
    assert search.score(X, y) > 0.9


@pytest.mark.parametrize("scaler", [StandardScaler(), RegularizedZCA()], ids=["scale", "zca"])
@one_of_each
def test_pipeline(scaler, distiller, blobs):
    """Oracle: the steps by hand."""
    X, y = blobs
    pipeline = make_pipeline(clone(scaler), clone(distiller)).fit(X, y)
    Z = clone(scaler).fit_transform(X)
    assert_array_equal(pipeline.predict(X), clone(distiller).fit(Z, y).predict(Z))
    assert pipeline.score(X, y) > 0.8


@may_learn_nothing
@each_distiller
def test_in_the_middle_of_an_imbalanced_learn_pipeline(distiller, blobs):
    """Oracle: the steps by hand: the classifier sees the support in fit, all rows in predict."""
    X, codes = blobs
    y = NAMES[codes]
    if isinstance(distiller, KIPDistiller):  # with no other kernels to compile
        distiller = clone(distiller).set_params(kernel=[distiller.kernel])
    steps = [("scale", StandardScaler()), ("distil", clone(distiller)), ("svc", SVC())]
    pipeline = ImbalancedPipeline(steps).fit(X, y)
    Z = StandardScaler().fit_transform(X)
    svc = SVC().fit(*clone(distiller).fit_resample(Z, y))
    assert_array_equal(pipeline.predict(X), svc.predict(Z))
    assert pipeline["svc"].n_support_.sum() <= 6


@may_learn_nothing
def test_imbalanced_learn_pipeline_in_cross_validation(blobs):
    X, codes = blobs
    distiller = KIPDistiller(["fc1"], labels="fixed", init="kmeans", **FAST)
    steps = [("scale", StandardScaler()), ("distil", distiller), ("svc", SVC())]
    scores = cross_val_score(ImbalancedPipeline(steps), X, NAMES[codes], cv=3)
    assert scores.min() > 0.8


@each_distiller
def test_html_repr(distiller):
    assert type(distiller).__name__ in estimator_html_repr(distiller)


@pytest.mark.parametrize(
    "model",
    [
        KIPDistiller(**FAST),
        LabelSolver(ipc=2),
        KernelRidgeNTKClassifier(),
        FiniteNetworkClassifier(width=8, max_iter=1),
        CoresetSampler(),
        KIPRegressor(max_iter=1),
        KernelRidgeNTK(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_missing_labels_are_named(model, blobs):
    X, codes = blobs
    y = pd.Series(codes, dtype=object)
    y[5] = pd.NA
    with pytest.raises(ValueError, match="Got <NA> in row 5, and 1 of"):
        model.fit(X, y)
    strings = pd.Series(NAMES[codes], dtype="string")
    strings[5] = pd.NA
    with pytest.raises(ValueError, match="Got <NA> in row 5, and 1 of"):
        model.fit(X, strings)
    if not isinstance(model, KIPRegressor | KernelRidgeNTK):
        with pytest.raises(ValueError, match="Python objects of type int instead"):
            model.fit(X, codes.astype(object))
