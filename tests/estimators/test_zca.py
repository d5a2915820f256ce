"""RegularizedZCA against a direct SVD of the formulas in numpy float64 (the oracle)."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from kipsk import RegularizedZCA
from kipsk._estimators import _zca

TOL = {"rtol": 1e-9, "atol": 1e-9}  # float64
TOL32 = {"rtol": 1e-5, "atol": 1e-5}  # float32 storage of float64 results


@parametrize_with_checks(
    [RegularizedZCA(), RegularizedZCA(layer_norm=False), RegularizedZCA(reg=0)]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def layer_norm(X):
    out = []
    for row in np.asarray(X, dtype=np.float64):
        centred = row - row.mean()
        norm = np.linalg.norm(centred)
        out.append(centred / norm if norm > 1e-12 * np.abs(row).max() else 0 * row)
    return np.array(out)


def oracle(X, reg, normalise):
    """Z, W and the spectrum of C from the SVD of Z itself; C is never formed."""
    Z = layer_norm(X) if normalise else np.asarray(X, dtype=np.float64)
    n, d = Z.shape
    _, s, Vt = np.linalg.svd(Z, full_matrices=True)
    mu = np.zeros(d)
    mu[: len(s)] = s**2 / n
    shift = reg * mu.sum() / d
    unknown = (mu.sum() * max(1, reg / d) or 1) ** -0.5
    phi = np.full(d, unknown)
    kept = mu + shift > 1e-13 * mu[0]
    phi[kept] = (mu[kept] + shift) ** -0.5
    phi[n:] = unknown
    return Z, (Vt.T * phi) @ Vt, mu


def make_rows(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.uniform(0, 5, size=d)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(_zca, "_CHUNK_BYTES", 7 * 8 * 20)  # 7 rows of 20


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("reg", [0, 1e-6, 0.1, 10.0])
@pytest.mark.parametrize("n", [12, 19, 20, 21, 300])
def test_matches_oracle(n, reg, normalise, small_chunks):
    X = make_rows(n, 20)
    zca = RegularizedZCA(reg=reg, layer_norm=normalise).fit(X)
    Z, W, mu = oracle(X, reg, normalise)
    assert_allclose(zca.covariance_, Z.T @ Z / n, **TOL)
    assert_allclose(zca.eigenvalues_[::-1], mu, **TOL)
    # Small reg: W's entries reach (reg tr(C) / d)^(-1/2), rounding grows with them.
    scale = np.abs(W).max()
    assert_allclose(zca.whitening_ / scale, W / scale, rtol=1e-7, atol=1e-7)
    assert_allclose(zca.transform(X), Z @ W, rtol=1e-7, atol=1e-7)
    new = make_rows(5, 20, seed=1)
    new_Z = layer_norm(new) if normalise else new
    assert_allclose(zca.transform(new) / scale, new_Z @ W / scale, rtol=1e-7, atol=1e-7)
    assert_array_equal(zca.whitening_, zca.whitening_.T)
    assert zca.n_samples_seen_ == n


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("reg", [0, 0.1, 1.0])
def test_whitened_spectrum(reg, normalise):
    X = make_rows(200, 15)
    zca = RegularizedZCA(reg=reg, layer_norm=normalise).fit(X)
    out = zca.transform(X)
    _, _, mu = oracle(X, reg, normalise)
    shifted = mu + reg * mu.mean()
    expected = mu / np.where(shifted > 1e-13 * mu[0], shifted, 1.0)
    assert_allclose(np.linalg.eigvalsh(out.T @ out / 200), np.sort(expected), **TOL)


@pytest.mark.parametrize("normalise", [True, False])
def test_directions_beyond_rank_are_scaled_by_the_rows_size(normalise):
    X = make_rows(6, 20)
    zca = RegularizedZCA(reg=0.1, layer_norm=normalise).fit(X)
    Z = layer_norm(X) if normalise else X
    outside = np.linalg.svd(Z)[2][6:]
    size = np.sqrt((Z**2).sum(axis=1).mean())  # 1 after layer_norm, as the published code has it
    assert_allclose(outside @ zca.whitening_, outside / size, **TOL)
    inside = np.linalg.svd(Z)[2][:6]
    assert not np.allclose(inside @ zca.whitening_, inside / size, rtol=0.1)


@pytest.mark.parametrize("n", [6, 60])
@pytest.mark.parametrize("normalise", [True, False])
def test_large_reg_leaves_all_directions_as_they_are(n, normalise):
    zca = RegularizedZCA(reg=1e12, layer_norm=normalise).fit(make_rows(n, 20))
    assert_allclose(zca.whitening_ / zca.whitening_[0, 0], np.eye(20), **TOL)


@pytest.mark.parametrize("n", [6, 60])
@pytest.mark.parametrize("reg", [0, 0.1])
@pytest.mark.parametrize("normalise", [True, False])
def test_units_of_x_do_not_matter(n, reg, normalise):
    X, new = make_rows(n, 20), make_rows(5, 20, seed=1)
    zca = RegularizedZCA(reg=reg, layer_norm=normalise)
    one, other = zca.fit(X).transform(new), zca.fit(255 * X).transform(255 * new)
    assert_allclose(one, other, rtol=1e-7, atol=1e-7 * np.abs(one).max())


def test_rank_below_n_below_d_is_well_defined():
    # Six rows of rank 3: the null space's eigenvectors are arbitrary, W must not be.
    base = make_rows(3, 20)
    X = np.vstack([base, base[::-1]])
    outside = np.linalg.svd(base)[2][3:]
    zca = RegularizedZCA(layer_norm=False).fit(X)
    size = np.sqrt((X**2).sum(axis=1).mean())
    assert_allclose(zca.transform(outside), outside / size, **TOL)
    rotated = RegularizedZCA(layer_norm=False).fit(X[[4, 0, 3, 5, 1, 2]])
    assert_allclose(zca.whitening_, rotated.whitening_, **TOL)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("n", [12, 90])
def test_partial_fit_equals_fit(n, normalise):
    X = make_rows(n, 20)
    whole = RegularizedZCA(layer_norm=normalise).fit(X)
    parts = RegularizedZCA(layer_norm=normalise)
    for rows in (slice(0, 1), slice(1, 8), slice(8, n)):
        assert parts.partial_fit(X[rows]) is parts
        assert not hasattr(parts, "whitening_")
        if rows.stop == 8:
            parts.transform(X)  # a factor of the first rows must not outlive them
    assert_allclose(parts.transform(X), whole.transform(X), **TOL)
    assert_allclose(parts.whitening_, whole.whitening_, **TOL)
    assert_allclose(parts.inverse_transform(X), whole.inverse_transform(X), **TOL)
    assert parts.n_samples_seen_ == n
    assert parts.row_mean_ == pytest.approx(whole.row_mean_)
    assert parts.row_norm_ == pytest.approx(whole.row_norm_)


def test_inverse_transform_right_after_partial_fit():
    X = make_rows(30, 8)
    zca = RegularizedZCA(0.1, layer_norm=False).partial_fit(X)
    Z = X @ oracle(X, 0.1, False)[1]
    assert_allclose(zca.inverse_transform(Z), X, **TOL)


def test_partial_fit_continues_fit_and_fit_resets():
    X = make_rows(50, 8)
    both = RegularizedZCA().fit(X[:20]).partial_fit(X[20:])
    assert_allclose(both.transform(X), RegularizedZCA().fit(X).transform(X), **TOL)
    again = both.fit(make_rows(30, 5))
    fresh = RegularizedZCA().fit(make_rows(30, 5))
    assert vars(again).keys() == vars(fresh).keys()
    assert again.n_samples_seen_ == 30
    assert_array_equal(again.whitening_, fresh.whitening_)


def test_failed_partial_fit_keeps_state():
    X = make_rows(30, 5)
    zca = RegularizedZCA(layer_norm=False).fit(X)
    before = zca.transform(X)
    for bad in (np.full((2, 5), np.nan), np.full((2, 5), 1e200), X[:, :4]):
        with pytest.raises(ValueError, match=r"NaN|overflow|features"):
            zca.partial_fit(bad)
    assert zca.n_samples_seen_ == 30
    assert_array_equal(zca.transform(X), before)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -1e6, 255.0, 1e-300, 1e150])
@pytest.mark.parametrize("d", [1, 3, 20, 3072])
def test_constant_rows_become_zeros(value, d):
    rows = np.full((3, d), value)
    mean, norm = _zca._layer_norm(rows)
    assert_array_equal(rows, 0)
    assert_array_equal(norm, 0)
    assert_allclose(mean, value)


def test_smallest_real_contrast_is_kept():
    # One float32 step between pixels is data, though it is far below float32's rounding.
    row = np.full((1, 64), 100.0, dtype=np.float32)
    row[0, 0] = np.nextafter(row[0, 0], np.float32(200))
    Z = row.astype(np.float64)
    _zca._layer_norm(Z)
    assert np.linalg.norm(Z) == pytest.approx(1)
    assert Z[0, 0] == pytest.approx(np.sqrt(63 / 64))


@pytest.mark.parametrize("reg", [0, 0.1])
@pytest.mark.parametrize("n", [12, 60])
def test_degenerate_rows_and_columns(n, reg):
    constant_row, constant_columns = make_rows(n, 20), make_rows(n, 20)
    constant_row[3] = 0.1
    constant_columns[:, 4] = 7.0
    constant_columns[:, 5] = 0.0
    for X in (constant_row, constant_columns):
        for normalise in (True, False):
            zca = RegularizedZCA(reg=reg, layer_norm=normalise).fit(X)
            Z, W, _ = oracle(X, reg, normalise)
            assert_allclose(zca.transform(X), Z @ W, rtol=1e-7, atol=1e-7)
            new = make_rows(4, 20, seed=2)  # alive where the training columns were not
            assert np.isfinite(zca.transform(new)).all()
    assert_array_equal(RegularizedZCA(reg=reg).fit(constant_row).transform(constant_row)[3], 0)


def test_zero_column_is_scaled_by_the_rows_size_without_reg():
    X = make_rows(60, 6)
    X[:, 2] = 0.0
    zca = RegularizedZCA(reg=0, layer_norm=False).fit(X)
    size = np.sqrt((X**2).sum(axis=1).mean())
    assert_allclose(zca.whitening_[2], np.eye(6)[2] / size, **TOL)


@pytest.mark.parametrize("reg", [0, 1e-30, 1e-17, 0.1])
@pytest.mark.parametrize("normalise", [True, False])
def test_all_zero_data_gives_identity(reg, normalise):
    zca = RegularizedZCA(reg=reg, layer_norm=normalise).fit(np.zeros((7, 5)))
    assert_allclose(zca.whitening_, np.eye(5), **TOL)
    assert_array_equal(zca.transform(np.zeros((2, 5))), 0)


@pytest.mark.parametrize("reg", [0, 1e-30, 1e-15, 1e-6, 0.1])
@pytest.mark.parametrize("n", [12, 100])
def test_round_trip_without_layer_norm_is_exact(n, reg):
    X = make_rows(n, 20)
    X[:, 3] = X[:, 4]  # rank deficient
    zca = RegularizedZCA(reg=reg, layer_norm=False).fit(X)
    new = make_rows(9, 20, seed=3)
    assert_allclose(zca.inverse_transform(zca.transform(X)), X, rtol=1e-6, atol=1e-6)
    assert_allclose(zca.inverse_transform(zca.transform(new)), new, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reg", [0, 0.1])
@pytest.mark.parametrize("n", [12, 100])
def test_round_trip_with_layer_norm(n, reg, small_chunks):
    X = make_rows(n, 20)
    X[5] = 3.0
    zca = RegularizedZCA(reg=reg).fit(X)
    Z = zca.transform(X)
    back = zca.inverse_transform(Z)
    assert_allclose(zca.transform(back), Z, rtol=1e-7, atol=1e-7)
    norms = np.linalg.norm(X - X.mean(axis=1, keepdims=True), axis=1)
    assert_allclose(back, layer_norm(X) * norms.mean() + X.mean(), rtol=1e-7, atol=1e-7)
    assert zca.row_mean_ == pytest.approx(X.mean())
    assert zca.row_norm_ == pytest.approx(norms.mean())


def test_inverse_of_digits_is_in_pixel_units():
    X = load_digits().data
    zca = RegularizedZCA().fit(X)
    back = zca.inverse_transform(zca.transform(X))
    assert back.mean() == pytest.approx(X.mean())
    assert back.std() == pytest.approx(X.std(), rel=0.05)
    assert np.corrcoef(X[0], back[0])[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "bool"])
def test_dtypes(dtype):
    X = (np.random.default_rng(0).uniform(size=(40, 12)) * 255).astype(dtype)
    reference = RegularizedZCA().fit(X.astype(np.float64))
    zca = RegularizedZCA().fit(X)
    assert_array_equal(zca.whitening_, reference.whitening_)
    assert zca.whitening_.dtype == zca.covariance_.dtype == np.float64
    out = zca.transform(X)
    expected = np.float32 if dtype == "float32" else np.float64
    assert out.dtype == expected
    assert zca.inverse_transform(out).dtype == expected
    assert_allclose(out, reference.transform(X.astype(np.float64)), **TOL32)


@pytest.mark.parametrize("order", ["C", "F", "strided", "readonly"])
def test_memory_layouts_and_input_untouched(order):
    X = make_rows(40, 12)
    laid_out = {
        "C": X.copy(),
        "F": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "readonly": X.copy(),
    }[order]
    laid_out.flags.writeable = order != "readonly"
    zca = RegularizedZCA().fit(laid_out)
    out = zca.transform(laid_out)
    zca.inverse_transform(laid_out)
    assert_array_equal(laid_out, X)
    assert_allclose(out, RegularizedZCA().fit_transform(X), **TOL)


def test_set_output_and_feature_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(make_rows(20, 3), columns=["a", "b", "c"], index=range(5, 25))
    zca = RegularizedZCA().set_output(transform="pandas").fit(frame)
    out = zca.transform(frame)
    assert list(out.columns) == list(zca.get_feature_names_out()) == ["a", "b", "c"]
    assert_array_equal(out.index, frame.index)
    assert_array_equal(zca.feature_names_in_, ["a", "b", "c"])
    assert_allclose(out, RegularizedZCA().fit_transform(frame.to_numpy()), **TOL)
    # Neither form of whitened rows warns on the way back.
    assert_array_equal(zca.inverse_transform(out), zca.inverse_transform(out.to_numpy()))
    with pytest.raises(ValueError, match="feature names"):
        zca.transform(frame[["b", "a", "c"]])
    plain = RegularizedZCA().fit(frame.to_numpy())
    assert list(plain.get_feature_names_out()) == ["x0", "x1", "x2"]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_pickle_and_clone(method):
    X = make_rows(30, 6)
    zca = getattr(RegularizedZCA(reg=0.3, layer_norm=False), method)(X)
    copy = pickle.loads(pickle.dumps(zca))
    assert_array_equal(copy.transform(X), zca.transform(X))
    assert clone(zca).get_params() == {"reg": 0.3, "layer_norm": False}
    assert all(isinstance(v, (np.ndarray, float, int, bool)) for v in vars(zca).values())


@pytest.mark.parametrize("reg", [-1, -1e-9, np.nan, np.inf, "0.1", None, True, 1j, [0.1]])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_reg(reg, method):
    message = r"The 'reg' parameter of RegularizedZCA must be .* Got .* instead\."
    with pytest.raises(ValueError, match=message):
        getattr(RegularizedZCA(reg=reg), method)(make_rows(5, 3))


@pytest.mark.parametrize("reg", [0, 1, np.float32(0.5), np.int64(2)])
def test_good_reg(reg):
    RegularizedZCA(reg=reg).fit(make_rows(5, 3))


@pytest.mark.parametrize("layer_norm", [None, 1, "yes"])
def test_bad_layer_norm(layer_norm):
    with pytest.raises(ValueError, match=r"The 'layer_norm' parameter .* Got .* instead"):
        RegularizedZCA(layer_norm=layer_norm).fit(make_rows(5, 3))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "inverse_transform"])
@pytest.mark.parametrize("kind", [np.asarray, list, np.ndarray.tolist])
def test_images_are_refused_with_a_way_out(method, kind):
    images = np.random.default_rng(0).uniform(size=(10, 4, 4, 3))
    zca = RegularizedZCA()
    if "transform" in method:
        zca.fit(images.reshape(len(images), -1))
    with pytest.raises(ValueError, match=r"dim 4.*\(10, 4, 4, 3\).*X\.reshape\(len\(X\), -1\)"):
        getattr(zca, method)(kind(images))


def test_bad_input():
    X = make_rows(20, 4)
    zca = RegularizedZCA()
    for method in (zca.transform, zca.inverse_transform):
        with pytest.raises(NotFittedError):
            method(X)
    zca.fit(X)
    for method in (zca.transform, zca.inverse_transform, zca.partial_fit):
        with pytest.raises(ValueError, match="X has 3 features, but RegularizedZCA is expecting 4"):
            method(X[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        zca.inverse_transform(np.full((1, 4), np.nan))
    with pytest.raises(ValueError, match=r"overflow float64\. Scale X down"):
        RegularizedZCA().fit(X * 1e200)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_fit_and_transform_do_not_copy_the_data(dtype, monkeypatch):
    n, d, chunk = 20000, 256, 2**20
    monkeypatch.setattr(_zca, "_CHUNK_BYTES", chunk)
    X = np.random.default_rng(0).integers(0, 256, size=(n, d), dtype=np.uint8).astype(dtype)
    square = 8 * d * d

    def peak(function):
        tracemalloc.start()
        try:
            out = function(X)
            return out, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    zca, used = peak(RegularizedZCA().fit)
    # C, W, eigenvectors and the eigensolver's work; X is 5, 20 or 41 MB.
    assert used < 2 * chunk + 6 * square + 2**20 < 10e6
    if dtype != "uint8":
        assert used < X.nbytes / 2
    for method in (zca.transform, zca.inverse_transform):
        out, used = peak(method)
        assert used < out.nbytes + 4 * chunk + 2 * square
