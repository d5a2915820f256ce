"""What a fitted distiller remembers: its kernels, its features, the classes of a file."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from kipsk import KIPDistiller, KIPRegressor, LabelSolver
from kipsk.kernels import RBF, FullyConnected

FAST = {"max_iter": 3, "random_state": 0}
CLASSES = [0, 1, 2]


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat(CLASSES, 20)
    return rng.normal(size=(60, 5)) + 2 * np.eye(5)[codes], codes


# --- kernels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "distiller",
    [
        KIPDistiller(RBF(), ipc=2, **FAST),
        KIPDistiller(["rbf", "fc1"], ipc=2, **FAST),
        LabelSolver("rbf", ipc=2, random_state=0),
        KIPRegressor("rbf", n_support=6, **FAST),
    ],
    ids=["one kernel", "a family", "LabelSolver", "KIPRegressor"],
)
def test_evaluate_scores_the_kernels_of_the_fit(distiller, blobs):
    """Oracle: the same call before the parameters were set anew, which is the score itself."""
    fitted = pickle.loads(pickle.dumps(distiller)).fit(*blobs)
    expected = fitted.evaluate(*blobs)
    first = next(iter(expected))
    np.testing.assert_allclose(expected[first], fitted.score(*blobs), rtol=1e-6)
    fitted.set_params(kernel="fc2", reg=0.5)
    assert fitted.evaluate(*blobs) == expected
    given = RBF() if first != "rbf" else "rbf"
    assert fitted.evaluate(*blobs, kernels=[given]) == {first: expected[first]}
    # The new kernel is one that the support was not made for.
    assert list(fitted.evaluate(*blobs, kernels=["fc2"])) == ["fc2"]


def test_a_kernel_that_is_changed_later_is_remembered_as_it_was(blobs):
    kernel = FullyConnected(depth=1)
    fitted = KIPDistiller(kernel, ipc=2, **FAST).fit(*blobs)
    expected = fitted.evaluate(*blobs)
    kernel.depth = 3
    assert fitted.evaluate(*blobs) == expected


def test_after_a_load_the_kernel_of_the_file_is_evaluated(blobs, tmp_path):
    fitted = KIPDistiller("rbf", ipc=2, **FAST).fit(*blobs)
    fitted.export_support(tmp_path / "s.npz")
    loaded = KIPDistiller("rbf").load_support(tmp_path / "s.npz")
    assert loaded.evaluate(*blobs) == fitted.evaluate(*blobs)


def test_after_a_load_all_of_a_family_are_evaluated(blobs, tmp_path):
    fitted = KIPDistiller(["fc1", "rbf"], ipc=2, **FAST).fit(*blobs)
    fitted.export_support(tmp_path / "s.npz")
    loaded = KIPDistiller(["fc1", "rbf"]).load_support(tmp_path / "s.npz")
    scores = loaded.evaluate(*blobs)
    assert list(scores) == ["fc1", "rbf"]
    assert scores["fc1"] == fitted.evaluate(*blobs)["fc1"]


# --- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
@pytest.mark.parametrize("bad", ["fewer features", "other names", "NaN"])
def test_a_refused_partial_fit_changes_nothing(first, bad, blobs):
    """Oracle: the same model without the call."""
    X, y = pd.DataFrame(blobs[0], columns=list("abcde")), blobs[1]
    distiller = KIPDistiller(ipc=2, **FAST)
    more = {} if first == "fit" else {"classes": CLASSES}
    getattr(distiller, first)(X, y, **more)
    before = pickle.dumps(distiller)
    refused = {
        "fewer features": X[["a", "b", "c"]],
        "other names": X[["e", "d", "c", "b", "a"]],
        "NaN": X.where(X.min() < X, np.nan),
    }[bad]
    with pytest.raises(ValueError, match=r"feature|NaN"):
        distiller.partial_fit(refused, y)
    assert pickle.dumps(distiller) == before
    assert distiller.n_features_in_ == 5
    distiller.predict(X)


def test_a_refused_first_call_expects_nothing(blobs):
    X, y = blobs
    distiller = KIPDistiller(ipc=2, **FAST)
    with pytest.raises(ValueError, match="NaN"):
        distiller.partial_fit(np.where(X[:, :3] > 0, X[:, :3], np.nan), y, classes=CLASSES)
    assert not hasattr(distiller, "n_features_in_")
    assert distiller.partial_fit(X, y, classes=CLASSES).n_features_in_ == 5


# --- the classes of a file -----------------------------------------------------------------------

IMAGES = np.random.default_rng(1).normal(size=(4, 5))


def loaded(path, **arrays):
    np.savez(path, images=IMAGES, **arrays)
    return KIPDistiller().load_support(path)


def test_class_labels_without_classes_are_the_classes(tmp_path):
    distiller = loaded(tmp_path / "s.npz", labels=np.array([3, 3, 5, 5]))
    assert_array_equal(distiller.classes_, [3, 5])
    assert_array_equal(distiller.y_s_, [[0.5, -0.5]] * 2 + [[-0.5, 0.5]] * 2)


def test_class_labels_belong_to_the_stored_classes(tmp_path):
    distiller = loaded(tmp_path / "s.npz", labels=np.array([3, 3, 5, 5]), classes=[3, 4, 5])
    assert_array_equal(distiller.classes_, [3, 4, 5])
    assert_array_equal(distiller.y_s_.argmax(axis=1), [0, 0, 2, 2])
    assert set(distiller.predict(IMAGES)) <= {3, 4, 5}


def test_columns_of_soft_labels_are_the_stored_classes_or_numbers(tmp_path):
    soft = np.eye(2)[[0, 0, 1, 1]] - 0.5
    assert_array_equal(loaded(tmp_path / "s.npz", labels=soft).classes_, [0, 1])
    named = loaded(tmp_path / "s.npz", labels=soft, classes=["ant", "bee"])
    assert_array_equal(named.classes_, ["ant", "bee"])


def test_labels_that_are_no_stored_class_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"among its 'classes', \[3, 4\]. Got \[5\] too"):
        loaded(tmp_path / "s.npz", labels=np.array([3, 3, 5, 5]), classes=[3, 4])


@pytest.mark.parametrize("labels", ["numbers", "names"])
def test_evaluate_refuses_labels_of_another_kind(labels, blobs):
    X, codes = blobs
    y, other = codes, codes.astype(str)
    if labels == "names":
        y, other = other, y
    distiller = LabelSolver(ipc=2, random_state=0).fit(X, y)
    first = y.tolist()[0]
    assert distiller.evaluate(X, y)["fc1"] == distiller.score(X, y)
    with pytest.raises(ValueError, match=rf"y must hold class labels.* Got {other.tolist()[0]!r}"):
        distiller.evaluate(X, other)
    # A label that fit has not seen is wrong, and no error.
    unseen = np.where(y == first, np.array([5]).astype(y.dtype), y)
    expected = np.mean((distiller.predict(X) == y)[y != first]) * np.mean(y != first)
    assert distiller.evaluate(X, unseen)["fc1"] == pytest.approx(expected)
