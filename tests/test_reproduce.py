"""The scripts of examples/reproduce: they load, and keep and render what they measure."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

FOLDER = Path(__file__).parents[1] / "examples" / "reproduce"
TABLES = ["fc", "convnet", "moments", "transfer", "ablation", "robustness", "width", "baselines"]


@pytest.fixture(scope="module", autouse=True)
def importable():
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if (FOLDER / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def arguments(tmp_path):
    def make(**changes):
        given = {
            "dataset": ["digits"], "ipc": [1], "rows": ["a"], "seeds": 2, "budget": None,
            "set": [], "held_out": False, "again": False, "results": tmp_path / "table.csv",
        }  # fmt: skip
        return Namespace(**{**given, **changes})

    return make


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_script_loads(name):
    importlib.import_module(name)


@pytest.mark.parametrize("name", TABLES)
def test_table_scripts_take_the_common_options(name):
    script = importlib.import_module(f"table_{name}")
    text = "--data D --dataset digits mnist --ipc 1 10 --budget 0.5 --held-out --set max_iter=3"
    given = script.options().parse_args(text.split())
    assert (given.dataset, given.ipc, given.budget) == (["digits", "mnist"], [1, 10], 0.5)
    assert given.set == [("max_iter", 3)]
    assert set(given.rows) == set(script.ROWS)
    with pytest.raises(SystemExit) as stopped:
        script.options().parse_args(["--help"])
    assert not stopped.value.code


@pytest.mark.parametrize("name", TABLES)
def test_published_rows_are_rows_of_the_scripts(name):
    record = importlib.import_module("_record")
    script = importlib.import_module(f"table_{name}")
    titles = set(script.ROWS.values())
    if name in ("ablation", "baselines"):
        titles = {f"{title}: {kind}" for title in titles for kind in ("KRR", "NN")}
    for file in ("published", f"table_{name}"):
        for line in record.read(FOLDER / "results" / f"{file}.csv"):
            if line.get("table", f"table_{name}") == f"table_{name}":
                assert line["row"] in titles


def test_what_is_recorded_is_not_measured_again(arguments):
    record = importlib.import_module("_record")

    def measure(params=None, **changes):
        table = record.Table("table", {"a": "A", "b": "B"}, arguments(**changes))
        cells = list(table.missing(lambda row, *_: None if row == "b" else params or {"n": 1}))
        for cell in cells:
            table.record(cell, 0.5, 60.0, 7)
        return [cell.seed for cell in cells]

    assert measure(seeds=1) == [0]
    assert measure() == [1]
    assert measure() == []
    assert measure(rows=["b"]) == []  # not for this data set
    assert measure(params={"n": 2}) == [0, 1]
    assert measure(again=True) == [0, 1]
    lines = record.read(arguments().results)
    assert [line["value"] for line in lines] == 6 * ["50.00"]
    assert lines[0]["command"] == "--dataset digits --ipc 1 --rows a --seeds 1"


class Slow(BaseEstimator):
    """Takes two seconds, and one for each step, on a clock of its own; compiles in its first."""

    ipc, batch_size = 1, 10
    now = 0

    def __init__(self, max_iter=100):
        self.max_iter = max_iter

    def fit(self, X, y):
        Slow.now += (100 if Slow.now == 0 else 2) + self.max_iter


def test_budget_bounds_the_steps(arguments, monkeypatch):
    record = importlib.import_module("_record")
    monkeypatch.setattr(record, "time", Namespace(perf_counter=lambda: Slow.now))
    cell, y = record.Cell("a", "digits", 1, 0, {}), np.arange(20) % 2

    def steps(seconds):
        budget = None if seconds is None else seconds / 60
        table = record.Table("table", {}, arguments(budget=budget))
        return table.max_iter(cell, Slow(), np.zeros((20, 3)), y)

    assert steps(None) == steps(1e6) == 100
    assert steps(1e-9) == 1
    assert steps(30) == 30


RENDERED = """
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| A | CIFAR-10 | 10 / 50 | 60.0 / 70.0 | not run |  |  |  |  |
| A | CIFAR-10 | 1 | 50.0 | 51.0 ± 1.0 (2 seeds) | +1.0 | 1.5 | 7/8 | `--rows a` |
| B | digits | 1 | - | 9.0 ± 0.5 (3 seeds) |  |  |  | `--rows b` |
"""


def test_rendered_table(tmp_path):
    render = importlib.import_module("render")
    (tmp_path / "published.csv").write_text(
        "table,row,dataset,ipc,value\nt,A,cifar10,1,50.0\nt,A,cifar10,10,60.0\n"
        "t,A,cifar10,50,70.0\nother,C,cifar10,1,1.0\n"
    )
    (tmp_path / "t.csv").write_text(
        f"{','.join(importlib.import_module('_record').COLUMNS)}\n"
        "A,cifar10,1,0,40.00,,1,1.0,7,n=1,--rows a,M,2020-01-01\n"  # measured again
        "A,cifar10,1,0,50.00,,1,1.0,7,n=1,--rows a,M,2020-01-01\n"
        "A,cifar10,1,1,52.00,,1,2.0,8,n=1,--rows a,M,2020-01-01\n"
        "A,cifar10,1,1,99.00,,1,2.0,8,n=1 held_out=1,--rows a,M,2020-01-01\n"
        "B,digits,1,,9.0,0.5,3,,,,--rows b,M,\n"
    )
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- begin t -->\nold\n<!-- end t -->\nAfter\n")

    def run(*given):
        render.main(render.options().parse_args(
            [*given, "--page", str(page), "--folder", str(tmp_path)]
        ))  # fmt: skip

    with pytest.raises(SystemExit, match="run it"):
        run("--check")
    run()
    text = page.read_text()
    assert RENDERED in text
    assert text.startswith("Before\n") and text.endswith("<!-- end t -->\nAfter\n")
    with pytest.raises(SystemExit) as stopped:
        run("--check")
    assert not stopped.value.code


def test_results_page_is_rendered():
    render = importlib.import_module("render")
    page = render.PAGE.read_text()
    assert render.rendered(page) == page
