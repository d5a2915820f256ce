"""A run's state in one file, written whole or not at all, and what it belongs to."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipsk._blocks import slices

_FORMAT = "kipsk checkpoint 1"

# Global values that count as part of a function.
_PLAIN = (bool, int, float, str, tuple, np.ndarray, np.generic)

# Characters of a parameter that a message shows.
_SHOWN = 120

#: What `numpy.load` and what follows it raise for a file that is not whole or not ours.
DAMAGED = (
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    TypeError,
    AttributeError,
)


def write_atomically(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Write an .npz that is there whole or not at all, whatever happens on the way.

    A temporary file beside it is written, brought to the disk and renamed.
    """
    temporary = Path(f"{os.fspath(path)}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fingerprint(array: Any) -> str:
    """Return a hash of an array's values, shape and dtype."""
    array = np.asarray(array)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    if array.dtype.hasobject:
        digest.update(repr(array.tolist()).encode())
    else:
        rows = np.atleast_1d(array)
        for block in slices(len(rows), 4096):  # no second copy of the data
            digest.update(np.ascontiguousarray(rows[block]).tobytes())
    return digest.hexdigest()


def describe(value: Any, inside: tuple[Any, ...] = ()) -> str:
    """Return a text that is the same for equal parameters, in any process.

    Functions are told apart by their code, the values they were made with and the global numbers
    they read, so that ``optax.adam(0.1)`` is not ``optax.adam(0.2)``; `inside` holds those being
    described.
    """
    if any(value is one for one in inside):
        return "itself"
    part = partial(describe, inside=(*inside, value))
    match value:
        case np.generic():
            return repr(value.item())
        case _ if hasattr(value, "__array__") and not isinstance(value, type):
            value = np.asarray(value)
            return f"array of shape {value.shape}, {fingerprint(value)}"
        case np.random.RandomState() | np.random.Generator():
            return type(value).__name__  # its state is what goes on
        case list() | tuple():
            return f"{type(value).__name__}({', '.join(map(part, value))})"
        case set() | frozenset():
            return f"{type(value).__name__}({', '.join(sorted(map(part, value)))})"
        case dict():
            return _call("dict", {part(key): item for key, item in value.items()}, part)
        case partial():
            return _call(f"partial of {part(value.func)}", {"": value.args, **value.keywords}, part)
        case _ if hasattr(value, "get_params") and not isinstance(value, type):
            return _call(type(value).__name__, value.get_params(deep=False), part)
        case _ if is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in fields(value)]
            return _call(type(value).__name__, {n: getattr(value, n) for n in names}, part)
        case _ if hasattr(value, "__wrapped__"):
            return f"wrapped {part(value.__wrapped__)}"
        case FunctionType():
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            given = {name: cell.cell_contents for name, cell in cells}
            given |= {"defaults": value.__defaults__, **(value.__kwdefaults__ or {})}
            outside = {name: value.__globals__.get(name) for name in _names(value.__code__)}
            given |= {name: v for name, v in outside.items() if isinstance(v, _PLAIN)}
            digest = hashlib.blake2b(_code(value.__code__).encode(), digest_size=8).hexdigest()
            return _call(f"{value.__module__}.{value.__qualname__}<{digest}>", given, part)
        case _ if hasattr(value, "__qualname__"):
            return f"{value.__module__}.{value.__qualname__}"
        case _ if type(value).__repr__ is object.__repr__:
            kind = type(value)
            return _call(
                f"{kind.__module__}.{kind.__qualname__}", getattr(value, "__dict__", {}), part
            )
    return repr(value)


def _call(name: str, given: Mapping[str, Any], part: Callable[[Any], str]) -> str:
    return f"{name}({', '.join(f'{key}={part(given[key])}' for key in given)})"


def _names(code: CodeType) -> set[str]:
    """Return the names that compiled code, and the functions inside of it, read from outside."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _code(code: CodeType) -> str:
    """Return what compiled code does, with the functions inside of it."""
    constants = [_code(c) if isinstance(c, CodeType) else describe(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, constants))


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : str or path-like
    facts : dict of str to str
        What the run is of. A file with other facts is refused.

    Attributes
    ----------
    always : dict of str to ndarray
        Arrays that every save includes.
    """

    def __init__(self, path: str | os.PathLike[str], facts: dict[str, str]) -> None:
        self.path = os.fspath(path)
        self.facts = facts
        self.always: dict[str, NDArray[Any]] = {}
        self._warned = False

    def load(self) -> dict[str, NDArray[Any]] | None:
        """Return the arrays that were saved, or None if nothing was.

        Raises
        ------
        ValueError
            If the file is damaged, is no checkpoint, or belongs to other data or parameters.
        """
        if not os.path.exists(self.path):
            return None
        try:
            stored, arrays = self._read()
        except DAMAGED as error:
            raise ValueError(
                f"The file {self.path!r} is damaged or no checkpoint of this version of kipsk "
                f"({type(error).__name__}: {error}). Delete it to start anew, or choose another "
                "'checkpoint_path'."
            ) from error
        differences = [
            _difference(name, stored.get(name, "not there"), self.facts.get(name, "not there"))
            for name in sorted(self.facts.keys() | stored.keys())
            if stored.get(name) != self.facts.get(name)
        ]
        if differences:
            raise ValueError(
                f"The checkpoint {self.path!r} belongs to another fit: {'; '.join(differences)}. "
                "Fit with the parameters and data it was made with to resume, delete it to start "
                "anew, or choose another 'checkpoint_path'."
            )
        return arrays

    def expect(self, name: str, now: str, saved: dict[str, NDArray[Any]] | None) -> None:
        """Refuse arrays that were `saved` with another value of a fact that comes late.

        Raises
        ------
        ValueError
            For instance for a random `preprocess` without a seed.
        """
        self.always[name] = np.array(now)
        if saved is not None and str(saved[name]) != now:
            raise ValueError(
                f"The checkpoint {self.path!r} belongs to another fit: {name} is not what it was. "
                "Give what is random in it a random_state, delete the file to start anew, or "
                "choose another 'checkpoint_path'."
            )

    def _read(self) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
        with open(self.path, "rb") as stream:
            try:
                with np.load(stream, allow_pickle=False) as file:
                    damaged = file.zip.testzip()  # numpy stops at the end it was told of
                    arrays = {name: file[name] for name in file.files}
            except OSError as error:  # it could be opened: a damaged file leads nowhere
                raise ValueError(error) from error
        stored = json.loads(str(arrays.pop("facts")))
        if stored.pop("format") != _FORMAT:
            raise ValueError("of another format")
        if damaged or stored.pop("arrays") != sorted(arrays):
            raise ValueError("not whole")
        return stored, arrays

    def save(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Save the arrays; a disk that is full or read-only gives a warning and no error."""
        arrays = {**self.always, **arrays}
        facts = json.dumps({"format": _FORMAT, "arrays": sorted(arrays), **self.facts})
        try:
            write_atomically(self.path, {"facts": np.array(facts), **arrays})
        except OSError as error:
            if not self._warned:
                warnings.warn(
                    f"The checkpoint {self.path!r} could not be written ({error}). The fit goes "
                    "on, and tries again at the next interval: make room, or allow writing there.",
                    UserWarning,
                    stacklevel=2,
                )
            self._warned = True


def _difference(name: str, old: str, new: str) -> str:
    """Return what two descriptions differ in; of long ones only the part around it."""
    pairs = enumerate(zip_longest(old, new))
    first = next((i for i, (a, b) in pairs if a != b), 0)
    start = max(0, first - _SHOWN // 2) if max(len(old), len(new)) > _SHOWN else 0
    dots = "... " if start else ""
    return f"{name} was {dots}{old[start:][:_SHOWN]} and is {dots}{new[start:][:_SHOWN]}"
