"""How many rows of each class: equally many, in proportion, or as imbalanced-learn has it."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from kipsk._checks import refuse
from kipsk._data._classes import ClassCoding
from kipsk._types import AnyArray, Given, Ints
from kipsk._warn import warn

_NAMES = ("stratified", "auto", "all", "majority", "not majority", "not minority")
_RULE = (
    f"None, one of {list(_NAMES)}, a number > 0 and <= 1 for two classes, a dict of class to "
    "number of rows, or a function of y that returns one"
)


def class_sizes(
    owner: str, strategy: Given, ipc: int, classes: AnyArray, codes: Ints, y: AnyArray
) -> Ints:
    """Return how many rows to choose of each class.

    Parameters
    ----------
    owner : str
        The estimator whose parameter `sampling_strategy` is.
    strategy : None, str, float, dict or callable
        Its value, as `CoresetSampler` has it.
    ipc : int
        Rows of each class for None; rows per class on average for "stratified".
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    codes : ndarray of shape (n_samples,)
        The class of each row.
    y : ndarray of shape (n_samples,)
        The labels, for a callable.

    Returns
    -------
    sizes : ndarray of shape (n_classes,)
        No class has fewer rows than its size.

    Raises
    ------
    ValueError
        If `strategy` breaks its rule, or asks for more rows than a class has.
    """
    counts = np.bincount(codes, minlength=len(classes))
    if strategy is None:
        ClassCoding(classes).warn_of_scarce(counts, ipc)
        return np.minimum(counts, ipc)
    if isinstance(strategy, str) and strategy == "stratified":
        return _stratified(owner, ipc, counts)
    if isinstance(strategy, str) and strategy in _NAMES:
        return _equalised(strategy, counts)
    if isinstance(strategy, Real) and not isinstance(strategy, bool | np.bool_):
        return _with_ratio(owner, float(strategy), classes, counts)
    if callable(strategy):
        strategy = strategy(y)
    if isinstance(strategy, Mapping):
        return _named(owner, strategy, classes, counts)
    raise refuse(owner, "sampling_strategy", _RULE, strategy)


def _stratified(owner: str, ipc: int, counts: Ints) -> Ints:
    total = ipc * len(counts)
    if total > counts.sum():
        warn(
            f"{owner} chooses ipc={ipc} rows per class on average, {total} rows in all. Got "
            f"{counts.sum()} rows, which are all chosen. Lower 'ipc' for fewer."
        )
        return counts
    return in_proportion(counts, total)


def in_proportion(counts: Ints, total: int) -> Ints:
    """Return sizes in proportion to `counts` as far as integers go, 1 at least.

    Of all positive integers with this sum they have the smallest sum of squared differences to
    ``total * counts / sum(counts)``.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)
    total : int
        The sum of the sizes, from `n_classes` to the sum of the counts.
    """
    shares = total * counts / counts.sum()
    sizes = np.maximum(1, np.floor(shares).astype(np.intp))
    while sizes.sum() < total:
        sizes[np.argmax(shares - sizes)] += 1
    while sizes.sum() > total:
        sizes[np.argmin(np.where(sizes > 1, shares - sizes, np.inf))] -= 1
    return sizes


def _equalised(name: str, counts: Ints) -> Ints:
    """Return the size of the smallest class for those that a name of imbalanced-learn says."""
    is_largest = np.arange(len(counts)) == np.argmax(counts)  # one class, of several equal ones
    match name:
        case "majority":
            is_targeted = is_largest
        case "not majority":
            is_targeted = ~is_largest
        case _:  # the smallest class gets as many rows as it has, whether or not it is named
            return np.full(len(counts), counts.min())
    return np.where(is_targeted, counts.min(), counts)


def _with_ratio(owner: str, ratio: float, classes: AnyArray, counts: Ints) -> Ints:
    """Return sizes of two classes, the smaller one's being `ratio` times that of the larger."""
    if len(counts) != 2:
        rule = f"a dict or one of {list(_NAMES)} for {len(counts)} classes; a number is for two"
        raise refuse(owner, "sampling_strategy", rule, ratio)
    if not 0 < ratio <= 1:
        raise refuse(owner, "sampling_strategy", _RULE, ratio)
    smaller = int(np.argmin(counts))
    sizes = counts.copy()
    sizes[1 - smaller] = int(counts[smaller] / ratio)
    if sizes[1 - smaller] > counts[1 - smaller]:
        rule = (
            f"at least {counts.min() / counts.max():.3g}, the ratio of the {counts[smaller]} rows "
            f"of class {classes[smaller]!s} to the {counts[1 - smaller]} rows of class "
            f"{classes[1 - smaller]!s}"
        )
        raise refuse(owner, "sampling_strategy", rule, ratio)
    return sizes


def _named(owner: str, wanted: Mapping[Given, Given], classes: AnyArray, counts: Ints) -> Ints:
    """Return the sizes in a dict; a class that is not in it keeps all its rows."""
    codes = {label: code for code, label in enumerate(classes.tolist())}
    sizes = counts.copy()
    for label, size in wanted.items():
        if label not in codes:
            rule = f"a dict whose keys are classes of y, {classes[:10].tolist()}"
            raise refuse(owner, "sampling_strategy", rule, {label: size})
        is_integer = isinstance(size, Integral) and not isinstance(size, bool | np.bool_)
        if not is_integer or size < 0:
            rule = "a dict of class to an integer >= 0, its number of rows"
            raise refuse(owner, "sampling_strategy", rule, {label: size})
        code = codes[label]
        if size > counts[code]:
            raise ValueError(
                f"The 'sampling_strategy' parameter of {owner} must ask for no more rows than a "
                f"class has. Got {size} for class {label!s}, which has {counts[code]} rows, "
                "instead: lower it, or leave the class out of the dict to keep all its rows."
            )
        sizes[code] = size
    if not sizes.any():
        rule = "a dict that leaves a row of one class at least"
        raise refuse(owner, "sampling_strategy", rule, dict(wanted))
    return sizes
