"""Files of others, damaged and made to do harm: an error in words, and nothing that they ask for.

Oracle: `read_arrays` returns what numpy would without pickles, or raises ValueError; memory is not
taken for what is not there.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from kipsk._storage import _files
from kipsk._storage._checkpoint import Checkpoint
from kipsk._storage._files import read_arrays, read_json

ARRAYS = {
    "rows": np.arange(12.0).reshape(3, 4),
    "Fortran": np.asfortranarray(np.arange(6, dtype=np.int8).reshape(2, 3)),
    "text": np.array("µ"),
    "names": np.array(["ant", "bee"]),
    "bytes": np.array([b"ant"]),
    "number": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "big-endian": np.arange(3, dtype=">f4"),
    "complex": np.array([1j]),
    "bools": np.array([True]),
}


def npy_with(header, data=b"", version=(1, 0)):
    """Return a member whose header says anything."""
    text = header if isinstance(header, bytes) else repr(header).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + data


def header(shape, descr="<f8", order=False):
    return {"descr": descr, "fortran_order": order, "shape": shape}


def archive(members, way=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", way) as target:
        for name, content in members.items():
            target.writestr(f"{name}.npy", content)
    return file.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_has_written_is_read(save, path):
    save(path, **ARRAYS)
    found = read_arrays(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


class Runs:
    """What a pickle may hold: a function that is called when it is read."""

    ran: list[str] = []

    def __reduce__(self):
        return self.ran.append, ("code of the file",)


HARM = {
    "1e15 values": archive({"a": npy_with(header((10**15,)))}),
    "1e15 values, compressed": archive({"a": npy_with(header((10**15,)))}, zipfile.ZIP_DEFLATED),
    "more than an integer holds": archive({"a": npy_with(header((2**40, 2**40)))}),
    "a negative side": archive({"a": npy_with(header((-1, 8)), b"x" * 64)}),
    "two negative sides": archive({"a": npy_with(header((-2, -4)), b"x" * 64)}),
    "1e15 rows of nothing": archive({"a": npy_with(header((10**15, 0)))}),
    "letters of no length": archive({"a": npy_with(header((10**15,), "<U0"))}),
    "100 sides": archive({"a": npy_with(header((1,) * 100), b"x" * 8)}),
    "no shape": archive({"a": npy_with(header("many"))}),
    "a shape of floats": archive({"a": npy_with(header((1.5,)), b"x" * 8)}),
    "objects": archive({"a": npy_with(header((1,), "|O"), pickle.dumps(Runs()))}),
    "a record with objects": archive({"a": npy_with(header((1,), [("a", "|O")]), b"x" * 8)}),
    "records": archive({"a": npy_with(header((1,), [("a", "<f8")]), b"x" * 8)}),
    "no dtype": archive({"a": npy_with(header((1,), "nonsense"), b"x" * 8)}),
    "code as a header": archive({"a": npy_with(b"__import__('os').abort()")}),
    "a deep header": archive({"a": npy_with(b"(" * 5000 + b")" * 5000)}),
    "no header": archive({"a": b"\x93NUMPY\x01\x00"}),
    "version 3": archive({"a": npy_with(header((1,)), b"x" * 8, (3, 0))}),
    "version 9": archive({"a": npy_with(header((1,)), b"x" * 8, (9, 9))}),
    "too few bytes": archive({"a": npy_with(header((3,)), b"x" * 8)}),
    "too many bytes": archive({"a": npy_with(header((1,)), b"x" * 800)}),
    "another compression": archive({"a": npy_with(header((1,)), b"x" * 8)}, zipfile.ZIP_LZMA),
    "a pickle": pickle.dumps(Runs()),
    "a pickle as an archive": archive({"a": pickle.dumps(Runs())}),
    "nothing": b"",
    "text": b"images,labels\n",
    "an empty archive cut short": archive({})[:-5],
}


def with_size(content, size):
    """Return an archive whose directory says that its first member has so many bytes."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = changed.index(mark) + offset
        changed[place : place + 4] = struct.pack("<I", size)
    return bytes(changed)


HARM["a directory that lies"] = with_size(archive({"a": npy_with(header((2**28,)))}), 2**31)
HARM["a directory that lies, compressed"] = with_size(
    archive({"a": npy_with(header((2**28,)))}, zipfile.ZIP_DEFLATED), 2**31 + 128
)


@pytest.mark.parametrize("kind", HARM)
def test_harm_is_refused_in_little_memory(kind, path):
    path.write_bytes(HARM[kind])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert not Runs.ran


def test_equal_names_are_refused(path):
    with zipfile.ZipFile(path, "w") as target, pytest.warns(UserWarning, match="Duplicate name"):
        for _ in range(2):
            target.writestr("a.npy", npy_with(header((1,)), b"x" * 8))
    with pytest.raises(ValueError, match="2 arrays with 1 names"):
        read_arrays(path)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(path, monkeypatch):
    np.savez(path, a=np.zeros(1000))
    monkeypatch.setattr(_files, "_memory", lambda: 8000)
    with pytest.raises(ValueError, match="more than the memory"):
        read_arrays(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_damage_is_refused_or_says_the_same(save, path):
    """Cut anywhere, or one bit flipped anywhere."""
    arrays = {"images": np.linspace(0, 1, 24).reshape(2, 12), "classes": np.array(["a", "b"])}
    save(path, **arrays)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for place in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        damaged.append(bytes(changed))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            found = read_arrays(path)
        except ValueError:
            refused += 1
            continue
        for name in found:  # flips of names and of dates tell nothing of the numbers
            if name in arrays:
                np.testing.assert_array_equal(found[name], arrays[name])
    assert refused > 0.7 * len(damaged)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0]),
        np.array(["{}"]),
        np.array(3),
        np.array("[1]"),
        np.array("{"),
        np.array("[" * 10**6),
        np.array('{"a": ' + "9" * 5000 + "}"),
    ],
    ids=["numbers", "several texts", "number", "list", "cut", "deep", "long number"],
)
def test_texts_that_say_nothing_are_refused(array):
    with pytest.raises((ValueError, RecursionError)):
        read_json(array)


def test_long_texts_are_refused(monkeypatch):
    monkeypatch.setattr(_files, "_LONGEST_TEXT", 10)
    with pytest.raises(ValueError, match="no text"):
        read_json(np.array(json.dumps({"a": "long enough"})))


@pytest.mark.parametrize("kind", HARM)
def test_a_checkpoint_that_does_harm_is_refused(kind, path):
    path.write_bytes(HARM[kind])
    with pytest.raises(ValueError, match="damaged or no checkpoint of this version of kipsk"):
        Checkpoint(path, {}).load()
