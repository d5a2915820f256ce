"""Tables of means and ranks. Oracles: pandas' groupby and scipy's ranks."""

from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata

from kipsk.evaluation import compare, summary

from ._stubs import COLUMNS, NN, Model, Sample


def test_without_pandas_it_is_a_dict_of_lists(blobs, monkeypatch):
    args = {"all": None, "s": Sample()}, {"1-NN": NN, "m": Model()}, *blobs
    frame = compare(*args)
    original = builtins.__import__

    def without_pandas(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    columns = compare(*args)
    assert isinstance(columns, dict) and list(columns) == COLUMNS
    assert columns["ipc"][::2] == [None, 2] * 3
    table = summary(columns)
    assert isinstance(table, dict)
    monkeypatch.undo()
    assert_array_equal(frame["accuracy"], columns["accuracy"])
    expected = summary(frame)
    for name in ("accuracy", "deviation", "n_rows", "rank", "average_rank"):
        assert_array_equal(table[name], expected[name])


def test_summary_equals_pandas_and_scipy():
    """Oracles: groupby for means, rankdata for ranks."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    keys = [
        (data, reducer, model, seed)
        for data in ("digits", "wine")
        for reducer in "abc"
        for model in ("SVC", "tree")
        for seed in range(3)
    ]
    frame = pd.DataFrame(keys, columns=["data", "reducer", "model", "seed"])
    frame["accuracy"] = rng.integers(0, 5, len(frame)) / 4
    frame["fit_seconds"] = rng.uniform(size=len(frame))
    table = summary(frame)
    groups = frame.groupby(["data", "reducer", "model"])
    assert_allclose(table["accuracy"], groups["accuracy"].mean())
    assert_allclose(table["deviation"], groups["accuracy"].std(ddof=0))
    assert_allclose(table["fit_seconds"], groups["fit_seconds"].mean())
    wide = groups["accuracy"].mean().unstack("reducer")
    ranks = pd.DataFrame(rankdata(-wide, axis=1), wide.index, wide.columns)
    for line in table.to_dict("records"):
        assert line["rank"] == ranks.loc[(line["data"], line["model"]), line["reducer"]]
        assert_allclose(line["average_rank"], ranks[line["reducer"]].mean())
    assert table["speed_up"].isna().all() and table["ipc"].isna().all()


def test_ranks_are_among_sets_of_one_size():
    """Reducers without an ipc take part for each; what failed is last."""
    table = summary(
        {
            "reducer": ["all", "a", "a", "b", "b", "bad"],
            "ipc": [None, 1, 10, 1, 10, None],
            "model": ["SVC"] * 6,
            "accuracy": [0.9, 0.5, 0.95, 0.6, 0.7, math.nan],
        }
    )
    assert list(table["rank"]) == [1.5, 3, 1, 2, 3, 4]
    assert list(table["average_rank"]) == list(table["rank"])
    assert math.isnan(table["accuracy"][5]) and table["n_failed"][5] == 1
