"""Moments in files: .npz, without pickles."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import numpy as np

from kipsk._distil._moments import Sums
from kipsk._storage._files import DAMAGED, read_arrays, read_json, write_atomically
from kipsk._types import AnyArray, Estimator

_FORMAT = "kipsk moments 1"


class StoredMoments(NamedTuple):
    """What a file holds of moments.

    Attributes
    ----------
    sums : Sums
    facts : dict
        What the moments must have in common with others, as `description_of` tells it, and more.
    is_1d : bool
        Whether y had one dimension.
    n_features : int
        Features of X.
    feature_names, classes : ndarrays or None
    """

    sums: Sums
    facts: dict[str, Any]
    is_1d: bool
    n_features: int
    feature_names: AnyArray | None
    classes: AnyArray | None


def write(moments: Estimator, path: str | os.PathLike[str]) -> None:
    """Write fitted moments; see `Moments.save`."""
    facts = {
        "format": _FORMAT,
        "is_1d": moments._is_1d,
        "n_features_in": moments.n_features_in_,
        **moments._description,
    }
    arrays: dict[str, AnyArray] = {
        f"sum {k}": np.asarray(v) for k, v in moments._sums._asdict().items()
    }
    arrays["facts"] = np.array(json.dumps(facts))
    if moments.classes is not None:
        arrays["classes"] = moments.classes_
    if hasattr(moments, "feature_names_in_"):
        arrays["feature_names"] = moments.feature_names_in_.astype(str)
    write_atomically(path, arrays)


def read(path: str | os.PathLike[str]) -> StoredMoments:
    """Return what a file holds; raise ValueError for one that is damaged. See `Moments.load`."""
    try:
        arrays = read_arrays(path)
        facts = read_json(arrays["facts"])
        if facts["format"] != _FORMAT:
            raise ValueError(f"its format is {facts['format']!r}")
        sums = _checked({name: arrays[f"sum {name}"] for name in Sums._fields})
        is_1d, n_features = bool(facts["is_1d"]), int(facts["n_features_in"])
        names, classes = arrays.get("feature_names"), arrays.get("classes")
        _check_names(names, classes, n_features, len(sums.y))
    except DAMAGED as error:
        raise ValueError(
            f"The file {os.fspath(path)!r} is damaged or holds no moments "
            f"({type(error).__name__}: {error}). It must be what Moments.save wrote."
        ) from error
    return StoredMoments(sums, facts, is_1d, n_features, names, classes)


def _checked(stored: dict[str, AnyArray]) -> Sums:
    """Return sums whose shapes and signs are those of some rows, or of a private release."""
    if any(array.dtype != np.float64 for array in stored.values()):
        raise ValueError("its sums are not float64")
    scalars = {name: float(stored[name]) for name in ("n_rows", "weight", "noise")}
    fields: dict[str, Any] = {**stored, **scalars}
    sums = Sums(**fields)
    p, k, d = len(sums.H), len(sums.y), len(sums.x)
    shapes = {"H": (p, p), "C": (p, k), "phi": (p,), "y": (k,), "y_squares": (k,)}
    shapes |= {"x": (d,), "x_squares": (d,)}
    wrong = [name for name, shape in shapes.items() if stored[name].shape != shape]
    if wrong or not (p and k):
        raise ValueError(f"its sums have shapes that do not belong together: {wrong}")
    known = [name for name in shapes if not (sums.noise and name in ("x", "x_squares"))]
    if not all(np.isfinite(stored[name]).all() for name in known):
        raise ValueError("its sums are not finite")
    if not (0 < sums.weight < np.inf and 0 < sums.n_rows < np.inf and 0 <= sums.noise < np.inf):
        raise ValueError("its rows have no weight")
    return sums


def _check_names(
    names: AnyArray | None, classes: AnyArray | None, n_features: int, n_outputs: int
) -> None:
    if names is not None and (names.shape != (n_features,) or names.dtype.kind != "U"):
        raise ValueError(f"its feature_names are not {n_features} texts")
    if classes is not None and classes.shape != (n_outputs,):
        raise ValueError(f"its classes are not {n_outputs}")
