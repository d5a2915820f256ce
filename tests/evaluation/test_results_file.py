"""Comparisons that are killed and go on, grow, or meet a file of another one: counted fits."""

from __future__ import annotations

import signal

import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import FitFailedWarning
from sklearn.preprocessing import StandardScaler

from kipsk.evaluation import _results_file, compare, summary

from ._stubs import FITS, KILL, NN, Model, Sample, counted, same


def test_a_killed_run_goes_on(blobs, tmp_path):
    path = tmp_path / "results.csv"
    KILL["two"] = 3  # seed 0, reducer b
    with pytest.raises(KeyboardInterrupt):
        counted(path, blobs)
    assert FITS == {"a": 1, "b": 1, "one": 3, "two": 3, "three": 2}
    assert len(path.read_text().splitlines()) == 1 + 7
    FITS.clear()
    KILL.clear()
    resumed = counted(path, blobs)
    assert FITS == {"a": 1, "b": 2, "one": 3, "two": 4, "three": 4}
    same(resumed, counted(None, blobs))
    FITS.clear()
    again = counted(path, blobs)
    assert not FITS
    assert_array_equal(again.values[:, 7:10], resumed.values[:, 7:10])  # the times too


@pytest.mark.parametrize("torn", [1, 30, 200])
def test_a_torn_line_is_dropped(torn, blobs, tmp_path):
    path = tmp_path / "results.csv"
    whole = counted(path, blobs)
    lines = path.read_bytes().splitlines(keepends=True)
    if torn < 200:
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-torn])
    else:
        path.write_bytes(lines[0][:20])
    FITS.clear()
    same(counted(path, blobs), whole)
    expected = {"b": 1, "three": 1}
    if torn == 200:
        expected = {"a": 2, "b": 2, "one": 6, "two": 6, "three": 6}
    assert expected == FITS
    assert len(path.read_bytes().splitlines()) == len(lines)


def test_a_comparison_grows(blobs, tmp_path):
    path = tmp_path / "results.csv"
    X, y = blobs
    compare({"a": Sample(name="a")}, {"one": Model("one")}, X, y, path=path, seeds=[0])
    grown = counted(path, blobs, ipc=[2, 3])
    assert FITS["a"] == 1 + 4 and FITS["one"] == 1 + 9  # ipc=2 is the default: reduced again
    assert len(grown) == 30
    part = compare({"a": Sample(name="a")}, {"one": Model("one")}, X, y, path=path, seeds=[1])
    assert FITS["a"] == 5 and len(part) == 1


@pytest.mark.parametrize(
    "what, change",
    [
        ("data", {"X": 1.0}),
        ("data", {"y": True, "models": {"new": Model()}}),  # also where no name is the same
        ("split", {"cv": 2}),
        ("preprocess", {"preprocess": StandardScaler()}),
        ("reducer", {"reducers": {"a": Sample(fails=True)}}),
        ("model", {"models": {"one": Model(predicts=2)}}),
        ("reducer and another model", {"reducers": {"a": Sample(name="b")}, "models": {"one": NN}}),
    ],
)
def test_a_file_of_another_comparison_is_refused(what, change, blobs, tmp_path):
    X, y = blobs
    path = tmp_path / "results.csv"
    given = {"reducers": {"a": Sample()}, "models": {"one": Model()}, "seeds": [0], "path": path}
    compare(X=X, y=y, **given)
    before = path.read_bytes()
    change = dict(change)
    X = X + change.pop("X", 0)
    y = y[::-1] if change.pop("y", False) else y
    message = (
        f"results.csv' belongs to another comparison: for reducer 'a', model 'one', ipc 2, seed 0, "
        f"split 0 it had another {what}. Compare what it was made with"
    )
    with pytest.raises(ValueError, match=message):
        compare(X=X, y=y, **{**given, **change})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content, why",
    [
        (b"a,b\n1,2\n", "first line"),
        (b"some notes", "first line"),
        ("é".encode("latin1"), "first line"),
        (None, r"line 3 is damaged"),
    ],
)
def test_a_foreign_file_is_refused_and_kept(content, why, blobs, tmp_path):
    path = tmp_path / "results.csv"
    if content is None:
        counted(path, blobs)
        lines = path.read_bytes().splitlines(keepends=True)
        content = b"".join([*lines[:2], b"a,b,c\n", *lines[2:]])
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"has no results of a comparison: .*{why}.* Delete it"):
        counted(path, blobs)
    assert path.read_bytes() == content


def test_names_with_commas_quotes_and_accents_come_back(blobs, tmp_path):
    names = ['a, "b"', "é", " c "]
    args = {name: Sample() for name in names}, {name: Model() for name in names}, *blobs
    first = compare(*args, path=tmp_path / "r.csv")
    FITS.clear()
    same(first, compare(*args, path=tmp_path / "r.csv"))
    assert not FITS


def test_failures_are_rows(blobs, tmp_path):
    reducers = {"all": None, "bad": Sample(fails=True), "good": Sample()}
    models = {"bad": Model(fails=True), "good": Model()}
    path = tmp_path / "results.csv"
    with pytest.warns(FitFailedWarning) as caught:
        results = compare(reducers, models, *blobs, seeds=[0], path=path)
    of_model, of_reducer = (
        'model: ValueError: too few, "rows"',
        "before the model: RuntimeError: no rows, sorry",
    )
    assert list(results["error"]) == [of_model, "", of_reducer, of_reducer, of_model, ""]
    assert list(results["accuracy"].isna()) == [error != "" for error in results["error"]]
    assert len(caught) == 4
    assert str(caught[0].message).startswith("reducer 'all', model 'bad', seed 0, split 0: model")
    assert caught[0].filename == __file__
    FITS.clear()
    with pytest.warns(FitFailedWarning) as caught:  # what failed is tried again
        same(results, compare(reducers, models, *blobs, seeds=[0], path=path))
    assert len(caught) == 4 and FITS["model"] == 2
    assert list(summary(results)["n_failed"]) == [1, 0, 1, 1, 1, 0]


def test_a_failed_row_is_replaced(blobs, tmp_path):
    path = tmp_path / "results.csv"
    FAILING.append(True)
    with pytest.warns(FitFailedWarning):
        compare({"s": Sample()}, {"m": Sometimes()}, *blobs, seeds=[0], path=path)
    FAILING.clear()
    results = compare({"s": Sample()}, {"m": Sometimes()}, *blobs, seeds=[0], path=path)
    assert list(results["error"]) == [""]
    FITS.clear()
    same(results, compare({"s": Sample()}, {"m": Sometimes()}, *blobs, seeds=[0], path=path))
    assert not FITS


FAILING: list[bool] = []


class Sometimes(Model):
    def fit(self, X, y):
        if FAILING:
            raise MemoryError
        return super().fit(X, y)


@pytest.mark.parametrize("where", ["reducer", "model"])
def test_ctrl_c_that_a_fit_survives_ends_the_comparison(where, blobs, tmp_path, monkeypatch):
    """A set, or a network, of an interrupted run is no result."""

    def interrupted(original):
        def fit(self, X, y):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                return original(self, X, y)

        return fit

    path = tmp_path / "results.csv"
    # A process that was started in the background may ignore the signal.
    handler = signal.default_int_handler
    inherited = signal.signal(signal.SIGINT, handler)
    if where == "reducer":
        monkeypatch.setattr(Sample, "fit_resample", interrupted(Sample.fit_resample))
    else:
        monkeypatch.setattr(Model, "fit", interrupted(Model.fit))
    try:
        with pytest.raises(KeyboardInterrupt):
            compare({"s": Sample()}, {"m": Model()}, *blobs, path=path)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert len(path.read_text().splitlines()) == 1


def test_a_folder_that_is_not_there_is_told_before_the_first_fit(blobs, tmp_path):
    with pytest.raises(FileNotFoundError):
        counted(tmp_path / "nowhere" / "r.csv", blobs)
    assert not FITS


class Disk:
    """A file on a disk that has room for so many bytes more; the rest is not written."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if not self.room:
            raise OSError(28, "No space left on device")
        return self.file.write(content[: self.room])

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_disk_that_is_full_for_a_while(room, blobs, tmp_path, monkeypatch):
    """Oracle: the file of a run that ended; a line that there was half room for is taken back."""
    path = tmp_path / "results.csv"
    whole = counted(path, blobs)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))

    def opened(file, mode, buffering=-1):
        return (
            Disk(open(file, mode, buffering), room) if mode == "ab" else open(file, mode, buffering)
        )

    with monkeypatch.context() as patch:
        patch.setattr(_results_file, "open", opened, raising=False)
        with pytest.raises(OSError, match="No space left on device"):
            counted(path, blobs)
    assert path.read_bytes() == b"".join(lines[:3])
    same(counted(path, blobs), whole)


@pytest.mark.parametrize("fingerprint", [b"", b"data=0", b"a b c d e", b"=cmd()"])
def test_rows_that_do_not_say_what_was_compared_are_refused(fingerprint, blobs, tmp_path):
    """An empty fingerprint differs in nothing from any other."""
    path = tmp_path / "results.csv"
    counted(path, blobs)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].rpartition(b",")[0] + b"," + fingerprint + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"does not say what was compared\. Delete it"):
        counted(path, blobs)
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "line",
    [
        b"a" * 200_000 + b"\n",
        b"a,one,2,0,0,4,hard,0.5,0,0,," + b"9" * 200_000 + b"\n",
        b"a,one," + b"9" * 5000 + b",0,0,4,hard,0.5,0,0,,x\n",
        b'"a,one\n',
        b"a,one,2,0,0,4,hard,high,0,0,,x\n",
        b"\xff\xfe,one,2,0,0,4,hard,0.5,0,0,,x\n",
        b"\x00" * 100 + b"\n",
    ],
    ids=["one field", "long field", "long number", "open quote", "word", "no UTF-8", "zeros"],
)
def test_lines_that_are_no_rows(line, blobs, tmp_path):
    path = tmp_path / "results.csv"
    counted(path, blobs)
    content = path.read_bytes() + line
    path.write_bytes(content)
    number = content.count(b"\n")
    with pytest.raises(ValueError, match=f"line {number} is damaged") as raised:
        counted(path, blobs)
    assert len(str(raised.value)) < 1000
    assert path.read_bytes() == content
