"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: What `numpy.load` and what follows it raise for a file that is not whole or not ours.
DAMAGED = (
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    TypeError,
    AttributeError,
)


def write_atomically(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write an .npz that is there whole or not at all, whatever happens on the way.

    A temporary file beside it is written, brought to the disk and renamed.
    """
    temporary = Path(f"{os.fspath(path)}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
