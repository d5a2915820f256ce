"""How many natural rows each row of a reduced set is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kipsk._types import Float64s


class Curve(NamedTuple):
    """The accuracy of one reducer's sets.

    Attributes
    ----------
    n_rows : ndarray of shape (n_sizes,)
        The sizes of the sets, ascending.
    accuracy, deviation : ndarrays of shape (n_sizes,)
        Mean and standard deviation of the accuracy over seeds and splits.
    """

    n_rows: Float64s
    accuracy: Float64s
    deviation: Float64s


class Worth(NamedTuple):
    """How many rows of the baseline a set is worth."""

    reducer: str  #: the name of the reducer that made the set
    n_rows: float  #: the number of rows of the set
    accuracy: float  #: the accuracy of the model trained on the set
    relation: str  #: "=", or ">" and "<" where the baseline does not reach the accuracy
    times: float  #: the rows of the baseline that give this accuracy, over `n_rows`

    def __str__(self) -> str:
        times = f"×{self.times:.0f}" if self.times >= 9.5 else f"×{self.times:.2g}"
        return {"=": "", ">": "more than ", "<": "less than "}[self.relation] + times


def worths_of(
    curves: Mapping[str, Curve], natural: Curve, full: tuple[float, float] | None
) -> list[Worth]:
    """Return what each set of some reducers is worth in natural rows.

    The natural rows that reach an accuracy are interpolated in the logarithm of their number.

    Parameters
    ----------
    curves : mapping of str to Curve
        The sets, by the name of the reducer that made them.
    natural : Curve
        The sets of natural rows.
    full : tuple (n_rows, accuracy) or None
        All rows, which the natural curve ends in.
    """
    sizes, accuracies = natural.n_rows, natural.accuracy
    if full is not None:
        inside = sizes < full[0]
        sizes = np.append(sizes[inside], full[0])
        accuracies = np.append(accuracies[inside], full[1])
    # The best accuracy of all sets up to a size: noise may lower that of a larger set.
    reached, first = np.unique(np.maximum.accumulate(accuracies), return_index=True)
    needed = np.log(sizes[first])
    found = []
    for name, curve in curves.items():
        for n, accuracy in zip(curve.n_rows, curve.accuracy, strict=True):
            relation = ">" if accuracy > reached[-1] else "<" if accuracy < reached[0] else "="
            # Above the whole curve not even the largest set is enough.
            rows = sizes[-1] if relation == ">" else np.exp(np.interp(accuracy, reached, needed))
            found.append(Worth(name, float(n), float(accuracy), relation, float(rows / n)))
    return found
