"""Names of kernels, and parameters that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF as SklearnRBF

from kipsk.kernels import (
    RBF,
    ConvNet,
    FullyConnected,
    Invariant,
    Landmarks,
    Laplace,
    Myrtle,
    RandomFeatures,
    get_kernel,
)
from kipsk.kernels._registry import of_images

X = np.random.default_rng(0).standard_normal((4, 3))


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("fc0", FullyConnected(0)),
        ("fc1", FullyConnected(1)),
        ("fc3", FullyConnected(3)),
        ("fc12", FullyConnected(12)),
        ("fc2_ntk", FullyConnected(2, "ntk")),
        ("fc1_nngp", FullyConnected(1, "nngp")),
        ("fc2_exp", FullyConnected(2, activation="exp")),
        ("myrtle5_exp_nngp", Myrtle(5, "nngp", activation="exp")),
        ("convnet3_exp", ConvNet(3, activation="exp")),
        ("rbf", RBF()),
        ("laplace", Laplace()),
        ("rf_convnet", RandomFeatures("convnet")),
        ("patches", RandomFeatures("shallow", 16, filters="patches", resample=False)),
        ("patches2", RandomFeatures("shallow2", 16, filters="patches", resample=False)),
        ("rf_fc2", RandomFeatures("fc2")),
    ],
)
def test_name(name, kernel):
    found = get_kernel(name)
    assert type(found) is type(kernel)
    assert found == kernel


def test_parameters_come_with_the_name_or_replace_its_own():
    assert get_kernel("fc2_nngp", b_std=0.0) == FullyConnected(2, "nngp", b_std=0.0)
    assert get_kernel("fc2", depth=3, activation="erf") == FullyConnected(3, activation="erf")
    assert get_kernel("rbf", length_scale=2.0) == RBF(2.0)


def test_kernel_object_is_returned_as_it_is_or_copied():
    kernel = FullyConnected(2)
    assert get_kernel(kernel) is kernel
    other = get_kernel(kernel, kind="nngp")
    assert other == FullyConnected(2, "nngp")
    assert kernel == FullyConnected(2)


def test_the_shape_of_images_reaches_the_kernel_inside():
    shape, other = (8, 8, 3), (4, 4, 1)
    for kernel in ("convnet3", ConvNet(3), ConvNet(3, image_shape=shape)):
        assert of_images(kernel, list(shape)) == ConvNet(3, image_shape=shape)
        found = of_images(Landmarks(kernel, 7, random_state=2), shape)
        assert found == Landmarks(ConvNet(3, image_shape=shape), 7, random_state=2)
    twice = of_images(Landmarks(Landmarks("patches")), shape)
    assert twice.kernel.kernel == get_kernel("patches", image_shape=shape)
    # What knows its shape, asks for none, or passes its own on is left as it is.
    for kernel in (
        Landmarks("fc1"),
        Landmarks(ConvNet(3, image_shape=other)),
        Invariant("convnet3", image_shape=other),
    ):
        assert of_images(kernel, shape) is kernel
    assert of_images(Landmarks("convnet3"), None).kernel == "convnet3"


def test_invariant_passes_its_shape_on_through_landmarks():
    """Oracle: the same kernel with the shape written out."""
    rows, shape = np.random.default_rng(1).standard_normal((6, 16)), (4, 4, 1)
    kernel = Invariant(
        Landmarks(RandomFeatures("convnet1", 2, 4, resample=False), landmarks=rows[:3]),
        image_shape=shape,
    )
    inner = RandomFeatures("convnet1", 2, 4, resample=False, image_shape=shape)
    expected = Invariant(Landmarks(inner, landmarks=rows[:3]), image_shape=shape)
    np.testing.assert_array_equal(kernel(rows), expected(rows))


@pytest.mark.parametrize(
    "name", ["foo", "fc", "fc-1", "fc1.5", "FC1", "fc1_", " rbf", "", "fc1_gp"]
)
def test_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"Unknown kernel name .*fc1.*fc1_nngp.*rbf.*laplace") as e:
        get_kernel(name)
    assert repr(name) in str(e.value)


@pytest.mark.parametrize("kernel", [None, 3, np.eye(2), np.dot, FullyConnected, SklearnRBF()])
def test_wrong_type(kernel):
    with pytest.raises(TypeError, match=r"'kernel' parameter must be a name or a kernel.* Got"):
        get_kernel(kernel)


def test_unknown_parameter_is_named():
    with pytest.raises(TypeError, match="depht"):
        get_kernel("fc1", depht=2)


@pytest.mark.parametrize(
    ("kernel", "parameter", "rule"),
    [
        (FullyConnected(depth=-1), "depth", "an integer >= 0"),
        (FullyConnected(depth=1.5), "depth", "an integer >= 0"),  # type: ignore[arg-type]
        (FullyConnected(depth=True), "depth", "an integer >= 0"),
        (FullyConnected(depth="1"), "depth", "an integer >= 0"),  # type: ignore[arg-type]
        (FullyConnected(kind="ntkk"), "kind", r"one of \['ntk', 'nngp'\]"),
        (FullyConnected(kind=None), "kind", r"one of \['ntk'"),  # type: ignore[arg-type]
        (FullyConnected(w_std=0), "w_std", "a finite number > 0"),
        (FullyConnected(w_std=-1.0), "w_std", "a finite number > 0"),
        (FullyConnected(w_std=float("nan")), "w_std", "a finite number > 0"),
        (FullyConnected(w_std=float("inf")), "w_std", "a finite number > 0"),
        (FullyConnected(b_std=-0.1), "b_std", "a finite number >= 0"),
        (FullyConnected(b_std=False), "b_std", "a finite number >= 0"),
        (FullyConnected(activation="tanh"), "activation", "one of .*'relu', 'erf', 'gelu'"),
        (RBF(0), "length_scale", "a finite number > 0"),
        (RBF("median"), "length_scale", r"one of \['auto'\]"),
        (RBF(None), "length_scale", "a finite number > 0"),  # type: ignore[arg-type]
        (Laplace(-1.0), "length_scale", "a finite number > 0"),
        (Laplace(float("nan")), "length_scale", "a finite number > 0"),
        (RandomFeatures("resnet"), "architecture", r"an Architecture or one of its names \(fc1"),
        (RandomFeatures("fc1", 0), "n_networks", "an integer >= 1"),
        (RandomFeatures("fc1", width=2.5), "width", "an integer >= 1"),  # type: ignore[arg-type]
        (RandomFeatures("fc1", kind="gp"), "kind", r"one of \['nngp', 'ntk'\]"),
        (RandomFeatures("fc1", resample=1), "resample", "True or False"),  # type: ignore[arg-type]
        (RandomFeatures("fc1", random_state=-1), "random_state", "an integer >= 0"),
        (RandomFeatures("fc1", random_state=2**32), "random_state", "an integer <= 4294967295"),
        (RandomFeatures("fc1", random_state=None), "random_state", "an"),  # type: ignore[arg-type]
        (RandomFeatures("convnet1"), "image_shape", r"\(height, width, channels\)"),
    ],
    ids=repr,
)
def test_bad_parameter_says_rule_and_value(kernel, parameter, rule):
    value = repr(getattr(kernel, parameter)).replace("(", r"\(").replace(")", r"\)")
    message = rf"'{parameter}' parameter of {type(kernel).__name__} must be {rule}.* Got {value}"
    with pytest.raises(ValueError, match=message):
        kernel(X)


def test_numpy_numbers_are_numbers():
    kernel = FullyConnected(np.int64(2), w_std=np.float32(1.5), b_std=0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(kernel(X), FullyConnected(2, w_std=1.5, b_std=0.0)(X))


@pytest.mark.parametrize("kernel", [RBF(), Laplace()])
def test_function_of_an_unresolved_kernel_says_what_to_call(kernel):
    with pytest.raises(ValueError, match=r"'length_scale' parameter of .*'auto'.*resolve\(X\)"):
        kernel.function()


@pytest.mark.parametrize("shape", [(4, 8, 8, 3), (4, 8, 8)])
@pytest.mark.parametrize("kernel", [FullyConnected(), RBF(), RBF(1.0), Laplace()], ids=repr)
def test_images_are_refused_with_the_reshape_to_use(kernel, shape):
    images = np.zeros(shape)
    for call in (kernel, kernel.diag):
        with pytest.raises(ValueError, match=r"X\.reshape\(len\(X\), -1\)"):
            call(images)
    with pytest.raises(ValueError, match=r"Y\.reshape\(len\(Y\), -1\)"):
        kernel(images.reshape(4, -1), images)


@pytest.mark.parametrize("kernel", [FullyConnected(), RBF(), Laplace()], ids=repr)
def test_different_numbers_of_features(kernel):
    with pytest.raises(ValueError, match=r"same number of features.*\(4, 3\).*\(4, 2\)"):
        kernel(X, X[:, :2])


def test_rows_that_are_not_numbers():
    with pytest.raises(ValueError, match="could not convert string to float"):
        FullyConnected()([["a", "b"], ["c", "d"]])
