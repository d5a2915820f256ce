"""`summary`: means and ranks over the rows of a comparison."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from scipy.stats import rankdata

from kipsk.evaluation._jobs import Row
from kipsk.evaluation._table import _table

# What `summary` has the means of, besides the accuracy.
_AVERAGED = ("n_rows", "reduce_seconds", "fit_seconds", "speed_up", "speed_up_with_reduction")


def summary(results: Any) -> Any:
    """Return means over seeds and splits, and the ranks of the reducers.

    Parameters
    ----------
    results : DataFrame or dict of str to list
        Of `compare`; or of several data sets, one after the other, with their names in a column
        ``data``.

    Returns
    -------
    table : DataFrame, or dict of str to list if pandas is not installed
        A row for each ``data`` (if there), ``reducer``, ``ipc`` and ``model``, and the columns

        - ``accuracy``, ``deviation``: mean and standard deviation over seeds and splits, failures
          left out.
        - ``n_failed``: how many failed.
        - ``n_rows``, ``reduce_seconds``, ``fit_seconds``, ``speed_up``,
          ``speed_up_with_reduction``: means.
        - ``rank``: of this reducer among all with the same data set, model and `ipc`, by
          ``accuracy``; 1 is the best, and equal ones have the mean of their ranks. Reducers without
          an `ipc`, such as all rows, take part for each `ipc`: theirs is the mean of these ranks.
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
        key = (row.get("data"), row["reducer"], _number(row.get("ipc")), row["model"])
        groups[key].append(row)
    means = {key: _mean(rows, "accuracy") for key, rows in groups.items()}
    ranks = {key: float(np.mean(values)) for key, values in _ranks(means).items()}
    of_reducer = defaultdict(list)
    for (_, reducer, ipc, _), rank in ranks.items():
        of_reducer[reducer, ipc].append(rank)
    table = []
    for key, rows in groups.items():
        data, reducer, ipc, model = key
        accuracies = _numbers(rows, "accuracy")
        line = {"data": data} if "data" in columns else {}
        line |= {"reducer": reducer, "ipc": ipc, "model": model, "accuracy": means[key]}
        line["deviation"] = float(np.std(accuracies)) if accuracies else math.nan
        line["n_failed"] = len(rows) - len(accuracies)
        line |= {name: _mean(rows, name) for name in _AVERAGED}
        line |= {"rank": ranks[key], "average_rank": float(np.mean(of_reducer[reducer, ipc]))}
        table.append(line)
    return _table(table, ("ipc",))


def _number(value: Any) -> Any:
    """Return a number, None for one that is missing, as NaN or otherwise."""
    return value if isinstance(value, Real) and not math.isnan(value) else None


def _numbers(rows: list[Row], name: str) -> list[float]:
    return [row[name] for row in rows if _number(row.get(name)) is not None]


def _mean(rows: list[Row], name: str) -> float:
    values = _numbers(rows, name)
    return float(np.mean(values)) if values else math.nan


def _ranks(means: Mapping[tuple[Any, ...], float]) -> Mapping[tuple[Any, ...], list[float]]:
    """Return the ranks of each (data, reducer, ipc, model), one for each `ipc` it is ranked at."""
    ranks = defaultdict(list)
    for data, model in dict.fromkeys((key[0], key[3]) for key in means):
        peers = [key for key in means if (key[0], key[3]) == (data, model)]
        for ipc in sorted({key[2] for key in peers} - {None}) or [None]:
            block = [key for key in peers if key[2] in (ipc, None)]
            # What failed is last.
            losses = [math.inf if math.isnan(means[key]) else -means[key] for key in block]
            for key, rank in zip(block, rankdata(losses), strict=True):
                ranks[key].append(float(rank))
    return ranks
