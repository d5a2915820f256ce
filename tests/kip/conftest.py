from __future__ import annotations

import numpy as np
import pytest

from kipsk import KIPDistiller

from ._runs import FAST


@pytest.fixture(scope="module")
def blobs():
    """Three classes in five dimensions, away from the origin."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [50, 40, 30])
    return rng.normal(size=(120, 5)) + 3 * np.eye(5)[codes] + 1, codes


@pytest.fixture(scope="module")
def fitted(blobs):
    return KIPDistiller(**FAST).fit(*blobs)


@pytest.fixture(scope="module")
def snapshots(blobs):
    """The run of FAST, with the support after every step."""
    return KIPDistiller(snapshots=range(21), **FAST).fit(*blobs)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


@pytest.fixture(scope="module")
def images():
    """Classes 0 and 1 are bright on the left and on the right, each other's mirror; 2 in between.

    In float32, so that nothing is rounded on the way into an estimator.
    """
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [25, 20, 15])
    bright = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]])
    X = rng.normal(size=(60, 4, 4)) + 3 * bright[codes][:, None, :]
    return X.reshape(60, 16).astype(np.float32), codes


@pytest.fixture(scope="module")
def plain(images):
    """The fit that variations are compared with."""
    return KIPDistiller(snapshots=[0], **FAST).fit(*images)
