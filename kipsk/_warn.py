"""Warnings that point at the user's line, however many libraries lie between it and kipsk."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# Packages that stand between the line that asked for a fit and kipsk: a Pipeline, a search or a
# callback of scikit-learn, their parallel workers, wrappers of the standard library.
_BETWEEN = {
    "kipsk",
    "sklearn",
    "imblearn",
    "joblib",
    "dask",
    "distributed",
    "jax",
    "tqdm",
    "concurrent",
    "contextlib",
    "functools",
    "multiprocessing",
    "runpy",
    "threading",
}


def calling_modules() -> list[str]:
    """Return the modules of the call stack, from that of whoever called the caller outwards."""
    names = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        spec = frame.f_globals.get("__spec__")  # of ``python -m package.module``, too
        names.append(str(spec.name if spec else frame.f_globals.get("__name__")))
        frame = frame.f_back
    return names


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line of the call stack that is of neither kipsk nor what calls it.

    Where no such line is, as in the thread of a parallel worker, the warning points at the line
    that called kipsk. (From Python 3.12 on ``warnings.warn`` can do this, `skip_file_prefixes`.)

    Parameters
    ----------
    message : str
    category : type of Warning, default=UserWarning
    """
    packages = [name.partition(".")[0] for name in calling_modules()]
    levels = range(2, len(packages) + 2)  # 1 is the call of warnings.warn below
    outside = [n for n, package in zip(levels, packages, strict=True) if package not in _BETWEEN]
    callers = [n for n, package in zip(levels, packages, strict=True) if package != "kipsk"]
    warnings.warn(message, category, stacklevel=(outside or callers or [2])[0])
