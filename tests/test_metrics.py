from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

from kipsk.kernels import FullyConnected, Invariant, Landmarks, RandomFeatures
from kipsk.metrics import (
    _distances,
    compression_ratio,
    distance_to_training,
    intrinsic_dimension,
    nearest_rows,
    sample_dimension,
    snapshot_dimensions,
)


@pytest.fixture
def rows():
    """Ten rows and two hundred real ones."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 6)), rng.normal(size=(200, 6))


@pytest.mark.parametrize("dtype_s", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("block_size", ["auto", 3])
def test_nearest_rows_equal_scipy(block_size, dtype, dtype_s, rows):
    """Oracle: scipy's matrix of all distances."""
    X_s, X = rows[0].astype(dtype_s), rows[1].astype(dtype)
    distances, indices = nearest_rows(X_s, X, block_size=block_size)
    oracle = cdist(X_s, X)
    assert_array_equal(indices, oracle.argmin(axis=1))
    assert_allclose(distances, oracle.min(axis=1), rtol=1e-12)


def test_nearest_row_of_a_copy_is_at_distance_zero(rows):
    """Also far from the origin, where |a|^2 - 2 a.x + |x|^2 leaves nothing of a small distance."""
    X = (rows[1] + 1e4).astype(np.float32)
    chosen = np.array([7, 100, 199])
    distances, indices = nearest_rows(X[chosen], X)
    assert_array_equal(distances, 0)
    assert_array_equal(indices, chosen)
    moved = X[chosen].astype(np.float64)
    moved[:, 2] += 1e-5
    assert_allclose(nearest_rows(moved, X.astype(np.float64))[0], 1e-5, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nearest_rows_far_from_zero(dtype):
    """Oracle: translation. Squares of these numbers do not tell them apart."""
    X = {"float32": 2**23, "float64": 1.7e9}[dtype] + np.arange(60.0)[:, None]
    distances, indices = nearest_rows(X[[3, 5, 0]] + [[0.0], [0.25], [0.0]], X.astype(dtype))
    assert_array_equal(distances, [0, 0.25, 0])
    assert_array_equal(indices, [3, 5, 0])
    others = X[::2].astype(dtype)
    assert distance_to_training(others, X[1::2].astype(dtype), others).median == 1


def test_nearest_rows_take_lists_and_integers():
    distances, indices = nearest_rows([[0, 3]], [[5, 5], [4, 0]])
    assert_array_equal(distances, [5.0])
    assert_array_equal(indices, [1])


def test_distance_to_training_equals_scipy(rows):
    """Oracle: the definition, from scipy's matrices of all distances."""
    X_s, X = rows
    found = distance_to_training(X_s, X[:120], X[120:])
    distances = cdist(X_s, X[:120]).min(axis=1)
    reference = np.median(cdist(X[120:], X[:120]).min(axis=1))
    expected = (np.median(distances), reference)
    expected += (expected[0] / reference, distances.min() / reference)
    assert_allclose(found, expected, rtol=1e-12)
    assert found._fields == ("median", "reference_median", "ratio", "smallest_ratio")


def test_without_a_reference_it_is_the_nearest_other_row(rows):
    """Oracle: scipy's matrix with an infinite diagonal."""
    X_s, X = rows
    between = cdist(X, X)
    np.fill_diagonal(between, np.inf)
    found = distance_to_training(X_s, X)
    assert_allclose(found.reference_median, np.median(between.min(axis=1)), rtol=1e-12)


def test_without_a_reference_a_row_given_twice_is_its_own_neighbour(rows):
    X = np.concatenate([rows[1][:100], rows[1][:30], rows[1][:30]])  # 90 of 160 have a twin
    with pytest.raises(ValueError, match=r"of the 160 reference rows .* drop the repeated rows"):
        distance_to_training(rows[0], X)


def test_reference_of_many_rows_is_a_random_part(monkeypatch, rows):
    monkeypatch.setattr(_distances, "_MAX_REFERENCE_ROWS", 50)
    same, again, other = (distance_to_training(*rows, random_state=s) for s in (1, 1, 2))
    assert same == again
    assert same.reference_median != other.reference_median


def test_unseen_rows_have_a_ratio_of_one_and_copies_of_zero():
    """Oracle: rows of one distribution; the median of 500 is off by 6 % of the spread."""
    X = np.random.default_rng(0).normal(size=(1500, 5))
    spread = nearest_rows(X[:500], X[500:1000])[0].std()
    for reference in (None, X[1000:]):
        fresh = distance_to_training(X[:500], X[500:1000], reference)
        error = 4 * np.hypot(0.06, 0.06) * spread / fresh.reference_median
        assert_allclose(fresh.ratio, 1, atol=error)
        assert 0 < fresh.smallest_ratio < 0.5
        copies = distance_to_training(X[500:510], X[500:1000], reference)
        assert copies.ratio == copies.smallest_ratio == 0
    one_copy = distance_to_training(np.concatenate([X[:20], X[500:501]]), X[500:1000])
    assert one_copy.ratio > 0.8 and one_copy.smallest_ratio == 0


def test_means_of_many_rows_are_nearer_than_rows_are_to_each_other():
    """Oracle: in d dimensions a row is sqrt(d) from the mean and sqrt(2 d) from another row."""
    X = np.random.default_rng(0).normal(size=(400, 2000))
    means = X.reshape(4, 100, 2000).mean(axis=1)
    assert_allclose(distance_to_training(means, X).ratio, 1 / np.sqrt(2), rtol=0.03)


def naive_dimension(X):
    """The fit of Facco et al., as a loop and numpy's least squares."""
    logs = []
    for i in range(len(X)):
        first, second = sorted(np.linalg.norm(X[i] - X[j]) for j in range(len(X)) if j != i)[:2]
        logs.append(np.log(second / first))
    logs.sort()
    kept = len(X) * 9 // 10
    y = [-np.log(1 - (i + 1) / len(X)) for i in range(kept)]
    return np.linalg.lstsq(np.array(logs[:kept])[:, None], np.array(y))[0][0]


@pytest.mark.parametrize("n", [3, 60])
def test_dimension_equals_a_naive_loop(n):
    X = np.random.default_rng(0).normal(size=(n, 3))
    assert_allclose(intrinsic_dimension(X), naive_dimension(X), rtol=1e-9)


# How much too small the estimate is for 1000 rows: near a face a row sees a part of a ball. Means
# of 12 samples of the formulas; the deviation between samples was at most 4.5 %.
@pytest.mark.parametrize("dimension, edges", [(1, 0.0), (2, 0.02), (5, 0.07), (10, 0.155)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dimension_of_cubes_in_20_features(dtype, dimension, edges):
    rng = np.random.default_rng(dimension)
    cube = rng.uniform(size=(1000, dimension))
    frame = np.linalg.qr(rng.normal(size=(20, dimension)))[0]  # orthonormal columns
    estimate = intrinsic_dimension((3 * cube @ frame.T + 7).astype(dtype))
    assert_allclose(estimate / dimension, 1 - edges, atol=3 * 0.045)


def test_dimension_of_a_sphere_which_has_no_edges():
    """Oracle: four standard errors around 4, the dimension of the sphere in 5 features."""
    X = np.random.default_rng(0).normal(size=(2000, 5))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    assert_allclose(intrinsic_dimension(X) / 4, 1, atol=4 * 1.5 / np.sqrt(2000))


def test_dimension_does_not_see_scale_shift_or_repeated_rows():
    X = np.random.default_rng(0).uniform(size=(300, 2))
    dimension = intrinsic_dimension(X)
    assert_allclose(intrinsic_dimension(1e3 * X - 5e4), dimension, rtol=1e-5)
    repeated = np.concatenate([X, X[:100], X[:50]])
    assert_allclose(intrinsic_dimension(repeated), dimension, rtol=1e-12)


def test_dimension_of_a_grid_is_infinite():
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2)
    assert intrinsic_dimension(grid) == np.inf


@pytest.mark.parametrize("X", [np.zeros((9, 2)), [[0.0], [-0.0], [1.0], [1.0]], np.eye(2)])
def test_dimension_needs_three_different_rows(X):
    n = len({tuple(row) for row in np.asarray(X) + 0.0})
    message = rf"at least 3 different rows in X. Got {n} instead, of {len(X)} rows"
    with pytest.raises(ValueError, match=message):
        intrinsic_dimension(X)


@pytest.mark.parametrize("function", [nearest_rows, distance_to_training])
def test_numbers_of_features_must_agree(function):
    message = r"X_s must have as many features as X, 4\. Got an array of shape \(2, 3\) instead"
    with pytest.raises(ValueError, match=message):
        function(np.ones((2, 3)), np.ones((5, 4)))


def test_reference_must_have_the_features_of_the_training_rows():
    message = r"X_reference must have as many features as X, 4\."
    with pytest.raises(ValueError, match=message):
        distance_to_training(np.ones((2, 4)), np.ones((5, 4)), np.ones((5, 3)))


def test_reference_made_of_training_rows_is_refused(rows):
    with pytest.raises(ValueError, match="pass an X_reference without rows of X"):
        distance_to_training(*rows, rows[1])


@pytest.mark.parametrize("function", [nearest_rows, distance_to_training])
@pytest.mark.parametrize(
    "X_s, X, message",
    [
        (np.ones(3), np.ones((5, 3)), "Reshape your data"),
        (np.ones((1, 3)), np.ones(3), "Reshape your data"),
        (np.ones((1, 3, 3)), np.ones((5, 9)), r"pass X_s\.reshape\(len\(X_s\), -1\)"),
        (np.ones((1, 9)), np.ones((5, 3, 3)), r"pass X\.reshape\(len\(X\), -1\)"),
        (np.full((1, 3), np.nan), np.ones((5, 3)), "X_s contains NaN"),
        (np.ones((0, 3)), np.ones((5, 3)), "minimum of 1 is required"),
    ],
)
def test_what_are_no_rows_is_refused(X_s, X, message, function):
    with pytest.raises(ValueError, match=message):
        function(X_s, X)


def test_nearest_other_row_needs_two(rows):
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        distance_to_training(rows[0], rows[1][:1])


@pytest.mark.parametrize("block_size", [0, -1, 2.5, "all", None])
def test_bad_block_size(block_size, rows):
    message = rf"'block_size' parameter of nearest_rows must be .*Got {block_size!r} instead"
    with pytest.raises(ValueError, match=message):
        nearest_rows(*rows, block_size=block_size)


def test_compression_by_hand():
    X, y = np.zeros((120, 50), np.uint8), np.zeros(120, np.int64)
    X_s, y_s = np.zeros((4, 50), np.float32), np.zeros((4, 3))
    found = compression_ratio(X_s, y_s, X, y)
    assert found._fields == ("rows", "bytes")
    assert_allclose(found, [30, 120 * (50 + 8) / (4 * (50 * 4 + 3 * 8))])
    images = compression_ratio(X_s, y_s, X.reshape(120, 5, 10), np.repeat("ab", 120))
    assert_allclose(images, [30, 120 * (50 + 2 * 4) / (4 * (50 * 4 + 3 * 8))])


def test_mosaics_are_counted_as_stored():
    X, y = np.zeros((120, 48), np.uint8), np.zeros(120, np.uint8)
    mosaics, y_s = np.zeros((2, 48), np.float32), np.zeros((8, 3), np.float32)
    found = compression_ratio(mosaics, y_s, X, y, factor=2)
    assert_allclose(found, [120 / 8, 120 * 49 / (4 * (2 * 48 + 8 * 3))])


def test_filters_and_landmarks_count():
    X, y = np.zeros((120, 48), np.uint8), np.zeros(120, np.uint8)
    X_s, y_s = np.zeros((4, 48), np.float32), np.zeros((4, 3), np.float32)
    own = 4 * (48 + 3) * 4
    filters = np.zeros((2, 2, 3, 8), np.float32)
    patches = RandomFeatures("convnet1", 2, 4, filters=filters, image_shape=(4, 4, 3))
    landmarks = Landmarks("fc1", landmarks=np.zeros((5, 48), np.float32))
    for kernel, bytes_kept in (
        (FullyConnected(), 0),
        (patches, 96 * 4),
        (Invariant(patches), 96 * 4),
        (landmarks, 5 * 48 * 4),
    ):
        assert kernel.stored_bytes == bytes_kept
        found = compression_ratio(X_s, y_s, X, y, kernel=kernel)
        assert_allclose(found, [30, 120 * 49 / (own + bytes_kept)])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kernel": "fc1"}, "'kernel' parameter of compression_ratio .* Got 'fc1' instead"),
        ({"y": np.array(["a", "b"], dtype=object)}, "y must be an array .* Got dtype object"),
        ({"y": [0]}, "X and y must have equally many rows, and at least one. Got 2 and 1 instead"),
        ({"y_s": [0, 1]}, "X_s and y_s must have equally many rows.* Got 1 and 2 instead"),
        ({"y_s": np.zeros(4)}, "X_s and y_s must have equally many rows.* Got 1 and 4 instead"),
        ({"factor": 2}, "4 rows of labels for each mosaic of factor=2.* Got 1 and 1 instead"),
        ({"factor": 0}, "'factor' parameter of compression_ratio must be .* Got 0 instead"),
        ({"X_s": np.ones((0, 2)), "y_s": []}, "X_s and y_s must have .* Got 0 and 0 instead"),
    ],
)
def test_what_has_no_compression(change, message):
    given = {"X_s": [[1.0, 2.0]], "y_s": [0], "X": np.eye(2), "y": [0, 1]}
    with pytest.raises(ValueError, match=message):
        compression_ratio(**given | change)


def test_dimension_grows_over_snapshots():
    """Oracle: rows of 1, 2 and 5 dimensions, with the edges' share of `test_dimension_of_cubes`."""
    rng = np.random.default_rng(0)
    snapshots = {}
    for step, dimension in ((100, 5), (0, 1), (10, 2)):
        frame = np.linalg.qr(rng.normal(size=(20, dimension)))[0]
        snapshots[step] = rng.uniform(size=(1000, dimension)) @ frame.T, "labels are not read"
    steps, dimensions = snapshot_dimensions(snapshots)
    assert_array_equal(steps, [0, 10, 100])
    assert_allclose(dimensions / [1, 2, 5], [1, 0.98, 0.93], atol=3 * 0.045)


def test_dimension_of_all_rows_as_a_sample_is_their_dimension(rows):
    X = rows[1]
    assert_allclose(sample_dimension(X, 200, n_draws=2), intrinsic_dimension(X), rtol=1e-9)
    rng = np.random.RandomState(1)
    draws = [intrinsic_dimension(X[rng.permutation(200)[:30]]) for _ in range(3)]
    assert_allclose(sample_dimension(X, 30, n_draws=3, random_state=1), np.mean(draws))


@pytest.mark.parametrize("name, value", [("n_rows", 2), ("n_rows", 201), ("n_draws", 0)])
def test_bad_samples(name, value, rows):
    with pytest.raises(ValueError, match=rf"'{name}' parameter of sample_dimension.* Got {value} "):
        sample_dimension(rows[1], **{"n_rows": 10} | {name: value})


def test_the_advice_for_labels_without_a_size_helps():
    """Oracle: the array of strings itself."""
    names = np.array(["ant", "bee"] * 4)
    series, X, y_s = pd.Series(names), np.zeros((8, 2)), np.eye(2)
    with pytest.raises(ValueError, match=r"y must .* pass numpy.asarray\(y\).astype\(str\)"):
        compression_ratio(X[:2], y_s, X, series)
    found = compression_ratio(X[:2], y_s, X, np.asarray(series).astype(str))
    assert found == compression_ratio(X[:2], y_s, X, names)
