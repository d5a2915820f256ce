from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 10)
    return rng.normal(size=(30, 4)) + 3 * np.eye(4)[codes], codes
