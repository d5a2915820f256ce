from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Split = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


@pytest.fixture(autouse=True, scope="module")
def compiled_code_is_dropped():
    """Each compiled function maps memory, and a process may have 65530 maps (Linux)."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def quick_compilation():
    """For modules whose tests compile for many shapes, which is what takes their time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def digits() -> Split:
    """X_train, X_test, y_train, y_test of scikit-learn's digits; shared, hence read-only."""
    X, y = load_digits(return_X_y=True)
    split = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    for array in split:
        array.setflags(write=False)
    return tuple(split)


# Largest error of an entry, relative to the largest entry of the oracle, by the precision of what
# is tested. Here and not in a module: neural-tangents installs a package called `tests`, so that
# `from tests.tolerances import ...` would look there.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


class Closeness:
    """``close(actual, oracle)`` with one tolerance per dtype."""

    def tolerance(self, dtype: DTypeLike) -> float:
        return TOLERANCE[np.dtype(dtype).name]

    def __call__(
        self,
        actual: Any,
        oracle: ArrayLike,
        dtype: DTypeLike = None,
        times: float = 1,
        steps: int = 1,
    ) -> None:
        """Fail unless all entries agree.

        The tolerance is the one of `dtype`, by default actual's own, `times` a factor for numbers
        that are worse conditioned than a kernel's entries: slopes, differences, solutions. After
        a run it is taken once for each of the `steps`: each one rounds anew, and how it rounds
        differs between processors and between ways to compile the same formula.
        """
        actual, oracle = np.asarray(actual), np.asarray(oracle, dtype=np.float64)
        assert actual.shape == oracle.shape
        assert np.isfinite(actual).all()
        dtype = dtype or (actual.dtype if actual.dtype.kind == "f" else np.float64)
        scale = np.abs(oracle).max(initial=0) or 1
        error = np.abs(actual - oracle).max(initial=0) / scale
        limit = times * steps * self.tolerance(dtype)
        assert error <= limit, f"relative error {error:.2g} exceeds {limit:.2g}"


@pytest.fixture(scope="session")
def close() -> Closeness:
    return Closeness()
