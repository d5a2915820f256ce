"""Support sets in files: .npz with the keys that published sets have, and what else is needed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from numbers import Integral
from typing import Any, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np

from kipsk import architectures, kernels
from kipsk._data._coding import Coding
from kipsk._data._support import Support
from kipsk._distil._mosaic import Mosaic
from kipsk._estimators._support_metadata import (
    check_feature_names,
    check_kernel_of_file,
    check_metadata,
)
from kipsk._jax import own_settings
from kipsk._storage._files import DAMAGED, read_arrays, read_json, write_atomically
from kipsk._types import AnyArray, Estimator, Floats, Given
from kipsk._warn import warn
from kipsk.architectures import Architecture
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel

# What the names of a kernel's arrays begin with.
_ARRAY = "kernel array "

# By name the classes that a file may make a layer of: nothing else of the module is called.
_LAYERS = {kind.__name__: kind for kind in get_args(architectures.Layer)}

# Bytes of the images that mosaics are enlarged to, at most.
_MOST_ENLARGED = 2**33


class StoredSupport(NamedTuple):
    """What a file holds of a support set.

    Attributes
    ----------
    support : Support
    coding : Coding
        What its targets stand for.
    metadata : dict
        What kipsk wrote beside the arrays: empty for a file of others.
    feature_names : ndarray or None
    mosaics : ndarray of shape (n_stored, n_features), or None
        The images that the rows of the support are parts of.
    mosaic : Mosaic or None
        How they are.
    """

    support: Support
    coding: Coding
    metadata: dict[str, Any]
    feature_names: AnyArray | None
    mosaics: Floats | None
    mosaic: Mosaic | None


class Loaded(NamedTuple):
    """The kernels that a loaded support set predicts with.

    Attributes
    ----------
    kernel : JaxKernel
    is_stored : bool
        Whether it is the file's, and not the estimator's own.
    predict_kernel : JaxKernel or None
        The kernel that the exported set predicted with; None if the file does not say.
    """

    kernel: JaxKernel
    is_stored: bool
    predict_kernel: JaxKernel | None


def write(distiller: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted distiller's support set; see `BaseDistiller.export_support`."""
    own = distiller._coding.of_attributes(vars(distiller)).arrays
    shape = distiller.image_shape or getattr(distiller.kernel_, "image_shape", None)
    name, images = "images", distiller.X_s_
    if hasattr(distiller, "mosaics_"):  # of which X_s_ is made, in the storage of factor^2 times it
        name, images, shape = "mosaics", distiller.mosaics_, distiller._mosaic.shape
    # A transformer may give other features than pixels.
    if shape is not None and math.prod(shape) == images.shape[1]:
        images = images.reshape(-1, *shape)
    of_kernel: dict[str, AnyArray] = {}
    metadata = {
        "estimator": repr(distiller),
        **_described(distiller.kernel_, of_kernel),
        "reg": distiller.reg_,
        "preprocess": repr(getattr(distiller, "preprocess_", None)),
        "temperature": getattr(distiller, "temperature_", None),
    }
    if distiller.predictor_.kernel != distiller.kernel_:
        metadata["predict_kernel"] = _described(distiller.predictor_.kernel, of_kernel)
    arrays = {
        name: images,
        "labels": distiller.y_s_,
        **own,
        **of_kernel,
        "metadata": np.array(json.dumps(metadata)),
    }
    if hasattr(distiller, "feature_names_in_"):
        arrays["feature_names"] = distiller.feature_names_in_.astype(str)
    write_atomically(path, arrays)


def read(path: str | os.PathLike[str], kind: type[Coding], dtype: str) -> StoredSupport:
    """Return what a file holds, checked; see `BaseDistiller.load_support`.

    Parameters
    ----------
    path : str or path-like
    kind : type of Coding
        What the estimator that loads it takes y for.
    dtype : str
        Of the rows.
    """
    arrays = _load(path)
    mosaics, mosaic = arrays.get("mosaics"), None
    if mosaics is not None:
        mosaic = _mosaic_of(path, mosaics, arrays["labels"], dtype)
        with np.errstate(over="ignore"):  # reported just below
            mosaics = mosaics.reshape(len(mosaics), -1).astype(dtype)
        _check_finite(path, mosaics)
        with own_settings():  # in float64 if the rows are
            arrays["images"] = np.asarray(mosaic.enlarged(jnp.asarray(mosaics)))
    X_s, y_s, coding = _rows_and_targets(path, arrays, kind)
    metadata = arrays.get("metadata", {})
    names = arrays.get("feature_names")
    try:
        if names is not None:
            check_feature_names(names, X_s.shape[1])
        for described in (metadata, metadata.get("predict_kernel", {})):
            kernel = kernel_of(described)
            if kernel is not None:
                check_kernel_of_file(kernel, X_s.shape[1])
    except DAMAGED as error:
        raise _no_support_set(path, error) from error
    if metadata.get("preprocess", "None") != "None":
        warn(
            f"The rows of {os.fspath(path)!r} are in the units after "
            f"preprocess={metadata['preprocess']}. Predict with rows in these units: "
            "make_pipeline(fitted_transformer, distiller)."
        )
    with np.errstate(over="ignore"):  # reported just below
        X_s = X_s.astype(dtype)
    _check_finite(path, X_s)
    return StoredSupport(Support(X_s, y_s), coding, metadata, names, mosaics, mosaic)


def _mosaic_of(
    path: str | os.PathLike[str], mosaics: AnyArray, labels: AnyArray, dtype: str
) -> Mosaic:
    """Return how mosaics are made of images, one for each row of labels; raise if they are not."""
    are_images = mosaics.ndim == 4 and mosaics.size and mosaics.dtype.kind in "biuf"
    factor = math.isqrt(len(labels) // len(mosaics)) if are_images and labels.ndim else 0
    is_whole = factor and len(labels) == len(mosaics) * factor**2
    if not is_whole or any(side % factor for side in mosaics.shape[1:3]):
        raise ValueError(
            f"The support set {os.fspath(path)!r} must hold mosaics of shape (n, H, W, C), all "
            "numbers, and n * f**2 rows of labels for some divisor f of H and W. Got mosaics of "
            f"shape {mosaics.shape} and labels of shape {labels.shape} instead."
        )
    height, width, channels = mosaics.shape[1:]
    if len(labels) * math.prod(mosaics.shape[1:]) * np.dtype(dtype).itemsize > _MOST_ENLARGED:
        raise ValueError(
            f"The mosaics of {os.fspath(path)!r} would be enlarged to {len(labels)} images of "
            f"{height} x {width} x {channels}, more than {_MOST_ENLARGED / 2**30:.0f} GiB: store "
            "fewer, or smaller ones."
        )
    return Mosaic((height, width, channels), factor)


def _rows_and_targets(
    path: str | os.PathLike[str], arrays: dict[str, Any], kind: type[Coding]
) -> tuple[Floats, Floats, Coding]:
    """Return the rows and targets of a file's arrays, checked, and what the targets stand for."""
    images, labels = arrays["images"], arrays["labels"]
    error = ValueError(
        f"The support set {os.fspath(path)!r} must hold numbers, one row of labels for each image "
        f"and one of its columns for each class. Got images of shape {images.shape} and dtype "
        f"{images.dtype}, and labels of shape {labels.shape} and dtype {labels.dtype} instead."
    )
    if images.ndim < 2 or not images.size or labels.shape[:1] != images.shape[:1]:
        raise error
    try:
        coding, y_s = kind.of_file(labels, arrays)
    except (ValueError, TypeError) as reason:
        raise ValueError(f"The support set {os.fspath(path)!r} is refused. {reason}") from reason
    are_numbers = images.dtype.kind in "biuf" and y_s.dtype.kind in "biuf"
    if not are_numbers or y_s.shape != (len(images), coding.n_outputs):
        raise error
    _check_finite(path, images)
    _check_finite(path, y_s)
    return images.reshape(len(images), -1), y_s, coding


def _check_finite(path: str | os.PathLike[str], array: AnyArray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(
            f"The support set {os.fspath(path)!r} has NaN or infinite entries, or such as "
            "dtype='float32' has no numbers for: it must hold finite ones."
        )


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the arrays of a file, and its metadata as a dict if there is any."""
    try:
        arrays: dict[str, Any] = read_arrays(path)
        missing = {"images", "labels"} - arrays.keys()
        missing -= {"images"} if "mosaics" in arrays else set()
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))} in it")
        if "metadata" in arrays:
            arrays["metadata"] = read_json(arrays["metadata"])
            check_metadata(arrays["metadata"])
            _restore(arrays["metadata"], arrays)
            _restore(arrays["metadata"].get("predict_kernel", {}), arrays)
    except DAMAGED as error:
        raise _no_support_set(path, error) from error
    return arrays


def _no_support_set(path: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(
        f"The file {os.fspath(path)!r} is damaged or no support set ({type(error).__name__}: "
        f"{error}). It must be an .npz file with 'images' and 'labels', without pickles."
    )


def _described(kernel: JaxKernel, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Return the kind of a kernel and its plain parameters, of kernels inside of it too.

    Parameters that are arrays are put into `arrays`; lists of one name stand for them there.
    Parameters that are no plain values are named under "left_out", as is "class" for a kernel that
    is not one of kipsk's.
    """
    parameters: dict[str, Any] = {}
    left_out = [] if _public(type(kernel).__name__) is type(kernel) else ["class"]
    for name, value in kernel.get_params(deep=False).items():
        if isinstance(value, JaxKernel):
            parameters[name] = _described(value, arrays)
        elif isinstance(value, np.ndarray):
            key = f"{_ARRAY}{len(arrays)}"
            arrays[key], parameters[name] = value, [key]
        elif _is_plain(value) or (isinstance(value, list | tuple) and _are_integers(value)):
            parameters[name] = value if _is_plain(value) else [int(n) for n in value]
        elif isinstance(value, Architecture):
            layers = [[type(layer).__name__, asdict(layer)] for layer in value.layers]
            parameters[name] = {**vars(value), "layers": layers}
        else:
            left_out.append(name)
    return {
        "kernel": type(kernel).__name__,
        "kernel_parameters": parameters,
        "left_out": left_out,
    }


def _restore(described: dict[str, Any], arrays: Mapping[str, Any]) -> None:
    """Put arrays in the place of their names, tuples of other lists, and make architectures."""
    parameters = described.get("kernel_parameters", {})
    for name, value in parameters.items():
        if isinstance(value, dict) and "layers" in value:
            layers = tuple(_LAYERS[kind](**own) for kind, own in value["layers"])
            parameters[name] = Architecture(**{**value, "layers": layers})
        elif isinstance(value, dict):
            _restore(value, arrays)
        elif isinstance(value, list):
            is_name = len(value) == 1 and isinstance(value[0], str)
            parameters[name] = arrays[value[0]] if is_name else tuple(value)


def kernels_to_load(
    path: str | os.PathLike[str],
    owner: str,
    own: JaxKernel,
    is_default: bool,
    metadata: dict[str, Any],
) -> Loaded:
    """Return the kernels to predict with; warn if they are not those of the file.

    Parameters
    ----------
    path : str or path-like
    owner : str
        The estimator's name, for the warning.
    own : JaxKernel
        The estimator's kernel.
    is_default : bool
        Whether the user left it as it is if nothing is said.
    metadata : dict
        What `read` found.
    """
    own = as_it_was(own, metadata)
    if "kernel" not in metadata:  # a file of others
        return Loaded(own, False, None)
    stored = kernel_of(metadata)
    is_stored = False
    if not is_described(own, metadata):
        if stored is None or not is_default:
            made_for = metadata["kernel"] if stored is None else repr(stored)
            also = "" if stored is None else ", or leave 'kernel' out to take it from the file"
            warn(
                f"The set in {os.fspath(path)!r} was made for the kernel {made_for}, and this "
                f"{owner} predicts with {own!r}: its scores may be far lower. Pass the set's "
                f"kernel as 'kernel'{also}."
            )
            return Loaded(own, False, None)
        own, is_stored = stored, True
    if "predict_kernel" not in metadata:
        return Loaded(own, is_stored, own if "left_out" in metadata else None)
    predict = kernel_of(metadata["predict_kernel"])
    if predict is None:
        warn(
            f"The set in {os.fspath(path)!r} predicted with another kernel than it was made for, "
            f"{metadata['predict_kernel']['kernel']}, of which the file does not hold all "
            "parameters: pass it as 'predict_kernel'."
        )
    return Loaded(own, is_stored, predict)


def kernel_of(metadata: dict[str, Any]) -> JaxKernel | None:
    """Return the kernel that a file describes; None if it does not describe all of it."""
    kind = _public(metadata.get("kernel", ""))
    if kind is None or metadata.get("left_out", ["unknown"]):
        return None
    parameters = dict(metadata["kernel_parameters"])
    for name, value in parameters.items():
        if isinstance(value, dict):
            parameters[name] = kernel_of(value)
            if parameters[name] is None:
                return None
    try:
        return kind(**parameters)
    except TypeError:  # a parameter that this version of kipsk does not have
        return None


def is_described(kernel: JaxKernel, metadata: dict[str, Any]) -> bool:
    """Return whether a kernel has all parameters that a file describes."""
    arrays: dict[str, AnyArray] = {}
    own = json.loads(json.dumps(_described(kernel, arrays)))
    _restore(own, arrays)
    return _has_all(own, metadata)


def _has_all(own: dict[str, Any], stored: dict[str, Any]) -> bool:
    parameters = own["kernel_parameters"]
    return bool(own["kernel"] == stored["kernel"]) and all(
        name in parameters
        and (
            isinstance(parameters[name], dict) and _has_all(parameters[name], value)
            if isinstance(value, dict)
            else np.array_equal(parameters[name], value)
        )
        for name, value in stored["kernel_parameters"].items()
    )


def _inside(kernel: JaxKernel, metadata: dict[str, Any]) -> dict[str, JaxKernel]:
    """Return, by parameter, the kernels inside of one that were described by a file."""
    stored = metadata.get("kernel_parameters", {})
    own = kernel.get_params(deep=False)
    return {name: get_kernel(own[name]) for name in own if isinstance(stored.get(name), dict)}


def is_of_kind(kernel: JaxKernel, metadata: dict[str, Any]) -> bool:
    """Return whether a kernel is of the kind that a file describes, inside as well."""
    if metadata.get("kernel") != type(kernel).__name__:
        return False
    stored = metadata["kernel_parameters"]
    return all(is_of_kind(k, stored[name]) for name, k in _inside(kernel, metadata).items())


def as_it_was(kernel: JaxKernel, metadata: dict[str, Any]) -> JaxKernel:
    """Set what the user left open, such as an "auto" length scale, as it was then.

    That is what depended on the training rows, and the shape of images.
    """
    if not is_of_kind(kernel, metadata):
        return kernel
    stored, own = metadata["kernel_parameters"], kernel.get_params(deep=False)
    left_open = {
        name: stored[name]
        for name, value in own.items()
        if name in stored
        and (
            (isinstance(value, str) and value == "auto")
            or (isinstance(value, str) and isinstance(stored[name], np.ndarray))
            or (value is None and name == "image_shape")
        )
    }
    inside = {name: as_it_was(k, stored[name]) for name, k in _inside(kernel, metadata).items()}
    return type(kernel)(**{**own, **left_open, **inside})


def _public(name: str) -> type[JaxKernel] | None:
    """Return the class of kipsk.kernels with a name."""
    kind = getattr(kernels, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, JaxKernel) else None


def _is_plain(value: Given) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _are_integers(values: Sequence[Given]) -> bool:
    return all(isinstance(value, Integral) for value in values)
