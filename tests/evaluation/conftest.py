from __future__ import annotations

import numpy as np
import pytest

from ._stubs import FITS, KILL, SoftModel


@pytest.fixture(autouse=True)
def nothing_counted():
    FITS.clear()
    KILL.clear()
    SoftModel.seen = []


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.tile([0, 1, 2], 30)
    return rng.normal(size=(90, 4)) + 2 * np.eye(4)[y], y
