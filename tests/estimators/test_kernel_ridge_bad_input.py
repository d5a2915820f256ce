"""What KernelRidgeNTK and KernelRidgeNTKClassifier say to input that cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import numpy as np
import pytest
from jax.tree_util import register_dataclass
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import RBF as SklearnRBF

from kipsk import KernelRidgeNTK, KernelRidgeNTKClassifier
from kipsk.kernels import FullyConnected
from kipsk.kernels._base import JaxKernel, KernelFunction

X = np.random.default_rng(0).standard_normal((20, 3))
Y = np.arange(20) % 3
both = pytest.mark.parametrize("estimator", [KernelRidgeNTK, KernelRidgeNTKClassifier])


@register_dataclass
@dataclass(frozen=True)
class _DistanceFunction(KernelFunction):
    factor: float
    # JAX tells dataclass pytrees apart by their static fields alone.
    name: str = field(default="distance", metadata={"static": True})

    def prepare(self, X):
        return X

    def cross(self, A, B):
        return self.factor * (0.1 + ((A[:, None] - B[None]) ** 2).sum(axis=-1))

    def diag(self, A):
        return self.factor * (0.1 + 0 * A[:, 0])


class Distance(JaxKernel):
    """No kernel: a squared distance, which is indefinite; or NaN."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def function(self) -> KernelFunction:
        return _DistanceFunction(self.factor)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("reg", -1, 'a finite number >= 0, "auto" or a sequence'),
        ("reg", -1e-9, "a finite number >= 0"),
        ("reg", float("nan"), "a finite number >= 0"),
        ("reg", float("inf"), "a finite number >= 0"),
        ("reg", None, "a finite number >= 0"),
        ("reg", True, "a finite number >= 0"),
        ("reg", [1e-3, -1.0], "a finite number >= 0"),
        ("reg", [1e-3, "auto"], "a finite number >= 0"),
        ("reg", "foo", r"one of \['auto'\], a number or a sequence"),
        ("reg", [], "not be empty"),
        ("reg", np.array([]), "not be empty"),
        ("dtype", "float16", r"one of \['auto', 'float32', 'float64'\]"),
        ("dtype", np.float32, r"one of \['auto', 'float32', 'float64'\]"),
        ("block_size", 0, 'an integer >= 1 or "auto"'),
        ("block_size", -3, "an integer >= 1"),
        ("block_size", 2.5, "an integer >= 1"),
        ("block_size", True, "an integer >= 1"),
        ("block_size", "all", "an integer >= 1"),
    ],
)
@both
def test_parameter(estimator, name, value, rule):
    message = (
        rf"'{name}' parameter of {estimator.__name__} must {'be ' * (rule[:3] != 'not')}{rule}"
    )
    with pytest.raises(ValueError, match=rf"{message}.* Got "):
        estimator(**{name: value}).fit(X, Y)


@both
def test_kernel(estimator):
    with pytest.raises(ValueError, match=r"Unknown kernel name 'foo'.*fc1.*rbf"):
        estimator("foo").fit(X, Y)
    with pytest.raises(ValueError, match=r"'depth' parameter of FullyConnected .* Got -1"):
        estimator(FullyConnected(-1)).fit(X, Y)
    for kernel in (None, 3, FullyConnected, SklearnRBF(), np.dot):
        with pytest.raises(TypeError, match=r"'kernel' parameter must be .* Got .* instead"):
            estimator(kernel).fit(X, Y)


@pytest.mark.parametrize("reg", [1e-3, [1e-3, 1.0]])
@both
def test_kernel_that_returns_nan(estimator, reg):
    with pytest.raises(ValueError, match=r"non-finite matrix: 400 of the 400 .*K_ss \(20 x 20\)"):
        estimator(Distance(float("nan")), reg=reg).fit(X, Y)


@pytest.mark.parametrize("reg", [1e-3, [1e-3, 1e-2]])
@both
def test_kernel_that_is_not_positive(estimator, reg):
    message = r"K_ss \(20 x 20\) is not positive definite: eigenvalues -.* use another kernel"
    with pytest.raises(ValueError, match=message):
        estimator(Distance(), reg=reg).fit(X, Y)
    with pytest.raises(ValueError, match=r"K_ss \(20 x 20\) is not positive definite"):
        estimator(Distance(-1.0), reg=reg).fit(X, Y)


@both
def test_kernel_that_is_zero(estimator):
    with pytest.raises(ValueError, match=r"K_ss \(20 x 20\) is not positive definite"):
        estimator(FullyConnected(b_std=0.0)).fit(0 * X, Y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@both
def test_non_finite_rows(estimator, bad):
    rows = X.copy()
    rows[3, 1] = bad
    with pytest.raises(ValueError, match=r"Input X contains"):
        estimator().fit(rows, Y)
    with pytest.raises(ValueError, match=r"Input X contains"):
        estimator().fit(X, Y).predict(rows)


@both
def test_shapes(estimator):
    model = estimator(reg=1e-3).fit(X, Y)
    images = X[:, :, None, None]
    for call in (lambda: estimator().fit(images, Y), lambda: model.predict(images)):
        with pytest.raises(ValueError, match=r"dim 4, of shape \(20, 3, 1, 1\).*reshape"):
            call()
    with pytest.raises(ValueError, match=r"X\.reshape\(len\(X\), -1\)"):
        estimator().fit(images.tolist(), Y)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3"):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        model.predict(X[0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator().fit(X, Y[:5])
    with pytest.raises(TypeError, match="Sparse data was passed"):
        estimator().fit(csr_array(X), Y)
    with pytest.raises(NotFittedError):
        estimator().predict(X)


@both
def test_precomputed_matrix(estimator):
    with pytest.raises(ValueError, match=r"square matrix in fit. Got shape \(20, 3\)"):
        estimator("precomputed").fit(X, Y)
    model = estimator("precomputed").fit(FullyConnected()(X), Y)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 20"):
        model.predict(X)
    indefinite = np.diag(np.where(Y == 0, -1.0, 1.0))
    with pytest.raises(ValueError, match="not positive definite"):
        estimator("precomputed").fit(indefinite, Y)


@both
def test_sample_weight(estimator):
    # scikit-learn 1.9 refuses zeros itself.
    zeros = r"sample_weight must have a positive entry|Sample weights must contain at least one"
    with pytest.raises(ValueError, match=zeros):
        estimator().fit(X, Y, sample_weight=np.zeros(20))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        estimator().fit(X, Y, sample_weight=np.arange(20.0) - 1)
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(3,\), expected \(20,\)"):
        estimator().fit(X, Y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="contains NaN"):
        estimator().fit(X, Y, sample_weight=np.full(20, np.nan))


def test_targets_of_the_regressor():
    with pytest.raises(ValueError, match="Input y contains NaN"):
        KernelRidgeNTK().fit(X, np.where(Y == 0, np.nan, 1.0))
    with pytest.raises(ValueError, match="could not convert string to float"):
        KernelRidgeNTK().fit(X, np.array(["a", "b", "c"])[Y])


def test_targets_of_the_classifier():
    with pytest.raises(ValueError, match=r"at least 2 classes in y. Got 1 class instead: .*5"):
        KernelRidgeNTKClassifier().fit(X, np.full(20, 5))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        KernelRidgeNTKClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="y should be a 1d array"):
        KernelRidgeNTKClassifier().fit(X, np.eye(3)[Y])
    with pytest.raises(ValueError, match=r"column for each of the 2 'classes'.*\(20, 3\)"):
        KernelRidgeNTKClassifier(classes=["a", "b"]).fit(X, np.eye(3)[Y])


@pytest.mark.parametrize("classes", [3, "abc", ["a", "a", "b"], [["a"], ["b"], ["c"]]])
def test_classes_that_name_no_columns(classes):
    with pytest.raises(ValueError, match="'classes'"):
        KernelRidgeNTKClassifier(classes=classes).fit(X, np.eye(3)[Y])


def test_failed_fit_leaves_jax_as_it_was():
    with pytest.raises(ValueError, match="not positive definite"):
        KernelRidgeNTK(Distance()).fit(X, Y)
    assert not jax.config.jax_enable_x64
