"""Rows far from zero, of which products lose the digits that differences have.

Rows at a common distance c from zero, in units of their deviation, have inner products near c^2
and squared distances near 1, so that ``|x|^2 + |x'|^2 - 2 <x, x'>`` is off by roundings of c^2.
Years, Unix times and identifiers are such features. Products of ``x - centre`` lose nothing.
"""

from __future__ import annotations

import numpy as np

from kipsk._types import AnyArray, Float64s, Ints

# Products of rows as many deviations from zero are off by 100 roundings, 1e-5 in float32. Images
# are nearer, whatever their contrast.
_FAR = 10
_MAX_ROWS = 1000


def evenly(X: AnyArray) -> Ints:
    """Return the numbers of evenly spaced rows, at most 1000: the same for as many rows."""
    return np.linspace(0, len(X) - 1, min(len(X), _MAX_ROWS)).round().astype(np.intp)


def centre_of(X: AnyArray) -> Float64s | None:
    """Return the mean of rows that are far from zero, None if they are not.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)

    Returns
    -------
    centre : ndarray of shape (n_features,), or None
        Of at most 1000 rows: products about any point among them are as good. None if the mean is
        at most 10 times as long as the rows' root mean square distance from it.
    """
    if not len(X):
        return None
    rows = X[evenly(X)].astype(np.float64)
    # What overflows is refused elsewhere, with the reason.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rows.mean(axis=0)
        variance = np.sum(np.square(rows - mean)) / len(rows)
        return mean if mean @ mean > _FAR**2 * variance else None
