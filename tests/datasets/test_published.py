"""load_images: arrays in files or fetched, checked, as rows. No test needs a network."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk.datasets import _published as datasets
from kipsk.datasets import load_images

SMALL = {
    "mnist": {"image_shape": (4, 5, 1)},
    "fashion_mnist": {"image_shape": (4, 5, 1)},
    "cifar10": {"image_shape": (6, 5, 3)},
    "cifar100": {"image_shape": (6, 5, 3)},
    "svhn": {"image_shape": (6, 5, 3)},
}
TRAIN, TEST = (4, 3, 5), (2, 1, 2)


def digest(arrays):
    return hashlib.sha256(
        b"".join(array.astype(np.uint8).tobytes() for array in arrays)
    ).hexdigest()


def smooth_images(n, shape, rng):
    """Images whose neighbouring pixels are alike, and whose channels are not."""
    height, width, n_channels = shape
    ramp = np.add.outer(np.arange(height), np.arange(width))[..., None]
    pixels = (
        rng.integers(0, 200, size=(n, 1, 1, n_channels)) + ramp + rng.integers(0, 3, size=shape)
    )
    return pixels.astype(np.uint8)


@pytest.fixture(params=SMALL)
def small(request, monkeypatch):
    """A set of the same name with few small images: (name, arrays as a file has them)."""
    name, shape = request.param, SMALL[request.param]["image_shape"]
    rng = np.random.default_rng(0)
    arrays = []
    for counts in (TRAIN, TEST):
        labels = rng.permutation(np.repeat(np.arange(3), counts))
        arrays += [smooth_images(len(labels), shape, rng), labels]
    published = datasets._PUBLISHED[name]
    known = {"train_counts": TRAIN, "test_counts": TEST, **SMALL[name]}
    if published.sha256:
        known["sha256"] = digest(arrays)
    monkeypatch.setitem(datasets._PUBLISHED, name, replace(published, **known))
    return name, arrays


def save(folder, name, arrays, keys=datasets._KEYS):
    np.savez(folder / f"{name}.npz", **dict(zip(keys, arrays, strict=True)))


def assert_are(images, arrays, shape):
    x_train, y_train, x_test, y_test = arrays
    assert_array_equal(images.X_train, x_train.reshape(len(x_train), -1))
    assert_array_equal(images.X_test, x_test.reshape(len(x_test), -1))
    assert_array_equal(images.y_train, y_train)
    assert_array_equal(images.y_test, y_test)
    assert images.X_train.dtype == images.X_test.dtype == np.uint8
    assert images.y_train.dtype == images.y_test.dtype == np.int64
    assert images.image_shape == shape
    assert_array_equal(images.mean, np.zeros(shape[2]))
    assert_array_equal(images.std, np.ones(shape[2]))


@pytest.mark.parametrize("layout", ["images", "rows", "columns of labels", "other keys"])
def test_a_file_in_any_of_its_layouts(layout, small, tmp_path):
    name, arrays = small
    shape = SMALL[name]["image_shape"]
    x_train, y_train, x_test, y_test = arrays
    if layout == "images" and shape[2] == 1:
        given = [x_train[..., 0], y_train, x_test[..., 0], y_test]
    elif layout == "rows":
        given = [x_train.reshape(12, -1), y_train, x_test.reshape(5, -1).astype(float), y_test]
    else:
        given = [x_train, y_train[:, None], x_test, y_test.astype(np.uint8)]
    keys = ("X_train", "Y_train", "X_test", "y_test") if layout == "other keys" else datasets._KEYS
    save(tmp_path, name, given, keys)
    assert_are(load_images(name, data_home=tmp_path, standardize=None), arrays, shape)


def test_fetched_from_openml_in_its_order_of_pixels_and_labels(small, tmp_path, monkeypatch):
    """Oracle: the arrays, channels first for CIFAR, digit 0 called 10 for SVHN."""
    name, arrays = small
    shape = SMALL[name]["image_shape"]
    ids = {"mnist": 554, "fashion_mnist": 40996, "cifar10": 40927, "cifar100": 41983, "svhn": 41081}
    x = np.concatenate([arrays[0], arrays[2]]).astype(np.float64)
    y = np.concatenate([arrays[1], arrays[3]])
    if name.startswith("cifar"):
        x = x.transpose(0, 3, 1, 2)
    if name == "svhn":
        y = np.where(y == 0, 10, y)

    def fetch_openml(*, data_id, data_home, return_X_y, as_frame):
        assert data_id == ids[name] and data_home == tmp_path.resolve()
        assert return_X_y and not as_frame
        return x.reshape(len(x), -1), y.astype(str).astype(object)

    monkeypatch.setattr(datasets, "fetch_openml", fetch_openml)
    assert_are(load_images(name, data_home=tmp_path, standardize=None), arrays, shape)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_standardized_channels(name, tmp_path, monkeypatch):
    """Oracle: numpy's mean and std of each channel of the training pixels."""
    rng = np.random.default_rng(1)
    if name == "cifar10":
        arrays = [smooth_images(12, (6, 5, 3), rng), np.repeat(np.arange(3), TRAIN)]
        arrays += [smooth_images(5, (6, 5, 3), rng), np.repeat(np.arange(3), TEST)]
        known = {"image_shape": (6, 5, 3), "train_counts": TRAIN, "test_counts": TEST}
        published = replace(datasets._PUBLISHED[name], sha256=digest(arrays), **known)
        monkeypatch.setitem(datasets._PUBLISHED, name, published)
        save(tmp_path, name, arrays)
    raw = load_images(name, data_home=tmp_path, standardize=None)
    images = load_images(name, data_home=tmp_path)
    shape = raw.image_shape
    pixels = raw.X_train.reshape(-1, shape[2]).astype(np.float64)
    assert_allclose(images.mean, pixels.mean(axis=0), rtol=1e-6)
    assert_allclose(images.std, pixels.std(axis=0), rtol=1e-6)
    for x, expected in ((images.X_train, raw.X_train), (images.X_test, raw.X_test)):
        assert x.dtype == np.float32 and x.shape == expected.shape
        back = x.reshape(-1, *shape) * images.std + images.mean
        assert_allclose(back.reshape(len(x), -1), expected, atol=1e-4)


def test_digits_are_those_of_scikit_learn_with_the_split_of_the_readme():
    X, y = load_digits(return_X_y=True)
    expected = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    images = load_images("digits", standardize=None)
    for array, other in zip(images[:4], expected, strict=True):
        assert_array_equal(array, other)
    assert images.image_shape == (8, 8, 1)
    # The split must stay, whatever scikit-learn's version.
    order = (images.X_train, images.y_train, images.X_test, images.y_test)
    assert digest(order) == "880520af894c56783806217f27376a2ebf51f0035053929a0efb5b8bd2085661"


@pytest.mark.parametrize(
    ("name", "n_train", "n_test"),
    [
        ("mnist", 60000, 10000),
        ("fashion_mnist", 60000, 10000),
        ("cifar10", 50000, 10000),
        ("cifar100", 50000, 10000),
        ("svhn", 73257, 26032),
    ],
)
def test_numbers_of_rows(name, n_train, n_test):
    published = datasets._PUBLISHED[name]
    assert (sum(published.train_counts), sum(published.test_counts)) == (n_train, n_test)
    n_classes = 100 if name == "cifar100" else 10
    assert len(published.train_counts) == len(published.test_counts) == n_classes


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match=r"'name' .* 'fashion_mnist', .*'digits'.* Got 'stl10'"):
        load_images("stl10")


def test_unknown_standardization():
    with pytest.raises(ValueError, match=r"'standardize' .*'channel'.* or None. Got 'pixel'"):
        load_images("digits", standardize="pixel")


def test_without_file_and_network_says_where_it_looked(tmp_path, monkeypatch):
    def fetch_openml(**_):
        raise URLError("no network")

    monkeypatch.setattr(datasets, "fetch_openml", fetch_openml)
    with pytest.raises(FileNotFoundError) as error:
        load_images("svhn", data_home=tmp_path)
    message = str(error.value)
    assert str(tmp_path.resolve() / "svhn.npz") in message
    assert "x_train, y_train, x_test, y_test" in message and "32 x 32 x 3" in message
    assert "no network" in message and "data_home" in message


@pytest.mark.parametrize("content", [b"", b"hello", b"PK"], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_told_of(content, tmp_path):
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"mnist\.npz is damaged or no \.npz file of arrays .*fetch"
    ):
        load_images("mnist", data_home=tmp_path)


def test_default_folder_is_that_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"mnist\.npz must have .* Got x_train instead.*y_train="):
        load_images("mnist")


def spoil_shape(arrays):
    arrays[0] = arrays[0][:-1]
    return r"x_train must have shape \(12, "


def spoil_counts(arrays):
    arrays[3] = arrays[3] * 0
    return "y_test must have 2 rows of class 0. Got 5 instead"


def spoil_scale(arrays):
    arrays[2] = arrays[2] / 255
    return "x_test must hold whole numbers from 0 to 255"


@pytest.mark.parametrize("spoil", [spoil_shape, spoil_counts, spoil_scale])
def test_other_arrays_are_refused(spoil, small, tmp_path):
    name, arrays = small
    message = spoil(arrays)
    save(tmp_path, name, arrays)
    with pytest.raises(ValueError, match=rf"{name}\.npz is not .*{message}.* Replace the file"):
        load_images(name, data_home=tmp_path)


def test_a_changed_pixel_is_noticed_where_the_checksum_is_known(small, tmp_path):
    name, arrays = small
    arrays[0][0, 0, 0, 0] ^= 1
    save(tmp_path, name, arrays)
    if datasets._PUBLISHED[name].sha256:
        with pytest.raises(ValueError, match="SHA-256 must be"):
            load_images(name, data_home=tmp_path)
    else:
        load_images(name, data_home=tmp_path)


@pytest.mark.parametrize("wrong", ["planes as they are", "planes read as interleaved"])
@pytest.mark.parametrize("small", ["cifar100", "svhn"], indirect=True)
def test_colour_images_in_another_order_are_refused(wrong, small, tmp_path):
    name, arrays = small
    for part in (0, 2):
        images = arrays[part]
        if wrong == "planes as they are":  # someone flattened (n, C, H, W)
            arrays[part] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        else:  # someone took rows of (H, W, C) for planes
            planes = images.reshape(len(images), 3, 6, 5)
            arrays[part] = planes.transpose(0, 2, 3, 1)
    save(tmp_path, name, arrays)
    with pytest.raises(ValueError, match="in the order height, width, channel"):
        load_images(name, data_home=tmp_path)


def test_openml_with_other_data_says_where_a_file_would_go(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "fetch_openml", lambda **_: (np.zeros((9, 784)), np.zeros(9)))
    with pytest.raises(ValueError, match=r"data set 554 of OpenML is not .* Put .*mnist\.npz"):
        load_images("mnist", data_home=tmp_path)
