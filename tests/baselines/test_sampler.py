"""CoresetSampler: what it chooses, in which space, and among imbalanced-learn's tools."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk._data import _support
from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Data
from kipsk._data._coresets import farthest_first, forgetting_events
from kipsk._data._labels import one_hot
from kipsk.baselines import CoresetSampler
from kipsk.kernels import RBF, FullyConnected, RandomFeatures
from kipsk.kernels._choice import kernel_herding, rp_cholesky
from kipsk.networks import FiniteNetworkClassifier

METHODS = [
    "random",
    "herding",
    "kernel_herding",
    "k_center",
    "k_means",
    "k_medoids",
    "agglomerative",
    "agglomerative_medoids",
    "rp_cholesky",
    "forgetting",
]
CENTRES = ("k_means", "agglomerative")
WITHOUT_DRAWS = ("herding", "kernel_herding", "k_center", *METHODS[6:8])
NAMES = np.array(["ant", "bee", "cat"])
NETWORK = FiniteNetworkClassifier(
    width=16, max_iter=12, batch_size=30, loss="cross_entropy", learning_rate=1.0
)


@pytest.fixture(scope="module")
def blobs():
    """Rows of three classes of different size, and the names of the classes."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [50, 40, 30]))
    return rng.normal(size=(120, 5)) + 2 * np.eye(5)[codes], NAMES[codes]


def make(method, **params):
    return CoresetSampler(method, **{"ipc": 4, "network": NETWORK, "random_state": 0, **params})


def sorted_rows(X):
    return X[np.lexsort(X.T)]


@pytest.mark.parametrize("method", METHODS)
def test_ipc_rows_of_each_class(method, blobs):
    X, y = blobs
    sampler = make(method)
    X_s, y_s = sampler.fit_resample(X, y)
    assert_array_equal(y_s, np.repeat(NAMES, 4))
    assert y_s.dtype == y.dtype and X_s.shape == (12, 5) and X_s.dtype == X.dtype
    assert_array_equal(sampler.classes_, NAMES)
    assert sampler.sampling_strategy_ == {"ant": 4, "bee": 4, "cat": 4}
    if method in CENTRES:
        assert not hasattr(sampler, "sample_indices_")
    else:
        assert len(set(sampler.sample_indices_)) == 12
        assert_array_equal(X_s, X[sampler.sample_indices_])
        assert_array_equal(y_s, y[sampler.sample_indices_])


@pytest.mark.parametrize("method", METHODS)
def test_determined_by_the_random_state(method, blobs):
    def fit(seed):
        return make(method, random_state=seed).fit_resample(*blobs)[0]

    assert_array_equal(fit(0), fit(0))
    assert np.array_equal(fit(0), fit(1)) == (method in WITHOUT_DRAWS)


@pytest.mark.parametrize(
    ("method", "init"), [("random", "sample"), ("herding", "herding"), ("k_means", "kmeans")]
)
def test_same_rows_as_the_initial_supports_of_kip(method, init, blobs):
    """Oracle: `draw` (tests/data/test_support.py has its own, a naive loop for herding)."""
    X, y = blobs
    codes = np.searchsorted(NAMES, y)
    data = Data(X, ClassCoding(NAMES), codes, one_hot(codes, len(NAMES)))
    expected = _support.draw(data, 4, init, np.random.RandomState(0)).X
    X_s, _ = make(method).fit_resample(X, y)
    assert_allclose(X_s, expected, rtol=1e-12)


def test_k_center_is_farthest_first_within_each_class(blobs):
    X, y = blobs
    sampler = make("k_center")
    sampler.fit_resample(X, y)
    for found, name in zip(sampler.sample_indices_.reshape(3, 4), NAMES, strict=True):
        members = np.flatnonzero(y == name)
        assert_array_equal(found, members[farthest_first(X[members], 4)])


@pytest.mark.parametrize("method", METHODS)
def test_scarce_classes_give_all_their_rows_and_a_warning_at_the_call(method, blobs):
    X, y = blobs
    with pytest.warns(UserWarning, match=r"Fewer rows than ipc=35 .* cat \(30\)") as record:
        X_s, y_s = make(method, ipc=35).fit_resample(X, y)
    assert record[0].filename == __file__
    assert_array_equal(np.unique(y_s, return_counts=True)[1], [35, 35, 30])
    assert_array_equal(sorted_rows(X_s[y_s == "cat"]), sorted_rows(X[y == "cat"]))


@pytest.mark.parametrize("method", ["agglomerative", "agglomerative_medoids"])
def test_clusters_are_made_within_each_class(method, blobs):
    """Oracle: scikit-learn's clusters of each class."""
    X, y = blobs
    X_s, _ = make(method).fit_resample(X, y)
    expected = []
    for name in NAMES:
        own = X[y == name]
        labels = AgglomerativeClustering(4, linkage="ward").fit(own).labels_
        for c in range(4):
            centre = own[labels == c].mean(axis=0)
            nearest = own[np.argmin(np.linalg.norm(own - centre, axis=1))]
            expected.append(centre if method == "agglomerative" else nearest)
    assert_allclose(X_s, expected)


@pytest.mark.parametrize("kernel", ["rbf", FullyConnected(depth=2), RandomFeatures("fc1", width=8)])
@pytest.mark.parametrize("method", ["kernel_herding", "rp_cholesky"])
def test_the_kernel_sees_each_class_by_itself(method, kernel, blobs):
    """Oracle: the choice among the rows of each class, under the kernel that is published."""
    X, y = blobs
    sampler = make(method, kernel=kernel)
    sampler.fit_resample(X, y)
    rng = np.random.RandomState(0)
    for name in NAMES:  # what is drawn before the choice
        rng.permutation(np.sum(y == name))
    choose = {"kernel_herding": kernel_herding, "rp_cholesky": rp_cholesky}[method]
    for found, name in zip(sampler.sample_indices_.reshape(3, 4), NAMES, strict=True):
        members = np.flatnonzero(y == name)
        expected = choose(sampler.kernel_.function(), X[members], 4, rng)
        assert_array_equal(found, members[expected])
    if kernel == "rbf":
        assert sampler.kernel_ == RBF().resolve(X)


def test_pivots_of_rows_that_repeat_are_filled_up(blobs):
    X = np.repeat(blobs[0][:6], 10, axis=0)
    y = np.repeat([0, 1], 30)
    sampler = make("rp_cholesky", ipc=8)
    X_s, _ = sampler.fit_resample(X, y)
    assert len(set(sampler.sample_indices_)) == 16
    for code in (0, 1):
        own = X[y == code]
        assert_array_equal(np.unique(X_s[8 * code : 8 * code + 8], axis=0), np.unique(own, axis=0))


def test_k_means_for_many_centres_sees_ten_rows_for_each(blobs, monkeypatch):
    """Oracle: the rows that KMeans is fitted on."""
    monkeypatch.setattr(_support, "_MAX_KMEANS_ROWS", 8)
    sizes = []
    fit = KMeans.fit
    monkeypatch.setattr(KMeans, "fit", lambda self, X: sizes.append(len(X)) or fit(self, X))
    make("k_means", sampling_strategy={"ant": 3, "bee": 1, "cat": 7}).fit_resample(*blobs)
    assert sizes == [30, 10, 30]  # "cat" has no more


@pytest.mark.parametrize("method", METHODS)
def test_a_class_may_be_left_out(method, blobs):
    X, y = blobs
    X_s, y_s = make(method, sampling_strategy={"bee": 0, "ant": 1}).fit_resample(X, y)
    assert_array_equal(y_s, np.repeat(["ant", "cat"], [1, 30]))
    assert X_s.shape == (31, 5)
    assert_array_equal(sorted_rows(X_s[1:]), sorted_rows(X[y == "cat"]))


class Positions(TransformerMixin, BaseEstimator):
    """The first feature alone, times a fitted sign."""

    def fit(self, X, y):
        self.sign_ = 1.0 if "ant" in set(y) else -1.0
        return self

    def transform(self, X):
        return self.sign_ * np.asarray(X)[:, :1]


def first_feature(X):
    return np.asarray(X)[:, :1]


@pytest.mark.parametrize("features", [Positions(), first_feature], ids=["transformer", "callable"])
@pytest.mark.parametrize("method", METHODS[1:])
def test_rows_are_compared_in_the_space_of_features(method, features, blobs):
    """Oracle: the choice among rows of the first feature alone; in X its rows are returned."""
    X, y = blobs
    expected = make(method)
    X_first, _ = expected.fit_resample(X[:, :1], y)
    sampler = make(method, features=features)
    X_s, _ = sampler.fit_resample(X, y)
    assert X_s.shape == (12, 5)
    if method in CENTRES:
        assert_allclose(X_s[:, :1], X_first, rtol=1e-6)
    else:
        assert_array_equal(sampler.sample_indices_, expected.sample_indices_)
    assert hasattr(sampler, "features_") == isinstance(features, Positions)
    assert not hasattr(features, "sign_")


def test_means_of_clusters_in_another_space(blobs):
    """Oracle: the means of X over KMeans's own labels in the features."""
    X, _ = blobs
    spare, F = X[:4], X[:, :2] ** 2
    found = _support.centres_of(X, spare, np.random.RandomState(0), F)
    labels = KMeans(4, n_init=1, random_state=np.random.RandomState(0)).fit(F).labels_
    assert_allclose(found, [X[labels == c].mean(axis=0) for c in range(4)])


@pytest.mark.parametrize(
    "kernel",
    ["fc1", FullyConnected(depth=2), RBF(), RandomFeatures("fc1", width=32)],
    ids=["name", "fc2", "rbf", "sampled"],
)
def test_kernels_are_explicit_features(kernel, blobs):
    """Oracle: the sampler with scikit-learn's Nystroem features as a callable."""
    X, y = blobs
    sampler = make("k_center", features=kernel)
    sampler.fit_resample(X, y)
    resolved = FullyConnected() if kernel == "fc1" else kernel.resolve(X.astype(np.float32))
    nystroem = Nystroem(resolved, n_components=120, random_state=0).fit(X.astype(np.float32))
    expected = make("k_center", features=lambda X: nystroem.transform(X.astype(np.float32)))
    expected.fit_resample(X, y)
    same = np.isin(sampler.sample_indices_, expected.sample_indices_)
    assert same.mean() > 0.9  # all components: another order of them rounds differently
    F = sampler.features_.transform(X.astype(np.float32))
    assert_allclose(F @ F.T, resolved(X), atol=2e-3 * np.abs(resolved(X)).max())


def test_forgetting_counts_what_the_network_predicts_after_each_epoch(blobs):
    """Oracle: a network of the same seed, looked at by hand."""
    X, y = blobs
    network = clone(NETWORK).set_params(random_state=3)
    sampler = make("forgetting", network=network, ipc=6)
    sampler.fit_resample(X, y)
    correct = []
    network.fit(X, y, on_epoch=lambda n: correct.append(n.predict(X) == y))
    assert len(correct) == 3  # 12 steps of 30 of the 120 rows
    events = forgetting_events(np.array(correct))
    assert_array_equal(sampler.forgetting_events_, events)
    assert np.isinf(events).any() and (events == 0).any()
    for found, name in zip(sampler.sample_indices_.reshape(3, 6), NAMES, strict=True):
        expected = np.sort(events[y == name])[::-1][:6]
        assert_array_equal(events[found], expected)


def test_mislabelled_rows_are_forgotten(digits):
    """Oracle: the ten rows whose labels were changed by hand."""
    X, _, y, _ = digits
    X, y = X[:600] / 16, y[:600].copy()
    y[:10] = (y[:10] + 3) % 10
    events = CoresetSampler("forgetting", random_state=0)
    events.fit_resample(X, y)
    assert events.forgetting_events_[:10].min() >= 1
    assert np.median(events.forgetting_events_) == 0


def test_dataframes_and_series_keep_their_index(blobs):
    X, y = blobs
    index = np.arange(120) + 500
    frame = pd.DataFrame(X, columns=list("abcde"), index=index)
    series = pd.Series(y, name="kind", index=index)
    for method in METHODS:
        sampler = make(method)
        X_s, y_s = sampler.fit_resample(frame, series)
        expected, labels = make(method).fit_resample(X, y)
        assert isinstance(X_s, pd.DataFrame) and list(X_s.columns) == list("abcde")
        assert isinstance(y_s, pd.Series) and y_s.name == "kind"
        assert_array_equal(X_s.to_numpy(), expected)
        assert_array_equal(y_s.to_numpy(), labels)
        rows = np.arange(12) if method in CENTRES else index[sampler.sample_indices_]
        assert_array_equal(X_s.index, rows)
        assert_array_equal(y_s.index, rows)
        assert_array_equal(sampler.feature_names_in_, list("abcde"))


def test_a_transformer_gets_the_dataframe(blobs):
    frame = pd.DataFrame(blobs[0], columns=list("abcde"))
    by_name = make("herding", features=lambda X: X[["a"]])
    by_name.fit_resample(frame, blobs[1])
    expected = make("herding", features=first_feature)
    expected.fit_resample(*blobs)
    assert_array_equal(by_name.sample_indices_, expected.sample_indices_)


class Lengths(TransformerMixin, BaseEstimator):
    """The length of the first column's strings."""

    def fit(self, X, y):
        return self

    def transform(self, X):
        return X[["name"]].map(len)


def mixed_frame():
    return pd.DataFrame(
        {
            "name": ["a" * (i % 7) for i in range(40)],
            "count": pd.array([None, *range(39)], dtype="Int64"),
            "kind": pd.Categorical(list("uvwx") * 10),
            "size": np.r_[np.nan, np.inf, np.arange(38.0)].astype(np.float32),
        }
    )


@pytest.mark.parametrize("features", [None, Lengths()], ids=["random", "by a transformer"])
def test_rows_that_are_not_looked_at_may_hold_anything(features):
    """Oracle: the rows by their numbers."""
    frame, y = mixed_frame(), np.arange(40) % 2
    sampler = make("random" if features is None else "k_center", features=features)
    X_s, _ = sampler.fit_resample(frame, y)
    pd.testing.assert_frame_equal(X_s, frame.iloc[sampler.sample_indices_])
    assert list(sampler.feature_names_in_) == list(frame.columns) and sampler.n_features_in_ == 4
    pd.testing.assert_frame_equal(frame, mixed_frame())
    # These do look; scikit-learn 1.6 finds no words of its own for pandas.NA.
    with pytest.raises((ValueError, TypeError)):
        make("k_means", features=features).fit_resample(frame, y)


@pytest.mark.parametrize(
    "X",
    [
        np.array([["a", 1], [None, 2.5]] * 10, object),
        np.array([["ant", "b"]] * 20),
        np.full((20, 2), np.nan, np.float16),
        np.arange(40).reshape(20, 2).astype(">i2"),
        np.ones((20, 2), bool),
        csr_matrix(np.eye(20)),
    ],
    ids=["objects", "strings", "nan", "big-endian", "bool", "sparse"],
)
def test_random_rows_of_any_array(X):
    """Oracle: the rows by their numbers."""
    y, before = np.arange(20) % 2, X.copy()
    sampler = make("random")
    X_s, _ = sampler.fit_resample(X, y)
    assert type(X_s) is type(X) and X_s.dtype == X.dtype
    for actual, expected in ((X_s, X[sampler.sample_indices_]), (X, before)):
        if hasattr(X, "toarray"):
            actual, expected = actual.toarray(), expected.toarray()
        assert repr(actual.tolist()) == repr(expected.tolist())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        sampler.fit_resample(X, y[1:])


def test_pixels_keep_their_dtype(digits):
    X, _, y, _ = digits
    pixels = X[:200].astype(np.uint8)
    X_s, _ = make("herding").fit_resample(pixels, y[:200])
    assert X_s.dtype == np.uint8
    X_s, _ = make("k_means").fit_resample(pixels, y[:200])
    assert X_s.dtype == np.float64


def test_random_transformers_follow_the_random_state(blobs):
    features = make_pipeline(StandardScaler(), RBFSampler(n_components=3))
    first, same, other = (make("k_center", features=features, random_state=s) for s in (0, 0, 1))
    for sampler in (first, same, other):
        sampler.fit_resample(*blobs)
    assert_array_equal(first.sample_indices_, same.sample_indices_)
    assert not np.array_equal(first.sample_indices_, other.sample_indices_)


def test_another_fit_leaves_nothing_of_the_last(blobs):
    sampler = make("forgetting", features=PCA(2))
    sampler.fit_resample(*blobs)
    assert hasattr(sampler, "network_") and hasattr(sampler, "features_")
    sampler.set_params(method="rp_cholesky").fit_resample(*blobs)
    assert hasattr(sampler, "kernel_") and not hasattr(sampler, "network_")
    sampler.set_params(method="k_means", features=None).fit_resample(*blobs)
    for attribute in ("sample_indices_", "forgetting_events_", "network_", "features_", "kernel_"):
        assert not hasattr(sampler, attribute)


def test_last_in_an_imbalanced_pipeline(blobs):
    """Oracle: the steps by hand."""
    X, y = blobs
    Z = StandardScaler().fit_transform(X)
    for method in METHODS:
        pipeline = Pipeline([("scale", StandardScaler()), ("few", make(method))])
        X_s, y_s = pipeline.fit_resample(X, y)
        oracle = make(method)
        expected, labels = oracle.fit_resample(Z, y)
        assert_array_equal(X_s, expected)
        assert_array_equal(y_s, labels)
        fitted = clone(pipeline).fit(X, y)["few"]
        if method not in CENTRES:
            assert_array_equal(fitted.sample_indices_, oracle.sample_indices_)


def test_in_an_imbalanced_pipeline_and_a_grid_search(blobs):
    X, y = blobs
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("few", make("random")), ("model", LogisticRegression())]
    )
    grid = {"few__method": ["herding", "k_means"], "few__features": [None, PCA(2)]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.7
    assert search.best_estimator_["model"].classes_.tolist() == list(NAMES)


def test_clone_and_pickle(blobs):
    sampler = make("k_medoids", features="fc1")
    again = pickle.loads(pickle.dumps(clone(sampler)))
    assert again.get_params()["network__width"] == 16
    X_s, _ = sampler.fit_resample(*blobs)
    assert_array_equal(again.fit_resample(*blobs)[0], X_s)
    pickle.loads(pickle.dumps(sampler))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "kcenter"}, r"'method' .* 'k_center', .*Got 'kcenter'"),
        ({"ipc": 0}, "'ipc' .* an integer >= 1. Got 0"),
        ({"features": 3}, "'features' .* a kernel or its name, a transformer or a callable. Got 3"),
        ({"features": "fc"}, "Unknown kernel name 'fc'"),
        ({"method": "rp_cholesky", "kernel": "fc"}, "Unknown kernel name 'fc'"),
        ({"features": lambda X: X[1:]}, "a row for each of the 120 rows of X. Got .*119, 5"),
        ({"method": "forgetting", "network": "fc1"}, "'network' .* a FiniteNetworkClassifier"),
        (
            {"method": "forgetting", "network": clone(NETWORK).set_params(max_iter=7)},
            "at least 2 epochs. Got max_iter=7 .* 1 epochs of the 120 rows: raise its max_iter",
        ),
        (
            {"method": "forgetting", "network": FiniteNetworkClassifier(n_ensembles=2)},
            "'n_ensembles' .* 1 with 'on_epoch'. Got 2",
        ),
    ],
)
def test_bad_parameters(params, message, blobs):
    with pytest.raises(ValueError, match=message):
        make(**{"method": "herding", **params}).fit_resample(*blobs)


@pytest.mark.parametrize("as_list", [False, True])
def test_soft_labels_are_refused(as_list, blobs):
    soft = np.eye(3)[np.searchsorted(NAMES, blobs[1])] - 1 / 3
    given = soft.tolist() if as_list else soft
    message = (
        r"1d array of class labels.* Got an array of shape \(120, 3\) instead: .*pass .*argmax"
    )
    with pytest.raises(ValueError, match=message):
        make("herding").fit_resample(blobs[0], given)
    assert not hasattr(CoresetSampler, "fit_distill")


def test_images_are_refused(blobs):
    with pytest.raises(ValueError, match=r"X.reshape\(len\(X\), -1\)"):
        make("random").fit_resample(np.zeros((120, 2, 2, 1)), blobs[1])
