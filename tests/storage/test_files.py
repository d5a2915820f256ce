"""Files that are there whole, or as they were before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk._storage._files import write_atomically


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


def test_file_is_there_whole_or_as_it_was(path, monkeypatch):
    write_atomically(path, {"a": np.arange(3)})
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", half)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, {"a": np.arange(4)})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    write_atomically(str(path), {"a": np.arange(4)})
    with np.load(path) as file:
        assert_array_equal(file["a"], np.arange(4))
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_half_written_is_in_nobodys_way(path):
    Path(f"{path}.tmp").write_bytes(b"PK half of it")
    write_atomically(path, {"a": np.arange(3)})
    assert list(path.parent.iterdir()) == [path]
