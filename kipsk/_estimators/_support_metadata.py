"""What a support set's file says beside its arrays, held to what kipsk writes there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kipsk._types import AnyArray, Given
from kipsk.kernels._base import JaxKernel

# The largest whole numbers that a file may set: each layer is compiled, and each network has a
# feature for each unit of its width.
_MOST = {
    "depth": 1000,
    "degree": 100,
    "n_networks": 2**20,
    "width": 2**20,
    "n_components": 2**24,
    "size": 2**12,
    "image_shape": 2**24,
}
_MOST_LAYERS = 1000
_MOST_FEATURES = 2**24


def check_metadata(metadata: dict[str, Any]) -> None:
    """Refuse what kipsk does not write: other types, and numbers that no machine could honour.

    Parameters
    ----------
    metadata : dict
        What a file holds beside its arrays.

    Raises
    ------
    ValueError
        With the name of what is wrong.
    """
    if "kernel" in metadata:
        _check_kernel("kernel", metadata)
        _check_number("reg", metadata.get("reg"), zero=True)
    if "predict_kernel" in metadata:
        _check_kernel("predict_kernel", metadata["predict_kernel"])
    if metadata.get("temperature") is not None:
        _check_number("temperature", metadata["temperature"])
    if not isinstance(metadata.get("preprocess", "None"), str):
        raise ValueError("its 'preprocess' is no text")


def _check_number(name: str, value: Given, zero: bool = False) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and np.isfinite(value) and (value > 0 or (zero and value == 0))):
        raise ValueError(f"its {name!r} is {value!r:.80}, and no number {'>=' if zero else '>'} 0")


def _check_kernel(name: str, described: Given) -> None:
    """Refuse a description of a kernel that `_restore` cannot read."""
    if not isinstance(described, dict) or not isinstance(described.get("kernel"), str):
        raise ValueError(f"its {name!r} is no description of a kernel")
    parameters = described.get("kernel_parameters")
    left_out = described.get("left_out", [])  # older files have none
    if not isinstance(parameters, dict) or not isinstance(left_out, list):
        raise ValueError(f"its {name!r} has no 'kernel_parameters'")
    for key, value in parameters.items():
        if isinstance(value, dict) and "layers" in value:
            _check_layers(key, value["layers"])
        elif isinstance(value, dict):
            _check_kernel(key, value)
        for number in _numbers(value):
            if abs(number) > _MOST.get(key, np.inf):
                raise ValueError(f"its {key!r} is {number}, more than {_MOST[key]}")


def _check_layers(name: str, layers: Given) -> None:
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        raise ValueError(f"its {name!r} has no list of at most {_MOST_LAYERS} layers")
    for layer in layers:
        is_pair = isinstance(layer, list) and len(layer) == 2
        if not (is_pair and isinstance(layer[0], str) and isinstance(layer[1], dict)):
            raise ValueError(f"its {name!r} has a layer that is {layer!r:.80}")
        for key, value in layer[1].items():
            for number in _numbers(value):
                if abs(number) > _MOST.get(key, 2**24):
                    raise ValueError(f"its {name!r} has a layer whose {key!r} is {number}")


def _numbers(value: Given) -> Iterator[float]:
    values = value if isinstance(value, list) else [value]
    yield from (one for one in values if isinstance(one, int | float))


def check_kernel_of_file(kernel: JaxKernel, n_features: int) -> None:
    """Refuse a kernel that cannot be computed for rows of so many features.

    Raises
    ------
    ValueError
        If a parameter breaks its rule, or a row had more numbers than can be meant.
    """
    size = kernel._step_function().row_size(n_features)
    if size > _MOST_FEATURES:
        raise ValueError(f"its kernel {kernel!r:.200} makes {size} numbers of each row")


def check_feature_names(names: AnyArray, n_features: int) -> None:
    """Refuse names that are not one text for each feature."""
    if names.shape != (n_features,) or names.dtype.kind != "U" or len(set(names)) < n_features:
        raise ValueError(
            f"its 'feature_names' are an array of shape {names.shape} and dtype {names.dtype}, and "
            f"not {n_features} different names"
        )
