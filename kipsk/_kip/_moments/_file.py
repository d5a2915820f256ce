"""Moments in files: .npz, without pickles."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import numpy as np

from kipsk._distil._moments import Sums
from kipsk._storage._files import DAMAGED, write_atomically
from kipsk._types import AnyArray, Estimator

_FORMAT = "kipsk moments 1"


class Stored(NamedTuple):
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


def read(path: str | os.PathLike[str]) -> Stored:
    """Return what a file holds; raise ValueError for one that is damaged. See `Moments.load`."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = dict(json.loads(str(arrays["facts"])))
        if facts["format"] != _FORMAT:
            raise ValueError(f"its format is {facts['format']!r}")
        stored = {name: arrays[f"sum {name}"] for name in Sums._fields}
    except DAMAGED as error:
        raise ValueError(
            f"The file {os.fspath(path)!r} is damaged or holds no moments "
            f"({type(error).__name__}: {error}). It must be what Moments.save wrote."
        ) from error
    scalars = {name: float(stored[name]) for name in ("n_rows", "weight", "noise")}
    return Stored(
        Sums(**{**stored, **scalars}),
        facts,
        bool(facts["is_1d"]),
        int(facts["n_features_in"]),
        arrays.get("feature_names"),
        arrays.get("classes"),
    )
