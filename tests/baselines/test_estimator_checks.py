"""The checks of estimators that scikit-learn and imbalanced-learn have, and what they ask for.

Those of the distillers with scikit-learn are in tests/estimators/test_protocol.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import coo_matrix, csc_matrix
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, label_binarize
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from kipsk import KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.networks import FiniteNetworkClassifier

imblearn_checks = pytest.importorskip(
    "imblearn.utils.estimator_checks",
    reason='imbalanced-learn is not installed: pip install ".[test]"',
)

NETWORK = FiniteNetworkClassifier(width=8, max_iter=40, random_state=0)
SAMPLERS = [
    CoresetSampler("random", ipc=3, random_state=0),
    CoresetSampler("herding", ipc=3, random_state=0),
    CoresetSampler("kernel_herding", ipc=3, random_state=0),
    CoresetSampler("k_center", ipc=3, random_state=0),
    CoresetSampler("k_means", ipc=3, random_state=0),
    CoresetSampler("k_medoids", ipc=3, random_state=0),
    CoresetSampler("agglomerative", ipc=3, random_state=0),
    CoresetSampler("agglomerative_medoids", ipc=3, random_state=0),
    CoresetSampler("rp_cholesky", ipc=3, kernel="fc1", random_state=0),
    CoresetSampler("forgetting", ipc=3, network=NETWORK, random_state=0),
    CoresetSampler("random", sampling_strategy="auto", random_state=0),
    CoresetSampler("random", sampling_strategy="stratified", random_state=0),
]
DISTILLERS = [
    KIPDistiller(ipc=3, max_iter=5, downstream="last", random_state=0),
    LabelSolver(ipc=3, random_state=0),
]
NAMES = np.array(["ant", "bee", "cat"])


def not_of_distillers(estimator):
    """The check that a distiller cannot pass, and why."""
    if isinstance(estimator, CoresetSampler):
        return {}
    return {
        "check_samplers_pandas_sparse": "a distiller learns dense rows, and as a classifier it "
        "refuses sparse columns in fit and predict alike"
    }


def imblearn_s_checks(*estimators):
    """imbalanced-learn's decorator, with a list where pytest warns of its generator."""
    mark = imblearn_checks.parametrize_with_checks(
        estimators, expected_failed_checks=not_of_distillers
    )
    names, checks = mark.args
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@pytest.mark.filterwarnings("ignore:Fewer rows than ipc:UserWarning")
@pytest.mark.filterwarnings("ignore:CoresetSampler chooses ipc=10 rows per class:UserWarning")
@parametrize_with_checks([*SAMPLERS[:2], SAMPLERS[4], SAMPLERS[6], *SAMPLERS[10:]])
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")  # two checks pass one
@imblearn_s_checks(*SAMPLERS, *DISTILLERS)
def test_imbalanced_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.filterwarnings("ignore:KIPDistiller.fit_resample learned no better:UserWarning")
@imblearn_s_checks(KIPDistiller(ipc=3, max_iter=5, random_state=0))
def test_imbalanced_learn_s_checks_of_stages(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [20, 15, 10]))
    return rng.normal(size=(45, 3)) + 2 * np.eye(3)[codes], codes


each_kind = pytest.mark.parametrize(
    "sampler", [SAMPLERS[1], SAMPLERS[4], *DISTILLERS], ids=["rows", "centres", "kip", "solver"]
)


@each_kind
def test_one_vs_all_labels_come_back_as_they_were(sampler, table):
    """Oracle: the result with class labels, binarised."""
    X, codes = table
    X_s, expected = sampler.fit_resample(X, codes)
    expected = label_binarize(expected, classes=[0, 1, 2])
    one_vs_all = label_binarize(codes, classes=[0, 1, 2])
    frame = pd.DataFrame(one_vs_all, columns=NAMES, index=np.arange(45) + 7)
    for y in (one_vs_all, one_vs_all.astype(bool), one_vs_all.astype(float), one_vs_all.tolist()):
        X_again, y_s = sampler.fit_resample(X, y)
        assert_array_equal(X_again, X_s)
        assert_array_equal(y_s, expected)
        assert type(y_s) is type(y) and getattr(y_s, "dtype", None) == getattr(y, "dtype", None)
    _, y_s = sampler.fit_resample(X, frame)
    assert list(y_s.columns) == NAMES.tolist()
    assert_array_equal(y_s, expected)
    assert_array_equal(sampler.classes_, [0, 1, 2])


@each_kind
@pytest.mark.parametrize("what", ["two classes a row", "none", "soft", "numbers"])
def test_other_matrices_are_refused(sampler, what, table):
    X, codes = table
    y = label_binarize(codes, classes=[0, 1, 2])
    if what == "two classes a row":
        y[3] = [1, 1, 0]
    elif what == "none":
        y[3] = 0
    else:
        y = y - 1 / 3 if what == "soft" else 2 * y
    message = r"Multilabel and multioutput .*Got an array of shape \(45, 3\) .*pass .*argmax"
    with pytest.raises(ValueError, match=message):
        sampler.fit_resample(X, y)


@each_kind
def test_lists_come_back_as_lists(sampler, table):
    """Oracle: the result with arrays."""
    X, codes = table
    X_s, y_s = sampler.fit_resample(X, NAMES[codes])
    X_list, y_list = sampler.fit_resample(X.tolist(), NAMES[codes].tolist())
    assert X_list == X_s.tolist() and y_list == y_s.tolist()
    assert type(y_list[0]) is str


def test_random_rows_of_a_list_are_its_own(table):
    X = [[i, f"row {i}", None] for i in range(45)]
    sampler = CoresetSampler(random_state=0, ipc=2)
    X_s, _ = sampler.fit_resample(X, table[1])
    assert X_s == [X[i] for i in sampler.sample_indices_]


@pytest.mark.parametrize("sparse", [coo_matrix, csc_matrix])
def test_random_rows_of_sparse_matrices(sparse, table):
    X = sparse(np.diag(np.arange(1.0, 46)))
    sampler = CoresetSampler(random_state=0, ipc=2)
    X_s, _ = sampler.fit_resample(X, table[1])
    assert_array_equal(X_s.toarray(), X.toarray()[sampler.sample_indices_])


@pytest.mark.parametrize("method", ["herding", "k_means"])
def test_sparse_columns_stay_sparse(method, table):
    """Oracle: dense columns."""
    X, codes = table
    frame = pd.DataFrame(X, columns=list("abc"))
    expected, _ = CoresetSampler(method, ipc=2, random_state=0).fit_resample(frame, codes)
    sparse = frame.astype(pd.SparseDtype("float64", 0.0))
    X_s, _ = CoresetSampler(method, ipc=2, random_state=0).fit_resample(sparse, codes)
    pd.testing.assert_frame_equal(X_s.sparse.to_dense(), expected)


@each_kind
def test_tags(sampler):
    tags = get_tags(sampler)
    assert tags.input_tags.dataframe and tags.target_tags.required
    assert tags.sampler_tags.sample_indices == (sampler is SAMPLERS[1])
    kind = "sampler" if isinstance(sampler, CoresetSampler) else "classifier"
    assert tags.estimator_type == kind
    assert (tags.classifier_tags is None) == (kind == "sampler")


@pytest.mark.parametrize("distiller", DISTILLERS, ids=["kip", "solver"])
def test_sampling_strategy_counts_the_rows_of_each_class(distiller, table):
    """Oracle: the labels that are returned; after fit, the largest entries of y_s_."""
    X, codes = table
    _, y_s = distiller.fit_resample(X, NAMES[codes])
    assert distiller.sampling_strategy_ == {name: int(np.sum(y_s == name)) for name in NAMES}
    distiller.fit(X[codes < 2], codes[codes < 2])
    found = distiller.y_s_.argmax(axis=1)
    assert distiller.sampling_strategy_ == {code: int(np.sum(found == code)) for code in (0, 1)}


@pytest.mark.filterwarnings("ignore:KIPDistiller.fit_resample learned no better:UserWarning")
def test_sampling_strategy_is_that_of_the_stage_returned(table):
    """Oracle: the labels that are returned."""
    X, codes = table
    model = KNeighborsClassifier(1)
    distiller = KIPDistiller(["fc1"], ipc=3, max_iter=2, downstream=model, random_state=0)
    _, y_s = distiller.fit_resample(X, NAMES[codes])
    assert distiller.sampling_strategy_ == {name: int(np.sum(y_s == name)) for name in NAMES}


def test_names_of_features_are_those_that_preprocess_makes(table):
    """Oracle: scikit-learn's transformer."""
    X, codes = table
    frame = pd.DataFrame(X, columns=list("abc"))
    distiller = KIPDistiller(ipc=1, max_iter=1, preprocess=PolynomialFeatures(2))
    distiller.fit(frame, codes)
    expected = PolynomialFeatures(2).fit(frame).get_feature_names_out()
    assert_array_equal(distiller.get_feature_names_out(), expected)
    assert len(expected) == distiller.X_s_.shape[1]
    distiller.set_params(preprocess=None).fit(frame, codes)
    assert_array_equal(distiller.get_feature_names_out(), ["a", "b", "c"])
    distiller.set_params(preprocess=FunctionTransformer(np.abs)).fit(X, codes)
    with pytest.raises(AttributeError, match="get_feature_names_out"):
        distiller.get_feature_names_out()
