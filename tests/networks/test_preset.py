"""The training of later papers as one preset."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk.architectures import Activation, AvgPool, Conv, Normalize
from kipsk.augment import Flip
from kipsk.kernels import Convolutional
from kipsk.networks import papers_protocol


def test_settings():
    """Oracle: the settings of arXiv 2102.08259."""
    network = papers_protocol((32, 32, 3))
    block = (Conv(), Normalize(), Activation(), AvgPool())
    assert network.architecture.layers[:-2] == 3 * block
    assert (network.width, network.momentum, network.l2, network.batch_size) == (
        128,
        0.9,
        5e-4,
        256,
    )
    assert (network.max_iter, network.learning_rate, network.schedule) == (1000, 0.01, "step")
    assert papers_protocol((28, 28, 1), n_rows=500, n_epochs=300).max_iter == 600
    assert Flip() not in papers_protocol((28, 28, 1), flip=False).augment.augmentations


def test_in_a_pipeline():
    """Hard labels without soft ones; a clone and a pickle are the same training."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 10)
    X = rng.normal(size=(20, 64)) + 3 * codes[:, None] * (np.arange(64) < 32)
    network = papers_protocol((8, 8, 1), n_epochs=30, flip=False, random_state=0)
    network.set_params(width=8, learning_rate=0.1)
    pipeline = make_pipeline(StandardScaler(), network)
    names = np.array(["plain", "bright above"])[codes]
    scores = pipeline.fit(X, names).decision_function(X)
    for other in (clone(pipeline), pickle.loads(pickle.dumps(pipeline))):
        np.testing.assert_array_equal(other.fit(X, names).decision_function(X), scores)
    assert pipeline.score(X, names) > 0.8


@pytest.mark.parametrize("shape", [(7, 32, 3), (32, 32), (4, 4, 1)])
def test_images_that_do_not_fit(shape):
    with pytest.raises(
        ValueError, match=r"'image_shape' parameter of papers_protocol must be .*Got"
    ):
        papers_protocol(shape)


def test_no_exact_kernel():
    architecture = papers_protocol((32, 32, 3)).architecture
    with pytest.raises(ValueError, match=r"Normalize.*has no exact kernel"):
        Convolutional(architecture, image_shape=(32, 32, 3)).function()
