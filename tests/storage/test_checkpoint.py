"""A checkpoint's file on its own; tests/kip has the runs that go on from one."""

from __future__ import annotations

import numpy as np
import pytest

from kipsk._storage._checkpoint import Checkpoint


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


def test_damaged_file_is_refused_or_says_the_same(path):
    """Cut, or one bit flipped, anywhere. Some bits, such as those of the time, tell nothing."""
    checkpoint = Checkpoint(path, {"X": "1"})
    arrays = {"losses": np.arange(5.0), "state 0": np.ones((2, 3), np.float32)}
    checkpoint.save(arrays)
    whole = path.read_bytes()
    refused = 0
    damaged = [whole[:length] for length in range(0, len(whole), 3)]
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        damaged.append(bytes(changed))
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = checkpoint.load()
        except ValueError as error:
            assert "damaged or no checkpoint" in str(error)
            refused += 1
        else:
            assert loaded.keys() == arrays.keys()
            assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    assert refused > 0.8 * len(damaged)
