"""Moments of others in files, of classes without rows, and of kernels that first rows decide."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import pytest

from kipsk import KIPDistiller, Moments
from kipsk.kernels import Landmarks

X = np.random.default_rng(0).normal(size=(24, 4)) + 3 * np.eye(3, 4)[np.arange(24) % 3]
Y = np.arange(24) % 3
KERNEL = Landmarks("fc1", 6).resolve(X)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "moments.npz"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "moments.npz"
    Moments(KERNEL, classes=range(3)).fit(X, Y).save(path)
    with np.load(path) as file:
        return dict(file)


WRONG = {
    "H of another shape": {"sum H": np.eye(5)},
    "H is no matrix": {"sum H": np.ones(36)},
    "C without columns": {"sum C": np.zeros((6, 0))},
    "H in float32": {"sum H": np.eye(6, dtype=np.float32)},
    "NaN": {"sum phi": np.full(6, np.nan)},
    "infinity": {"sum x": np.full(4, np.inf)},
    "no weight": {"sum weight": np.array(0.0)},
    "weights of nothing": {"sum weight": np.ones((0,))},
    "negative noise": {"sum noise": np.array(-1.0)},
    "text": {"sum y": np.array(["a", "b", "c"])},
    "other classes": {"classes": np.arange(7)},
    "numbers as names": {"feature_names": np.arange(4)},
    "few names": {"feature_names": np.array(["a"])},
    "no facts": {"facts": np.array("[]")},
    "facts are a number": {"facts": np.array(1)},
    "columns for a year": {"facts": None},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
def test_what_no_save_has_written(changed, stored, path):
    if changed == {"facts": None}:
        facts = json.loads(str(stored["facts"])) | {"n_features_in": "many"}
        changed = {"facts": np.array(json.dumps(facts))}
    np.savez(path, **stored | changed)
    moments = Moments(KERNEL, classes=range(3)).fit(X, Y)
    before = dict(vars(moments))
    with pytest.raises(ValueError, match=r"moments\.npz' is damaged or holds no moments"):
        moments.load(path)
    assert vars(moments) == before


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    moments = Moments(KERNEL, classes=range(3)).fit(X, Y)
    moments.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    def half(file, **arrays):
        file.write(b"PK half of it")
        full()

    for owner, name, function in ((np, "savez", half), (os, "fsync", full)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, function)
            with pytest.raises(OSError, match="No space left"):
                (moments + moments).save(path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("classes", [5, "abc", 2.5, [[0], [1]], [0, [1]], None.__class__])
def test_classes_that_are_no_list_of_labels(classes):
    with pytest.raises(ValueError, match=r"'classes' parameter of Moments must be None, or a list"):
        Moments(KERNEL, classes=classes).fit(X, Y)


def test_classes_of_any_kind_of_list():
    """Oracle: a list of them."""
    expected = Moments(KERNEL, classes=[0, 1, 2]).fit(X, Y)
    for classes in (range(3), {0, 1, 2}, np.arange(3), (2, 1, 0), dict.fromkeys(range(3))):
        np.testing.assert_array_equal(Moments(KERNEL, classes=classes).fit(X, Y).C_, expected.C_)
    with pytest.raises(ValueError, match="no labels instead"):
        Moments(KERNEL, classes=[]).fit(X, Y)


def test_classes_without_rows_are_named():
    moments = Moments(KERNEL, classes=["ant", "bee", "cat", "dog"])
    names = np.array(["ant", "bee", "cat"])[Y]
    distiller = KIPDistiller(KERNEL, ipc=1, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match=r"learns 1 of 4 classes from no rows at all.*'dog'"):
        distiller.fit_moments(moments.fit(X, names))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = Moments(KERNEL, classes=["ant", "bee", "cat", "dog"]).fit(X[:1], ["dog"])
        distiller.fit_moments(moments + other)
        distiller.fit_moments(moments + other, held_out=moments)


def test_first_rows_that_decide_a_kernel_have_all_classes_or_warn():
    open_kernel = Landmarks("fc1", 6)
    order = np.argsort(Y, kind="stable")
    sorted_rows, labels = X[order], Y[order]
    with pytest.warns(
        UserWarning, match=r"partial_fit took what Landmarks.* none of 2 of 3.*\[1, 2\]"
    ):
        moments = Moments(open_kernel, classes=range(3)).partial_fit(sorted_rows[:8], labels[:8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moments.partial_fit(sorted_rows[8:], labels[8:])  # the kernel is known
        Moments(open_kernel, classes=range(3)).partial_fit(X[:8], Y[:8])
        Moments(KERNEL, classes=range(3)).partial_fit(sorted_rows[:8], labels[:8])


@pytest.mark.parametrize("kind", ["csr", "coo", "csc"])
def test_sparse_rows_are_refused_in_words(kind):
    from scipy import sparse

    with pytest.raises(TypeError, match="Sparse data was passed"):
        Moments(KERNEL, classes=range(3)).fit(getattr(sparse, f"{kind}_matrix")(X), Y)
