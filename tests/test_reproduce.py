"""The scripts of examples/reproduce: they load, and keep and render what they measure."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

FOLDER = Path(__file__).parents[1] / "examples" / "reproduce"
TABLES = [
    "fc", "convnet", "moments", "transfer", "protocols", "ablation", "robustness", "width",
    "baselines",
]  # fmt: skip


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


def test_scores_of_dd_ranking():
    """Oracle: by hand, with e = 2.71828."""
    script = importlib.import_module("dd_ranking")
    assert script.score(-1) == 0 and script.score(1) == 1
    # Recovery 0.8 - 0.6 and improvement 0.7 - 0.3, halved: 0.1. (1.10517 - 0.36788) / 2.35040.
    assert script.label_robust(0.8, 0.6, 0.7, 0.3) == pytest.approx((0.2, 0.4, 0.31369), abs=1e-5)
    # Gains 0.5 - 0.3 and 0.6 - 0.2, halved: 0.3. (1.34986 - 0.36788) / 2.35040.
    found = script.augmentation_robust(0.5, 0.3, 0.6, 0.2)
    assert found == pytest.approx((0.2, 0.4, 0.41779), abs=1e-5)
    assert script.label_robust(0.8, 0.6, 0.7, 0.3, weight=1)[2] == script.score(0.7 - 0.3)


@pytest.mark.slow
def test_dd_ranking_of_digits(tmp_path, capsys):
    """Quick: 6 networks of width 2. A set that is not of these images is refused."""
    script = importlib.import_module("dd_ranking")
    path = tmp_path / "set.npz"
    images = np.random.RandomState(0).standard_normal((10, 8, 8, 1))
    np.savez(path, images=images, labels=np.eye(10) - 0.1)
    training = "--dataset digits --seeds 1 --width 2 --epochs 2 --all-epochs 1"

    def run(*given):
        script.main(script.options().parse_args([*training.split(), *given]))
        return capsys.readouterr().out.splitlines()

    lines = run("--support", str(path))
    assert len(lines) == 10 and sum("robust score" in line for line in lines) == 2
    assert len(run("--support", str(path), "--all-rows", "95")) == 10
    np.savez(path, images=images[:, :6], labels=np.eye(10) - 0.1)
    with pytest.raises(SystemExit, match=r"images of 48 values.*digits has images of 64 values"):
        run("--support", str(path))


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
    other = tmp_path / "other.md"
    other.write_text("No table\n")
    page.write_text("Before\n<!-- begin t -->\nold\n<!-- end t -->\nAfter\n")

    def run(*given):
        render.main(render.options().parse_args(
            [*given, "--pages", str(tmp_path), "--folder", str(tmp_path)]
        ))  # fmt: skip

    with pytest.raises(SystemExit, match=r"page\.md: not what render\.py writes: run it"):
        run("--check")
    run()
    text = page.read_text()
    assert RENDERED in text
    assert other.read_text() == "No table\n"
    assert text.startswith("Before\n") and text.endswith("<!-- end t -->\nAfter\n")
    with pytest.raises(SystemExit) as stopped:
        run("--check")
    assert not stopped.value.code


def lines_of(*figures):
    """Return lines of a CSV of (row, dataset, ipc, seed, value, machine)."""
    names = ("row", "dataset", "ipc", "seed", "value", "machine")
    rest = {"deviation": "", "n_seeds": "1", "minutes": "", "steps": "", "settings": ""}
    return [
        {
            **rest,
            "command": f"--seeds {figure[3] + 1}",
            **dict(zip(names, map(str, figure), strict=True)),
        }
        for figure in figures
    ]


@pytest.fixture
def rendered(monkeypatch):
    """Return a function: the table of these lines, and of (row, dataset, ipc, value) published."""
    render = importlib.import_module("render")

    def make(lines, published=()):
        names = ("table", "row", "dataset", "ipc", "value")
        cells = [("t", *map(str, figure)) for figure in published]
        found = {
            "t": lines,
            "published": [dict(zip(names, values, strict=True)) for values in cells],
        }
        monkeypatch.setattr(render, "read", lambda path: found[path.stem])
        return "\n".join(render.table("t"))

    return make


def test_empty_columns_are_left_out(rendered):
    text = rendered(lines_of(("A", "digits", 1, 0, 50, "M")))
    assert "| row | data set | images per class | measured | options |" in text


def test_rows_of_the_data_have_no_soft_labels(monkeypatch):
    render = importlib.import_module("render")
    found = lines_of(
        ("random rows, own: hard labels", "digits", 1, 0, 50, "M"),
        ("KIP, own: hard labels", "digits", 1, 0, 60, "M"),
        ("KIP, own: soft labels", "digits", 10, 0, 70, "M"),
    )
    monkeypatch.setattr(render, "read", lambda path: found)
    text = "\n".join(render.side_by_side("t"))
    assert "| digits | random rows, own | 50.0 (1 seed) | not run | – | – |" in text
    assert "| digits | KIP, own | 60.0 (1 seed) | not run | not run | 70.0 (1 seed) |" in text


def test_the_command_of_several_seeds_measures_all(rendered):
    """The lines may stand in any order. 81.35, which no binary number is, is shown as 81.4."""
    text = rendered(
        lines_of(*(("A", "digits", 1, seed, 81.35, "M") for seed in (1, 2, 0))),
        [("A", "digits", 1, 80.0)],
    )
    assert "| A | digits | 1 | 80.0 | 81.4 ± 0.0 (3 seeds) | +1.4 | `--seeds 3` |" in text


def test_machines_are_told_by_what_differs(rendered):
    figures = [("A", "digits", 1, n, 50, f"{n + 1} cores, Python 3, jax 1") for n in range(2)]
    assert "Machine: 1 cores, Python 3, jax 1." in rendered(lines_of(figures[0]))
    text = rendered(lines_of(*figures))
    assert "Machines: 1 cores; 2 cores; each with Python 3, jax 1." in text


def test_sets_without_figures_stand_apart(rendered):
    """But those of which something was measured, and those that every reader has, do not."""
    text = rendered(
        lines_of(("A", "mnist", 1, 0, 50, "M")),
        [("A", name, ipc, 60.0) for name in ("svhn", "cifar10", "mnist") for ipc in (1, 10)],
    )
    table, own = text.split("<details>")
    assert "| A | CIFAR-10 | 1 / 10 | 60.0 / 60.0 | not run |" in table
    assert "| A | MNIST | 1 | 60.0 | 50.0 |" in table
    assert "SVHN" not in table and "CIFAR-10" not in own
    assert "<summary>With your own files: MNIST, SVHN</summary>" in own
    assert "    python examples/reproduce/t.py --data DIR --dataset mnist svhn\n" in own
    assert "| A | SVHN | 1 / 10 | 60.0 / 60.0 |" in own and "| A | MNIST | 10 | 60.0 |" in own


def test_results_pages_are_rendered():
    """Every table stands on one page, as render.py writes it."""
    render = importlib.import_module("render")
    names = []
    for path in render.PAGES.glob("*.md"):
        page = path.read_text()
        assert render.rendered(page) == page, path.name
        names += re.findall(r"<!-- begin (\w+) -->", page)
    assert sorted(names) == sorted(f"table_{name}" for name in TABLES)


def test_points_of_the_picture(tmp_path):
    plot = importlib.import_module("plot_results")
    head = ",".join(importlib.import_module("_record").COLUMNS)
    (tmp_path / "t.csv").write_text(
        f"{head}\n"
        "A,cifar10,1,0,40.0,,1,1.0,7,n=1 m=2,,M,\nA,cifar10,1,1,50.0,,1,3.0,7,n=1 m=2,,M,\n"
        "A,cifar10,1,0,60.0,,1,0.5,7,n=1 m=3,,M,\nA,cifar10,1,0,70.0,,1,1.0,7,n=10,,M,\n"
        "A,cifar10,10,0,80.0,,1,1.0,7,n=1,,M,\nB,cifar10,1,0,90.0,,1,1.0,7,n=1,,M,\n"
    )
    (tmp_path / "curves.csv").write_text(
        "row,dataset,ipc,seconds,accuracy,command\nC,cifar10,1,5,20.0,\nC,cifar10,1,6,30.0,\n"
        "C,cifar10,10,7,99.0,\nD,cifar10,1,8,98.0,\n"
    )
    part = plot.Figures("t", ("A",), ("n=1",), "C")
    assert plot.figures(part, 1, tmp_path) == [(30.0, 60.0), (120.0, 45.0)]
    assert plot.curve(part, 1, tmp_path) == [(5.0, 20.0), (6.0, 30.0)]


def test_picture_is_drawn(tmp_path):
    """Each colour has points of the CSVs."""
    plot = importlib.import_module("plot_results")
    path = tmp_path / "picture.svg"
    plot.main(plot.options().parse_args(["--out", str(path)]))
    drawn = path.read_text()
    for series in plot.SERIES:
        assert series.colour in drawn
        assert any(plot.figures(part, ipc) for part in series.parts for ipc in plot.IPCS)
        for part in series.parts:
            assert not part.curve or any(plot.curve(part, ipc) for ipc in plot.IPCS)


@pytest.fixture
def mixed_table(tmp_path):
    """Return the path of 200 rows: a number that tells the classes apart, and categories."""
    rng = np.random.RandomState(0)
    y = rng.permutation(200) % 2
    numbers = 3 * y + rng.standard_normal(200)
    rows = zip(numbers, rng.choice(["a", "b", "?"], 200), y, strict=True)
    path = tmp_path / "tables" / "mixed.csv"
    path.parent.mkdir()
    path.write_text("".join(f"{x:.3f}, {name}, class {code}\n" for x, name, code in rows))
    return path


def test_regret():
    """Oracle: by hand."""
    script = importlib.import_module("_tables")
    found = script.regret(np.array([0.9, 0.7, 0.8, 0.95]), np.full(4, 0.9), np.full(4, 0.7))
    np.testing.assert_allclose(found, [0, 1, 0.5, -0.25], atol=1e-12)
    assert np.isnan(script.regret(0.5, 0.9, 0.895))
    assert np.isnan(script.regret(0.5, 0.8, 0.9))
    lines = [
        {"table": table, "learner": "NN", "method": method, "ipc": ipc, "value": value}
        for table, method, ipc, values in [
            ("a", "all", "0", (0.9, 0.8)),
            ("a", "random", "10", (0.6, 0.7)),
            ("a", "k-means", "20", (0.8, 0.7)),
            ("b", "all", "0", (0.9, 0.8)),
            ("b", "random", "10", (0.9, 0.8)),
            ("b", "k-means", "20", (0.8, 0.7)),
        ]
        for value in values
    ]
    lines += [{**lines[0], "learner": "itself", "method": "kip-end", "ipc": "20", "value": 0.75}]
    means = script.with_regrets(lines).set_index(["table", "method"])["regret"]
    np.testing.assert_allclose(means["a", "k-means"], (0.85 - 0.75) / (0.85 - 0.65))
    np.testing.assert_allclose(means["a", "distiller"], (0.85 - 0.75) / (0.85 - 0.65))
    assert np.isnan(means["b", "k-means"])


def test_overview_of_tables():
    """Oracle: by hand."""
    script = importlib.import_module("_tables")
    values = {
        ("all", 0): (0.9, 0.9), ("random", 10): (0.7, 0.8), ("kip-start", 10): (0.8, 0.85),
        ("fit_resample", 10): (0.86, 0.83), ("random", 20): (0.8, 0.9),
        ("kip-start", 20): (0.7, 0.9), ("fit_resample", 20): (0.9, 0.9),
    }  # fmt: skip
    lines = [
        {"table": table, "learner": "NN", "method": method, "ipc": str(ipc), "value": value,
         "seed": "0"}
        for (method, ipc), pair in values.items()
        for table, value in zip("ab", pair, strict=True)
    ]  # fmt: skip
    means = script.with_regrets(lines)
    rows = {row[""]: row for row in script.overview_rows(means, [10, 20])}
    assert rows["KIP, fit_resample"][10].startswith("0.45 [0.20, 0.70]")
    wins = {name: (row["best, 10"], row["best, 20"]) for name, row in rows.items()}
    assert wins == {"random rows": (0, 0), "KIP, its start": (0, 0), "KIP, fit_resample": (1, 1)}
    found = {row[""]: (row[10], row[20]) for row in script.size_rows(means, [10, 20])}
    assert found["all rows"] == ("90.0", "90.0") and found["KIP, its start"] == ("82.5", "80.0")
    cells, worse = script.worse_than_start(means)
    assert sorted(cells) == [("a", 10), ("a", 20), ("b", 10), ("b", 20)]
    assert [(*cell[:2], round(cell[2], 9)) for cell in worse] == [("b", 10, 2.0)]
    assert (
        "1 of 4 cells of a table and a size (`b` at 10, 2.0 points)."
        in [*script.overview(lines)][-1]
    )


def test_table_with_categories_and_missing_values(tmp_path):
    script = importlib.import_module("_tables")
    path = tmp_path / "table.dat"
    path.write_text("@relation x\n1.5, b, 2, yes\n?, a, 3, no\n2.5, , 4, yes\n3, b, 5, ?\n")
    table = script.tables(tmp_path)["table"]()
    np.testing.assert_array_equal(table.X, [[1.5, 1, 2], [np.nan, 0, 3], [2.5, np.nan, 4]])
    assert (table.y.tolist(), table.categories) == ([1, 0, 1], [1])


def test_split_of_a_table(mixed_table):
    script = importlib.import_module("_tables")
    table = script.read_table(mixed_table)
    X, X_test, y, y_test = script.split(table, 0, 50)
    assert X.shape == (50, 4) and X_test.shape == (60, 4)  # a number, "a", "b" and missing
    np.testing.assert_allclose([X[:, 0].mean(), X[:, 0].std()], [0, 1], atol=1e-12)
    np.testing.assert_array_equal(X[:, 1:].sum(axis=1), 1)
    assert (np.bincount(y).tolist(), np.bincount(y_test).tolist()) == ([25, 25], [30, 30])


def test_tables_are_measured_once_and_rendered(mixed_table, tmp_path, capsys, monkeypatch):
    script, record = importlib.import_module("tables"), importlib.import_module("_record")
    monkeypatch.setattr(script, "speed_of_products", lambda: 1)
    path = tmp_path / "results.csv"

    def run(text):
        given = f"--folder {mixed_table.parent} --results {path} --ipc 20 --max-rows 100 {text}"
        script.main(script.options().parse_args(given.split()))
        return capsys.readouterr().out

    run("--methods all random --learners 1-NN")
    lines = record.read(path)
    assert [(line["method"], line["ipc"]) for line in lines] == [
        ("all", "0"), ("random", "10"), ("random", "20"),
    ]  # fmt: skip
    assert [line["n_rows"] for line in lines] == ["100", "20", "40"]
    assert all(0.8 < float(line["value"]) <= 1 for line in lines)
    text = run("--methods all agglomerative --learners 1-NN logistic")
    assert record.read(path)[:3] == lines and len(record.read(path)) == 6
    assert "## 20 rows per class: tables 1, seeds 1" in text
    assert "| agglomerative (Ward) |" in text
    assert run("--render") == text[text.index("\n\n") + 1 :] and len(record.read(path)) == 6


def test_a_failed_fit_is_a_line_and_tried_again(mixed_table, tmp_path, monkeypatch):
    script, record = importlib.import_module("tables"), importlib.import_module("_record")
    monkeypatch.setattr(script, "speed_of_products", lambda: 1)
    path = tmp_path / "results.csv"

    class Broken(BaseEstimator):
        def fit(self, X, y):
            raise ValueError("no\ngood")

    def run():
        given = f"--folder {mixed_table.parent} --results {path} --learners 1-NN logistic"
        script.main(script.options().parse_args([*given.split(), "--methods", "random"]))
        return [(line["learner"], line["error"]) for line in record.read(path)]

    with monkeypatch.context() as patch:
        learners = script.learners(2)
        patch.setattr(script, "learners", lambda *_: {**learners, "1-NN": Broken()})
        assert run() == [("1-NN", "ValueError: no good"), ("logistic", "")]
    assert run()[2:] == [("1-NN", "")]


def test_fit_resample_chooses_for_each_learner():
    """Oracle: `fit_resample` without a checkpoint."""
    script = importlib.import_module("tables")
    X, y = np.random.RandomState(0).standard_normal((60, 2)), np.arange(60) % 2
    X[:, 0] += y
    kip = script.KIPDistiller(["rbf", "laplace"], ipc=3, max_iter=4, random_state=0)
    with script.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sets = script.sets_of("fit_resample", script.clone(kip), X, y, Path(folder) / "run")
        for name in ("1-NN", "naive Bayes"):
            model = script.learners()[name]
            expected = script.clone(kip).set_params(downstream=model)
            X_s, y_s = expected.fit_resample(X, y)
            made = sets(model)
            np.testing.assert_array_equal(made.X, X_s)
            np.testing.assert_array_equal(made.y, y_s)
            assert made.reducer.stage_scores_ == expected.stage_scores_
