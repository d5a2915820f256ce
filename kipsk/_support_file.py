"""Support sets in files: .npz with the keys that published sets have, and what else is needed."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipsk._checkpoint import DAMAGED, write_atomically
from kipsk._targets import encode, one_hot
from kipsk.kernels._base import JaxKernel


def write(distiller: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted distiller's support set; see `BaseDistiller.export_support`."""
    classes = np.array(distiller.classes_.tolist())
    if classes.dtype.hasobject:
        raise ValueError(
            "Only classes of one plain type can be exported without a pickle. Got "
            f"{distiller.classes_[:5]!r} instead: encode them, for instance with "
            "sklearn.preprocessing.LabelEncoder."
        )
    shape = distiller.image_shape or getattr(distiller.kernel_, "image_shape", None)
    images = distiller.X_s_ if shape is None else distiller.X_s_.reshape(-1, *shape)
    parameters = distiller.kernel_.get_params(deep=False)
    metadata = {
        "estimator": repr(distiller),
        "kernel": type(distiller.kernel_).__name__,
        "kernel_parameters": {
            name: value for name, value in parameters.items() if _is_plain(value)
        },
        "reg": distiller.reg_,
        "temperature": getattr(distiller, "temperature_", None),
    }
    arrays = {
        "images": images,
        "labels": distiller.y_s_,
        "classes": classes,
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
    images, labels = arrays["images"], arrays["labels"]
    X_s = images.reshape(len(images), -1)
    if labels.ndim == 1:
        classes, codes = encode("load_support", labels)
        y_s = one_hot(codes, len(classes))
    else:
        classes, y_s = arrays.get("classes", np.arange(labels.shape[1])), labels
    if X_s.ndim != 2 or y_s.shape != (len(X_s), len(classes)) or not len(X_s):
        raise ValueError(
            f"The support set {os.fspath(path)!r} must hold one label a row. Got images of shape "
            f"{images.shape}, labels of shape {labels.shape} and {len(classes)} classes instead."
        )
    if not (np.isfinite(X_s).all() and np.isfinite(y_s).all()):
        raise ValueError(f"The support set {os.fspath(path)!r} has NaN or infinite entries.")
    metadata = json.loads(str(arrays["metadata"])) if "metadata" in arrays else {}
    kernel = _as_it_was(kernel, metadata).resolve(X_s)
    distiller._publish(X_s, y_s, classes, kernel, reg, kernel.for_prediction())
    distiller.n_features_in_ = X_s.shape[1]
    if "feature_names" in arrays:
        distiller.feature_names_in_ = arrays["feature_names"].astype(object)
    if metadata.get("temperature") is not None:
        distiller.temperature_ = float(metadata["temperature"])


def _load(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        missing = {"images", "labels"} - arrays.keys()
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))} in it")
    except DAMAGED as error:
        raise ValueError(
            f"The file {os.fspath(path)!r} is damaged or no support set ({type(error).__name__}: "
            f"{error}). It must be an .npz file with 'images' and 'labels', without pickles."
        ) from error
    return arrays


def _as_it_was(kernel: JaxKernel, metadata: dict[str, Any]) -> JaxKernel:
    """Set what depended on the training rows, such as an "auto" length scale, as it was then."""
    stored = metadata.get("kernel_parameters", {})
    if metadata.get("kernel") != type(kernel).__name__:
        return kernel
    own = kernel.get_params(deep=False)
    numbers = {name: stored[name] for name in own if own[name] == "auto" and name in stored}
    return type(kernel)(**{**own, **numbers})


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
