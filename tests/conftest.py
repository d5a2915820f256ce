from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import jaxlib
import numpy as np
import pytest
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Split = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--optimised", action="store_true", help="compile as users do, everywhere")


def pytest_configure(config: pytest.Config) -> None:
    """Compile quickly, and keep compiled code for a run: most of the tests' time is compiling.

    The workers of pytest-xdist, and processes that tests start, inherit the environment, and so
    take what another one has compiled.
    """
    # XLA's emitters for fused loops are the slower half of its compiler; the older ones, which it
    # still has, write the same formulas. It compiles a function in up to 32 parts, for as many
    # threads: one part is a tenth less work. XLA ends a process whose flags it does not know.
    flags = os.environ.get("XLA_FLAGS", "")
    is_known = jaxlib.version.__version_info__ < (0, 11) and "fusion_emitters" not in flags
    if is_known and not config.getoption("optimised"):
        flags += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = flags
    if config.getoption("numprocesses", None):
        # The workers share the cores: with several threads each, they would wait for one another.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("PJRT_NPROC", "1")  # XLA's own threads
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if folder is None:
        folder = tempfile.mkdtemp(prefix="kipsk-compiled-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays: it would walk through it with every trace of JAX."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


_compiled_for: list[object] = [None]


@pytest.fixture(autouse=True, scope="module")
def compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile quickly, except in modules whose oracles are for the code that users run.

    The modules of a folder share what is compiled: many of them fit the same estimators.
    """
    is_quick = request.node.get_closest_marker("optimised") is None
    is_quick = is_quick and not request.config.getoption("optimised")
    wanted = request.path.parent, is_quick
    if _compiled_for[0] != wanted:
        # Each compiled function maps memory, and a process may have 65530 maps (Linux).
        jax.clear_caches()
        _compiled_for[0] = wanted
    with pytest.MonkeyPatch.context() as patch:
        # Processes that the module's tests start compile in the same way.
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", str(int(is_quick)))
        jax.config.update("jax_disable_most_optimizations", is_quick)
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
