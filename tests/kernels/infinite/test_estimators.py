"""Exact convolutional kernels by name, in estimators, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from kipsk import KernelRidgeNTK, KIPDistiller, LabelSolver
from kipsk.architectures import (
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    convnet,
    get_architecture,
    myrtle,
)
from kipsk.kernels import ConvNet, Convolutional, Myrtle, get_kernel

from ._networks import RELU, SHAPE, rows


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("conv2", Convolutional("conv2")),
        ("convnet3", ConvNet(3)),
        ("convnet", ConvNet(3, first_conv=True)),
        ("convnet2_nngp", ConvNet(2, "nngp")),
        ("myrtle7", Myrtle(7)),
    ],
)
def test_names(name, kernel):
    assert get_kernel(name) == kernel
    shape = (8, 8, 1)
    assert get_kernel(name, image_shape=shape).function().architecture == get_architecture(
        name.removesuffix("_nngp")
    )


class TestBadInput:
    X = np.zeros((2, 36))

    def test_image_shape(self):
        with pytest.raises(ValueError, match=r"'image_shape' parameter of ConvNet .* Got None"):
            ConvNet(1)(self.X)
        with pytest.raises(ValueError, match=r"'image_shape' parameter of Convolutional .* 36"):
            Convolutional(image_shape=(8, 8, 1))(self.X)

    def test_too_small_for_the_pooling(self):
        with pytest.raises(ValueError, match=r"Layer 5, AvgPool\(size=2\).* as large .* 1 x 1"):
            ConvNet(2, image_shape=(3, 3, 4))(self.X)
        with pytest.raises(ValueError, match=r"Layer 2, AvgPool.* its window.* 1 x 9 pixels"):
            ConvNet(1, image_shape=(1, 9, 4))(self.X)

    def test_layers_without_an_exact_kernel(self):
        network = convnet(1, normalize=True)
        with pytest.raises(ValueError, match=r"layer 1, Normalize\(\).*RandomFeatures"):
            Convolutional(network, image_shape=SHAPE)(self.X)
        twice = Architecture((Conv(), RELU, AvgPool(), RELU, Flatten(), Dense()))
        with pytest.raises(ValueError, match=r"layer 3, Activation.* behind Conv or Dense"):
            Convolutional(twice, image_shape=SHAPE)(self.X)
        # Pixels of unlike variance: the dual of their mean is not the mean of their duals.
        late = Architecture((Conv(), Flatten(), RELU, Dense()))
        with pytest.raises(ValueError, match=r"layer 2, Activation.* before Flatten"):
            Convolutional(late, image_shape=SHAPE)(self.X)

    def test_parameters(self):
        for kernel, message in [
            (ConvNet(image_shape=SHAPE, kind="cntk"), "'kind' parameter of ConvNet"),
            (ConvNet(0, image_shape=SHAPE), "'depth'"),
            (Myrtle(6, image_shape=SHAPE), "'depth'"),
            (ConvNet(1, image_shape=SHAPE, width=0), "'width' parameter of ConvNet"),
            (ConvNet(1, image_shape=SHAPE, activation="tanh"), "relu"),
            (Convolutional("resnet", image_shape=SHAPE), "'architecture' parameter of Convol"),
            (ConvNet(1, image_shape=np.array([[6, 6, 1]])), "'image_shape' parameter of ConvNet"),
            (ConvNet(1, image_shape=SHAPE, first_conv="no"), "'first_conv'"),
        ]:
            with pytest.raises(ValueError, match=message):
                kernel(self.X)


@pytest.mark.slow
def test_myrtle_is_its_architecture():
    X = rows(2, (8, 8, 1))
    other = Convolutional(myrtle(5), image_shape=(8, 8, 1))
    np.testing.assert_array_equal(Myrtle(5, image_shape=(8, 8, 1))(X), other(X))


class TestEstimators:
    """The distillers with an exact kernel on 4 x 4 digits; oracle: the same by scikit-learn."""

    KERNEL = ConvNet(1, image_shape=(4, 4, 1))

    @pytest.fixture
    def data(self):
        X, y = load_digits(n_class=3, return_X_y=True)
        X = X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
        return (X - X.mean()) / X.std(), y

    def test_kernel_ridge(self, data):
        """Oracle: scikit-learn's KernelRidge with the ridge matched."""
        X, y = data[0][:200], data[1][:200]
        ours = KernelRidgeNTK(self.KERNEL, reg=1e-3, dtype="float64").fit(X[:50], y[:50])
        K = self.KERNEL(X[:50])
        theirs = KernelRidge(alpha=1e-3 * np.trace(K) / 50, kernel="precomputed").fit(K, y[:50])
        expected = theirs.predict(self.KERNEL(X[50:], X[:50]))
        np.testing.assert_allclose(ours.predict(X[50:]), expected, rtol=1e-8)
        single = KernelRidgeNTK(self.KERNEL, reg=1e-3).fit(X[:50], y[:50])
        np.testing.assert_allclose(single.predict(X[50:]), expected, atol=1e-3)

    def test_label_solve_in_blocks(self, data, capsys):
        X, y = data[0][:200], data[1][:200]
        whole, blocks = (
            LabelSolver(self.KERNEL, 2, random_state=0, dtype="float64", block_size=size, verbose=1)
            for size in (1000, 37)
        )
        whole.fit(X, y)
        np.testing.assert_allclose(blocks.fit(X, y).y_s_, whole.y_s_, rtol=1e-6, atol=1e-9)
        assert whole.score(X, y) > 0.8
        assert f"{len(X)}/{len(X)}" in capsys.readouterr().err

    def test_kip_learns(self, data):
        X, y = data
        how = {"batch_size": 50, "learning_rate": 0.2, "random_state": 0}
        distiller = KIPDistiller(self.KERNEL, 1, max_iter=30, snapshots=[0], **how).fit(X, y)
        predictor = KernelRidgeNTK(self.KERNEL, reg=distiller.reg_)
        start = predictor.fit(*distiller.snapshots_[0]).predict(X).argmax(axis=1)
        assert distiller.score(X, y) > np.mean(start == y) + 0.2
        assert distiller.loss_curve_[-1] < 0.5 * distiller.loss_curve_[0]

    @pytest.mark.slow
    def test_grid_search_over_its_parameters(self, data):
        X, y = data
        grid = {"kernel__kind": ["ntk", "nngp"]}
        search = GridSearchCV(LabelSolver(self.KERNEL, 2, random_state=0), grid, cv=2)
        assert search.fit(X[:100], y[:100]).best_score_ > 0.7
        loaded = pickle.loads(pickle.dumps(search.best_estimator_))
        np.testing.assert_array_equal(loaded.predict(X), search.predict(X))

    @pytest.mark.slow  # quick with other kernels: test_random_features.py, test_landmarks.py
    def test_support_vector_machine(self, data):
        X, y = data
        assert SVC(kernel=self.KERNEL, C=10).fit(X[:100], y[:100]).score(X[100:], y[100:]) > 0.9
