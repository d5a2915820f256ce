"""Rows of a comparison as a table."""

from __future__ import annotations

import math
from typing import Any

from kipsk.evaluation._jobs import Row


def _with_speed_ups(rows: list[Row], full: set[str]) -> list[Row]:
    """Return the rows with what follows from those of the reducers that are all rows."""
    seconds: dict[Any, float] = {}
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


def _table(rows: list[Row], whole: tuple[str, ...]) -> Any:
    """Return a DataFrame, or a dict of lists without pandas; `whole` numbers may be missing."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    try:
        import pandas as pd
    except ImportError:
        return columns
    return pd.DataFrame(columns).astype(dict.fromkeys([n for n in whole if n in columns], "Int64"))
