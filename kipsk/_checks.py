"""Parameter checks that speak as scikit-learn does: the parameter, the rule, the value received."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipsk._types import AnyArray, Given, MatrixLike

T = TypeVar("T")


def refuse(owner: str, name: str, rule: str, value: Given) -> ValueError:
    """Return the error for a parameter that breaks its rule."""
    got = shown(value)
    return ValueError(f"The {name!r} parameter of {owner} must be {rule}. Got {got} instead.")


def shown(value: Given) -> str:
    """Return a refused value as a message shows it."""
    if isinstance(value, np.ndarray):  # printed in full, its numbers would bury the message
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, type):  # the module that a class is written in is rarely a public one
        return f"the class {value.__name__}"
    return repr(value)


def check_positive(
    owner: str, name: str, value: Given, *, zero: bool = False, also: str = ""
) -> float:
    """Return a real parameter as float; `also` names what else the parameter may be."""
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if not (is_number and np.isfinite(value) and (value >= 0 if zero else value > 0)):
        rule = "a finite number >= 0" if zero else "a finite number > 0"
        raise refuse(owner, name, rule + also, value)
    return float(value)


def check_auto(owner: str, name: str, value: Given, auto: T, *, zero: bool = False) -> float | T:
    """Return a real parameter as float, or `auto` if it is "auto"."""
    if isinstance(value, str) and value == "auto":
        return auto
    return check_positive(owner, name, value, zero=zero, also=' or "auto"')


def check_fraction(owner: str, name: str, value: Given) -> float:
    """Return a share of the rows as float; it leaves some of them, hence 0 <= share < 1."""
    if not check_positive(owner, name, value, zero=True) < 1:
        raise refuse(owner, name, "a number >= 0 and < 1", value)
    return float(value)


def check_integer(owner: str, name: str, value: Given, *, minimum: int, also: str = "") -> int:
    """Return an integer parameter as int; `also` names what else the parameter may be."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
    if not (is_integer and value >= minimum):
        raise refuse(owner, name, f"an integer >= {minimum}" + also, value)
    return int(value)


def check_option(
    owner: str, name: str, value: Given, options: tuple[str, ...], *, also: str = ""
) -> str:
    """Return a parameter that is one of these names; `also` says what else it may be."""
    if not (isinstance(value, str) and value in options):
        raise refuse(owner, name, f"one of {list(options)}" + also, value)
    return str(value)


def check_rows(name: str, X: ArrayLike) -> AnyArray:
    """Return X as a 2-D array of real numbers; the error for others says how to make them one."""
    if hasattr(X, "toarray"):
        raise TypeError(
            f"{name} must be a dense matrix. Got {type(X).__name__} instead: pass {name}.toarray()."
        )
    array = np.asarray(X)
    check_not_images(name, array)
    if array.dtype.kind not in "biuf":
        try:
            array = np.asarray(array.tolist(), np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must hold real numbers. Got an array of dtype {array.dtype} instead "
                f"({error}): encode its values as numbers."
            ) from error
    return np.atleast_2d(array)


def check_finite_rows(name: str, rows: AnyArray) -> None:
    """Refuse rows of which any number is NaN or infinite; the message says where the first is.

    Parameters
    ----------
    name : str
    rows : ndarray of shape (n, n_features)
    """
    if rows.dtype.kind != "f" or np.isfinite(rows).all():
        return
    wrong = np.argwhere(~np.isfinite(rows))
    row, column = map(int, wrong[0])
    raise ValueError(
        f"{name} must hold finite numbers. Got {rows[row, column]} in {len(wrong)} of {rows.size} "
        f"entries that were looked at, the first of them in column {column}: leave such rows out, "
        "or fill the entries in, for instance with SimpleImputer."
    )


def check_any_rows(name: str, X: ArrayLike) -> AnyArray:
    """Return X as `check_rows` does; refuse one without a row, from which nothing can be taken."""
    array = check_rows(name, X)
    if not array.size:
        raise ValueError(
            f"{name} must have at least one row and one column, from which a kernel takes its "
            f"parameters. Got an array of shape {array.shape} instead: pass training rows."
        )
    return array


def check_numbers(name: str, values: MatrixLike) -> NDArray[np.float64]:
    """Return targets in float64; refuse text and dates in words."""
    array = np.asarray(values)
    try:
        if array.dtype.kind not in "mM":
            return array.astype(np.float64)
        reason = "which counts time"
    except (TypeError, ValueError) as error:
        reason = str(error)
    raise ValueError(
        f"{name} must hold numbers. Got dtype {array.dtype} instead ({reason}): encode its values "
        "as numbers, or take a classifier for class labels."
    )


def check_not_images(name: str, X: MatrixLike) -> None:
    """Refuse arrays of more than two dimensions and say how to flatten them.

    Objects that are neither arrays nor lists are left to scikit-learn's own validation.
    """
    shape = np.shape(X) if isinstance(X, list | tuple) else getattr(X, "shape", ())
    if len(shape) > 2:
        raise ValueError(
            f"{name} must have shape (n_samples, n_features), images as flattened rows. Found "
            f"array with dim {len(shape)}, of shape {tuple(shape)}: pass "
            f"{name}.reshape(len({name}), -1)."
        )


def check_present(y: MatrixLike) -> None:
    """Refuse y with missing objects: None, NaN among strings, pandas.NA.

    Anything that is no array of objects is left to scikit-learn's own validation.
    """
    values = _objects(y)
    missing = [position for position, value in enumerate(values) if _is_missing(value)]
    if missing:
        row = missing[0] * len(y) // len(values)
        raise ValueError(
            f"y must have a value in every row. Got {values[missing[0]]!r} in row {row}, and "
            f"{len(missing)} of {len(values)} values missing in all: leave these rows out, or fill "
            "them in."
        )


def check_labels(y: MatrixLike) -> None:
    """Refuse class labels that are missing, or objects other than strings."""
    check_present(y)
    if str(getattr(y, "dtype", "object")) != "object" or hasattr(y, "columns"):
        return  # the objects of a pandas extension type are of one type
    types = {type(value) for value in _objects(y)}
    if all(issubclass(one, str) for one in types):
        return
    names = " and ".join(sorted(one.__name__ for one in types))
    are_numbers = all(issubclass(one, Real | np.generic) for one in types)
    advice = "numpy.array(list(y))" if are_numbers else "numpy.asarray(y).astype(str)"
    raise ValueError(  # in the first words that scikit-learn's checks of estimators ask for
        "Unknown label type: y must hold class labels of one type, strings or numbers in an array "
        f"of numbers. Got Python objects of type {names} instead: pass {advice}."
    )


def _objects(y: MatrixLike) -> list[object]:
    """Return the entries of y if it is an array of objects, or becomes one; none of any other."""
    if isinstance(y, list | tuple) and any(isinstance(row, list | tuple) for row in y):
        return []
    values = np.asarray(y)
    return values.ravel().tolist() if values.dtype == object and values.ndim else []


def _is_missing(value: object) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA is not equal to itself, nor is it unequal
        return True


def check_predictions(owner: str, predictions: MatrixLike, n: int, labels: AnyArray) -> AnyArray:
    """Return a model's predictions as one class label a row.

    Some models return a column. Anything else is refused that would count as wrong without being
    an answer: probabilities, codes in place of the labels, the numbers of a regressor.

    Parameters
    ----------
    owner : str
        The model, as messages name it.
    predictions : array-like
    n : int
        The number of rows.
    labels : ndarray
        Class labels among which are all that the model can have learned.
    """
    found = np.asarray(predictions)
    if found.shape not in ((n,), (n, 1)):
        raise ValueError(
            f"{owner} must predict one class label a row, {n} in all. Got an array of shape "
            f"{found.shape} instead: wrap it in a classifier whose predict returns labels."
        )
    found = found.reshape(n)
    known = dict.fromkeys(labels.tolist())  # Python's values, of which 1 and "1" are not equal
    unknown = [label for label in dict.fromkeys(found.tolist()) if label not in known]
    if unknown:
        raise ValueError(
            f"{owner} must predict class labels of y, such as {next(iter(known))!r}. Got "
            f"{unknown[0]!r} instead: wrap it in a classifier whose predict returns labels."
        )
    return found
