"""Which rows are held out, and which rows stand together in a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kipsk._types import Ints


def held_out_rows(codes: Ints, fraction: float, rng: np.random.RandomState) -> NDArray[np.bool_]:
    """Return a mask of random rows: the fraction of each class, rounded down."""
    held_out = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        held_out[members[: int(fraction * len(members))]] = True
    return held_out


def balanced_batches(codes: Ints, batch_size: int, rng: np.random.RandomState) -> list[Ints]:
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
        The most rows of a batch. If there are no more rows in all, one batch holds them all.

    Returns
    -------
    batches : list of ndarray
        The row indices of each batch. There are as few batches as the bound allows, all of one
        size. If that size does not divide the number of rows, rows of the first batch fill up the
        last one.
    """
    n = len(codes)
    size = -(-n // -(-n // batch_size))
    n_batches = -(-n // size)
    if n_batches == 1:
        return [np.arange(n)]
    # The members of each class are spread evenly over [0, 1), so that any interval of it holds the
    # classes in proportion.
    position = np.empty(n)
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        position[members] = (np.arange(len(members)) + rng.uniform()) / len(members)
    order = np.argsort(position, kind="stable")
    return [order[np.arange(b * size, (b + 1) * size) % n] for b in range(n_batches)]
