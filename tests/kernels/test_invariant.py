"""Kernels averaged over a transformation.

Oracles: the mean of four kernel matrices; kernel ridge regression on the support and its mirror
images; finite differences.
"""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone

from kipsk import KernelRidgeNTK, KIPDistiller
from kipsk.architectures import Activation, Architecture, Conv, Dense, Flatten
from kipsk.kernels import (
    RBF,
    ConvNet,
    Convolutional,
    FullyConnected,
    Invariant,
    RandomFeatures,
    StaxKernel,
)
from kipsk.kernels._base import evaluate, prepare

SHAPE = (4, 4, 2)
rng = np.random.RandomState(0)
X, Z = rng.standard_normal((5, 32)), rng.standard_normal((3, 32))


def mirror(X, shape=SHAPE):
    return X.reshape(len(X), *shape)[:, :, ::-1].reshape(len(X), -1)


def negative(X):
    return -X


def not_invariant(x1, x2):
    """A kernel of a few pixels, for which mirroring is something."""
    one, two = (x.reshape(len(x), -1)[:, :7] for x in (x1, x2))
    return jnp.exp(one @ two.T / 10)


CONVOLUTIONAL = Convolutional("conv1", image_shape=SHAPE)
POOLED = ConvNet(1, image_shape=SHAPE)
# Windows begin at the left edge, and leave the right one out.
STRIDED = Convolutional(
    Architecture((Conv(3, strides=2), Activation(), Flatten(), Dense())), image_shape=SHAPE
)
BASES = [
    FullyConnected(1),
    FullyConnected(2, "nngp", activation="gelu"),
    RBF(4.0),
    *(pytest.param(one, marks=pytest.mark.slow) for one in (CONVOLUTIONAL, POOLED, STRIDED)),
    RandomFeatures("convnet1", 2, 8, image_shape=SHAPE, resample=False),
    StaxKernel(not_invariant),
]
every_base = pytest.mark.parametrize("base", BASES, ids=lambda kernel: type(kernel).__name__)


@every_base
def test_is_the_mean_of_four_matrices(base):
    kernel = Invariant(base, image_shape=SHAPE)
    expected = (
        base(X, Z) + base(X, mirror(Z)) + base(mirror(X), Z) + base(mirror(X), mirror(Z))
    ) / 4
    tolerance = 1e-5 if isinstance(base, RandomFeatures) else 1e-12
    np.testing.assert_allclose(kernel(X, Z), expected, tolerance)
    gram = (base(X) + base(mirror(X)) + base(X, mirror(X)) + base(mirror(X), X)) / 4
    np.testing.assert_allclose(kernel(X), gram, tolerance)
    np.testing.assert_allclose(kernel.diag(X), np.diag(gram), tolerance)


@every_base
def test_is_invariant_symmetric_and_positive(base):
    kernel = Invariant(base, image_shape=SHAPE)
    np.testing.assert_allclose(kernel(mirror(X), Z), kernel(X, mirror(Z)), 1e-5)
    np.testing.assert_allclose(kernel(mirror(X), Z), kernel(X, Z), 1e-5)
    K = kernel(np.concatenate([X, Z]))
    np.testing.assert_allclose(K, K.T, 1e-12)
    assert np.linalg.eigvalsh(K).min() > -1e-6 * np.trace(K)


@pytest.mark.parametrize(
    ("kernel", "n_terms"),
    [
        (Invariant(FullyConnected(1), image_shape=SHAPE), 2),
        (Invariant(StaxKernel(not_invariant), image_shape=SHAPE), 4),
        (Invariant(CONVOLUTIONAL, image_shape=SHAPE), 2),
        (Invariant(POOLED, image_shape=SHAPE), 2),
        (Invariant(POOLED, negative), 4),
        (Invariant(ConvNet(1), image_shape=(4, 5, 2)), 4),
        (Invariant(ConvNet(1), image_shape=(5, 4, 2)), 2),
        (Invariant(ConvNet(2), image_shape=(4, 6, 2)), 4),
        (Invariant(Convolutional("fc1"), image_shape=(4, 5, 2)), 2),
        (Invariant(STRIDED, image_shape=SHAPE), 4),
    ],
)
def test_terms_that_are_equal_are_computed_once(kernel, n_terms):
    """Which are equal is in `test_is_the_mean_of_four_matrices`."""
    assert kernel.function().is_equivariant == (n_terms == 2)


@pytest.mark.parametrize("shape", [(5, 4, 1), (4, 5, 1)], ids=["odd height", "odd breadth"])
def test_sides_that_pooling_does_not_divide(shape):
    """Oracle: the mean of four matrices; pixels on the right, or below, count for nothing."""
    base, (X, Z) = ConvNet(1, image_shape=shape), np.random.RandomState(1).randn(2, 3, 20)
    parts = [base(A, B) for A in (X, mirror(X, shape)) for B in (Z, mirror(Z, shape))]
    np.testing.assert_allclose(Invariant(base, image_shape=shape)(X, Z), sum(parts) / 4, 1e-12)


def test_is_training_with_the_mirror_images_too():
    y = rng.standard_normal((5, 2))
    base = FullyConnected()
    alone = KernelRidgeNTK(Invariant(base, image_shape=SHAPE), reg=1e-2).fit(X, y)
    K, K_two = alone.kernel_(X), base(np.concatenate([X, mirror(X)]))
    # Half the ridge of twice as many rows; `reg` is in units of the diagonal's mean.
    reg = 2 * 1e-2 * np.trace(K) / 5 / (np.trace(K_two) / 10)
    both = KernelRidgeNTK(base, reg=reg).fit(np.concatenate([X, mirror(X)]), np.concatenate([y, y]))
    np.testing.assert_allclose(alone.predict(Z), both.predict(Z), 1e-9)


def test_gradient_where_an_image_is_its_own_mirror_image():
    symmetric = (X + mirror(X)) / 2
    function = Invariant(image_shape=SHAPE).function()
    with jax.enable_x64(True):

        def total(rows):
            return jnp.sum(jnp.sin(evaluate(function, rows, jnp.asarray(Z)))) + jnp.sum(
                jnp.cos(evaluate(function, rows))
            )

        gradient = np.asarray(jax.grad(total)(jnp.asarray(symmetric)))
        step = np.asarray(rng.standard_normal(symmetric.shape)) * 1e-6
        step = (step + mirror(step)) / 2  # the NTK has a kink across the symmetric images
        difference = float(total(symmetric + step) - total(symmetric - step)) / 2
    np.testing.assert_allclose(np.sum(gradient * step), difference, 1e-5)


@pytest.mark.parametrize(
    "base",
    [FullyConnected(1), FullyConnected(3), pytest.param(CONVOLUTIONAL, marks=pytest.mark.slow)],
    ids=repr,
)
def test_gram_of_rows_prepared_in_float32(base):
    """Oracle: all in float64. Rows are nearly their own mirror images, and nearly each other."""
    rows = np.repeat((X + mirror(X)) / 2, 4, axis=0)
    rows = (rows + 1e-3 * rng.standard_normal(rows.shape)).astype(np.float32)
    function = Invariant(base, image_shape=SHAPE).function()
    with jax.enable_x64(True):
        gram = np.asarray(function.gram(prepare(function, jnp.asarray(rows))))
        exact = np.asarray(evaluate(function, jnp.asarray(rows.astype(np.float64))))
    np.testing.assert_allclose(gram, exact, 1e-12)


def test_any_involution():
    kernel = Invariant("rbf", negative).resolve(X)
    assert kernel.kernel == RBF().resolve(X)
    np.testing.assert_allclose(kernel(X, Z), (kernel.kernel(X, Z) + kernel.kernel(X, -Z)) / 2)


def test_copies():
    kernel = Invariant(RandomFeatures("convnet1", 2, 8), image_shape=SHAPE)
    for copy in (clone(kernel), pickle.loads(pickle.dumps(kernel)), eval(repr(kernel))):
        assert copy == kernel
        assert copy.get_params() == kernel.get_params()
    fixed = kernel.for_prediction()
    assert fixed.kernel.n_networks == 128
    assert fixed.kernel.image_shape == SHAPE
    assert kernel.recommended_reg == RandomFeatures.recommended_reg
    assert kernel.recommended_batch_size == RandomFeatures.recommended_batch_size


def test_random_networks_are_drawn_anew():
    function = Invariant(RandomFeatures("convnet1", 2, 8), image_shape=SHAPE).function()
    assert function.is_random
    first, second = (function.draw(jax.random.key(seed)) for seed in (0, 1))
    assert not np.allclose(evaluate(first, X.astype("f4")), evaluate(second, X.astype("f4")))


@pytest.mark.parametrize("kernel", ["fc1", RandomFeatures("convnet1", 2, 8)])
def test_distiller_passes_the_shape_on_and_predicts_the_same_for_mirror_images(kernel):
    y = np.repeat([0, 1], 20)
    rows = rng.standard_normal((40, 32)) + y[:, None]
    distiller = KIPDistiller(
        Invariant(kernel), ipc=2, image_shape=SHAPE, max_iter=5, random_state=0
    ).fit(rows, y)
    np.testing.assert_allclose(
        distiller.decision_function(mirror(rows)), distiller.decision_function(rows), 1e-4, 1e-4
    )


def test_support_in_a_file_keeps_the_length_scale_inside(tmp_path):
    y = np.repeat([0, 1], 20)
    rows = rng.standard_normal((40, 32)) + y[:, None]
    parameters = {"kernel": Invariant("rbf"), "ipc": 2, "image_shape": SHAPE}
    distiller = KIPDistiller(**parameters, max_iter=5, random_state=0).fit(rows, y)
    distiller.export_support(tmp_path / "set.npz")
    again = KIPDistiller(**parameters).load_support(tmp_path / "set.npz")
    assert again.kernel_ == distiller.kernel_
    np.testing.assert_array_equal(again.predict(rows), distiller.predict(rows))
    # Of another kind inside: nothing of the file's kernel is taken.
    other = KIPDistiller(Invariant("fc1"), image_shape=SHAPE)
    with pytest.warns(UserWarning, match="was made for the kernel Invariant"):
        other.load_support(tmp_path / "set.npz")
    assert other.kernel_.kernel == "fc1" or other.kernel_.kernel == FullyConnected()


def rolled(X):
    return jnp.roll(X, 1, axis=1)


def halved(X):
    return X[:, :16]


@pytest.mark.parametrize("transform", [rolled, halved])
def test_no_involution(transform):
    with pytest.raises(ValueError, match=r"'transform' .* Invariant must be .* own inv"):
        Invariant("fc1", transform)(X)


def complement(X):
    return 1 - X


def test_terms_that_are_taken_for_equal_are():
    """K(Tx, Tx') is K(x, x') where lengths and angles stay."""
    with pytest.raises(ValueError, match=r"'transform' .* keeps lengths and angles of rows"):
        Invariant("fc1", complement)(X)
    kernel = Invariant(StaxKernel(not_invariant), complement)
    np.testing.assert_allclose(kernel(X, Z), kernel(Z, X).T)


def test_a_kernel_of_other_images():
    with pytest.raises(ValueError, match=r"'image_shape' .* that of its kernel, \(4, 8, 1\)"):
        Invariant(ConvNet(1, image_shape=(4, 8, 1)), image_shape=(8, 4, 1))(X)


def test_bad_parameters():
    with pytest.raises(
        ValueError, match=r"'image_shape' parameter of Invariant must be .* Got None"
    ):
        Invariant()(X)
    with pytest.raises(ValueError, match=r"'image_shape' parameter of Invariant .* 32 values"):
        Invariant(image_shape=(4, 4, 3))(X)
    with pytest.raises(ValueError, match="'transform' parameter of Invariant must be"):
        Invariant(transform="turn")(X)
    with pytest.raises(ValueError, match="Unknown kernel name 'fcx'"):
        Invariant("fcx", image_shape=SHAPE)(X)
