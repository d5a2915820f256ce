"""Support sets in files: .npz with the keys that published sets have, and what else is needed."""

from __future__ import annotations

import json
import math
import os
from typing import Any, NamedTuple

import numpy as np

from kipsk._data._coding import Coding
from kipsk._data._support import Support
from kipsk._storage._files import DAMAGED, write_atomically
from kipsk._types import AnyArray, Estimator, Floats, Given
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel

# What the names of a kernel's arrays begin with.
_ARRAY = "kernel array "


class Stored(NamedTuple):
    """What a file holds of a support set.

    Attributes
    ----------
    support : Support
    coding : Coding
        What its targets stand for.
    metadata : dict
        What kipsk wrote beside the arrays: empty for a file of others.
    feature_names : ndarray or None
    """

    support: Support
    coding: Coding
    metadata: dict[str, Any]
    feature_names: AnyArray | None


def write(distiller: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted distiller's support set; see `BaseDistiller.export_support`."""
    own = distiller._coding.of_attributes(vars(distiller)).arrays
    shape = distiller.image_shape or getattr(distiller.kernel_, "image_shape", None)
    X_s = distiller.X_s_
    # A transformer may give other features than pixels.
    if shape is not None and math.prod(shape) == X_s.shape[1]:
        images = X_s.reshape(-1, *shape)
    else:
        images = X_s
    of_kernel: dict[str, AnyArray] = {}
    metadata = {
        "estimator": repr(distiller),
        **_described(distiller.kernel_, of_kernel),
        "reg": distiller.reg_,
        "preprocess": repr(getattr(distiller, "preprocess_", None)),
        "temperature": getattr(distiller, "temperature_", None),
    }
    arrays = {
        "images": images,
        "labels": distiller.y_s_,
        **own,
        **of_kernel,
        "metadata": np.array(json.dumps(metadata)),
    }
    if hasattr(distiller, "feature_names_in_"):
        arrays["feature_names"] = distiller.feature_names_in_.astype(str)
    write_atomically(path, arrays)


def read(path: str | os.PathLike[str], kind: type[Coding], dtype: str) -> Stored:
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
    X_s, y_s, coding = _rows_and_targets(path, arrays, kind)
    metadata = arrays.get("metadata", {})
    if metadata.get("preprocess", "None") != "None":
        warn(
            f"The rows of {os.fspath(path)!r} are in the units after "
            f"preprocess={metadata['preprocess']}. Predict with rows in these units: "
            "make_pipeline(fitted_transformer, distiller)."
        )
    support = Support(X_s.astype(dtype), y_s)
    return Stored(support, coding, metadata, arrays.get("feature_names"))


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
    coding, y_s = kind.of_file(labels, arrays)
    are_numbers = images.dtype.kind in "biuf" and y_s.dtype.kind in "biuf"
    if not are_numbers or y_s.shape != (len(images), coding.n_outputs):
        raise error
    if not (np.isfinite(images).all() and np.isfinite(y_s).all()):
        raise ValueError(f"The support set {os.fspath(path)!r} has NaN or infinite entries.")
    return images.reshape(len(images), -1), y_s, coding


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the arrays of a file, and its metadata as a dict if there is any."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        missing = {"images", "labels"} - arrays.keys()
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))} in it")
        if "metadata" in arrays:
            arrays["metadata"] = dict(json.loads(str(arrays["metadata"])))
            _restore(arrays["metadata"], arrays)
    except DAMAGED as error:
        raise ValueError(
            f"The file {os.fspath(path)!r} is damaged or no support set ({type(error).__name__}: "
            f"{error}). It must be an .npz file with 'images' and 'labels', without pickles."
        ) from error
    return arrays


def _described(kernel: JaxKernel, arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Return the kind of a kernel and its plain parameters, of kernels inside of it too.

    Parameters that are arrays are put into `arrays`; their names there stand for them.
    """
    parameters: dict[str, Any] = {}
    for name, value in kernel.get_params(deep=False).items():
        if isinstance(value, JaxKernel):
            parameters[name] = _described(value, arrays)
        elif isinstance(value, np.ndarray):
            key = f"{_ARRAY}{len(arrays)}"
            arrays[key], parameters[name] = value, [key]
        elif _is_plain(value):
            parameters[name] = value
    return {"kernel": type(kernel).__name__, "kernel_parameters": parameters}


def _restore(described: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Put arrays in the place of their names."""
    parameters = described.get("kernel_parameters", {})
    for name, value in parameters.items():
        if isinstance(value, dict):
            _restore(value, arrays)
        elif isinstance(value, list) and value[0].startswith(_ARRAY):
            parameters[name] = arrays[value[0]]


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
    """Set what depended on the training rows, such as an "auto" length scale, as it was then."""
    if not is_of_kind(kernel, metadata):
        return kernel
    stored, own = metadata["kernel_parameters"], kernel.get_params(deep=False)
    numbers = {
        name: stored[name]
        for name, value in own.items()
        if isinstance(value, str)
        and (value == "auto" or isinstance(stored.get(name), np.ndarray))
        and name in stored
    }
    inside = {name: as_it_was(k, stored[name]) for name, k in _inside(kernel, metadata).items()}
    return type(kernel)(**{**own, **numbers, **inside})


def _is_plain(value: Given) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
