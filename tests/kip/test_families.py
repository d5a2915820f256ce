"""Families of kernels, and accuracies under several kernels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from kipsk import KernelRidgeNTKClassifier, KIPDistiller
from kipsk._data._labels import one_hot
from kipsk._distil._problem import Problem, drawn_kernels
from kipsk.kernels import RBF, FullyConnected

from ._runs import FAST, ROWS, assert_same_fit, loss_by_hand

MEMBERS = ["fc1", RBF()]


@pytest.fixture(scope="module")
def family(images):
    return KIPDistiller(MEMBERS, **FAST).fit(*images)


def test_family_of_one_is_that_kernel(plain, images):
    assert_same_fit(KIPDistiller(["fc1"], **FAST).fit(*images), plain)


@pytest.mark.parametrize("kernels", [["fc1", RBF(0.1)], [RBF(0.1), "fc1"]], ids=str)
def test_members_of_unlike_losses_are_no_divergence(kernels, images):
    """The start, of wrong labels, stays; one order ends with the larger of the two losses."""
    X, y = images
    params = FAST | {"learning_rate": 1e-9, "init": (X[ROWS], (y[ROWS] + 1) % 3)}
    losses = KIPDistiller(kernels, **params).fit(X, y).loss_curve_
    small, large = np.sort(losses[[0, -1]])
    assert large > 1.2 * max(small, 0.5 * np.mean(one_hot(y, 3) ** 2))


def test_family_that_diverges_at_once_warns(images):
    params = FAST | {"learning_rate": 1e4}
    with pytest.warns(ConvergenceWarning, match=r"diverged: its loss went from .*learning_rate"):
        KIPDistiller(MEMBERS[::-1], **params).fit(*images)


def test_member_of_weight_zero_is_never_drawn(plain, images):
    """Oracle: the fit of the other member."""
    distiller = KIPDistiller(MEMBERS, kernel_weights=[2, 0], **FAST).fit(*images)
    assert_allclose(distiller.loss_curve_, plain.loss_curve_, rtol=1e-4)
    assert_allclose(distiller.X_s_, plain.X_s_, atol=1e-3)


def test_each_step_is_under_one_member(images):
    """Oracle: the loss of the initial support under each, by hand; with it still, no others."""
    X, y = images
    still = FAST | {"max_iter": 80, "learning_rate": 1e-9, "snapshots": [0], "targets": "given"}
    distiller = KIPDistiller(MEMBERS, kernel_weights=[3, 1], **still).fit(X, y)
    support, y_t = distiller.snapshots_[0], one_hot(y, 3)
    losses = [
        loss_by_hand(kernel, kernel.recommended_reg, support, X, y_t)
        for kernel in (FullyConnected(), RBF().resolve(X))
    ]
    is_member = np.isclose(distiller.loss_curve_[:, None], losses, rtol=1e-3)
    assert_array_equal(is_member.sum(axis=1), 1)
    assert abs(is_member[:, 0].mean() - 0.75) < 0.15


def test_members_are_drawn_as_often_as_their_weights_say():
    """Oracle: the binomial distribution; five deviations of 4000 draws are 0.04."""
    for weights in (np.array([0.5, 0.3, 0.2]), None):
        problem = Problem([None] * 3, weights, None, None, None, np.random.RandomState(0))
        draws = drawn_kernels(problem)
        shares = np.bincount([next(draws) for _ in range(4000)]) / 4000
        assert_allclose(shares, [1 / 3] * 3 if weights is None else weights, atol=0.04)


def test_family_suits_all_members_and_the_first_predicts(family, images):
    X, y = images
    assert family.predictor_.kernel_ == family.kernel_ == FullyConnected()
    accuracies = family.evaluate(X, y)
    assert list(accuracies) == ["fc1", str(RBF())]
    assert min(accuracies.values()) > 0.95


@pytest.mark.parametrize("kernel", ["fc1", RBF(), "fc2_nngp"], ids=str)
def test_evaluate_equals_kernel_ridge_regression(kernel, family, images):
    """Oracle: the classifier, fitted on the support with soft labels."""
    X, y = images
    noisy = X + 3 * np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
    ridge = KernelRidgeNTKClassifier(kernel, classes=[0, 1, 2]).fit(family.X_s_, family.y_s_)
    score = ridge.score(noisy, y)
    assert 0.5 < score < 1
    assert family.evaluate(noisy, y, [kernel]) == {str(kernel): score}


def test_evaluate_with_the_ridge_and_the_kernel_of_the_fit(images):
    """Oracle: `score`."""
    X, y = images
    distiller = KIPDistiller("rbf", reg=1e-2, **FAST).fit(X, y)
    assert distiller.evaluate(X, y) == {"rbf": distiller.score(X, y)}
    assert distiller.evaluate(X, y, "fc1").keys() == {"fc1"}


def test_evaluate_after_a_pickle(images):
    """Oracle: `score`; kernels are the same by their parameters."""
    X, y = images
    distiller = KIPDistiller(RBF(), **FAST).fit(X, y)
    again = pickle.loads(pickle.dumps(distiller))
    expected = distiller.score(X, y)
    assert list(again.evaluate(X, y).values()) == [expected]
    assert list(distiller.evaluate(X, y, [RBF()]).values()) == [expected]
