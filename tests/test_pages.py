"""The code on the pages of the documentation runs, block after block, as a reader would run it.

Every page has a namespace of its own. What a page says the reader has (`photos`, `frame`, `texts`)
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
            "index",
            "start",
            "choosing",
            "faq",
            "security",
            "kernels",
            "images",
            "tables",
            "labels",
            "pipelines",
            "looking",
            "networks",
            "long_runs",
            "million",
            "cluster",
        )
    },
}
LINKING = [
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "results").glob("*.md"),
    )
]
NOT_RUN = {"cluster"}  # every block of these pages starts processes
STEPS = 4  # in place of max_iter, the default and those on the pages
STAGES = (0, 2)  # of `fit_resample`, at which other models are tried
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: [^\n]* -->\n\n)?(?P<indent> *)```python\n"
    r"(?P<code>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def blocks_of(page, skipped=False):
    """Return the blocks of a page that run, or the others, with the lines that they start on."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start("code")), textwrap.dedent(found["code"]))
        for found in BLOCK.finditer(text)
        if bool(found["skip"]) == skipped
    ]


def compiled(page, line, code):
    """Return a block as code whose errors name the line of the page."""
    return compile("\n" * line + code, page, "exec")


def anchors_of(page):
    """Return what links to the headings of a page end with, as code hosts make it of them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def photographs():
    from PIL import Image

    rng = np.random.RandomState(0)
    for name in ("cat", "dog"):
        folder = Path("photos") / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = rng.randint(256, size=(40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return {}


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


GIVEN = {"start": photographs, "tables": table, "long_runs": files}


def test_every_block_of_python_is_found():
    for name, page in PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == text.count("```python") > 0, name


def test_every_page_with_python_is_run():
    pages = {page.stem for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text()}
    assert pages == set(PAGES) - {"README"}
    assert {name for name, page in PAGES.items() if not blocks_of(page)} == NOT_RUN


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_are_python(name):
    for skipped in (False, True):
        for line, code in blocks_of(PAGES[name], skipped):
            compiled(PAGES[name], line, code)


@pytest.mark.parametrize("name", LINKING)
def test_links_lead_to_headings_of_files(name):
    """What the build of the site makes, its gallery and its pages of names, is not there yet."""
    source = ROOT / name
    text = re.sub(r"```.*?```|`[^`\n]*`", "", source.read_text(encoding="utf-8"), flags=re.DOTALL)
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
        page = (source.parent / path).resolve() if path else source
        if {"api", "gallery"}.isdisjoint(page.relative_to(ROOT).parts):
            assert page.exists(), path
            assert not anchor or anchor in anchors_of(page), f"{path}#{anchor}"


@pytest.mark.parametrize("name", ["index", "versions"])
def test_pages_name_the_version(name):
    from kipsk import __version__

    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert re.search(rf"ersion {re.escape(__version__)}(?!\.?\w)", text)


@pytest.mark.slow
def test_the_scores_on_the_readme_are_those_of_its_first_block():
    from kipsk import KernelRidgeNTKClassifier

    line, code = blocks_of(PAGES["README"])[0]
    said, n_rows, of_all = re.search(r"# (0\.\d+); all (\d+) rows give (0\.\d+)\n", code).groups()
    names = {}
    exec(compiled(PAGES["README"], line, code), names)
    X_train, y_train = names["X_train"], names["y_train"]
    test = names["X_test"], names["y_test"]
    assert f"{names['distiller'].score(*test):.2f}" == said
    assert len(X_train) == int(n_rows)
    assert f"{KernelRidgeNTKClassifier().fit(X_train, y_train).score(*test):.2f}" == of_all


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:KIPDistiller.fit_resample learned no better")  # in few steps
@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    import matplotlib
    import matplotlib.pyplot as plt

    from kipsk import KIPDistiller, KIPRegressor

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    for distiller in (KIPDistiller, KIPRegressor):
        monkeypatch.setitem(distiller.__init__.__kwdefaults__, "max_iter", STEPS)
    monkeypatch.setattr("kipsk._kip._stages.STAGES", STAGES)
    namespace = {"__name__": name, **(GIVEN[name]() if name in GIVEN else {})}
    for line, code in blocks_of(PAGES[name]):
        short = re.sub(r"max_iter=\d+", f"max_iter={STEPS}", code)
        exec(compiled(PAGES[name], line, short), namespace)
    plt.close("all")
