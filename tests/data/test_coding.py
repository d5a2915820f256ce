from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk._data import _support
from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Data
from kipsk._data._numbers import RealCoding

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
Y = np.stack([np.arange(30.0), np.full(30, 7.0)], axis=1)  # the second output is constant
NAMES = np.array(["ant", "bee", "cat"])[np.arange(30) % 3]


def real(y):
    return Data(X, *RealCoding.encode("Test", y, np.float32))


def state():
    return np.random.RandomState(0)


def test_numbers_become_standardised_columns_of_one_stratum():
    data = real(Y)
    assert data.y.dtype == np.float32
    assert_allclose(data.y[:, 0], (Y[:, 0] - 14.5) / Y[:, 0].std(), rtol=1e-6)
    assert_array_equal(data.y[:, 1], 0)
    assert_array_equal(data.codes, 0)
    assert_allclose(data.labels(), Y, atol=1e-5)
    assert_allclose(real(Y[:, 0]).labels(), Y[:, 0], atol=1e-5)
    assert_allclose(data.rows(data.y[:, 0] > 0).labels(), Y[15:], rtol=1e-6)


def test_labels_become_one_hot_of_their_strata():
    data = Data(X, *ClassCoding.encode("Test", NAMES, np.float32))
    assert_array_equal(data.labels(), NAMES)
    assert_array_equal(data.y.argmax(axis=1), data.codes)
    assert_array_equal(data.coding.given(NAMES), np.eye(3)[data.codes] - 1 / 3)


@pytest.mark.parametrize("y", [Y, Y[:, :1], Y[:, 0]], ids=["two", "column", "one"])
def test_given_is_the_way_back_from_published(y):
    coding = real(y).coding
    targets = np.random.default_rng(1).normal(size=(5, coding.n_outputs))
    published = coding.published(targets)
    assert published.shape == (5, *y.shape[1:])
    assert_allclose(coding.given(published), targets)


def test_numbers_of_another_shape_are_left_for_an_error():
    assert real(Y[:, 0]).coding.given(Y).shape == (30, 2)
    assert real(Y).coding.given(Y[:, 0]).shape == (30,)


@pytest.mark.parametrize("one, other", [(Y, Y[:, :1]), (Y[:, 0], Y[:, :1])])
def test_numbers_of_another_shape_are_not_alike(one, other):
    coding = real(one).coding
    assert coding.is_like(real(2 * one + 1).coding)
    assert not coding.is_like(real(other).coding)


@pytest.mark.parametrize("init", ["sample", "herding", "kmeans", "noise"])
def test_numbers_to_start_from(init):
    data = real(Y)
    support = _support.draw(data, 6, init, state())
    X_s, y_s, indices = support.X, support.y, support.indices
    assert X_s.shape == (6, 4) and y_s.shape == (6, 2)
    assert X_s.dtype == y_s.dtype == np.float32
    if init in ("sample", "herding"):
        assert_array_equal(X_s, X[indices])
        assert_array_equal(y_s, data.y[indices])
    elif init == "kmeans":
        nearest = ((X[:, None] - X_s) ** 2).sum(axis=2).argmin(axis=1)
        expected = [data.y[nearest == i].mean(axis=0) for i in range(6)]
        assert_allclose(y_s, expected, rtol=1e-5)
    else:
        assert_array_equal(y_s, 0)


def test_more_rows_than_there_are():
    data = real(Y)
    with pytest.warns(UserWarning, match="Fewer rows than n_support=40: all 30 are taken. Lower"):
        support = _support.draw(data, 40, "sample", state())
    assert_array_equal(np.sort(support.indices), np.arange(30))
    assert len(support.X) == 30


def test_numbers_of_another_size():
    """Oracle: the first rows stay, and the last of a new draw come behind them."""
    data = real(Y)
    support = _support.draw(data, 6, "sample", np.random.RandomState(1))
    fewer = _support.resize(support, data, 4, "sample", state())
    assert_array_equal(fewer.X, support.X[:4])
    assert_array_equal(fewer.y, support.y[:4])
    more = _support.resize(support, data, 9, "sample", state())
    new = _support.draw(data, 9, "sample", state())
    assert_array_equal(more.X, np.concatenate([support.X, new.X[6:]]))
    assert_array_equal(more.y, np.concatenate([support.y, new.y[6:]]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_targets_of_centres_far_from_zero(dtype):
    """Oracle: translation by a power of two, which rounds no number here."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 64, (5000, 2)).astype(dtype)  # more than one block
    centres, y = rows[:4] + np.dtype(dtype).type(0.25), rng.normal(size=5000)
    offset = {"float32": 2.0**20, "float64": 2.0**40}[dtype]
    coding, codes, targets = RealCoding.encode("Test", y, dtype)
    near, far = (
        coding.made_targets(
            Data(rows + shift, coding, codes, targets), centres + shift, codes, "kmeans"
        )
        for shift in (np.dtype(dtype).type(0), np.dtype(dtype).type(offset))
    )
    assert_array_equal(near, far)
    distances = np.sum((rows[:, None].astype(float) - centres) ** 2, axis=2)
    nearest = distances.argmin(axis=1)
    oracle = [targets[nearest == i].mean() for i in range(4)]
    assert_allclose(near[:, 0], oracle, rtol=1e-4, atol=1e-5)
