"""Support sets for PyTorch. A small stand-in for torch writes arrays, as they were given to it."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller, KIPRegressor, LabelSolver

FAST = {"max_iter": 2, "random_state": 0}


@pytest.fixture
def torch(monkeypatch):
    module = SimpleNamespace(
        from_numpy=lambda array: array,
        save=lambda content, file: file.write(pickle.dumps(content)),
        load=lambda path: pickle.loads(path.read_bytes()),
    )
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 20)
    return 5 + 3 * rng.normal(size=(40, 24)) + codes[:, None], np.array(["ant", "bee"])[codes]


@pytest.fixture(scope="module")
def distiller(images):
    """Of images that a scaler stands before; without augmentation it only needs the shape."""
    kind = KIPDistiller(ipc=2, preprocess=StandardScaler(), image_shape=(2, 4, 3), **FAST)
    return kind.fit(*images)


def test_images_have_channels_first_in_the_units_of_X(distiller, torch, tmp_path):
    """Oracle: the scaler's inverse, pixel by pixel."""
    distiller.export_support(tmp_path / "set.pt")
    content = torch.load(tmp_path / "set.pt")
    rows = distiller.preprocess_.inverse_transform(distiller.X_s_)
    assert content["images"].shape == (4, 3, 2, 4) and content["images"].dtype == np.float32
    for i, image in enumerate(content["images"]):
        for h, w, c in np.ndindex(2, 4, 3):
            assert_allclose(image[c, h, w], rows[i, (h * 4 + w) * 3 + c], rtol=1e-5)
    assert_allclose(content["labels"], distiller.y_s_, rtol=1e-6)
    assert content["labels"].dtype == np.float32 and content["hard_labels"].dtype == np.int64
    assert_array_equal(content["hard_labels"], distiller.y_s_.argmax(axis=1))
    assert content["classes"] == ["ant", "bee"]


def test_images_as_the_kernel_sees_them(distiller, torch, tmp_path):
    distiller.export_support(str(tmp_path / "set.PT"), space="kernel")
    content = torch.load(tmp_path / "set.PT")
    expected = distiller.X_s_.reshape(4, 2, 4, 3).transpose(0, 3, 1, 2)
    assert_array_equal(content["images"], expected)


def test_rows_and_numbers_stay_what_they_are(images, torch, tmp_path):
    X, names = images
    LabelSolver(ipc=2, random_state=0).fit(X, names).export_support(tmp_path / "rows.pt")
    assert torch.load(tmp_path / "rows.pt")["images"].shape == (4, 24)
    regressor = KIPRegressor(n_support=3, **FAST).fit(X, X[:, 0])
    regressor.export_support(tmp_path / "numbers.pt")
    content = torch.load(tmp_path / "numbers.pt")
    assert set(content) == {"images", "labels"}
    assert_allclose(content["labels"], regressor.y_s_, rtol=1e-6)


def test_what_is_refused(distiller, torch, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"'space' parameter of export_support.*'.npz'.*'original'"
    ):
        distiller.export_support(tmp_path / "set.npz", space="original")
    with pytest.raises(ValueError, match=r"'space' parameter of export_support.*Got 'pixels'"):
        distiller.export_support(tmp_path / "set.pt", space="pixels")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"set\.pt.*needs PyTorch: pip install torch.*set\.npz"):
        distiller.export_support(tmp_path / "set.pt")
    assert not list(tmp_path.iterdir())


def test_torch_itself_reads_it(distiller, tmp_path):
    """Oracle: the lines under "For PyTorch" of the guide, which read the .npz file."""
    torch = pytest.importorskip("torch")
    distiller.export_support(tmp_path / "set.pt", space="kernel")
    distiller.export_support(tmp_path / "set.npz")
    content, file = torch.load(tmp_path / "set.pt"), np.load(tmp_path / "set.npz")
    images = torch.from_numpy(file["images"]).permute(0, 3, 1, 2).contiguous()
    assert torch.equal(content["images"], images)
    assert torch.equal(content["labels"], torch.from_numpy(file["labels"]).float())
    assert torch.equal(content["hard_labels"], content["labels"].argmax(dim=1))
    assert content["classes"] == ["ant", "bee"]
