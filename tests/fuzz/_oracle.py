"""What holds for every case: nothing is changed, and there is an answer or an error in words."""

from __future__ import annotations

import pickle
import re
import traceback
from typing import Any

import jax
import numpy as np
from scipy import sparse

#: Parts of messages that numpy, scipy, JAX or Python wrote for the author of the code.
BARE = re.compile(
    "LinAlg|ingular matrix|NoneType|XLA|Xla|jaxlib|[Tt]racer|broadcast|operands|subscriptable|"
    "has no attribute|out of bounds|not iterable|infs or NaNs|not converge|unhashable|"
    "unexpected keyword|positional argument|inhomogeneous|ambiguous|JAX value|not callable"
)

#: Where scikit-learn's, and kipsk's own, checks of input stand: what they say is an answer.
CHECKS = re.compile(r"sklearn/utils/(validation|multiclass|_param_validation|_array_api)\.py$")


def print_of(value: Any) -> Any:
    """Return what changes if any byte of an input changes."""
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()) if value.dtype == object else value.tobytes("A")
        return content, str(value.dtype), value.shape, value.strides
    if sparse.issparse(value):
        value = value.copy() if value.format == "coo" else value
        parts = ("data", "indices", "indptr", "row", "col")
        return [getattr(value, part).tobytes() for part in parts if hasattr(value, part)]
    if hasattr(value, "iloc"):
        columns = [value] if value.ndim == 1 else [value.iloc[:, i] for i in range(value.shape[1])]
        names = repr(value.name if value.ndim == 1 else value.columns.tolist())
        return names, repr(value.index), [(str(c.dtype), repr(c.tolist())) for c in columns]
    return repr(value)


def globals_now() -> tuple[Any, ...]:
    """Return settings of the process that no call may change."""
    names = ("jax_enable_x64", "jax_debug_nans", "jax_default_prng_impl")
    values = tuple(getattr(jax.config, name) for name in names)
    return (*values, np.geterr(), pickle.dumps(np.random.get_state()))


def parameters_of(estimator: Any) -> str:
    return repr(sorted(estimator.get_params(deep=False).items()))


def check_error(error: BaseException) -> None:
    """Fail unless an error is one that a user can act upon."""
    assert isinstance(error, ValueError | TypeError | ImportError), repr(error)
    message = str(error)
    assert message.strip(), repr(error)
    assert not BARE.search(message), f"{type(error).__name__}: {message}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/kipsk/" in f.filename or "/sklearn/" in f.filename]
    if "/kipsk/" in own[-1].filename:
        assert len(message) < 2000, f"a message of {len(message)} characters"
    in_words = (
        any(CHECKS.search(frame.filename) for frame in own)
        or (own[-1].line or "").find("raise") >= 0
    )
    assert in_words, (
        f"{type(error).__name__}: {message}\nthat no check of kipsk or scikit-learn has raised, "
        f"but {own[-1].filename}:{own[-1].lineno}: {own[-1].line}"
    )


def check_finite(name: str, array: Any, shape: tuple[int, ...]) -> None:
    array = np.asarray(array)
    assert array.shape == shape, f"{name} has shape {array.shape}, not {shape}"
    assert array.dtype.kind in "biuf", f"{name} is of dtype {array.dtype}"
    assert np.isfinite(array).all(), f"{name} is not finite"
