"""Rows of results as a table, with the columns that follow from the other columns."""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Sequence
from typing import Any, TypeAlias

from kipsk.evaluation._jobs import Row

#: A DataFrame, or a dict of str to list if pandas is not installed.
Table: TypeAlias = Any


def with_speed_ups(rows: Sequence[Row], full: Container[str]) -> list[Row]:
    """Return the rows with their speed-ups over training on all rows.

    Parameters
    ----------
    rows : sequence of Row
    full : container of str
        The names of the reducers that stand for all rows.
    """
    seconds: dict[Hashable, float] = {}
    for row in rows:
        if row["reducer"] in full:
            seconds.setdefault((row["seed"], row["split"], row["model"]), row["fit_seconds"])
    result = []
    for row in rows:
        whole = seconds.get((row["seed"], row["split"], row["model"]), math.nan)
        result.append(
            {
                **row,
                "full_fit_seconds": whole,
                "speed_up": whole / row["fit_seconds"],
                "speed_up_with_reduction": whole / (row["reduce_seconds"] + row["fit_seconds"]),
            }
        )
    return result


def as_table(rows: Sequence[Row], integers: Sequence[str]) -> Table:
    """Return rows as a DataFrame, or as a dict of lists if pandas is not installed.

    Parameters
    ----------
    rows : sequence of Row
        All with the same columns.
    integers : sequence of str
        Columns of integers in which values may be missing.
    """
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    try:
        import pandas as pd
    except ImportError:
        return columns
    dtypes = dict.fromkeys([name for name in integers if name in columns], "Int64")
    return pd.DataFrame(columns).astype(dtypes)
