"""`partial_fit`: one pass over rows that need not fit in memory."""

from __future__ import annotations

import copy
import pickle
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, KIPDistiller
from kipsk._data._labels import one_hot
from kipsk._data._splits import balanced_batches
from kipsk._distil import _block_step
from kipsk._engine import EngineError
from kipsk._kip import _stream
from kipsk._kip._stream import Reader
from kipsk.augment import Flip

# Batches of 20 rows, compiled once for the module.
FAST = {"ipc": 2, "batch_size": 20, "random_state": 0}
CLASSES = [0, 1, 2]


@pytest.fixture(scope="module")
def blobs():
    """Three classes, 60 rows in random order; float32, so that nothing is rounded on the way in."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(CLASSES, 20))
    X = rng.normal(size=(60, 16)) + 3 * np.eye(16)[codes]
    return X.astype(np.float32), codes


@pytest.fixture
def begun(blobs):
    return KIPDistiller(**FAST).partial_fit(*blobs, classes=CLASSES)


def assert_same(one, other):
    assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(one.y_s_, other.y_s_)
    assert_array_equal(one.loss_curve_, other.loss_curve_)


# --- steps ---------------------------------------------------------------------------------------


def test_passes_over_one_batch_are_the_steps_of_fit(blobs):
    """Oracle: `fit` with a constant rate. Adam's moments and their count are carried over."""
    X, y = (array[:20] for array in blobs)
    distiller = KIPDistiller(**FAST)
    for _ in range(6):
        distiller.partial_fit(X, y, classes=CLASSES)
    expected = KIPDistiller(max_iter=6, schedule="constant", **FAST).fit(X, y)
    assert distiller.n_iter_ == 6
    assert_allclose(distiller.loss_curve_, expected.loss_curve_, rtol=1e-5)
    assert_allclose(distiller.X_s_, expected.X_s_, atol=1e-5)
    assert_allclose(distiller.y_s_, expected.y_s_, atol=1e-5)
    assert_allclose(distiller.decision_function(X), expected.decision_function(X), atol=1e-3)
    published = {"learning_rate_", "batch_size_", "kernel_", "reg_", "classes_", "n_features_in_"}
    assert published <= vars(distiller).keys()


def test_a_call_is_one_step_on_each_of_its_batches(begun, blobs):
    """Oracle: a call for each batch, with the batches by hand."""
    X, y = blobs
    X = X[::-1] + 1
    y = y[::-1]
    by_batch = pickle.loads(pickle.dumps(begun))
    for batch in balanced_batches(y, 20, copy.deepcopy(begun._stream.rng)):
        assert len(batch) == 20
        by_batch.partial_fit(X[np.sort(batch)], y[np.sort(batch)])
    begun.partial_fit(X, y)
    assert begun.n_iter_ == len(begun.loss_curve_) == 6
    assert_same(begun, by_batch)


def test_loss_is_of_the_support_before_the_step(begun, blobs):
    """Oracle: `KernelRidgeNTK` on what the call before has published."""
    X, y = (array[:20] for array in blobs)
    ridge = KernelRidgeNTK("fc1", reg=begun.reg_).fit(begun.X_s_, begun.y_s_)
    expected = 0.5 * np.mean((one_hot(y, 3) - ridge.predict(X)) ** 2)
    begun.partial_fit(X, y)
    assert_allclose(begun.loss_curve_[3], expected, rtol=1e-4)


def test_passes_help(begun, blobs):
    first = begun.loss_curve_[:3].mean()
    for _ in range(9):
        begun.partial_fit(*blobs)
    assert begun.loss_curve_[-3:].mean() < 0.5 * first
    assert begun.score(*blobs) > 0.95


def test_rate_is_constant_unless_the_schedule_is_a_function(blobs):
    """Oracle: a rate of zero from the fourth step on, in the second call, moves nothing."""
    distiller = KIPDistiller(schedule=lambda step: float(step < 3), max_iter=1, **FAST)
    distiller.partial_fit(*blobs, classes=CLASSES)
    X_s = distiller.X_s_
    assert_array_equal(distiller.partial_fit(*blobs).X_s_, X_s)
    plain = KIPDistiller(max_iter=1, **FAST).partial_fit(*blobs, classes=CLASSES)
    assert_array_equal(plain.X_s_, X_s)
    assert not np.array_equal(plain.partial_fit(*blobs).X_s_, X_s)


# --- sources of rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["frame", "list", "memmap"])
def test_sources_of_rows(source, begun, blobs, tmp_path):
    """Oracle: arrays in memory."""
    X, y = blobs
    np.save(tmp_path / "X.npy", X)
    rows = {
        "frame": pd.DataFrame(X, columns=[f"pixel{i}" for i in range(16)]),
        "list": X.tolist(),
        "memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
    }[source]
    distiller = KIPDistiller(**FAST).partial_fit(rows, y.tolist(), classes=CLASSES)
    assert_same(distiller.partial_fit(rows, y), begun.partial_fit(X, y))
    assert hasattr(distiller, "feature_names_in_") == (source == "frame")
    assert_array_equal(distiller.predict(rows), begun.predict(X))
    if source == "frame":
        with pytest.raises(ValueError, match="feature names should match"):
            distiller.partial_fit(rows[rows.columns[::-1]], y)


class Disk(np.ndarray):
    """Rows that count how many of them are asked for at once."""

    def __getitem__(self, index):
        rows = np.asarray(super().__getitem__(index))
        self.asked.append(len(rows))
        return rows


def test_a_batch_is_in_memory_at_a_time(blobs, monkeypatch):
    """Oracle: rows counted where they are read and validated: ten batches, then one by one."""
    X, y = np.tile(blobs[0], (5, 1)), np.tile(blobs[1], 5)
    disk = X.view(Disk)
    disk.asked = asked = []
    validated = []

    def validate(estimator, rows, **params):
        assert not isinstance(rows, Disk)
        validated.append(len(rows))
        return validate_data(estimator, rows, **params)

    validate_data = _stream.validate_data
    monkeypatch.setattr(_stream, "validate_data", validate)
    distiller = KIPDistiller(**FAST).partial_fit(disk, y, classes=CLASSES)
    assert asked == validated == [200] + [20] * 15
    distiller.partial_fit(disk, y)
    assert asked[16:] == validated[16:] == [20] * 15
    expected = KIPDistiller(**FAST).partial_fit(X, y, classes=CLASSES).partial_fit(X, y)
    assert_same(distiller, expected)


# --- state between calls -------------------------------------------------------------------------


def test_pickled_stream_goes_on(begun, blobs):
    """Oracle: the one that was not pickled; a pickle that names no JAX class needs no device."""
    data = pickle.dumps(begun)
    assert b"jax" not in data
    assert_same(pickle.loads(data).partial_fit(*blobs), begun.partial_fit(*blobs))


def test_clone_forgets_the_stream(begun, blobs):
    expected = begun.X_s_
    copy = clone(begun)
    with pytest.raises(ValueError, match=r"'classes' .*first call of partial_fit"):
        copy.partial_fit(*blobs)
    assert_array_equal(copy.partial_fit(*blobs, classes=CLASSES).X_s_, expected)


def test_fit_forgets_the_stream(begun, blobs):
    """Oracle: a fresh fit; a call after it goes on from its support, and knows its classes."""
    begun.set_params(max_iter=3).fit(*blobs)
    fresh = KIPDistiller(max_iter=3, **FAST).fit(*blobs)
    assert_same(begun, fresh)
    assert vars(begun).keys() == vars(fresh).keys()
    ridge = KernelRidgeNTK("fc1", reg=fresh.reg_).fit(fresh.X_s_, fresh.y_s_)
    X, y = (array[:20] for array in blobs)
    begun.partial_fit(X, y)
    expected = 0.5 * np.mean((one_hot(y, 3) - ridge.predict(X)) ** 2)
    assert_allclose(begun.loss_curve_, [expected], rtol=1e-4)


def test_parameters_of_a_stream_stay(begun, blobs):
    for name, value in (("kernel", "rbf"), ("loss", "platt"), ("ipc", 5)):
        other = pickle.loads(pickle.dumps(begun)).set_params(**{name: value})
        with pytest.raises(ValueError, match=f"'{name}' parameter .* in the first call"):
            other.partial_fit(*blobs)
    begun.set_params(learning_rate=0.01, verbose=0).partial_fit(*blobs)


def test_interrupted_pass_keeps_what_it_reached(begun, blobs, monkeypatch):
    """Oracle: the same pass over the first of its batches."""
    other = pickle.loads(pickle.dumps(begun))
    first = np.sort(balanced_batches(blobs[1], 20, copy.deepcopy(begun._stream.rng))[0])
    read, calls = Reader.read, []

    def stop(self, index, reset=False):
        calls.append(index)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(self, index, reset)

    monkeypatch.setattr(Reader, "read", stop)
    with pytest.warns(ConvergenceWarning, match="after 4 steps, was interrupted"):
        begun.partial_fit(*blobs)
    monkeypatch.undo()
    other.partial_fit(blobs[0][first], blobs[1][first])
    assert_array_equal(begun.X_s_, other.X_s_)
    assert begun.n_iter_ == 4


def test_pass_whose_cluster_is_lost_keeps_what_it_reached(begun, blobs, monkeypatch):
    """Oracle: the losses of the whole pass; the support of the last one, from the first batch."""
    first = np.sort(balanced_batches(blobs[1], 20, copy.deepcopy(begun._stream.rng))[0])
    other, before = (pickle.loads(pickle.dumps(begun)) for _ in range(2))
    stepper, calls = _block_step.stepper, []

    @contextmanager
    def failing(*args):
        with stepper(*args) as take:

            def count(*given):
                calls.append(given)
                if len(calls) == 3:
                    raise EngineError("No block came back")
                return take(*given)

            yield count

    monkeypatch.setattr(_block_step, "stepper", failing)
    with pytest.raises(EngineError, match="No block"):
        begun.partial_fit(*blobs)
    monkeypatch.undo()
    other.partial_fit(*blobs)
    assert begun.n_iter_ == 5
    assert_array_equal(begun.loss_curve_, other.loss_curve_[:5])
    before.partial_fit(blobs[0][first], blobs[1][first])
    assert_array_equal(begun.X_s_, before.X_s_)
    begun.partial_fit(*blobs)
    assert begun.n_iter_ == 5 + other.n_iter_ - 3


def test_stream_from_a_warm_start(blobs):
    """Oracle: the fit before."""
    fitted = KIPDistiller(warm_start=True, max_iter=3, **FAST).fit(*blobs)
    ridge = KernelRidgeNTK("fc1", reg=fitted.reg_).fit(fitted.X_s_, fitted.y_s_)
    X, y = (array[:20] for array in blobs)
    expected = 0.5 * np.mean((one_hot(y, 3) - ridge.predict(X)) ** 2)
    fitted.partial_fit(X, y, classes=CLASSES)
    assert_allclose(fitted.loss_curve_, [expected], rtol=1e-4)


def test_a_call_that_fails_changes_nothing(begun, blobs):
    """Oracle: the same calls without it, though it fails at its last batch."""
    X, y = blobs
    other = pickle.loads(pickle.dumps(begun))
    bad = X.copy()
    bad[balanced_batches(y, 20, copy.deepcopy(begun._stream.rng))[2][0]] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        begun.partial_fit(bad, y)
    assert_same(begun, other)
    assert_same(begun.partial_fit(X, y), other.partial_fit(X, y))


def test_first_call_fits_the_preprocessing(blobs):
    """Oracle: a scaler of the first call's rows."""
    X, y = blobs
    distiller = KIPDistiller(preprocess=StandardScaler(), **FAST)
    distiller.partial_fit(X, y, classes=CLASSES).partial_fit(5 * X + 1, y)
    scaler = StandardScaler().fit(X)
    assert_allclose(distiller.preprocess_.mean_, scaler.mean_, rtol=1e-6)
    by_hand = KIPDistiller(**FAST).partial_fit(scaler.transform(X), y, classes=CLASSES)
    by_hand.partial_fit(scaler.transform(5 * X + 1), y)
    assert_allclose(distiller.loss_curve_, by_hand.loss_curve_, rtol=1e-4)
    expected = by_hand.decision_function(scaler.transform(X))
    assert_allclose(distiller.decision_function(X), expected, atol=1e-3)


# --- what goes with it ---------------------------------------------------------------------------


def test_probabilities(blobs):
    X, y = blobs
    distiller = KIPDistiller(loss="platt", **FAST).partial_fit(X, y, classes=CLASSES)
    probabilities = distiller.partial_fit(X, y).predict_proba(X)
    assert_allclose(probabilities.sum(axis=1), 1)
    assert_array_equal(distiller.predict(X), probabilities.argmax(axis=1))
    # The scale started at exp(1.5) and has been learned.
    assert distiller.temperature_ != pytest.approx(np.exp(-1.5), rel=1e-3)


def test_augmentation(blobs):
    """Oracle: the stream of mirrored rows, from the same initial arrays."""
    X, y = blobs
    rows = [np.flatnonzero(y == code)[0] for code in CLASSES]
    params = FAST | {"init": (np.tile(X[rows], (2, 1)), np.tile(CLASSES, 2))}
    mirrored = X.reshape(60, 4, 4, 1)[:, :, ::-1].reshape(60, 16)
    distiller = KIPDistiller(augment=Flip(p=1.0), image_shape=(4, 4, 1), **params)
    distiller.partial_fit(X, y, classes=CLASSES)
    expected = KIPDistiller(**params).partial_fit(mirrored, y, classes=CLASSES)
    assert_allclose(distiller.loss_curve_, expected.loss_curve_, rtol=1e-4)
    assert_allclose(distiller.X_s_, expected.X_s_, atol=1e-3)


@pytest.mark.parametrize("init", ["sample", "noise", "kmeans", "herding"])
def test_class_that_comes_later(init, blobs):
    """It has no support row, and its column of the labels is learned."""
    X, y = blobs
    distiller = KIPDistiller(init=init, **FAST)
    with pytest.warns(UserWarning, match=r"1 of 4 classes.*: 3 \(0\)\. A class without any"):
        distiller.partial_fit(X, y, classes=[0, 1, 2, 3])
    assert distiller.X_s_.shape == (6, 16) and distiller.y_s_.shape == (6, 4)
    assert_array_equal(distiller.classes_, [0, 1, 2, 3])
    later = np.where(y == 2, 3, y)
    for _ in range(10):
        distiller.partial_fit(X, later)
    assert distiller.score(X, later) > 0.9


@pytest.mark.parametrize("dtype", [np.str_, object])
def test_names_of_classes(dtype, begun, blobs):
    """Oracle: the codes."""
    X, y = blobs
    names = np.array(["ant", "bee", "cat"], dtype=dtype)
    distiller = KIPDistiller(**FAST).partial_fit(X, names[y], classes=names[::-1])
    assert_same(distiller, begun)
    assert_array_equal(distiller.predict(X), names[begun.predict(X)])
