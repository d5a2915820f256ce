"""Support sets of others that lie, and disks that fill while one is written.

Oracle: an error that names the file; a distiller and a file that are what they were.
"""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from kipsk import KIPDistiller, KIPRegressor, LabelSolver, architectures
from kipsk._storage import _files
from kipsk.architectures import AdaptiveAvgPool, Architecture, Conv, Dense, Flatten, TwoSided
from kipsk.kernels import Landmarks, RandomFeatures

SOLVER = LabelSolver(ipc=2, random_state=0)
X = np.random.default_rng(0).normal(size=(30, 16)) + 3 * np.eye(3, 16)[np.arange(30) % 3]
Y = np.arange(30) % 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "support.npz"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The arrays of a file whose kernel has kernels, arrays and layers inside."""
    path = tmp_path_factory.mktemp("stored") / "support.npz"
    layers = (Conv(3), TwoSided(0.5), AdaptiveAvgPool(2), Flatten(), Dense())
    inside = RandomFeatures(
        Architecture(layers), 1, 8, filters="patches", resample=False, image_shape=(4, 4, 1)
    )
    clone(SOLVER).set_params(kernel=Landmarks(inside, 9)).fit(X, Y).export_support(path)
    with np.load(path) as file:
        return dict(file)


def layers_of(metadata):
    return metadata["kernel_parameters"]["kernel"]["kernel_parameters"]["architecture"]["layers"]


def put(*keys):
    """Return a change of one entry of the metadata, at some depth."""
    *parents, last, value = keys

    def change(metadata):
        for key in parents:
            metadata = metadata[key]
        metadata[last] = value

    return change


INSIDE = ("kernel_parameters", "kernel", "kernel_parameters")
METADATA = {
    "kernel is a list": put("kernel", ["FullyConnected"]),
    "no parameters": put("kernel_parameters", None),
    "parameters are a list": put("kernel_parameters", [1]),
    "reg is text": put("reg", "1e-6"),
    "reg is negative": put("reg", -1.0),
    "reg is NaN": put("reg", float("nan")),
    "no reg": lambda metadata: metadata.pop("reg"),
    "temperature is zero": put("temperature", 0.0),
    "temperature is infinite": put("temperature", float("inf")),
    "temperature is text": put("temperature", "hot"),
    "preprocess is a number": put("preprocess", 3),
    "predict_kernel is text": put("predict_kernel", "fc1"),
    "predict_kernel is of nothing": put("predict_kernel", {"kernel": "RBF"}),
    "a parameter that is wrong": put(*INSIDE, "n_networks", -1),
    "a width for a year": put(*INSIDE, "width", 10**9),
    "networks for a year": put(*INSIDE, "n_networks", 10**12),
    "a width of infinity": put(*INSIDE, "width", float("inf")),
    "an array that is not there": put("kernel_parameters", "landmarks", ["kernel array 99"]),
    "an array that is another": put("kernel_parameters", "landmarks", ["classes"]),
    "a kernel inside that is none": put("kernel_parameters", "kernel", {"kernel": 5}),
    "a layer that is a function": lambda m: layers_of(m).insert(0, ["get_architecture", {}]),
    "a layer that is a module": lambda m: layers_of(m).insert(0, ["_layers", {}]),
    "a layer that is a loader": lambda m: layers_of(m).insert(0, ["__loader__", {}]),
    "a layer with another field": lambda m: layers_of(m)[0][1].update(size2=3),
    "a layer that is text": lambda m: layers_of(m).insert(0, "Dense"),
    "a large layer": lambda m: layers_of(m)[0][1].update(size=10**9),
    "many layers": lambda m: layers_of(m).extend([["Flatten", {}]] * 1001),
}


@pytest.mark.parametrize("change", METADATA.values(), ids=METADATA)
def test_metadata_that_kipsk_does_not_write(change, stored, path):
    metadata = json.loads(str(stored["metadata"]))
    change(metadata)
    np.savez(path, **stored | {"metadata": np.array(json.dumps(metadata))})
    fitted = clone(SOLVER).fit(X, Y)
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match=r"support\.npz' is damaged or no support set"):
        fitted.load_support(path)
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())


def test_depth_for_a_year_is_refused(path):
    clone(SOLVER).fit(X, Y).export_support(path)
    with np.load(path) as file:
        arrays = dict(file)
    metadata = json.loads(str(arrays["metadata"]))
    metadata["kernel_parameters"]["depth"] = 10**9
    np.savez(path, **arrays | {"metadata": np.array(json.dumps(metadata))})
    with pytest.raises(ValueError, match="its 'depth' is 1000000000, more than 1000"):
        LabelSolver().load_support(path)


def test_layers_of_files_are_those_of_kipsk():
    """Every layer can be stored, and nothing else of the module can be called by a file."""
    from kipsk._estimators._support_file import _LAYERS

    public = {
        name for name in architectures.__all__ if isinstance(getattr(architectures, name), type)
    }
    assert _LAYERS.keys() == public - {"Architecture"}


IMAGES, SOFT = np.ones((6, 4, 4, 1)) * np.arange(6).reshape(6, 1, 1, 1), np.eye(3)[Y[:6]]
ARRAYS = {
    "no columns of labels": {"labels": np.zeros((6, 0))},
    "one column, of fractions": {"labels": SOFT[:, :1] + 0.5},
    "labels of three dimensions": {"labels": SOFT[:, :, None]},
    "a matrix of classes": {"classes": np.arange(3)[:, None]},
    "no classes": {"classes": np.zeros(0, int)},
    "equal classes": {"classes": np.array(["a", "b", "a"])},
    "complex classes": {"classes": np.arange(3) + 1j},
    "complex images": {"images": IMAGES + 1j},
    "images that float32 has not": {"images": 1e300 * IMAGES},
    "too few names": {"feature_names": np.array(["a", "b"])},
    "equal names": {"feature_names": np.array(["a"] * 16)},
    "numbers as names": {"feature_names": np.arange(16)},
    "mosaics of none": {"mosaics": np.zeros((0, 4, 4, 1))},
    "mosaics of text": {"mosaics": np.full((1, 4, 4, 1), "a")},
    "mosaics without pixels": {"mosaics": np.ones((1, 4, 0, 1))},
    "a number as metadata": {"metadata": np.array(3)},
    "of a regressor": {"y_mean": np.zeros(3), "y_scale": np.ones(3)},
}


@pytest.mark.parametrize("changed", ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_no_support_set(changed, path):
    np.savez(path, **{"images": IMAGES, "labels": SOFT, **changed})
    with pytest.raises(ValueError, match=r"support\.npz'"):
        LabelSolver().load_support(path)


def test_mosaics_are_not_enlarged_beyond_memory(path):
    """A file of 4 MB that stands for 4 TiB of images."""
    labels = np.zeros((2**20, 2), np.int8)
    np.savez_compressed(path, mosaics=np.ones((1, 1024, 1024, 1), np.uint8), labels=labels)
    with pytest.raises(ValueError, match="would be enlarged to 1048576 images of 1024 x 1024 x 1"):
        LabelSolver().load_support(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"y_mean": np.zeros(2), "y_scale": np.ones(2)},
        {"y_mean": np.zeros(1), "y_scale": np.zeros(1)},
        {"y_mean": np.full(1, np.nan), "y_scale": np.ones(1)},
        {"y_mean": np.array(["a"]), "y_scale": np.ones(1)},
        {"labels": np.array(["a"] * 6)},
        {"labels": np.ones((6, 2, 2))},
    ],
    ids=["two", "no scale", "NaN", "text", "words", "three dimensions"],
)
def test_targets_that_are_none(changed, path):
    np.savez(path, **{"images": IMAGES, "labels": np.arange(6.0), **changed})
    with pytest.raises(ValueError, match=r"support\.npz'"):
        KIPRegressor().load_support(path)


def test_classes_in_any_order(path):
    """Oracle: the same set with sorted classes; a later `partial_fit` looks labels up in these."""
    images, labels = X[:6], SOFT - 1 / 3
    np.savez(path, images=images, labels=labels, classes=np.array(["a", "b", "c"]))
    expected = KIPDistiller().load_support(path)
    order = [2, 0, 1]
    np.savez(path, images=images, labels=labels[:, order], classes=np.array(["c", "a", "b"]))
    found = KIPDistiller().load_support(path)
    assert_array_equal(found.classes_, ["a", "b", "c"])
    assert_array_equal(found.decision_function(X), expected.decision_function(X))


def half_written(file, **arrays):
    file.write(b"PK half of it")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_a_full_disk_leaves_the_old_file(ending, tmp_path, monkeypatch):
    path = tmp_path / f"support.{ending}"
    fitted = clone(SOLVER).fit(X, Y)
    fitted.export_support(path)
    before = path.read_bytes()
    for name, function in (("savez", half_written), ("fsync", full)):
        with monkeypatch.context() as patch:
            patch.setattr(np if name == "savez" else os, name, function)
            if ending == "csv" and name == "savez":
                continue
            with pytest.raises(OSError, match="No space left"):
                clone(SOLVER).set_params(random_state=1).fit(X, Y).export_support(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def full(*_):
    raise OSError(28, "No space left on device")


def test_what_does_not_fit_into_memory_is_told(path, monkeypatch):
    clone(SOLVER).fit(X, Y).export_support(path)
    monkeypatch.setattr(_files, "_memory", lambda: 100)
    with pytest.raises(ValueError, match="more than the memory"):
        LabelSolver().load_support(path)
