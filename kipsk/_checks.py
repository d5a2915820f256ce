"""Parameter checks that speak as scikit-learn does: the parameter, the rule, the value received."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")


def refuse(owner: str, name: str, rule: str, value: Any) -> ValueError:
    """Return the error for a parameter that breaks its rule."""
    if isinstance(value, np.ndarray):  # its numbers would bury the message
        return ValueError(
            f"The {name!r} parameter of {owner} must be {rule}. Got an array of shape "
            f"{value.shape} and dtype {value.dtype} instead."
        )
    return ValueError(f"The {name!r} parameter of {owner} must be {rule}. Got {value!r} instead.")


def check_positive(
    owner: str, name: str, value: Any, *, zero: bool = False, also: str = ""
) -> float:
    """Return a real parameter as float; `also` names what else the parameter may be."""
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if not (is_number and np.isfinite(value) and (value >= 0 if zero else value > 0)):
        rule = "a finite number >= 0" if zero else "a finite number > 0"
        raise refuse(owner, name, rule + also, value)
    return float(value)


def check_auto(owner: str, name: str, value: Any, auto: T, *, zero: bool = False) -> float | T:
    """Return a real parameter as float, `auto` in place of "auto"."""
    if isinstance(value, str) and value == "auto":
        return auto
    return check_positive(owner, name, value, zero=zero, also=' or "auto"')


def check_fraction(owner: str, name: str, value: Any) -> float:
    """Return a share of the rows that leaves some of them: 0 <= share < 1."""
    if not check_positive(owner, name, value, zero=True) < 1:
        raise refuse(owner, name, "a number >= 0 and < 1", value)
    return float(value)


def check_integer(owner: str, name: str, value: Any, *, minimum: int, also: str = "") -> int:
    """Return an integer parameter as int; `also` names what else the parameter may be."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
    if not (is_integer and value >= minimum):
        raise refuse(owner, name, f"an integer >= {minimum}" + also, value)
    return int(value)


def check_option(
    owner: str, name: str, value: Any, options: tuple[str, ...], *, also: str = ""
) -> str:
    """Return a parameter that is one of some names; `also` says what else it may be."""
    if not (isinstance(value, str) and value in options):
        raise refuse(owner, name, f"one of {list(options)}" + also, value)
    return str(value)


def check_rows(name: str, X: ArrayLike) -> NDArray[Any]:
    """Return X as a 2-D array, or say how to make it one."""
    array = np.asarray(X)
    check_not_images(name, array)
    return np.atleast_2d(array)


def check_not_images(name: str, X: Any) -> None:
    """Refuse arrays of more than two dimensions and say how to flatten them.

    What is neither an array nor a list is left to scikit-learn's own validation.
    """
    shape = np.shape(X) if isinstance(X, list | tuple) else getattr(X, "shape", ())
    if len(shape) > 2:
        raise ValueError(
            f"{name} must have shape (n_samples, n_features), images as flattened rows. Found "
            f"array with dim {len(shape)}, of shape {tuple(shape)}: pass "
            f"{name}.reshape(len({name}), -1)."
        )
