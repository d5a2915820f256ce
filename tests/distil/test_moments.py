"""The sums over all rows, and what is computed from them.

Oracle: the features of all rows at once, in numpy and float64.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk._closed_form._quadratic import Quadratic, mean_squares
from kipsk._distil import _moments
from kipsk._distil._all_rows import of_rank, on_device, positive_part, solved_labels
from kipsk._distil._label_solve import solve_labels_over
from kipsk._distil._moments import Sums, Way, features, rows_of_block, sums_over
from kipsk._distil._targets import Change
from kipsk.kernels import FullyConnected, Landmarks, Polynomial, RandomFeatures

N, N_OUT, SHAPE = 23, 3, (2, 3, 1)
rng = np.random.default_rng(0)
X = rng.standard_normal((N, 6)).astype(np.float32)
Y = rng.standard_normal((N, N_OUT)) + np.array([0, 5, -1])
ONES, WEIGHTS = np.ones(N), rng.uniform(0.5, 2, N)
WEIGHTS[[0, 7, 22]] = 0
POLYNOMIAL = Polynomial(2).function()  # 28 features
BLOCKS = [1, 4, 5, 22, 23, 1000, "auto"]


def dense(function, X=X, y=Y, weight=ONES):
    """The sums, from the features of all rows at once."""
    Phi = np.asarray(function.features(function.prepare(jnp.asarray(X))), np.float64)
    x = np.asarray(X, np.float64)
    w = weight[:, None]
    return Sums(
        n_rows=np.count_nonzero(weight),
        weight=weight.sum(),
        H=Phi.T @ (w * Phi),
        C=Phi.T @ (w * y),
        phi=(w * Phi).sum(axis=0),
        y=(w * y).sum(axis=0),
        y_squares=(w * y**2).sum(axis=0),
        x=(w * x).sum(axis=0),
        x_squares=(w * x**2).sum(axis=0),
    )


def assert_close(sums, expected, close, dtype=np.float32):
    """Features are float32; sums of rows and targets alone are in float64."""
    for name in ("H", "C", "phi"):
        close(getattr(sums, name), getattr(expected, name), dtype)
    for name in ("n_rows", "weight", "y", "y_squares", "x", "x_squares"):
        close(getattr(sums, name), getattr(expected, name), np.float64)
    assert all(np.asarray(part).dtype == np.float64 for part in sums)


def mirror(rows):
    return rows.reshape(-1, *SHAPE)[:, :, ::-1].reshape(rows.shape)


@pytest.mark.parametrize("weight", [ONES, WEIGHTS], ids=["equal", "weights"])
@pytest.mark.parametrize("block_size", BLOCKS)
def test_sums(block_size, weight, close):
    sums = sums_over(Way(POLYNOMIAL), X, Y, weight, block_size=block_size)
    assert_close(sums, dense(POLYNOMIAL, weight=weight), close)
    assert_array_equal(sums.H, sums.H.T)


@pytest.mark.parametrize(
    "kernel",
    [
        FullyConnected(0),
        Landmarks(FullyConnected(1, b_std=0.0), 9),
        RandomFeatures("convnet1", 2, 4, image_shape=SHAPE, resample=False),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_of_kernels(kernel, close):
    """The zero rows that fill up the last block count for nothing, whatever a kernel is there."""
    function = kernel.resolve(X).function()
    sums = sums_over(Way(function), X, Y, WEIGHTS, block_size=10)
    assert_close(sums, dense(function, weight=WEIGHTS), close)


def test_rows_of_weight_zero_do_not_count(close):
    """Oracle: the sums without them."""
    kept = WEIGHTS > 0
    sums = sums_over(Way(POLYNOMIAL), X, Y, WEIGHTS, block_size=6)
    without = sums_over(Way(POLYNOMIAL), X[kept], Y[kept], WEIGHTS[kept], block_size=6)
    assert_close(sums, without, close)
    assert sums.n_rows == without.n_rows == 20


@pytest.mark.parametrize("strip", [1, 7, 10, 27, 28, 1000])
def test_strips_of_any_width(strip, monkeypatch, close):
    monkeypatch.setattr(_moments, "_STRIP", strip)
    _moments._of_block.clear_cache()  # the width is compiled in
    assert_close(sums_over(Way(POLYNOMIAL), X, Y, ONES, block_size=9), dense(POLYNOMIAL), close)
    _moments._of_block.clear_cache()


def test_targets_far_from_zero(close):
    """Products with targets are in float64: they are those of the rounded features exactly."""
    y = Y + 1e6
    sums = sums_over(Way(POLYNOMIAL), X, y, ONES, block_size=9)
    quadratic = sums.quadratic(np.full(N_OUT, 1e6), np.ones(N_OUT))
    expected = dense(POLYNOMIAL).quadratic(np.zeros(N_OUT), np.ones(N_OUT))
    close(quadratic.C, expected.C, np.float32)


def test_of_a_memory_map_or_any_object_that_is_sliced(tmp_path):
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = sums_over(Way(POLYNOMIAL), X, Y, ONES, block_size=9)
    for own, its in zip(
        sums_over(Way(POLYNOMIAL), on_disk, Y, ONES, block_size=9), expected, strict=True
    ):
        assert_array_equal(own, its)


def test_blocks_are_equal_and_as_few_as_can_be():
    assert rows_of_block(Way(POLYNOMIAL), 23, 6, 10) == 8
    assert rows_of_block(Way(POLYNOMIAL), 23, 6, 23) == 23
    assert rows_of_block(Way(POLYNOMIAL), 23, 6, 1) == 1
    assert rows_of_block(Way(POLYNOMIAL), 23, 6) == 23
    assert rows_of_block(Way(POLYNOMIAL), 5001, 6) == 1667
    assert rows_of_block(Way(POLYNOMIAL, mirrored=SHAPE), 5000, 6) == 1250


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize("block_size", [5, "auto"])
def test_mirror_images(block_size, share, close):
    """Oracle: both images as rows, with their shares of the weight."""
    way = Way(POLYNOMIAL, mirrored=SHAPE, mirror_share=share)
    sums = sums_over(way, X, Y, WEIGHTS, block_size=block_size)
    both = np.concatenate([X, mirror(X)]), np.concatenate([Y, Y])
    weight = np.concatenate([(1 - share) * WEIGHTS, share * WEIGHTS])
    expected = dense(POLYNOMIAL, *both, weight)
    assert_close(sums, expected._replace(n_rows=np.count_nonzero(WEIGHTS)), close)


def noise(key, images):
    """Whole numbers, which are the same however they are compiled."""
    return images + jax.random.randint(key, images.shape, 0, 1000, "int32").astype(images.dtype)


def test_draws(close):
    """Oracle: the change of each block and draw by hand, each row a third of a row."""
    key, size, n_draws = jax.random.key(4), 8, 3
    way = Way(POLYNOMIAL, Change(key, None, noise, None))
    sums = sums_over(way, X, Y, WEIGHTS, block_size=10, n_draws=n_draws)
    filled = np.concatenate([X, np.zeros((1, 6), np.float32)])
    rows = [
        noise(jax.random.fold_in(key, number + 3 * draw), jnp.asarray(block))
        for draw in range(n_draws)
        for number, block in enumerate(np.split(filled, 3))
    ]
    drawn = np.concatenate(rows).reshape(n_draws, 3 * size, 6)[:, :N].reshape(-1, 6)
    assert len(np.unique(drawn, axis=0)) == n_draws * N
    y, weight = np.tile(Y, (n_draws, 1)), np.tile(WEIGHTS / n_draws, n_draws)
    expected = dense(POLYNOMIAL, drawn, y, weight)
    assert_close(sums, expected._replace(n_rows=np.count_nonzero(WEIGHTS)), close)


def test_draws_of_nothing(close):
    """Oracle: one pass, since nothing changes."""
    sums = sums_over(Way(POLYNOMIAL), X, Y, WEIGHTS, block_size=6, n_draws=4)
    assert_close(sums, dense(POLYNOMIAL, weight=WEIGHTS), close)


def doubled(X):
    return 2 * X


def test_rows_are_preprocessed_after_they_are_mirrored(close):
    """Oracle: the rows as the kernel sees them."""
    preprocess = jax.tree_util.Partial(doubled)
    change = Change(jax.random.key(0), preprocess, lambda key, images: images + 1, None)
    sums = sums_over(Way(POLYNOMIAL, change, mirrored=SHAPE), X, Y, ONES, block_size=9)
    seen = 2 * (np.concatenate([X, mirror(X)]) + 1)
    expected = dense(POLYNOMIAL, seen, np.concatenate([Y, Y]), np.full(2 * N, 0.5))
    assert_close(sums, expected._replace(n_rows=N), close)


def test_long_features_are_shortened(close):
    """Oracle: numpy."""
    Phi = np.asarray(features(POLYNOMIAL, X), np.float64)
    norms = np.linalg.norm(Phi, axis=1, keepdims=True)
    limit = np.median(norms)
    Phi = Phi * np.minimum(1, limit / norms)
    sums = sums_over(Way(POLYNOMIAL, max_norm=float(limit)), X, Y, ONES, block_size=9)
    close(sums.H, Phi.T @ Phi, np.float32)
    close(sums.C, Phi.T @ Y, np.float32)


@pytest.mark.parametrize("sign", [1, -1])
def test_plus(sign, close):
    """Oracle: the sums over the rows of both, or over those that are left."""
    first, whole = (
        sums_over(Way(POLYNOMIAL), *part) for part in ((X[:9], Y[:9], ONES[:9]), (X, Y, ONES))
    )
    rest = sums_over(Way(POLYNOMIAL), X[9:], Y[9:], ONES[9:])
    if sign == 1:
        assert_close(first.plus(rest), whole, close)
    else:
        assert_close(whole.plus(first, -1), rest, partial(close, times=3))
    assert first.n_rows == 9  # nothing is added in place
    assert_close(first, dense(POLYNOMIAL, X[:9], Y[:9], ONES[:9]), close)


@pytest.mark.parametrize("weight", [ONES, WEIGHTS], ids=["equal", "weights"])
def test_quadratic_of_standardised_targets(weight, close):
    """Oracle: weighted means over the rows, and the error of a linear model of them."""
    mean, scale = np.average(Y, axis=0, weights=weight), np.array([0.5, 3.0, 1.0])
    quadratic = dense(POLYNOMIAL, weight=weight).quadratic(mean, scale)
    Phi, y = np.asarray(features(POLYNOMIAL, X), np.float64), (Y - mean) / scale
    average = partial(np.average, axis=0, weights=weight)
    close(quadratic.H, average(Phi[:, :, None] * Phi[:, None]))
    close(quadratic.C, average(Phi[:, :, None] * y[:, None]))
    close(quadratic.y_squares, average(y**2))
    close(quadratic.variances, average(y**2) - average(y) ** 2)
    assert quadratic.n_rows == np.count_nonzero(weight)
    W = np.random.default_rng(3).standard_normal((Phi.shape[1], N_OUT))
    with jax.enable_x64(True):
        close(mean_squares(on_device(quadratic, "float64"), W), average((y - Phi @ W) ** 2))


def test_means_of_targets(close):
    quadratic = dense(POLYNOMIAL).quadratic(np.ones(N_OUT), np.array([0.5, 3.0, 1.0]))
    close(quadratic.variances, np.var((Y - 1) / [0.5, 3.0, 1.0], axis=0))


def test_on_device():
    with jax.enable_x64(True):
        quadratic = on_device(dense(POLYNOMIAL).quadratic(np.zeros(N_OUT), np.ones(N_OUT)))
        dtypes = [part.dtype.name for part in quadratic]
    assert dtypes == ["float32", "float32", "float64", "float64", "float64"]


def symmetric(eigenvalues, seed=0):
    n = len(eigenvalues)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return (Q * eigenvalues) @ Q.T


def of(H, C=None):
    C = np.zeros((len(H), 2)) if C is None else C
    return Quadratic(H, C, np.ones(2), np.zeros(2), np.float64(9))


def ranked(H, rank, C=None):
    return of_rank(of(H, C), rank)


def test_low_rank_leaves_out_what_has_no_curvature(close):
    """Oracle: the minimum along the leading eigenvectors; elsewhere the error does not change."""
    H = symmetric(np.array([5.0, 3.0, 2.0, 1e-3]))
    C = np.random.default_rng(0).normal(size=(4, 2))
    found = ranked(H, 3, C)
    _, vectors = np.linalg.eigh(H)
    assert abs(vectors[:, 0] @ found.C).max() < 1e-12
    close(vectors[:, 1:].T @ found.C, vectors[:, 1:].T @ C)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_low_rank_is_the_nearest(rank, close):
    """Oracle: the singular values that are left out (Eckart & Young)."""
    values = np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])
    H = symmetric(values)
    R = ranked(H, rank).H
    assert R.shape == (6, rank)
    close(np.linalg.norm(H - R @ R.T), np.sqrt(np.sum(values[rank:] ** 2)))


def test_low_rank_of_a_matrix_of_that_rank(close):
    """Eigenvalues that are rounding, and below zero, count for nothing."""
    H = symmetric(np.array([2.0, 1.0, 0.0, 0.0, -1e-17]))
    R = ranked(H, 4).H
    assert np.isfinite(R).all()
    close(R @ R.T, H)


def test_positive_part(close):
    """Oracle: the eigenvalues below zero set to zero (Higham 1988)."""
    values = np.array([3.0, 1.0, 0.5, -0.2, -2.0])
    close(positive_part(of(symmetric(values))).H, symmetric(np.maximum(values, 0)))
    close(positive_part(of(symmetric(abs(values)))).H, symmetric(abs(values)))


def test_positive_part_leaves_out_what_has_no_curvature(close):
    """Oracle: the eigenvectors of the eigenvalues above zero."""
    H, C = symmetric(np.array([3.0, 1.0, -0.2])), np.random.default_rng(0).normal(size=(3, 2))
    _, vectors = np.linalg.eigh(H)
    found = positive_part(of(H, C))
    close(vectors[:, 1:].T @ found.C, vectors[:, 1:].T @ C)
    assert abs(vectors[:, 0] @ found.C).max() < 1e-12


@pytest.mark.parametrize("label_reg", [0.0, 1e-3, 0.1, None])
def test_solved_labels(label_reg, close):
    """Oracle: `solve_labels_over` of the same rows, whose features are these."""
    kernel = FullyConnected(0, b_std=0.5)
    rows = np.random.default_rng(5).standard_normal((60, 6))
    y = rows[:, :2] ** 2 + rows[:, 1:3] + np.random.default_rng(6).standard_normal((60, 2))
    X_s = rows[:4]
    function = kernel.function()
    with jax.enable_x64(True):
        Phi_s = features(function, X_s)
        sums = sums_over(Way(function), rows, y, np.ones(60), block_size=13)
        quadratic = sums.quadratic(np.zeros(2), np.ones(2))
        y_s, chosen = solved_labels(quadratic, Phi_s, 1e-3, label_reg)
        expected, its = solve_labels_over(function, X_s, rows, y, 1e-3, label_reg)
    close(chosen, its, times=1e4)  # where a minimiser stops
    close(y_s, expected, times=100)
    assert chosen == label_reg or label_reg is None


def test_solved_labels_of_targets_that_are_standardised(close):
    """Oracle: `solve_labels_over` of targets that are standardised before."""
    function, mean, scale = POLYNOMIAL, Y.mean(axis=0), Y.std(axis=0)
    X_s = X[:5]
    with jax.enable_x64(True):
        rows = X.astype(np.float64)
        sums = sums_over(Way(function), rows, Y, ONES, block_size=9)
        Phi_s = features(function, X_s.astype(np.float64))
        y_s, _ = solved_labels(sums.quadratic(mean, scale), Phi_s, 1e-2, 1e-2)
        y = (Y - mean) / scale
        expected, _ = solve_labels_over(function, X_s.astype(np.float64), rows, y, 1e-2, 1e-2)
    close(y_s, expected, times=100)
