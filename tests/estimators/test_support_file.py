"""Support sets in files: what is written, what is read back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.architectures import AdaptiveAvgPool, Architecture, Conv, Dense, Flatten, TwoSided
from kipsk.kernels import RBF, ConvNet, FullyConnected, Invariant, Landmarks, RandomFeatures

FAST = {"ipc": 2, "max_iter": 20, "random_state": 0}
SOLVER = LabelSolver(ipc=2, random_state=0)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 20)
    return rng.normal(size=(60, 16)) + 2 * np.eye(16)[codes] + 1, codes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "support.npz"


@pytest.fixture(scope="module")
def published(blobs):
    """What others have published: images and labels, nothing else."""
    X, codes = blobs
    rows = [0, 1, 20, 21, 40, 41]
    labels = np.eye(3)[codes[rows]] + 0.1 * np.random.default_rng(1).normal(size=(6, 3))
    return {"images": X[rows].reshape(6, 4, 4, 1), "labels": labels}


def exported(distiller, path):
    """Return the arrays of the file, and its metadata."""
    distiller.export_support(path)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays["metadata"]))


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "distiller",
    [
        KIPDistiller(**FAST),
        KIPDistiller(loss="platt", **FAST),
        LabelSolver("rbf", ipc=2, random_state=0),
    ],
    ids=["kip", "platt", "solver"],
)
def test_loaded_distiller_predicts_the_same(distiller, blobs, path):
    """Oracle: the one that was exported, bit for bit."""
    X, y = blobs
    fitted = clone(distiller).fit(X, y)
    fitted.export_support(path)
    loaded = clone(distiller).load_support(str(path))
    assert loaded is not fitted
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    assert_array_equal(loaded.X_s_, fitted.X_s_)
    assert_array_equal(loaded.y_s_, fitted.y_s_)
    assert loaded.X_s_.dtype == np.float32 and loaded.y_s_.dtype == np.float64
    assert loaded.score(X, y) == fitted.score(X, y) > 0.6
    assert loaded.evaluate(X, y) == fitted.evaluate(X, y)
    assert loaded.kernel_ == fitted.kernel_ and loaded.reg_ == fitted.reg_
    assert loaded.n_features_in_ == 16
    if hasattr(fitted, "temperature_"):
        assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_length_scale_is_that_of_the_training_rows(blobs, path):
    """Oracle: the exported one's, which is not that of the support."""
    X, y = blobs
    fitted = LabelSolver(RBF(), ipc=2, random_state=0).fit(X, y)
    fitted.export_support(path)
    loaded = LabelSolver(RBF(), ipc=2).load_support(path)
    assert loaded.kernel_.length_scale == fitted.kernel_.length_scale
    assert loaded.kernel_.length_scale != RBF().resolve(fitted.X_s_).length_scale
    # A number of its own stays.
    with pytest.warns(
        UserWarning, match=r"for the kernel RBF\(length_scale=5.*RBF\(length_scale=7.0"
    ):
        other = LabelSolver(RBF(length_scale=7.0), ipc=2).load_support(path)
    assert other.kernel_.length_scale == 7.0


PATCHES = Architecture((Conv(3), TwoSided(0.5), AdaptiveAvgPool(2), Flatten(), Dense()))
KERNELS = {
    "depth": FullyConnected(2, "nngp"),
    "image shape": ConvNet(1, image_shape=[4, 4, 1]),
    "sampled": RandomFeatures("fc1", width=8),
    "filters": RandomFeatures(
        PATCHES, 1, 8, filters="patches", resample=False, image_shape=(4, 4, 1)
    ),
    "landmarks": Landmarks(RBF(), 20),
    "mirrored": Invariant(RandomFeatures("convnet1", 2, 8, resample=False), image_shape=(4, 4, 1)),
    "length scale": RBF(),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_default_kernel_gives_way_to_that_of_the_file(kernel, blobs, path):
    """Oracle: the exported one, bit for bit."""
    X, y = blobs
    fitted = LabelSolver(kernel, ipc=2, random_state=0).fit(X, y)
    fitted.export_support(path)
    loaded = LabelSolver().load_support(path)
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    assert loaded.reg_ == fitted.reg_
    assert list(loaded.evaluate(X, y).values()) == list(fitted.evaluate(X, y).values())
    # A name means what it says, under a distiller that was loaded as well.
    assert loaded.evaluate(X, y, ["fc1"]) == fitted.evaluate(X, y, ["fc1"])
    # The kernel itself, as it was given, needs no warning.
    again = LabelSolver(clone(kernel)).load_support(path)
    assert_array_equal(again.decision_function(X), fitted.decision_function(X))


def test_shape_of_images_may_be_left_open(blobs, path):
    X, y = blobs
    fitted = LabelSolver(ConvNet(1), ipc=2, image_shape=(4, 4, 1), random_state=0).fit(X, y)
    fitted.export_support(path)
    loaded = LabelSolver("convnet1").load_support(path)
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))


def test_another_kernel_stays_and_warns(blobs, path):
    """Oracle: kernel ridge regression with that kernel."""
    X, y = blobs
    fitted = LabelSolver(RBF(), ipc=2, random_state=0).fit(X, y)
    fitted.export_support(path)
    message = (
        r"support.npz' was made for the kernel RBF\(.*, and this LabelSolver predicts with "
        r"FullyConnected\(depth=3.*: its scores may be far lower. Pass .* or leave 'kernel' out"
    )
    with pytest.warns(UserWarning, match=message):
        loaded = LabelSolver("fc3").load_support(path)
    expected = KernelRidgeNTK("fc3").fit(fitted.X_s_, fitted.y_s_)
    assert_array_equal(loaded.predictor_.predict(X), expected.predict(X))


class Own(FullyConnected):
    """A kernel that kipsk does not have."""


def mirrored(rows):
    return rows[:, ::-1]


@pytest.mark.parametrize("kernel", [Own(2), Invariant("fc1", mirrored)], ids=["class", "function"])
def test_kernel_that_the_file_does_not_hold_whole(kernel, blobs, path):
    X, y = blobs
    fitted = LabelSolver(kernel, ipc=2, random_state=0).fit(X, y)
    fitted.export_support(path)
    message = f"for the kernel {type(kernel).__name__}, .* Pass the set's kernel as 'kernel'[.]$"
    with pytest.warns(UserWarning, match=message):
        LabelSolver().load_support(path)
    loaded = LabelSolver(kernel).load_support(path)
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))


def test_sample_of_networks_to_predict_with(blobs, path):
    X, y = blobs
    fitted = KIPDistiller(RandomFeatures("fc1", width=8), **FAST).fit(X, y)
    fitted.export_support(path)
    loaded = KIPDistiller().load_support(path)
    assert loaded.predictor_.kernel.n_networks == 128
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))


def test_kernel_of_predictions_that_the_file_does_not_hold_whole(blobs, path):
    X, y = blobs
    KIPDistiller(predict_kernel=Own(2), **FAST).fit(X, y).export_support(path)
    with pytest.warns(UserWarning, match="Own, of which .*: pass it as 'predict_kernel'"):
        KIPDistiller(**FAST).load_support(path)


NAMES = {
    "str": np.array(["ant", "bee", "cat"]),
    "object": np.array(["ant", "bee", "cat"], dtype=object),
    "int": np.array([-7, 3, 2**40]),
    "float": np.array([1.0, 2.0, 4.0]),
    "bool": np.array([False, True]),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_classes_of_any_type(names, blobs, path):
    X, codes = blobs
    y = names[np.minimum(codes, len(names) - 1)]
    fitted = clone(SOLVER).fit(X, y)
    fitted.export_support(path)
    loaded = clone(SOLVER).load_support(path)
    assert_array_equal(loaded.classes_, names)
    assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.predict(X).dtype.kind == np.array(names.tolist()).dtype.kind


def test_classes_that_need_a_pickle_are_refused(blobs, path):
    X, codes = blobs
    fitted = clone(SOLVER).fit(X, codes)
    fitted.classes_ = np.array([1, None, "cat"], dtype=object)
    with pytest.raises(ValueError, match=r"(?s)without a pickle.*LabelEncoder"):
        fitted.export_support(path)
    assert not path.exists()


def test_what_is_written(blobs, path):
    """Oracle: the published keys, and the estimator's attributes."""
    X, y = blobs
    fitted = LabelSolver(ipc=2, random_state=0, reg=1e-3).fit(X, y)
    arrays, metadata = exported(fitted, path)
    assert arrays.keys() == {"images", "labels", "classes", "metadata"}
    assert_array_equal(arrays["images"], fitted.X_s_)
    assert_array_equal(arrays["labels"], fitted.y_s_)
    assert_array_equal(arrays["classes"], [0, 1, 2])
    assert metadata["estimator"] == repr(fitted)
    assert metadata["kernel"] == "FullyConnected" and metadata["reg"] == 1e-3
    assert metadata["kernel_parameters"] == FullyConnected().get_params(deep=False)
    assert [entry.name for entry in path.parent.iterdir()] == ["support.npz"]


def test_images_have_their_shape(blobs, path):
    X, y = blobs
    fitted = LabelSolver(ipc=2, image_shape=(4, 2, 2), random_state=0).fit(X, y)
    arrays, _ = exported(fitted, path)
    assert_array_equal(arrays["images"], fitted.X_s_.reshape(6, 4, 2, 2))
    loaded = clone(SOLVER).load_support(path)
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))


def test_names_of_features(blobs, path):
    X, y = blobs
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(16)])
    fitted = clone(SOLVER).fit(frame, y)
    fitted.export_support(path)
    loaded = clone(SOLVER).load_support(path)
    assert_array_equal(loaded.feature_names_in_, fitted.feature_names_in_)
    assert_array_equal(loaded.predict(frame), fitted.predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[frame.columns[::-1]])


def test_preprocessed_support(blobs, path):
    """Oracle: the scaler by hand; the file holds rows as the kernel sees them."""
    X, y = blobs
    fitted = KIPDistiller(preprocess=StandardScaler(), **FAST).fit(X, y)
    fitted.export_support(path)
    with pytest.raises(ValueError, match=r"no fitted transformer.* Pipeline.*preprocess=None"):
        clone(fitted).load_support(path)
    with pytest.warns(UserWarning, match=r"in the units after preprocess=StandardScaler\(\)"):
        loaded = KIPDistiller(**FAST).load_support(path)
    Z = fitted.preprocess_.transform(X.astype(np.float32))
    assert_array_equal(loaded.decision_function(Z), fitted.decision_function(X))


def test_components_are_no_images(blobs, path):
    """16 pixels become 4 numbers: 12 rows of them could be taken for 3 images."""
    X, y = blobs
    params = FAST | {"image_shape": (4, 4, 1), "ipc": 4, "max_iter": 1}
    fitted = KIPDistiller(preprocess=PCA(4, random_state=0), **params).fit(X, y)
    arrays, _ = exported(fitted, path)
    assert_array_equal(arrays["images"], fitted.X_s_)


def test_kernel_of_predictions(blobs, path):
    """Oracle: the exported one's predictions, which another kernel makes."""
    X, y = blobs
    distiller = KIPDistiller(predict_kernel="fc2_nngp", **FAST)
    fitted = clone(distiller).fit(X, y)
    fitted.export_support(path)
    loaded = clone(distiller).load_support(path)
    assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    other = KIPDistiller(**FAST).load_support(path)  # it names none, so it takes the file's
    assert_array_equal(other.decision_function(X), fitted.decision_function(X))
    own = KIPDistiller(predict_kernel="fc1", **FAST).load_support(path)
    assert not np.allclose(own.decision_function(X), fitted.decision_function(X))


# --- files of others -----------------------------------------------------------------------------


@pytest.mark.parametrize("distiller", [SOLVER, KIPDistiller("rbf")], ids=["solver", "kip"])
def test_published_set(distiller, published, blobs, path):
    """Oracle: the classifier, fitted on the arrays; classes are 0, 1, 2."""
    X, y = blobs
    np.savez_compressed(path, **published)
    loaded = clone(distiller).load_support(path)
    images = published["images"].reshape(6, 16).astype(np.float32)
    ridge = KernelRidgeNTKClassifier(distiller.kernel, classes=[0, 1, 2])
    expected = ridge.fit(images, published["labels"]).decision_function(X.astype(np.float32))
    assert_array_equal(loaded.decision_function(X), expected)
    assert_array_equal(loaded.classes_, [0, 1, 2])
    assert loaded.score(X, y) > 0.5


def test_one_label_an_image(published, blobs, path):
    """Oracle: the classifier, fitted on the arrays."""
    X, _ = blobs
    names = np.array(["ant", "ant", "bee", "bee", "cat", "cat"])
    images = published["images"].reshape(6, 16).astype(np.float32)
    np.savez(path, images=images, labels=names)
    loaded = clone(SOLVER).load_support(path)
    expected = KernelRidgeNTKClassifier().fit(images, names)
    assert_array_equal(loaded.predict(X), expected.predict(X.astype(np.float32)))
    assert_array_equal(loaded.classes_, ["ant", "bee", "cat"])


def test_loading_forgets_an_earlier_fit(published, blobs, path):
    """Oracle: an estimator that was never fitted."""
    X, y = blobs
    params = FAST | {"loss": "platt", "corruption": 0.3, "snapshots": [0]}
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(16)])
    fitted = KIPDistiller(**params).fit(frame, y)
    np.savez(path, **published)
    fitted.load_support(path)
    fresh = KIPDistiller(**params).load_support(path)
    assert vars(fitted).keys() == vars(fresh).keys()
    assert_array_equal(fitted.decision_function(X), fresh.decision_function(X))


def test_stream_is_forgotten(published, blobs, path):
    """Oracle: a new one that goes on from the file."""
    distiller = KIPDistiller(**FAST).partial_fit(*blobs, classes=[0, 1, 2])
    np.savez(path, **published)
    fresh = KIPDistiller(**FAST).load_support(path).partial_fit(*blobs)
    assert_array_equal(distiller.load_support(path).partial_fit(*blobs).X_s_, fresh.X_s_)
    assert distiller.n_iter_ == 1


# --- what is refused -----------------------------------------------------------------------------


def changed(**arrays):
    return lambda path, published: np.savez(path, **{**published, **arrays})


def truncated(path, published):
    np.savez(path, **published)
    path.write_bytes(path.read_bytes()[:-100])


def without(name):
    def write(path, published):
        np.savez(path, **{key: value for key, value in published.items() if key != name})

    return write


def as_npy(path, published):
    with path.open("wb") as file:
        np.save(file, published["images"])


def flipped(path, published):
    """A byte in the middle of the images."""
    np.savez(path, **published)
    data = bytearray(path.read_bytes())
    data[data.index(published["images"].tobytes()) + 200] ^= 64
    path.write_bytes(data)


NAN = np.full((6, 16), np.nan)
PICKLED = np.array([[{}] * 16] * 6, dtype=object)
FORM = ["must hold numbers, one row of labels for each image"]
BAD = {
    "truncated": (truncated, ["damaged or no support set"]),
    "flipped": (flipped, ["damaged or no support set"]),
    "empty": (lambda path, _: path.write_bytes(b""), ["damaged or no support set"]),
    "text": (lambda path, _: path.write_text("images\n"), ["damaged or no support set"]),
    "npy": (as_npy, ["damaged or no support set", "must be an .npz file"]),
    "no images": (without("images"), ["no images in it"]),
    "no labels": (without("labels"), ["no labels in it"]),
    "pickled": (changed(images=PICKLED), ["damaged or no support set", "without pickles"]),
    "metadata": (changed(metadata="x"), ["damaged or no support set"]),
    "nan images": (changed(images=NAN), ["has NaN or infinite entries"]),
    "inf labels": (changed(labels=np.full((6, 3), np.inf)), ["has NaN or infinite entries"]),
    "lengths": (changed(labels=np.eye(3)), [*FORM, "(6, 4, 4, 1)", "(3, 3)"]),
    "classes": (changed(classes=np.arange(4)), ["column for each of at least 2", "(6, 3)"]),
    "1-D images": (changed(images=np.ones(6)), [*FORM, "(6,)"]),
    "number": (changed(images=1.0, labels=2.0), [*FORM, "shape ()"]),
    "no rows": (changed(images=np.ones((0, 4)), labels=np.ones((0, 3))), [*FORM, "(0, 4)"]),
    "words": (changed(images=np.full((6, 16), "x")), [*FORM, "<U1"]),
    "one class": (changed(labels=np.zeros(6, int)), ["at least 2 classes"]),
}


@pytest.mark.parametrize("write, parts", BAD.values(), ids=BAD)
def test_bad_files(write, parts, published, blobs, path):
    """And a distiller that was fitted stays what it was."""
    fitted = clone(SOLVER).fit(*blobs)
    before = dict(vars(fitted))
    write(path, published)
    with pytest.raises(ValueError) as raised:
        fitted.load_support(path)
    message = str(raised.value)
    assert all(part in message for part in parts), message
    assert path.name in message
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())


def test_no_file(path):
    with pytest.raises(FileNotFoundError):
        clone(SOLVER).load_support(path)


def test_export_before_fit(path):
    with pytest.raises(ValueError, match="not fitted"):  # NotFittedError is one
        clone(SOLVER).export_support(path)
    assert not path.exists()


def test_ridge_of_the_fit_is_loaded(blobs, path):
    distiller = KIPDistiller(reg=0.1, **FAST).fit(*blobs)
    distiller.export_support(path)
    assert KIPDistiller().load_support(path).reg_ == 0.1
    assert KIPDistiller(reg=1e-3).load_support(path).reg_ == 1e-3
    with pytest.warns(UserWarning, match="was made for the kernel FullyConnected"):
        assert KIPDistiller("fc2").load_support(path).reg_ == 0.1  # the same class of kernel
    with pytest.warns(UserWarning, match="was made for the kernel FullyConnected"):
        assert KIPDistiller("rbf").load_support(path).reg_ == RBF().recommended_reg


def test_labels_in_one_column(published, blobs, path):
    np.savez(path, images=blobs[0][:9], labels=np.arange(9)[:, None] % 3)
    assert_array_equal(KIPDistiller().load_support(path).classes_, [0, 1, 2])
