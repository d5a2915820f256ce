"""The gallery's scripts and the notebooks: their format, and (slow) that they run."""

from __future__ import annotations

import ast
import re
import runpy
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GALLERY = sorted((ROOT / "examples").glob("plot_*.py"))
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def test_there_are_examples():
    assert len(GALLERY) >= 10
    assert len(NOTEBOOKS) == 2
    assert (ROOT / "examples" / "README.rst").read_text().startswith("Examples\n========\n")


@named(GALLERY)
def test_gallery_script_is_in_format(path):
    """A title with its line and a question; cells that begin with text."""
    source = path.read_text()
    tree = ast.parse(source, str(path))
    title, line, empty, *text = ast.get_docstring(tree).split("\n")
    assert title.endswith("?")
    assert line == "=" * len(title)
    assert not empty and text
    cells = re.split(r"^# %%\n", source, flags=re.MULTILINE)
    assert len(cells) > 2
    assert all(cell.startswith("# ") for cell in cells[1:])
    assert "argparse" not in source and "matplotlib.use" not in source


@named(NOTEBOOKS)
def test_notebook_is_one(path):
    """Oracle: nbformat's schema."""
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, *others = notebook.cells
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for cell in others:
        if cell.cell_type == "code":
            compile(cell.source, str(path), "exec")
    assert [cell for cell in others if "parameters" in cell.metadata.get("tags", [])]


@named(NOTEBOOKS)
def test_notebook_has_been_run(path):
    """From its first cell to its last, with pictures, and without a warning."""
    nbformat = pytest.importorskip("nbformat")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert all(output.get("name") != "stderr" for output in outputs)


@pytest.mark.slow
@named(GALLERY)
def test_gallery_script_draws_within_half_a_minute(path):
    """As examples/README.rst says. A figure's title is its description on the page."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    start = time.process_time()
    runpy.run_path(str(path), run_name="__main__")
    seconds = time.process_time() - start
    figures = [plt.figure(number) for number in plt.get_fignums()]
    titles = [
        figure.get_suptitle() or "".join(ax.get_title() for ax in figure.axes) for figure in figures
    ]
    plt.close("all")
    assert titles and all(titles)
    assert seconds < 30


@pytest.mark.slow
@named(NOTEBOOKS)
def test_notebook_runs(path, monkeypatch, tmp_path):
    """In a kernel of its own, on the digits, with pictures in its cells."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("KIPSK_DATA", raising=False)
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output
    ]
    assert sum("image/png" in output["data"] for output in outputs) >= 3
