"""Whatever a user sets JAX to, results are the same.

Oracle: the same call under JAX's own settings, bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk import (
    KernelRidgeNTK,
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    RegularizedZCA,
)
from kipsk.augment import Shift
from kipsk.kernels import (
    RBF,
    ConvNet,
    FullyConnected,
    Invariant,
    Landmarks,
    Laplace,
    RandomFeatures,
)
from kipsk.networks import FiniteNetworkClassifier

SETTINGS = {
    "jax_threefry_partitionable": False,
    "jax_default_prng_impl": "rbg",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_enable_x64": True,
    "jax_debug_nans": True,
}
SHAPE = (4, 4, 1)
FAST = {"ipc": 2, "max_iter": 3, "random_state": 0}
SAMPLED = RandomFeatures("fc1", width=8, n_networks=2)


@contextmanager
def set_to(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    y = np.arange(36) % 3
    return rng.normal(size=(36, 16)) + 2 * np.eye(3, 16)[y], y


MODELS = {
    "kip": KIPDistiller(**FAST),
    "several batches": KIPDistiller("rbf", batch_size=12, **FAST),
    "augmented": KIPDistiller(augment=["flip", Shift(0.25)], image_shape=SHAPE, **FAST),
    "whitened": KIPDistiller(
        augment="flip", image_shape=SHAPE, preprocess=RegularizedZCA(), **FAST
    ),
    "solved": KIPDistiller("laplace", labels="solved", **FAST),
    "platt": KIPDistiller(loss="platt", early_stopping=True, **FAST),
    "corrupted": KIPDistiller(corruption=0.3, init="noise", optimizer="adabelief", **FAST),
    "sampled": KIPDistiller(SAMPLED, **FAST),
    "family": KIPDistiller(["fc1", "rbf"], **FAST),
    "convolutional": KIPDistiller(ConvNet(1, image_shape=SHAPE), **FAST),
    "all rows": KIPDistiller(Landmarks("fc1", 8), batch_size="all", **FAST),
    "regressor": KIPRegressor("fc2", n_support=4, max_iter=3, random_state=0),
    "label solver": LabelSolver(Invariant("fc1", image_shape=SHAPE), ipc=2, random_state=0),
    "ridge": KernelRidgeNTK(FullyConnected(activation="gelu"), reg=[1e-3, 1e-1]),
    "ridge of sampled": KernelRidgeNTKClassifier(SAMPLED),
    "network": FiniteNetworkClassifier(width=8, max_iter=3, random_state=0),
    "convolutions": FiniteNetworkClassifier(
        "convnet1", width=8, max_iter=3, image_shape=SHAPE, augment="flip", random_state=0
    ),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def fitted(request, images):
    model = request.param.fit(*images)
    return model, model.predict(images[0]), scores(model, images[0])


def scores(model, X):
    return model.decision_function(X) if hasattr(model, "decision_function") else model.predict(X)


@pytest.mark.parametrize(("name", "value"), SETTINGS.items(), ids=SETTINGS)
def test_fits_and_predictions_are_the_same(name, value, fitted, images):
    model, labels, expected = fitted
    X, y = images
    with set_to(name, value):
        assert_array_equal(scores(model, X), expected)
        again = type(model)(**model.get_params(deep=False)).fit(X, y)
        assert_array_equal(again.predict(X), labels)
        assert_array_equal(scores(again, X), expected)
        assert getattr(jax.config, name) == value


@pytest.mark.parametrize(("name", "value"), SETTINGS.items(), ids=SETTINGS)
@pytest.mark.parametrize("kernel", [FullyConnected(2), RBF(), Laplace(), SAMPLED], ids=repr)
def test_kernel_objects_are_the_same(kernel, name, value, images):
    X = images[0]
    expected = kernel(X), kernel(X[:5], X), kernel.diag(X)
    with set_to(name, value):
        for found, K in zip((kernel(X), kernel(X[:5], X), kernel.diag(X)), expected, strict=True):
            assert_array_equal(found, K)


@pytest.mark.parametrize(("name", "value"), SETTINGS.items(), ids=SETTINGS)
def test_a_stream_is_the_same(name, value, images):
    def streamed():
        distiller = KIPDistiller(SAMPLED, ipc=2, batch_size=12, random_state=0)
        return distiller.partial_fit(*images, classes=[0, 1, 2]).X_s_

    expected = streamed()
    with set_to(name, value):
        assert_array_equal(streamed(), expected)
