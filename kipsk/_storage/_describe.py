"""Texts that are the same for equal values, in any process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType

import numpy as np
from numpy.typing import ArrayLike

from kipsk._types import AnyArray, Given

# How many rows of an array are hashed at a time.
_BLOCK = 4096

# Global values of these types count as part of a function that reads them.
_PLAIN = (bool, int, float, str, tuple, np.ndarray, np.generic)


def fingerprint(values: ArrayLike) -> str:
    """Return a hash of an array's values, shape and dtype."""
    array = np.asarray(values)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    if array.dtype.hasobject:
        digest.update(repr(array.tolist()).encode())
    else:
        rows = np.atleast_1d(array)
        for start in range(0, len(rows), _BLOCK):  # no copy of all the data
            digest.update(np.ascontiguousarray(rows[start : start + _BLOCK]).tobytes())
    return digest.hexdigest()


def in_one_dtype(labels: ArrayLike) -> AnyArray:
    """Return class labels such that equal ones are of one dtype, whatever they came in.

    Strings are in the shortest dtype that holds them, and whole numbers in int64.
    """
    plain = np.array(np.asarray(labels).tolist())
    if plain.dtype.kind in "uf" and np.all(np.mod(plain, 1) == 0) and np.all(np.abs(plain) < 2**53):
        return plain.astype(np.int64)
    return plain


def describe(value: Given, inside: tuple[object, ...] = ()) -> str:
    """Return a text that is the same for equal parameters, in any process.

    Functions are told apart by their code, by the values they were made with and by the global
    numbers they read, so that ``optax.adam(0.1)`` differs from ``optax.adam(0.2)``.

    Parameters
    ----------
    value : object
    inside : tuple of object
        The objects whose description this one is part of. An object that contains itself is
        recognised by them.
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
            return type(value).__name__  # its state changes during a run
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
            if value.__defaults__:
                given["defaults"] = value.__defaults__
            given |= value.__kwdefaults__ or {}
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


def _call(name: str, given: Mapping[str, object], part: Callable[[object], str]) -> str:
    """Return ``name(key=value, ...)``, sorted by key.

    They are sorted because names from a set come in another order in each process, and because two
    dicts are equal whatever their order.
    """
    return f"{name}({', '.join(f'{key}={part(given[key])}' for key in sorted(given))})"


def _names(code: CodeType) -> set[str]:
    """Return the names that compiled code, and the functions inside of it, read from outside."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _code(code: CodeType) -> str:
    """Return what compiled code does, with the functions inside of it."""
    constants = [_code(c) if isinstance(c, CodeType) else describe(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, constants))
