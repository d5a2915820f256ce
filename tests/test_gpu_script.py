"""The scripts that measure a GPU and bring data to it, at a small size on a CPU."""

from __future__ import annotations

import csv
import importlib
import json
import subprocess
import sys
import time
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "reproduce"


@pytest.fixture(scope="module", autouse=True)
def importable():
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if (FOLDER / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture(scope="module")
def script(importable):
    return importlib.import_module("gpu")


@pytest.fixture(scope="module")
def packing(importable):
    return importlib.import_module("gpu_data")


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def rows(script, tmp_path_factory):
    """All parts, once for all tests."""
    out = tmp_path_factory.mktemp("gpu") / "rows" / "gpu.csv"
    script.main(["--small", "--minutes", "60", "--out", str(out)])
    return read(out)


def values(rows, part, **wanted):
    """Return the numbers of some rows by what they are."""
    return {
        (row["what"], row["precision"]): float(row["value"])
        for row in rows
        if row["part"] == part and all(row[name] == value for name, value in wanted.items())
    }


def test_without_neural_tangents_a_row_says_so(script, monkeypatch):
    def missing():
        raise ImportError("neural-tangents")

    class Run:
        rows = []

        def row(self, what, note):
            self.rows.append((what, note))

    monkeypatch.setattr(script, "load_stax", missing)
    assert not script.has_neural_tangents(Run(), "their step")
    assert Run.rows == [("their step", "not measured: neural-tangents is not installed")]


@pytest.mark.slow  # all parts take two minutes to compile
def test_all_parts_run(rows, script):
    assert not [row for row in rows if row["what"] in ("failed", "skipped")]
    assert not [row for row in rows if row["note"].startswith("not measured")]
    whole = [row["part"] for row in rows if row["what"] == "the whole part"]
    assert whole == list(script.PARTS)
    assert all(row["device"] and "jax" in row["versions"] and row["date"] for row in rows)


@pytest.mark.slow  # all parts take two minutes to compile
def test_agreement_with_float64(rows):
    """Oracle: the same in float64 on the CPU."""
    errors = values(rows, "agreement", unit="relative error")
    assert len(errors) >= 10
    assert max(errors.values()) < 1e-3
    kernels = [error for (what, _), error in errors.items() if what.startswith("K of")]
    assert max(kernels) < 1e-5


@pytest.mark.slow  # all parts take two minutes to compile
def test_times_and_shares_are_numbers(rows):
    for part, unit, n in (
        ("fc1", "ms a step", 2),
        ("pairs", "ms a pair", 4),
        ("device", "GB/s", 1),
    ):
        measured = values(rows, part, unit=unit)
        assert len(measured) == n
        assert all(0 < value < np.inf for value in measured.values())


@pytest.mark.slow  # all parts take two minutes to compile
def test_exact_kernels_equal_those_of_neural_tangents(rows):
    errors = values(rows, "pairs", unit="relative")
    assert len(errors) == 1
    assert max(errors.values()) < 1e-5


@pytest.mark.slow  # all parts take two minutes to compile
def test_what_is_learned_is_scored_on_digits(rows):
    for part in ("moments", "sampled", "exact", "labels"):
        accuracies = values(rows, part, unit="%")
        assert accuracies
        assert all(20 < value <= 100 for value in accuracies.values()), accuracies


def made(script, tmp_path, monkeypatch, parts, limit=None, minutes=1.0, size=None):
    """Run other parts than the script's, on a device of some memory; return the rows."""
    monkeypatch.setattr(script, "memory", lambda: (limit, limit and 1))
    path = tmp_path / "made.csv"
    log = importlib.import_module("_gpu").Log(path)
    arguments = Namespace(parts=list(parts), minutes=minutes)
    script.measure(log, size or script.FULL, arguments, parts)
    return read(path)


def test_a_part_that_fails_stops_no_other(script, tmp_path, monkeypatch):
    def fails(run):
        run.row("before", 1.5, "s")
        raise RuntimeError("no such luck\nand more")

    parts = {
        "bad": script.Part(fails, 1, 1),
        "good": script.Part(lambda run: run.row("after", 2), 1, 1),
    }
    rows = made(script, tmp_path, monkeypatch, parts)
    found = {(row["part"], row["what"]): row for row in rows}
    assert found["bad", "before"]["value"] == "1.5"
    assert found["bad", "failed"]["note"] == "RuntimeError: no such luck"
    assert found["good", "after"]["value"] == "2"


def test_a_gpu_that_is_too_small_is_told(script, tmp_path, monkeypatch):
    parts = {"large": script.Part(lambda run: pytest.fail("it ran"), 1, 16)}
    (row,) = made(script, tmp_path, monkeypatch, parts, limit=8e9)
    assert (row["what"], row["note"]) == (
        "skipped",
        "needs 16 GB; JAX may use 8.0 GB of this device",
    )


def test_time_that_is_over_is_told(script, tmp_path, monkeypatch):
    def slow(run):
        time.sleep(max(0, run.left()))
        assert not run.has_time("something")

    parts = {"slow": script.Part(slow, 1, 1), "late": script.Part(pytest.fail, 1e-9, 1)}
    rows = made(script, tmp_path, monkeypatch, parts, minutes=1e-3)
    assert [(r["part"], r["what"], r["note"]) for r in rows if r["note"]] == [
        ("slow", "something", "not measured: out of time"),
        ("late", "all of it", "not measured: out of time"),
    ]


def test_rows_of_an_earlier_run_stay(script, tmp_path, monkeypatch):
    parts = {"one": script.Part(lambda run: run.row("x", 1), 1, 1)}
    first = made(script, tmp_path, monkeypatch, parts)
    assert len(made(script, tmp_path, monkeypatch, parts)) == 2 * len(first)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--parts", "fc1,fc2"], "'fc2' is none of device, agreement, fc1"),
        (["--minutes", "0"], "must be a number > 0"),
        ([], "--out"),
    ],
)
def test_bad_options(script, capsys, tmp_path, given, message):
    out = ["--out", str(tmp_path / "x.csv")] if given else []
    with pytest.raises(SystemExit):
        script.main([*given, *out])
    assert message in capsys.readouterr().err


def test_the_reference_is_computed_by_another_process_beside_a_gpu(script, tmp_path, monkeypatch):
    agreement = importlib.import_module("_gpu_agreement")
    called = []

    def run(command, *, env, check):
        called.append((command, env["JAX_PLATFORMS"]))
        np.savez(command[2], a=np.ones(2))

    monkeypatch.setattr(agreement.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(agreement.subprocess, "run", run)
    path = tmp_path / "known.npz"
    for _ in range(2):  # the second time it is there
        assert agreement.reference(path, small=True)["a"].tolist() == [1, 1]
    assert called == [([sys.executable, agreement.__file__, str(path), "--small"], "cpu")]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder of two made-up sets in forms that kipsk.datasets reads."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    n = {"train": 2100, "test": 30}

    def pixels(*shape):
        return rng.integers(0, 256, shape, dtype=np.uint8)

    labels = {f"y_{part}": rng.integers(0, 10, k) for part, k in n.items()}
    grey = {f"x_{part}": pixels(k, 8, 8) for part, k in n.items()}
    colour = {f"X_{part}": pixels(k, 8, 8, 3) for part, k in n.items()}
    rows = {f"x_{part}": pixels(k, 784) for part, k in n.items()}
    real = {f"x_{part}": pixels(k, 5, 5, 1) / 2 for part, k in n.items()}
    for name, images in (("grey", grey), ("colour", colour), ("rows", rows), ("real", real)):
        np.savez(folder / f"{name}.npz", **images, **labels)
    return folder


@pytest.mark.parametrize("name", ["grey", "colour", "rows", "real"])
def test_what_is_packed_is_unpacked(packing, sets, tmp_path, name):
    """Oracle: the arrays themselves."""
    parts = packing.pack(sets, tmp_path / "parts", [name], most=0.35 if name == "colour" else 60)
    assert len(parts) == (2 if name == "colour" else 1)
    assert all(path.stat().st_size <= 0.35 * 2**20 for path in parts if name == "colour")
    done = []
    for path in reversed(parts):  # one at a time, in any order
        assert not done
        done = packing.unpack([path], tmp_path)
    assert done == [tmp_path / f"{name}.npz"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".parts"] == []
    with np.load(sets / f"{name}.npz") as before, np.load(done[0]) as after:
        assert set(before.files) == set(after.files)
        for key in before.files:
            assert before[key].dtype == after[key].dtype
            np.testing.assert_array_equal(before[key], after[key])


def test_packing_refuses_what_it_cannot_do(packing, sets, tmp_path):
    with pytest.raises(SystemExit, match=r"There is no .*none\.npz"):
        packing.pack(sets, tmp_path, ["none"], most=60)
    with pytest.raises(SystemExit, match="--most must be at least"):
        packing.pack(sets, tmp_path, ["colour"], most=0.01)
    bad = tmp_path / "bad.zip"
    for content in (b"nothing", None):
        if content is None:
            with zipfile.ZipFile(bad, "w") as file:
                file.writestr("other.json", json.dumps({}))
        else:
            bad.write_bytes(content)
        with pytest.raises(SystemExit, match="is no part that pack has written"):
            packing.unpack([bad], tmp_path)


def test_packing_from_the_command_line(sets, tmp_path):
    def run(*arguments):
        command = [sys.executable, str(FOLDER / "gpu_data.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "grey_1.zip" in run("pack", sets, tmp_path, "--sets", "grey", "--most", "5")
    assert "grey.npz" in run("unpack", tmp_path / "grey_1.zip", tmp_path)
