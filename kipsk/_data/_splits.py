"""Rows held out, and class-balanced batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out_rows(
    codes: NDArray[np.integer], fraction: float, rng: np.random.RandomState
) -> NDArray[np.bool_]:
    """Return a mask of random rows, the fraction of each class, rounded down."""
    held_out = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        held_out[members[: int(fraction * len(members))]] = True
    return held_out


def balanced_batches(
    codes: NDArray[np.integer], batch_size: int, rng: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Partition rows into batches of one size that all hold the classes in equal proportion.

    Every batch has each class's share of the whole set, to within two rows (one if all classes are
    of one size). Within a batch no row stands twice. Batches are fixed for a whole fit,
    so that each is copied out of the data once and not gathered at every step: a gather of 5000
    CIFAR-10 images costs as much as the kernel between them and 100 support rows.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Class of each row, ``0 .. n_classes - 1``.
    batch_size : int
        Upper bound of their size; one batch holds all rows if there are no more than that.

    Returns
    -------
    batches : list of ndarray
        Row indices, as few batches as the bound allows and all of one size. If the number of rows
        does not divide, the last batch is filled up with rows of the first.
    """
    n = len(codes)
    size = -(-n // -(-n // batch_size))
    n_batches = -(-n // size)
    if n_batches == 1:
        return [np.arange(n)]
    # Spread the members of each class evenly over [0, 1): any interval has all in proportion.
    position = np.empty(n)
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        position[members] = (np.arange(len(members)) + rng.uniform()) / len(members)
    order = np.argsort(position, kind="stable")
    return [order[np.arange(b * size, (b + 1) * size) % n] for b in range(n_batches)]
