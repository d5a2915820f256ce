"""The code on the pages of the documentation runs, block after block, as a reader would run it.

Every page has a namespace of its own. What a page says the reader has (`images`, `frame`, `texts`)
is put there first; runs are cut short. The blocks show use: what they compute has tests elsewhere.
"""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = {
    "README": ROOT / "README.md",
    **{
        name: ROOT / "docs" / f"{name}.md"
        for name in (
            "start",
            "kernels",
            "images",
            "tables",
            "labels",
            "pipelines",
            "looking",
            "networks",
            "long_runs",
            "cluster",
        )
    },
}
STEPS = 4  # in place of max_iter, the default and those on the pages
STAGES = (0, 2)  # of `fit_resample`, at which other models are tried
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: .* -->\n\n)?(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)


def blocks_of(page):
    """Return the blocks of a page with the lines that they start on."""
    text = page.read_text(encoding="utf-8")
    return [
        (
            text.count("\n", 0, found.start("code")),
            re.sub(r"max_iter=\d+", f"max_iter={STEPS}", textwrap.dedent(found["code"])),
        )
        for found in BLOCK.finditer(text)
        if not found["skip"]
    ]


def images():
    rng = np.random.RandomState(0)
    return {
        "images": rng.randint(256, size=(40, 32, 32, 3), dtype=np.uint8),
        "labels": np.repeat(["cat", "dog"], 20),
    }


def table():
    import pandas as pd

    rng = np.random.RandomState(0)
    y = np.repeat([0, 1], 60)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40 + 10 * y, 5),
            "income": rng.lognormal(size=120),
            "city": rng.choice(["Bern", "Kyiv", "Lima"], 120),
        }
    )
    words = np.array([f"word{number}" for number in range(80)])
    texts = [" ".join(rng.choice(words[40 * c : 40 * c + 60], 30)) for c in y]
    return {"frame": frame, "new_frame": frame[:5], "texts": texts, "y": y}


def files():
    rng = np.random.RandomState(0)
    np.save("images.npy", rng.normal(size=(500, 16)))
    return {"y": np.tile(np.arange(5), 100)}


GIVEN = {"start": images, "tables": table, "long_runs": files}


def test_every_block_of_python_is_found():
    for name, page in PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == text.count("```python") > 0, name


def test_every_page_with_python_is_run():
    shown = {"index"}  # the start of README's first block
    pages = {page.stem for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text()}
    assert pages - shown <= set(PAGES)


def test_links_of_the_readme_lead_to_files():
    """Sphinx checks those between the pages, with their sections."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    import matplotlib
    import matplotlib.pyplot as plt

    from kipsk import KIPDistiller, KIPRegressor

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    for distiller in (KIPDistiller, KIPRegressor):
        monkeypatch.setitem(distiller.__init__.__kwdefaults__, "max_iter", STEPS)
    monkeypatch.setattr("kipsk._kip.STAGES", STAGES)
    namespace = {"__name__": name, **(GIVEN[name]() if name in GIVEN else {})}
    for line, code in blocks_of(PAGES[name]):
        # Empty lines in front, so that an error names the line of the page.
        exec(compile("\n" * line + code, PAGES[name], "exec"), namespace)
    plt.close("all")
