from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Split = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


@pytest.fixture(scope="session")
def digits() -> Split:
    """X_train, X_test, y_train, y_test of scikit-learn's digits; shared, hence read-only."""
    X, y = load_digits(return_X_y=True)
    split = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    for array in split:
        array.setflags(write=False)
    return tuple(split)
