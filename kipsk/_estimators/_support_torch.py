"""Support sets as files of PyTorch, which evaluations of distilled images read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kipsk._estimators._pictures import in_space, is_shape_of, known_image_shape
from kipsk._storage._files import whole_file
from kipsk._types import AnyArray, Estimator, Floats


def write(distiller: Estimator, path: str | os.PathLike[str], space: str) -> None:
    """Write a support set as a dict of tensors; see `BaseDistiller.export_support`.

    Parameters
    ----------
    distiller : fitted BaseDistiller
    path : str or path-like
    space : {"original", "kernel"}
        Whether a `preprocess` of the distiller is undone.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If `space` is unknown, or the way back to the units of X is.
    """
    images = channels_first(distiller, space)
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"export_support({os.fspath(path)!r}) needs PyTorch: pip install torch. Without it "
            "export_support('set.npz') writes the rows as the kernel sees them, and the labels, "
            "which torch reads with the lines under 'For PyTorch' on the page 'Long runs, streams "
            "and files'."
        ) from error
    arrays: dict[str, Any] = {
        "images": torch.from_numpy(images),
        "labels": torch.from_numpy(distiller.y_s_.astype(np.float32)),
    }
    if hasattr(distiller, "classes_"):
        arrays["hard_labels"] = torch.from_numpy(distiller.y_s_.argmax(axis=1).astype(np.int64))
        arrays["classes"] = distiller.classes_.tolist()
    with whole_file(path) as file:
        torch.save(arrays, file)


def channels_first(distiller: Estimator, space: str) -> Floats:
    """Return support rows as images (n, C, H, W) if they are images of a known shape."""
    rows: AnyArray = in_space("export_support", distiller, distiller.X_s_, space)
    rows = np.asarray(rows, dtype=np.float32)
    shape = known_image_shape(distiller)
    if shape is None or not is_shape_of(shape, rows.shape[1]):
        return rows
    return np.ascontiguousarray(rows.reshape(-1, *shape).transpose(0, 3, 1, 2))
