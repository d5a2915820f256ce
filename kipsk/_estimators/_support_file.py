"""Support sets in files: .npz with the keys that published sets have, and what else is needed."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipsk._data._coding import Coding
from kipsk._storage._files import DAMAGED, write_atomically
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel


def write(distiller: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted distiller's support set; see `BaseDistiller.export_support`."""
    own = distiller._coding.of_fitted(distiller).arrays
    shape = distiller.image_shape or getattr(distiller.kernel_, "image_shape", None)
    X_s = distiller.X_s_
    # A transformer may give other features than pixels.
    if shape is not None and math.prod(shape) == X_s.shape[1]:
        images = X_s.reshape(-1, *shape)
    else:
        images = X_s
    metadata = {
        "estimator": repr(distiller),
        **_described(distiller.kernel_),
        "reg": distiller.reg_,
        "preprocess": repr(getattr(distiller, "preprocess_", None)),
        "temperature": getattr(distiller, "temperature_", None),
    }
    arrays = {
        "images": images,
        "labels": distiller.y_s_,
        **own,
        "metadata": np.array(json.dumps(metadata)),
    }
    if hasattr(distiller, "feature_names_in_"):
        arrays["feature_names"] = distiller.feature_names_in_.astype(str)
    write_atomically(path, arrays)


def read(distiller: Any, path: str | os.PathLike[str], kernel: JaxKernel, reg: float) -> None:
    """Publish what a file holds on a distiller; see `BaseDistiller.load_support`."""
    if getattr(distiller, "preprocess", None) is not None:
        raise ValueError(
            "A file holds no fitted transformer. Put it before the distiller in a Pipeline, and "
            "load into one with preprocess=None."
        )
    arrays = _load(path)
    X_s, y_s, coding = _rows_and_targets(path, arrays, distiller._coding)
    X_s = X_s.astype(distiller.dtype)
    if arrays.get("metadata", {}).get("preprocess", "None") != "None":
        warn(
            f"The rows of {os.fspath(path)!r} are in the units after "
            f"preprocess={arrays['metadata']['preprocess']}. Predict with rows in these units: "
            "make_pipeline(fitted_transformer, distiller)."
        )
    metadata = arrays.get("metadata", {})
    if distiller.reg == "auto" and _is_of_kind(kernel, metadata):
        reg = float(metadata["reg"])
    kernel = _as_it_was(kernel, metadata).resolve(X_s)
    predict_kernel = kernel.for_prediction()
    if getattr(distiller, "predict_kernel", None) is not None:
        predict_kernel = distiller._get_kernel(distiller.predict_kernel).resolve(X_s)
    attributes = distiller._fitted(X_s, y_s, coding, kernel, reg, predict_kernel)
    for name in list(vars(distiller)):
        if name.endswith("_") or name in ("_regs", "_size", "_stream"):  # of an earlier fit
            delattr(distiller, name)
    distiller.__dict__.update(attributes)
    distiller.n_features_in_ = X_s.shape[1]
    if "feature_names" in arrays:
        distiller.feature_names_in_ = arrays["feature_names"].astype(object)
    if metadata.get("temperature") is not None:
        distiller.temperature_ = float(metadata["temperature"])


def _rows_and_targets(
    path: str | os.PathLike[str], arrays: dict[str, Any], kind: type[Coding]
) -> tuple[NDArray[Any], NDArray[Any], Coding]:
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
    except DAMAGED as error:
        raise ValueError(
            f"The file {os.fspath(path)!r} is damaged or no support set ({type(error).__name__}: "
            f"{error}). It must be an .npz file with 'images' and 'labels', without pickles."
        ) from error
    return arrays


def _described(kernel: JaxKernel) -> dict[str, Any]:
    """Return the kind of a kernel and its plain parameters, of kernels inside of it too."""
    parameters = {
        name: _described(value) if isinstance(value, JaxKernel) else value
        for name, value in kernel.get_params(deep=False).items()
        if _is_plain(value) or isinstance(value, JaxKernel)
    }
    return {"kernel": type(kernel).__name__, "kernel_parameters": parameters}


def _inside(kernel: JaxKernel, metadata: dict[str, Any]) -> dict[str, JaxKernel]:
    """Return, by parameter, the kernels inside of one that were described by a file."""
    stored = metadata.get("kernel_parameters", {})
    own = kernel.get_params(deep=False)
    return {name: get_kernel(own[name]) for name in own if isinstance(stored.get(name), dict)}


def _is_of_kind(kernel: JaxKernel, metadata: dict[str, Any]) -> bool:
    """Return whether a kernel is of the kind that a file describes, inside as well."""
    if metadata.get("kernel") != type(kernel).__name__:
        return False
    stored = metadata["kernel_parameters"]
    return all(_is_of_kind(k, stored[name]) for name, k in _inside(kernel, metadata).items())


def _as_it_was(kernel: JaxKernel, metadata: dict[str, Any]) -> JaxKernel:
    """Set what depended on the training rows, such as an "auto" length scale, as it was then."""
    if not _is_of_kind(kernel, metadata):
        return kernel
    stored, own = metadata["kernel_parameters"], kernel.get_params(deep=False)
    numbers = {name: stored[name] for name in own if own[name] == "auto" and name in stored}
    inside = {name: _as_it_was(k, stored[name]) for name, k in _inside(kernel, metadata).items()}
    return type(kernel)(**{**own, **numbers, **inside})


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
