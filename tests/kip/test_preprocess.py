"""Transformers inside of KIPDistiller: oracles are the same ones before it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kipsk import KIPDistiller, RegularizedZCA
from kipsk._kip._preprocess import as_function

from ._runs import FAST, SHAPE

CHAIN = make_pipeline(StandardScaler(), FunctionTransformer(jnp.tanh), RegularizedZCA(reg=0.1))
PREPROCESS = {
    "zca": RegularizedZCA(reg=0.1),
    "scale": StandardScaler(),
    "chain": CHAIN,
    "pca": PCA(3, random_state=0),
}


@pytest.mark.parametrize("preprocess", PREPROCESS.values(), ids=PREPROCESS)
def test_preprocess_inside_equals_a_pipeline(preprocess, images, close):
    """Oracle: the same transformer before the distiller, in float32 too. Any will do."""
    X, y = images
    inside = KIPDistiller(preprocess=preprocess, **FAST).fit(X, y)
    pipeline = make_pipeline(preprocess, KIPDistiller(**FAST)).fit(X, y)
    scores = pipeline.decision_function(X)
    close(inside.decision_function(X), scores, np.float32, steps=FAST["max_iter"])
    assert_array_equal(inside.predict(X), pipeline.predict(X))
    assert inside.evaluate(X, y) == {"fc1": inside.score(X, y)}
    # In transformed units, and rows of X in raw ones.
    assert inside.X_s_.shape == (6, preprocess.transform(X).shape[1])
    assert inside.n_features_in_ == 16
    assert inside.preprocess is preprocess is not inside.preprocess_


@pytest.mark.parametrize("augment", [None, lambda key, rows: rows], ids=["plain", "augmented"])
def test_preprocess_is_fitted_as_a_copy(augment, images):
    """Oracle: the same transformer, fitted by hand; it runs in JAX after an augmentation."""
    X, y = images
    preprocess = RegularizedZCA(reg=0.1)
    distiller = KIPDistiller(preprocess=preprocess, augment=augment, **FAST).fit(X, y)
    assert not hasattr(preprocess, "whitening_")
    fitted = RegularizedZCA(reg=0.1).fit(X)
    assert_array_equal(distiller.preprocess_.whitening_, fitted.whitening_)
    by_hand = KIPDistiller(**FAST).fit(fitted.transform(X), y)
    assert_allclose(distiller.loss_curve_[0], by_hand.loss_curve_[0], rtol=1e-5)
    assert_allclose(distiller.loss_curve_, by_hand.loss_curve_, rtol=1e-3)
    expected = by_hand.decision_function(fitted.transform(X))
    assert_allclose(distiller.decision_function(X), expected, atol=1e-2)
    # Another fit without it.
    distiller.set_params(preprocess=None, augment=None).fit(X, y)
    assert not hasattr(distiller, "preprocess_")


def test_transformer_that_cannot_run_in_jax_is_refused_with_augment_alone(images):
    X, y = images
    distiller = KIPDistiller(preprocess=PCA(3), augment="flip", image_shape=SHAPE, **FAST)
    message = "(?s)'preprocess' .* RegularizedZCA, StandardScaler.*without 'augment' any"
    with pytest.raises(ValueError, match=message):
        distiller.fit(X, y)


TRANSFORMERS = {
    "scale": StandardScaler(),
    "scale, no mean": StandardScaler(with_mean=False),
    "scale, no std": StandardScaler(with_std=False),
    "scale, neither": StandardScaler(with_mean=False, with_std=False),
    "zca": RegularizedZCA(reg=0.1),
    "zca, no norm": RegularizedZCA(reg=0.1, layer_norm=False),
    "function": FunctionTransformer(jnp.tanh),
    "function with numbers": FunctionTransformer(jnp.roll, kw_args={"shift": 1, "axis": 1}),
    "no function": FunctionTransformer(),
    "pipeline": make_pipeline(StandardScaler(), "passthrough", RegularizedZCA(), None),
}


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_transformer_as_a_jax_function(transformer, dtype, tolerance):
    """Oracle: its own transform; on rows and a feature that are constant too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 7)) * np.arange(1, 8) + 5
    X[:, 3] = 2.0
    transformer = transformer.fit(X)
    rows = X[:6].astype(dtype)
    rows[1], rows[2], rows[3] = 0.1, 0, -1 / 3
    with jax.enable_x64(True):
        function = as_function("Mine", transformer, dtype)
        actual = jax.jit(lambda function, rows: function(rows))(function, rows)
        assert actual.dtype == dtype
        expected = np.asarray(transformer.transform(rows.astype(np.float64)))
    assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())


def test_numpy_function_after_an_augmentation_is_refused(images):
    X, y = images
    preprocess = FunctionTransformer(lambda rows: np.sqrt(np.asarray(rows) ** 2 + 1))
    distiller = KIPDistiller(augment=lambda key, x: x, preprocess=preprocess, **FAST)
    with pytest.raises(ValueError, match=r"(?s)'preprocess' parameter of KIPDistiller.*jax\.numpy"):
        distiller.fit(X, y)


class TanhScaler(StandardScaler):
    def transform(self, X, copy=None):
        return np.tanh(super().transform(X))


def test_subclass_with_a_transform_of_its_own_is_refused_after_an_augmentation(images):
    X, y = images
    KIPDistiller(preprocess=TanhScaler(), **FAST).fit(X, y)
    distiller = KIPDistiller(augment=lambda key, x: x, preprocess=TanhScaler(), **FAST)
    with pytest.raises(ValueError, match=r"'preprocess' parameter .* what its `transform` does"):
        distiller.fit(X, y)


def test_predictions_follow_the_fitted_transformer(images):
    """Oracle: the predictions before a parameter is changed, and before a fit that fails."""
    X, y = images
    distiller = KIPDistiller(preprocess=StandardScaler(), **FAST).fit(X, y)
    before = distiller.decision_function(X)
    distiller.set_params(preprocess=None)
    assert_array_equal(distiller.decision_function(X), before)
    distiller.set_params(preprocess=RegularizedZCA(), init=(X[:2, :3], y[:2]))
    with pytest.raises(ValueError, match="'init' parameter"):
        distiller.fit(X, y)
    assert_array_equal(distiller.decision_function(X), before)
