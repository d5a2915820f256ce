"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kipsk._types import AnyArray

#: Errors of `numpy.load`, and of reading its result, for a file that is damaged or not one of ours.
DAMAGED = (
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    TypeError,
    AttributeError,
)


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to write that is there whole or not at all, whatever happens on the way.

    A temporary file beside it is written, flushed to the disk and renamed.
    """
    temporary = Path(f"{os.fspath(path)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], arrays: Mapping[str, AnyArray]) -> None:
    """Write an .npz file that is there whole or not at all; see `whole_file`."""
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # an array named allow_pickle?
