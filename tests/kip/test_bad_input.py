"""What users get wrong: each error names the parameter, the rule, the value and the next action."""

from __future__ import annotations

import re
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import register_dataclass
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import RBF as SklearnRBF
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kipsk import KIPDistiller, LabelSolver
from kipsk.augment import Flip
from kipsk.kernels import RBF, FullyConnected, RandomFeatures
from kipsk.kernels._base import JaxKernel, KernelFunction

BOTH = [KIPDistiller(ipc=2, max_iter=2), LabelSolver(ipc=2)]
both = pytest.mark.parametrize("distiller", BOTH, ids=["KIPDistiller", "LabelSolver"])


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 10)
    return rng.normal(size=(30, 4)) + 3 * np.eye(4)[codes], codes


def refused(distiller, X, y, *parts, error=ValueError):
    """Fail unless fit raises an error whose message holds all parts, in order."""
    with pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, parts))):
        distiller.fit(X, y)


KERNEL_RULE = "must be a name or a kernel object from kipsk.kernels"
PARAMETERS_OF_BOTH = [
    ({"ipc": 0}, ["'ipc'", "an integer >= 1", "Got 0 "]),
    ({"ipc": 2.5}, ["'ipc'", "an integer >= 1", "Got 2.5 "]),
    ({"ipc": True}, ["'ipc'", "an integer >= 1", "Got True "]),
    ({"reg": -1e-6}, ["'reg'", 'a finite number >= 0 or "auto"', "Got -1e-06 "]),
    ({"reg": np.nan}, ["'reg'", 'a finite number >= 0 or "auto"', "Got nan "]),
    ({"reg": "x"}, ["'reg'", 'a finite number >= 0 or "auto"', "Got 'x' "]),
    ({"dtype": "float16"}, ["'dtype'", "['float32', 'float64']", "Got 'float16' "]),
    ({"block_size": 0}, ["'block_size'", 'an integer >= 1 or "auto"', "Got 0 "]),
    ({"block_size": "all"}, ["'block_size'", 'an integer >= 1 or "auto"', "Got 'all' "]),
    ({"kernel": "ntk"}, ["Unknown kernel name 'ntk'", "fc1", "fc1_nngp", "rbf", "laplace"]),
    ({"kernel": RBF("median")}, ["'length_scale'", "['auto']", "Got 'median' "]),
    ({"kernel": FullyConnected(depth=-1)}, ["'depth'", "an integer >= 0", "Got -1 "]),
    ({"image_shape": (4, 1)}, ["'image_shape'", "(height, width, channels)", "Got (4, 1) "]),
    ({"image_shape": (2, 2)}, ["channels), for grey images (2, 2, 1)", "Got (2, 2) "]),
    ({"image_shape": (2.0, 2, 1)}, ["'image_shape'", "integers >= 1", "Got (2.0, 2, 1) "]),
    ({"image_shape": 4}, ["'image_shape'", "(height, width, channels)", "Got 4 "]),
    ({"image_shape": (3, 3, 1)}, ["'image_shape'", "4 values are a row", "Got (3, 3, 1) "]),
]
PARAMETERS = [
    *[(distiller, *case) for distiller in BOTH for case in PARAMETERS_OF_BOTH],
    *[
        (BOTH[0], *case)
        for case in [
            ({"labels": "soft"}, ["'labels'", "['learned', 'fixed', 'solved']", "Got 'soft' "]),
            ({"init": "random"}, ["'init'", "'herding'] or a tuple (X, y)", "Got 'random' "]),
            ({"init": None}, ["'init'", "'herding'] or a tuple (X, y)", "Got None "]),
            (
                {"init": np.ones((6, 4))},
                ["'init'", "a tuple (X, y)", "Got an array of shape (6, 4)"],
            ),
            (
                {"schedule": "step"},
                ["'schedule'", "'linear', 'constant'] or a function of the step", "Got 'step' "],
            ),
            (
                {"schedule": lambda step: np.nan if step else 1},
                ["'schedule'", "finite numbers", "Got nan at step 1 "],
            ),
            ({"optimizer": "lion"}, ["'optimizer'", "or an optax.Gradient", "Got 'lion' "]),
            ({"optimizer": 3}, ["'optimizer'", "'adam'", "Got 3 "]),
            ({"batch_size": 0}, ["'batch_size'", "an integer >= 1", "Got 0 "]),
            ({"batch_size": None}, ["'batch_size'", "an integer >= 1", "Got None "]),
            ({"max_iter": 0}, ["'max_iter'", "an integer >= 1", "Got 0 "]),
            ({"learning_rate": 0}, ["'learning_rate'", 'a finite number > 0 or "auto"', "Got 0 "]),
            ({"learning_rate": -0.1}, ["'learning_rate'", "a finite number > 0", "Got -0.1 "]),
            ({"learning_rate": "big"}, ["'learning_rate'", '> 0 or "auto"', "Got 'big' "]),
            ({"label_reg": -1}, ["'label_reg'", 'a finite number >= 0 or "auto"', "Got -1 "]),
            ({"loss": "hinge"}, ["'loss'", "['mse', 'platt']", "Got 'hinge' "]),
            (
                {"loss": "platt", "labels": "solved"},
                ["'loss'", '"mse" with labels="solved"', "Got 'platt' "],
            ),
            (
                {"loss": "platt", "validation_fraction": 1},
                ["'validation_fraction'", "a number >= 0 and < 1", "Got 1 "],
            ),
            (
                {"early_stopping": True, "validation_fraction": 0},
                ["'validation_fraction'", "> 0 and < 1 with early_stopping", "Got 0 "],
            ),
            (
                {"early_stopping": True, "validation_fraction": 0.05},
                ["validation_fraction=0.05 of 30 rows", "raise it", "early_stopping=False"],
            ),
            ({"early_stopping": 1}, ["'early_stopping'", "True or False", "Got 1 "]),
            ({"warm_start": "yes"}, ["'warm_start'", "True or False", "Got 'yes' "]),
            ({"n_iter_no_change": 0}, ["'n_iter_no_change'", "an integer >= 1", "Got 0 "]),
            ({"checkpoint_path": 3}, ["'checkpoint_path'", "the path of a file", "Got 3 "]),
            ({"checkpoint_path": "no/such"}, ["'checkpoint_path'", "a folder that exists"]),
            ({"checkpoint_path": "."}, ["'checkpoint_path'", "a file in a folder", "Got '.' "]),
            ({"checkpoint_interval": 0}, ["'checkpoint_interval'", "an integer >= 1", "Got 0 "]),
            ({"corruption": 1}, ["'corruption'", "a number >= 0 and < 1", "Got 1 "]),
            ({"corruption": -0.1}, ["'corruption'", "a finite number >= 0", "Got -0.1 "]),
            ({"corruption": "half"}, ["'corruption'", "a finite number >= 0", "Got 'half' "]),
            ({"snapshots": "all"}, ["'snapshots'", "['log'], None or a list", "Got 'all' "]),
            ({"snapshots": 5}, ["'snapshots'", "None, 'log' or a list of steps", "Got 5 "]),
            ({"snapshots": [0, 1.5]}, ["'snapshots'", "an integer >= 0 in a list", "Got 1.5 "]),
            ({"snapshots": [-1]}, ["'snapshots'", "an integer >= 0 in a list", "Got -1 "]),
            ({"augment": "mirror"}, ["'augment'", "['flip', 'flip_shift']", "Got 'mirror' "]),
            ({"augment": Flip}, ["'augment'", "Write it with brackets, such as Flip()"]),
            ({"augment": []}, ["'augment'", "not empty", "Got [] "]),
            ({"augment": 3}, ["'augment'", "(key, images) -> images", "Got 3 "]),
            ({"augment": "flip"}, ["'image_shape'", "for augment=Flip(p=0.5)", "Got None "]),
            ({"preprocess": "zca"}, ["'preprocess'", "fit and transform", "Got 'zca' "]),
            ({"preprocess": SVC()}, ["'preprocess'", "fit and transform", "Got SVC() "]),
            ({"preprocess": StandardScaler}, ["'preprocess'", "fit and transform", "StandardSc"]),
            ({"kernel": []}, ["'kernel'", "a kernel or a list of them", "Got [] "]),
            ({"kernel": ["fc1", "ntk"]}, ["Unknown kernel name 'ntk'"]),
            ({"kernel_weights": [1, 1]}, ["'kernel_weights'", "1 numbers >= 0", "Got [1, 1] "]),
            ({"kernel_weights": [0]}, ["'kernel_weights'", "whose sum is not 0", "Got [0] "]),
            ({"kernel_weights": [-1]}, ["'kernel_weights'", "1 numbers >= 0", "Got [-1] "]),
            ({"kernel_weights": "fc1"}, ["'kernel_weights'", "1 numbers >= 0", "Got 'fc1' "]),
            (
                {"kernel": ["fc1", "rbf"], "kernel_weights": np.array([1, np.nan])},
                ["'kernel_weights'", "2 numbers >= 0", "Got an array of shape (2,) "],
            ),
            ({"predict_kernel": "ntk"}, ["Unknown kernel name 'ntk'"]),
            ({"kernel": RandomFeatures("fc1", width=0)}, ["'width'", "an integer >= 1", "Got 0"]),
            ({"kernel": RandomFeatures("fc1", width="32")}, ["'width'", "Got '32'"]),
            (
                {"kernel": "rf_convnet2"},
                ["'image_shape'", "RandomFeatures", "(height, width, channels)", "Got None"],
            ),
            (
                {"kernel": RandomFeatures("convnet2", image_shape=(4, 4, 3))},
                ["'image_shape'", "= 4, the number of features", "Got (4, 4, 3) ", "with 48"],
            ),
            (
                {"kernel": RandomFeatures("convnet2", image_shape=(2, 2, 1))},
                ["Layer 5, AvgPool(size=2", "1 x 1 pixels"],
            ),
        ]
    ],
    *[
        (BOTH[1], *case)
        for case in [
            ({"support": "random"}, ["'support'", "'kmeans'] or indices", "Got 'random' "]),
            ({"support": []}, ["'support'", "non-empty 1-D array", "Got [] "]),
            ({"support": [0, 30]}, ["'support'", "row numbers from 0 to 29", "Got [0, 30] "]),
            ({"support": [-1]}, ["'support'", "row numbers from 0 to 29", "Got [-1] "]),
            ({"support": [[0, 1]]}, ["'support'", "1-D array of row numbers", "Got [[0, 1]] "]),
            ({"support": [0.5]}, ["'support'", "1-D array of row numbers", "Got [0.5] "]),
            ({"label_reg": -1}, ["'label_reg'", "a finite number >= 0", "Got -1 "]),
        ]
    ],
]


@pytest.mark.parametrize(
    "distiller, params, parts",
    PARAMETERS,
    ids=[f"{type(d).__name__}-{next(iter(p))}-{i}" for i, (d, p, _) in enumerate(PARAMETERS)],
)
def test_parameters(distiller, params, parts, blobs):
    distiller = clone(distiller).set_params(**params)
    before = distiller.get_params(deep=False)
    refused(distiller, *blobs, *parts)
    assert all(distiller.get_params(deep=False)[key] is value for key, value in before.items())


@both
@pytest.mark.parametrize("kernel", [SklearnRBF(), np.dot, None, RBF], ids=str)
def test_kernel_of_a_wrong_type(distiller, kernel, blobs):
    distiller = clone(distiller)
    distiller.kernel = kernel
    refused(distiller, *blobs, KERNEL_RULE, f"of type {type(kernel).__name__} ", error=TypeError)


@both
def test_images_get_the_reshape(distiller, blobs):
    X, y = blobs
    hint = ["(n_samples, n_features)", "shape (30, 2, 2, 1)", "X.reshape(len(X), -1)"]
    images = X.reshape(30, 2, 2, 1)
    refused(clone(distiller), images, y, *hint)
    refused(clone(distiller), images.tolist(), y, *hint)
    fitted = clone(distiller).fit(X, y)
    for method in (fitted.predict, fitted.decision_function):
        with pytest.raises(ValueError, match=r"X\.reshape\(len\(X\), -1\)"):
            method(images)


@both
def test_shapes(distiller, blobs):
    X, y = blobs
    refused(clone(distiller), X[0], y, "Expected 2D array, got 1D array")
    refused(clone(distiller), X, y[:-1], "inconsistent numbers of samples: [30, 29]")
    refused(clone(distiller), X[:0], y[:0], "Found array with 0 sample(s)")
    refused(clone(distiller), X, np.eye(3)[y], "y should be a 1d array of class labels", "argmax")
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
        clone(distiller).fit(X, y).predict(X[:, :3])


@both
@pytest.mark.parametrize("value, said", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_missing_and_infinite_values(distiller, value, said, blobs):
    X, y = blobs
    bad = X.copy()
    bad[3, 2] = value
    refused(clone(distiller), bad, y, "Input X contains " + said)
    with pytest.raises(ValueError, match="Input X contains " + said):
        clone(distiller).fit(X, y).predict(bad)


# numpy's, on the way to the error
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
@both
def test_value_too_large_for_float32(distiller, blobs):
    X, y = blobs
    refused(clone(distiller), X * 1e39, y, "infinity or a value too large for dtype('float32')")


@both
def test_sparse_rows(distiller, blobs):
    X, y = blobs
    dense = "Sparse data was passed for X, but dense data is required"
    refused(clone(distiller), csr_array(X), y, dense, "toarray()", error=TypeError)


@both
def test_labels(distiller, blobs):
    X, y = blobs
    name = type(distiller).__name__
    refused(clone(distiller), X, y + 0.5, "Unknown label type: continuous")
    refused(clone(distiller), X, np.where(y == 0, np.nan, y), "Input y contains NaN")
    one = f"{name} needs at least 2 classes in y. Got 1 class instead: "
    refused(clone(distiller), X, np.zeros(30, int), one)
    refused(clone(distiller), X, np.full(30, "cat"), one, "cat")


@both
@pytest.mark.parametrize("init", ["sample", "kmeans"])
def test_fewer_rows_than_ipc_warns_and_fits(distiller, init, blobs):
    X, y = blobs
    names = np.array(["ant", "bee", "cat"])[y]
    distiller = clone(distiller).set_params(ipc=8)
    distiller.set_params(**{"init" if hasattr(distiller, "init") else "support": init})
    with pytest.warns(UserWarning, match=r"Fewer rows than ipc=8 in 1 of 3.*: cat \(5\)\. Lower"):
        distiller.fit(X[:25], names[:25])
    assert distiller.X_s_.shape == (21, 4)
    assert distiller.score(X, names) > 0.8


ONE_HOT = np.eye(3)[[0, 0, 1, 1, 2, 2]]
NAN_ROWS = np.full((6, 4), np.nan)


@pytest.mark.parametrize(
    "init, parts",
    [
        ((np.ones((6, 3)), ONE_HOT), ["'init'", "(n_support, 4)", "X of shape (6, 3)"]),
        ((np.ones((6, 4)), ONE_HOT[:5]), ["'init'", "3 columns", "y of shape (5, 3)"]),
        ((np.ones((6, 4)), ONE_HOT[:, :2]), ["'init'", "3 columns", "y of shape (6, 2)"]),
        ((np.ones((2, 4)), [0, 7]), ["'init'", "known class labels", "y of shape (2,)"]),
        ((np.ones((2, 4)), [0, 1, 2]), ["'init'", "X of shape (2, 4) and y of shape (3, 3)"]),
        ((np.ones((6, 4)),), ["'init'", "a tuple (X, y) of arrays"]),
        ((NAN_ROWS, ONE_HOT), ["Input init[0] contains NaN"]),
        ((np.ones((6, 4)), ONE_HOT * np.nan), ["Input init[1] contains NaN"]),
        ((np.ones((6, 2, 2)), ONE_HOT), ["Found array with dim 3"]),
    ],
)
def test_initial_arrays(init, parts, blobs):
    refused(KIPDistiller(init=init, max_iter=2), *blobs, *parts)


@register_dataclass
@dataclass(frozen=True)
class WrongFunction(KernelFunction):
    factor: float

    def prepare(self, X):
        return X

    def cross(self, A, B):
        return self.factor * (1 + jnp.sum((A[:, None] - B) ** 2, axis=2))

    def diag(self, A):
        return jnp.full(len(A), self.factor)


class WrongKernel(JaxKernel):
    """Larger off the diagonal than on it; NaN or infinite with such a factor."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def function(self):
        return WrongFunction(self.factor)


@both
@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_kernel_that_is_not_finite(distiller, factor, blobs):
    distiller = clone(distiller).set_params(kernel=WrongKernel(factor))
    parts = ["non-finite matrix: 36 of the 36 entries of K_ss (6 x 6)", "Check the kernel's"]
    refused(distiller, *blobs, *parts, "scale the features")


@both
def test_kernel_that_is_not_positive_semi_definite(distiller, blobs):
    parts = ["K_ss (6 x 6) is not positive definite: eigenvalues -", "use another kernel"]
    for factor in (1.0, -1.0):
        refused(clone(distiller).set_params(kernel=WrongKernel(factor)), *blobs, *parts)


@both
def test_rows_that_are_zero_for_the_kernel(distiller, blobs):
    kernel = FullyConnected(b_std=0.0)
    parts = ["K_ss (6 x 6) is not positive definite", "diagonal", "is zero", "b_std > 0"]
    refused(clone(distiller).set_params(kernel=kernel), 0 * blobs[0], blobs[1], *parts)


@both
def test_singular_kernel_matrix_without_a_ridge(distiller, blobs):
    """Two features, a linear kernel, six rows: rank 2."""
    X, y = blobs
    kernel = FullyConnected(depth=0, b_std=0.0)
    distiller = clone(distiller).set_params(kernel=kernel, reg=0.0, random_state=0)
    refused(distiller, X[:, :2], y, "K_ss (6 x 6) is not positive definite", "raise 'reg'")


@both
def test_predict_before_fit(distiller, blobs):
    X, y = blobs
    with pytest.raises(NotFittedError):
        clone(distiller).predict(X)
    failed = clone(distiller).set_params(reg=-1.0)
    refused(failed, X, y, "'reg'")
    with pytest.raises(NotFittedError):  # not an AttributeError about our internals
        failed.predict(X)


@both
def test_fit_after_a_failed_fit(distiller, blobs):
    X, y = blobs
    distiller = clone(distiller).set_params(random_state=0)
    fresh = clone(distiller).fit(X, y)
    refused(distiller.set_params(reg=-1.0), X[:, :2], y > 0, "'reg'")
    distiller.set_params(reg="auto").fit(X, y)
    assert_array_equal(distiller.decision_function(X), fresh.decision_function(X))
