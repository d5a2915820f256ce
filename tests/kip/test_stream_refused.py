"""What `partial_fit` refuses, and passes whose loss is not finite."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from kipsk import KIPDistiller, Moments
from kipsk.kernels import Polynomial

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


def refused(distiller, *parts, error=ValueError, **call):
    with pytest.raises(error, match="(?s)" + ".*".join(parts)):
        distiller.partial_fit(**call)


def test_first_call_needs_classes(blobs):
    X, y = blobs
    distiller = KIPDistiller(**FAST)
    refused(distiller, "'classes'", "given in the first call", "Got None", X=X, y=y)
    refused(distiller, "at least 2 classes", X=X, y=0 * y, classes=[0])
    unknown = r"not among the classes of the first call of partial_fit: \[2\]"
    refused(distiller, unknown, X=X, y=y, classes=[0, 1])


def test_missing_labels(blobs):
    X, codes = blobs
    names = np.array(["ant", "bee", "cat"], object)[codes]
    call = {"X": X, "classes": ["ant", "bee", "cat"]}
    for missing in (None, np.nan):
        names[3] = missing
        refused(
            KIPDistiller(**FAST), f"Got {missing} in row 3, and 1 of 60 values", y=names, **call
        )
    refused(KIPDistiller(**FAST), "Input y contains NaN", y=np.where(codes, codes, np.nan), **call)


def test_later_calls(begun, blobs):
    X, y = blobs
    before = begun.X_s_
    refused(begun, "'classes'", r"those of the first call, \[0, 1, 2\]", X=X, y=y, classes=[0, 1])
    refused(begun, r"not among the classes.*: \[3, 4\]", X=X, y=y + 2)
    refused(begun, "X has 15 features, but KIPDistiller is expecting 16", X=X[:, 1:], y=y)
    refused(begun, r"inconsistent numbers of samples: \[60, 59\]", X=X, y=y[1:])
    refused(begun, "at least 1 row", r"shape \(0, 16\)", X=X[:0], y=y[:0])
    refused(begun, r"X\.reshape\(len\(X\), -1\)", X=X.reshape(60, 4, 4, 1), y=y)
    refused(begun, "Expected 2D array, got 1D array", X=X[:, 0].tolist(), y=y)
    dense = "Sparse data was passed"
    refused(begun, dense, X=csr_array(X), y=y, error=TypeError)
    begun.partial_fit(X, y, classes=CLASSES[::-1])  # in any order
    assert not np.array_equal(begun.X_s_, before)


@pytest.mark.parametrize(
    "params, parts",
    [
        ({"early_stopping": True}, ["'early_stopping'", "False in partial_fit", "Got True"]),
        ({"checkpoint_path": "run.npz"}, ["'checkpoint_path'", "None in partial_fit", "run.npz"]),
        ({"augment": "flip"}, ["'image_shape'", "for augment=Flip", "Got None"]),
        ({"augment": lambda key, rows: np.sin(rows)}, ["'augment'", "jax.numpy in place of numpy"]),
        ({"augment": lambda key, rows: rows / 0}, ["'augment'", "keep images finite"]),
        ({"image_shape": (4, 5, 1)}, ["'image_shape'", "16 values are a row", r"\(4, 5, 1\)"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parameters(params, parts, blobs):
    X, y = blobs
    refused(KIPDistiller(**params, **FAST), *parts, X=X, y=y, classes=CLASSES)


def test_solved_labels_have_no_partial_fit(blobs):
    """They are those of all rows at once."""
    distiller = KIPDistiller(labels="solved", **FAST)
    assert not hasattr(distiller, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as raised:
        distiller.partial_fit(*blobs, classes=CLASSES)
    assert "needs labels='learned' or 'fixed'. Got labels='solved'" in str(raised.value.__cause__)


def test_overflow_ends_with_the_last_good_support(blobs):
    """Oracle: the start, real rows: every step after the first overflows float32."""
    X, y = blobs
    distiller = KIPDistiller(learning_rate=1e38, **FAST)
    message = r"after 1 steps, met a loss that is not finite and takes no more.* \(now 1e\+38\)"
    with pytest.warns(ConvergenceWarning, match=message):
        distiller.partial_fit(X, y, classes=CLASSES)
    with pytest.warns(ConvergenceWarning, match=message):
        distiller.partial_fit(X, y)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == 1
    assert_allclose(np.abs(distiller.X_s_[:, None] - X).max(axis=2).min(axis=1), 0, atol=1e-6)
    assert distiller.score(X, y) > 0.5


def test_last_step_is_looked_at(blobs):
    """Oracle: the start; where the only step led there is no finite loss."""
    X, y = (array[:20] for array in blobs)
    distiller = KIPDistiller(learning_rate=1e38, **FAST)
    with pytest.warns(ConvergenceWarning, match="after 1 steps, met a loss that is not finite"):
        distiller.partial_fit(X, y, classes=CLASSES)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == 1
    assert_allclose(np.abs(distiller.X_s_[:, None] - X).max(axis=2).min(axis=1), 0, atol=1e-6)


def test_names_of_polars(blobs):
    """They are taken over and checked, as those of pandas are."""
    polars = pytest.importorskip("polars")
    X, y = blobs
    frame = polars.DataFrame(X, schema=[f"f{i}" for i in range(16)])
    distiller = KIPDistiller(**FAST).partial_fit(frame, y, classes=CLASSES)
    assert list(distiller.feature_names_in_) == frame.columns
    before = distiller.X_s_
    refused(distiller, "feature names should match", X=frame[frame.columns[::-1]], y=y)
    assert distiller.X_s_ is before
    arrays = KIPDistiller(**FAST).partial_fit(X, y, classes=CLASSES)
    assert_allclose(distiller.X_s_, arrays.X_s_)
    moments = Moments(Polynomial(1), classes=CLASSES).fit(frame, y)
    assert list(moments.feature_names_in_) == frame.columns
