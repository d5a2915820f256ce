"""Files that are written whole or not at all, and read with nothing taken on trust."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from kipsk._types import AnyArray

#: Errors of reading what `read_arrays` returns, for a file that is damaged or not one of ours.
DAMAGED = (
    ValueError,
    KeyError,
    IndexError,
    RuntimeError,
    TypeError,
    AttributeError,
)

# Deflate makes 1032 bytes of one at most: whatever claims more of its file is a lie.
_RATIO = 1100
_MOST_MEMBERS = 100_000
_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_KINDS = "biufcSU"
# The longest side of an array that has no entries, which its file cannot vouch for.
_LONGEST_EMPTY = 2**24
# Characters of a text in JSON. The longest are of a comparison's classes.
_LONGEST_TEXT = 2**24
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


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


def read_arrays(path: str | os.PathLike[str]) -> dict[str, AnyArray]:
    """Return the arrays of an .npz file, none of which may need a pickle.

    Before memory is taken for an array, the size that its header claims is held against the bytes
    that are there, and those against the size of the file. Every byte goes through its checksum.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    arrays : dict of str to ndarray

    Raises
    ------
    ValueError
        If the file is damaged or no .npz file, or if an array needs a pickle or lies of its size.
    OSError
        If the file cannot be opened.
    MemoryError
        If there is honestly more in it than fits.
    """
    with open(path, "rb") as stream:
        try:
            return dict(_arrays_of(stream))
        except (MemoryError, KeyboardInterrupt):
            raise
        except ValueError:
            raise
        except Exception as error:  # whatever zipfile, zlib and numpy raise on any bytes
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _arrays_of(stream: BinaryIO) -> Iterator[tuple[str, AnyArray]]:
    """Yield the names and arrays of an open .npz file."""
    n_bytes = os.fstat(stream.fileno()).st_size
    with zipfile.ZipFile(stream) as archive:
        members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
        names = {one.filename for one in members}
        if not len(names) == len(members) <= _MOST_MEMBERS:
            raise ValueError(f"{len(members)} arrays with {len(names)} names")
        claimed = sum(one.file_size for one in members)
        if claimed > _RATIO * n_bytes:
            raise ValueError(f"{claimed} bytes of arrays are claimed of a file of {n_bytes} bytes")
        if claimed > _memory():
            raise ValueError(f"its arrays take {claimed / 2**30:.0f} GiB, more than the memory")
        for one in members:
            if one.compress_type not in _WAYS:
                raise ValueError(f"{one.filename} is compressed in a way that numpy does not write")
            with archive.open(one) as member:
                _check_header(member, one.filename, one.file_size)
            with archive.open(one) as member:
                array = npy.read_array(member, allow_pickle=False)
                if member.read(1):  # and so the checksum is compared
                    raise ValueError(f"{one.filename} goes on behind its array")
            yield one.filename.removesuffix(".npy"), array


def _memory() -> float:
    """Return how many bytes of memory the machine has; infinity if the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _check_header(member: IO[bytes], name: str, n_bytes: int) -> None:
    """Refuse an array whose header claims other bytes than are there, or objects."""
    version = npy.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"{name} is of version {version}")
    shape, _, dtype = _HEADERS[version](member)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which would need a pickle")
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"{name} is of dtype {dtype}")
    size = math.prod(shape)
    longest = max((abs(side) for side in shape), default=0)
    if min(shape, default=0) < 0 or (not size and longest > _LONGEST_EMPTY):
        raise ValueError(f"{name} claims the shape {shape}")
    if size * dtype.itemsize != n_bytes - member.tell():
        raise ValueError(
            f"{name} claims the shape {shape} of {dtype}, {size * dtype.itemsize} bytes, and has "
            f"{n_bytes - member.tell()}"
        )


def read_json(array: AnyArray) -> dict[str, Any]:
    """Return the dict that a stored text in JSON says.

    Raises
    ------
    ValueError, RecursionError
        If it is no text, is of no sensible length, or says something else.
    """
    if array.shape or array.dtype.kind != "U" or array.itemsize > 4 * _LONGEST_TEXT:
        raise ValueError(f"an array of shape {array.shape} and dtype {array.dtype}, and no text")
    said = json.loads(str(array))
    if not isinstance(said, dict):
        raise ValueError(f"a {type(said).__name__} where a dict was expected")
    return said
