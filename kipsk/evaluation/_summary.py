"""`summary`: the means and ranks of the rows of a comparison."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from kipsk.evaluation._jobs import Row
from kipsk.evaluation._table import Table, as_table

# The columns that `summary` averages, besides the accuracy.
_AVERAGED = ("n_rows", "reduce_seconds", "fit_seconds", "speed_up", "speed_up_with_reduction")


def summary(results: Table) -> Table:
    """Return means over seeds and splits, and the ranks of the reducers.

    Parameters
    ----------
    results : DataFrame or dict of str to list
        What `compare` returns. Results of several data sets may follow one another if a column
        ``data`` names the data set of each row.

    Returns
    -------
    table : DataFrame, or dict of str to list if pandas is not installed
        A row for each ``data`` (if there is such a column), ``reducer``, ``ipc`` and ``model``,
        with the columns

        - ``accuracy``, ``deviation``: mean and standard deviation over seeds and splits, without
          those that failed.
        - ``n_failed``: the number of those that failed.
        - ``n_rows``, ``reduce_seconds``, ``fit_seconds``, ``speed_up``,
          ``speed_up_with_reduction``: means.
        - ``rank``: the rank of this reducer by ``accuracy`` among all reducers with the same data
          set, model and `ipc`. The best has rank 1, and equal ones have the mean of their ranks. A
          reducer without an `ipc`, such as all rows, is ranked at each `ipc`, and its rank is the
          mean of these ranks.
        - ``average_rank``: the mean of ``rank`` over all data sets and models.

    Examples
    --------
    >>> from kipsk.evaluation import summary
    >>> results = {"reducer": ["a", "b"], "model": ["SVC", "SVC"], "accuracy": [0.8, 0.9]}
    >>> list(summary(results)["rank"])
    [2.0, 1.0]
    """
    columns = {name: list(results[name]) for name in results}
    groups = defaultdict(list)
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        group = _Group(row.get("data"), row["reducer"], _number(row.get("ipc")), row["model"])
        groups[group].append(row)
    means = {group: _mean(rows, "accuracy") for group, rows in groups.items()}
    ranks = {group: float(np.mean(values)) for group, values in _ranks(means).items()}
    of_reducer = defaultdict(list)
    for group, rank in ranks.items():
        of_reducer[group.reducer, group.ipc].append(rank)
    table = []
    for group, rows in groups.items():
        accuracies = _numbers(rows, "accuracy")
        line = group._asdict()
        if "data" not in columns:
            del line["data"]
        line["accuracy"] = means[group]
        line["deviation"] = float(np.std(accuracies)) if accuracies else math.nan
        line["n_failed"] = len(rows) - len(accuracies)
        line |= {name: _mean(rows, name) for name in _AVERAGED}
        line["rank"] = ranks[group]
        line["average_rank"] = float(np.mean(of_reducer[group.reducer, group.ipc]))
        table.append(line)
    return as_table(table, integers=("ipc",))


class _Group(NamedTuple):
    """What the rows of one line of a summary have in common."""

    data: str | None
    reducer: str
    ipc: int | None
    model: str


def _number(value: Any) -> Any:
    """Return a number as it is, and None for a missing value: None, NaN or pandas.NA."""
    return value if isinstance(value, Real) and not math.isnan(value) else None


def _numbers(rows: list[Row], name: str) -> list[float]:
    return [row[name] for row in rows if _number(row.get(name)) is not None]


def _mean(rows: list[Row], name: str) -> float:
    values = _numbers(rows, name)
    return float(np.mean(values)) if values else math.nan


def _ranks(means: Mapping[_Group, float]) -> Mapping[_Group, list[float]]:
    """Return the ranks of each group, one for each `ipc` at which it is ranked."""
    ranks = defaultdict(list)
    for data, model in dict.fromkeys((group.data, group.model) for group in means):
        peers = [group for group in means if (group.data, group.model) == (data, model)]
        ipcs: list[int | None] = [*sorted({peer.ipc for peer in peers if peer.ipc is not None})]
        for ipc in ipcs or [None]:
            block = [peer for peer in peers if peer.ipc in (ipc, None)]
            # Those that failed come last.
            losses = [math.inf if math.isnan(means[peer]) else -means[peer] for peer in block]
            for peer, rank in zip(block, rankdata(losses), strict=True):
                ranks[peer].append(float(rank))
    return ranks
