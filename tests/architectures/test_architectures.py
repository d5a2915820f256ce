"""Architectures as data: the published sequences, shapes, equality, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import kipsk
from kipsk.architectures import (
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Normalize,
    conv_vec,
    convnet,
    fully_connected,
    get_architecture,
    myrtle,
)

LETTERS = {
    Conv(3, 1, "SAME"): "C",
    Activation("relu"): "r",
    Activation("gelu"): "g",
    AvgPool(2): "P",
    GlobalAvgPool(): "G",
    Flatten(): "F",
    Normalize(): "N",
    Dense(): "D",
}


def letters(architecture):
    return "".join(LETTERS[layer] for layer in architecture.layers)


@pytest.mark.parametrize(
    ("architecture", "sequence"),
    [
        (fully_connected(), "F Dr D"),
        (fully_connected(3), "F Dr Dr Dr D"),
        (fully_connected(0), "F D"),
        (conv_vec(), "Cr Cr Cr F D"),
        (conv_vec(1), "Cr F D"),
        (convnet(), "CrP CrP CrP F D"),
        (convnet(3, first_conv=True), "Cr CrP CrP CrP F D"),
        (convnet(2, global_pool=True), "CrP CrP G D"),
        (convnet(2, "gelu", first_conv=True, normalize=True), "CNg CNgP CNgP F D"),
        (myrtle(), "Cr Cr P Cr P Cr G D"),
        (myrtle(7), "Cr Cr P Cr Cr P Cr Cr G D"),
        (myrtle(10), "Cr Cr Cr P Cr Cr Cr P Cr Cr Cr G D"),
    ],
    ids=lambda value: value.replace(" ", "") if isinstance(value, str) else "",
)
def test_published_layers(architecture, sequence):
    assert letters(architecture) == sequence.replace(" ", "")


@pytest.mark.parametrize("depth", [5, 7, 10])
def test_myrtle_counts_its_layers_with_weights(depth):
    layers = myrtle(depth).layers
    assert sum(isinstance(layer, Conv | Dense) for layer in layers) == depth


@pytest.mark.parametrize("make", [fully_connected, conv_vec, convnet, myrtle])
def test_published_deviations_and_options(make):
    default = make()
    assert (default.w_std, default.b_std) == (2**0.5, 0.1)
    assert default.parameterization == "ntk"
    other = make(w_std=1, b_std=0, parameterization="standard")
    assert (other.w_std, other.b_std, other.parameterization) == (1.0, 0.0, "standard")
    assert other.layers == default.layers


# Oracle: counted by hand, from the definitions of the two paddings.
@pytest.mark.parametrize(
    ("layers", "input_shape", "shapes"),
    [
        ((Conv(),), (7, 6, 3), [(7, 6, 9)]),
        ((Conv(3, 2),), (7, 6, 3), [(4, 3, 9)]),
        ((Conv(3, 2, "VALID"),), (7, 6, 3), [(3, 2, 9)]),
        ((Conv(4, 3, "VALID"),), (10, 4, 1), [(3, 1, 9)]),
        ((AvgPool(3), Conv(2)), (9, 6, 3), [(3, 2, 3), (3, 2, 9)]),
        ((AvgPool(), AvgPool(3)), (7, 10, 3), [(3, 5, 3), (1, 1, 3)]),
        ((AvgPool(4),), (4, 7, 3), [(1, 1, 3)]),
        ((Conv(), Normalize(), AvgPool()), (2, 2, 1), [(2, 2, 9), (2, 2, 9), (1, 1, 9)]),
        ((GlobalAvgPool(),), (7, 6, 3), [(3,)]),
    ],
)
def test_shapes_of_images(layers, input_shape, shapes):
    architecture = Architecture((*layers, Flatten(), Dense(), Activation(), Dense()))
    flat = (int(np.prod(shapes[-1])),)
    expected = [input_shape, *shapes, flat, (9,), (9,), (4,)]
    assert architecture.shapes(input_shape, width=9, n_outputs=4) == expected


def test_shapes_of_rows():
    assert fully_connected(1).shapes((20,), 8) == [(20,), (20,), (8,), (8,), (1,)]
    assert fully_connected(0).shapes((4, 5, 1), 8, 2) == [(4, 5, 1), (20,), (2,)]
    assert Architecture((Dense(),)).shapes((20,), 8, 2) == [(20,), (2,)]


def test_shapes_of_published_networks():
    assert convnet(3).shapes((32, 32, 3), 64)[-2] == (4 * 4 * 64,)
    assert conv_vec(3).shapes((32, 32, 3), 64)[-2] == (32 * 32 * 64,)
    assert myrtle(10).shapes((32, 32, 3), 64)[-3:] == [(8, 8, 64), (64,), (1,)]
    assert convnet(5).shapes((32, 32, 3), 64)[-2] == (64,)
    # MNIST: 28 pixels, then 14, 7 and 3.
    assert convnet(3).shapes((28, 28, 1), 64)[-2] == (3 * 3 * 64,)


def test_equal_descriptions_are_equal_keys():
    assert convnet(3) == convnet(3)
    assert hash(convnet(3)) == hash(convnet(3))
    written = Architecture([Conv(np.int64(3)), Activation(), Flatten(), Dense()], np.sqrt(2))
    assert written == conv_vec(1)
    assert hash(written) == hash(conv_vec(1))
    assert isinstance(written.layers, tuple)
    # A numpy scalar among float32 arrays would promote them where x64 is enabled.
    assert type(written.w_std) is type(written.b_std) is float
    assert type(written.layers[0].size) is int
    different = {convnet(3), convnet(2), convnet(3, b_std=0), convnet(3, normalize=True)}
    different |= {convnet(3, "erf"), convnet(3, parameterization="standard"), conv_vec(3)}
    assert len(different) == 7


def test_survives_pickle_and_repr():
    architecture = convnet(2, "gelu", normalize=True, w_std=1.3)
    assert pickle.loads(pickle.dumps(architecture)) == architecture
    assert eval(repr(architecture)) == architecture


def test_is_frozen():
    with pytest.raises(FrozenInstanceError):
        convnet().w_std = 1.0


def test_input_shape_of_rows():
    assert convnet(1).input_shape(12, (2, 2, 3)) == (2, 2, 3)
    assert convnet(1).input_shape(12, [np.int64(2), 2, 3]) == (2, 2, 3)
    assert fully_connected().input_shape(12) == (12,)
    assert fully_connected().input_shape(12, (2, 2, 3)) == (12,)
    assert Architecture((Normalize(), Flatten(), Dense())).needs_images


def error(call):
    with pytest.raises(ValueError) as raised:
        call()
    return str(raised.value)


def with_layers(*layers):
    return lambda: Architecture(layers)


D, F = Dense(), Flatten()


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (with_layers(), ["'layers'", "end with Dense()", "no layer", "append Dense()"]),
        (with_layers(D, Activation("erf")), ["end with Dense()", "Activation(name='erf')"]),
        (lambda: Architecture("FD"), ["'layers'", "tuple of layers", "'FD'"]),
        (lambda: Architecture(D), ["'layers'", "tuple of layers", "Dense()"]),
        (with_layers(F, Dense), ["'layers'", "the class Dense at place 1", "brackets"]),
        (with_layers(F, "relu", D), ["'layers'", "place 1", "'relu'", "Activation('relu')"]),
        (with_layers(F, (D,), D), ["'layers'", "place 1", "(Dense(),)", "nested"]),
        (with_layers(Conv(), D), ["Layer 1, Dense()", "flat", "images", "put Flatten()"]),
        (with_layers(F, Conv(), D), ["Layer 1, Conv(", "images", "flat", "before Flatten()"]),
        (with_layers(GlobalAvgPool(), AvgPool(), D), ["Layer 1, AvgPool(size=2", "before"]),
        (with_layers(F, Normalize(), D), ["Layer 1, Normalize()", "images"]),
        (lambda: Conv(0), ["'size'", "Conv", ">= 1", "0"]),
        (lambda: Conv(3.0), ["'size'", "integer", "3.0"]),
        (lambda: Conv(strides=True), ["'strides'", "integer", "True"]),
        (lambda: Conv(padding="same"), ["'padding'", "'SAME', 'VALID'", "'same'"]),
        (lambda: Activation("tanh"), ["'name'", "'relu', 'erf', 'gelu'", "'tanh'"]),
        (lambda: AvgPool(0), ["'size'", "AvgPool", "0"]),
        (lambda: convnet(w_std=0), ["'w_std'", "> 0", "0"]),
        (lambda: convnet(b_std=-1), ["'b_std'", ">= 0", "-1"]),
        (lambda: convnet(parameterization="mup"), ["'parameterization'", "'ntk'", "'mup'"]),
        (lambda: convnet(0), ["'depth'", "convnet", ">= 1", "0"]),
        (lambda: conv_vec(0), ["'depth'", "conv_vec"]),
        (lambda: fully_connected(-1), ["'depth'", "fully_connected", ">= 0", "-1"]),
        (lambda: myrtle(6), ["'depth'", "myrtle", "[5, 7, 10]", "6"]),
        (lambda: myrtle([5]), ["'depth'", "myrtle", "[5, 7, 10]"]),
    ],
)
def test_refuses_a_description(call, parts):
    message = error(call)
    for part in parts:
        assert part in message


POOL5 = Architecture((AvgPool(5), Flatten(), Dense()))
VALID5 = Architecture((Conv(5, padding="VALID"), Flatten(), Dense()))
TINY = Architecture((AvgPool(), Normalize(), Flatten(), Dense()))


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: convnet(3).shapes((7, 7, 1), 8), ["Layer 8, AvgPool(size=2)", "1 x 1", "larger"]),
        (lambda: convnet(3).shapes((4, 4, 1), 8), ["Layer 8", "1 x 1", "fewer pooling"]),
        (lambda: POOL5.shapes((4, 5, 1), 8), ["Layer 0, AvgPool(size=5)", "its window", "4 x 5"]),
        (lambda: VALID5.shapes((6, 4, 1), 8), ["Layer 0, Conv(size=5", "6 x 4", "larger images"]),
        (lambda: TINY.shapes((2, 2, 1), 8), ["Layer 1, Normalize()", "1 x 1", "larger images"]),
        (lambda: convnet(1).shapes((3072,), 8), ["'input_shape'", "(3072,)", "reshape"]),
        (lambda: Architecture((D,)).shapes((2, 2, 1), 8), ["Layer 0, Dense()", "put Flatten()"]),
        (lambda: convnet(1).shapes((4, 4), 8), ["'input_shape'", "(height, width, channels)"]),
        (lambda: convnet(1).shapes((4, 0, 1), 8), ["'input_shape'", "integers >= 1", "(4, 0, 1)"]),
        (lambda: convnet(1).shapes((4, 4, 1), 0), ["'width'", ">= 1", "0"]),
        (lambda: convnet(1).shapes((4, 4, 1), 1, 0), ["'n_outputs'", ">= 1", "0"]),
    ],
)
def test_refuses_an_input(call, parts):
    message = error(call)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("image_shape", "parts"),
    [
        (None, ["None", "pass the shape", "48 values", "image_shape="]),
        ((4, 4), ["(height, width, channels)", "(4, 4)"]),
        (48, ["(height, width, channels)", "48"]),
        ((4, 4, -3), ["integers >= 1", "(4, 4, -3)"]),
        ((4.0, 4.0, 3.0), ["integers >= 1", "(4.0, 4.0, 3.0)"]),
        ((4, 4, 1), ["48, the number of features", "(4, 4, 1)", "with 16", "single image"]),
    ],
)
def test_refuses_an_image_shape(image_shape, parts):
    message = error(lambda: convnet(1).input_shape(48, image_shape, owner="ConvNet"))
    for part in ["'image_shape' parameter of ConvNet", *parts]:
        assert part in message


def test_refuses_the_shape_of_other_images_also_where_it_is_not_needed():
    assert "with 16" in error(lambda: fully_connected().input_shape(48, (4, 4, 1)))


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("fc2", fully_connected(2)),
        ("conv3", conv_vec(3)),
        ("convnet3", convnet(3)),
        ("convnet", convnet(3, first_conv=True)),
        ("myrtle10", myrtle(10)),
    ],
)
def test_names(name, architecture):
    assert get_architecture(name) == architecture
    assert get_architecture(architecture) is architecture


@pytest.mark.parametrize("name", ["resnet18", "convnet-1", "myrtle", 3, None, Conv()])
def test_refuses_an_unknown_name(name):
    message = error(lambda: get_architecture(name, owner="RandomFeatures"))
    for part in ["'architecture' parameter of RandomFeatures", "convnet1, convnet2", repr(name)]:
        assert part in message


def test_needs_neither_jax_nor_sklearn():
    code = "import sys, kipsk.architectures; print({'jax', 'sklearn'} & set(sys.modules))"
    root = Path(kipsk.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("n_features", "hint"),
    [(784, "(28, 28, 1)"), (3072, "(32, 32, 3)"), (64, "(8, 8, 1)"), (1000, None)],
)
def test_hints_at_the_shape_of_a_square_image(n_features, hint):
    message = error(lambda: convnet(1).input_shape(n_features))
    assert "such as" in message if hint else "such as" not in message
    assert f"image_shape={hint or '...'}" in message
