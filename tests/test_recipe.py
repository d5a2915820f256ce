"""The recipe for conda packages says what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import yaml

import kipsk

ROOT = Path(__file__).parents[1]


def test_recipe_has_the_requirements_of_the_project():
    recipe = yaml.safe_load((ROOT / ".ci" / "recipe.yaml").read_text())
    text = (ROOT / "pyproject.toml").read_text()
    whole = tomllib.loads(text)
    project, build = whole["project"], whole["build-system"]
    assert recipe["context"]["version"] == kipsk.__version__

    def conda(names):
        return [re.sub(r"([<>=!~])", r" \1", name, count=1) for name in names]

    run = ["python >=${{ python_min }}", *conda(project["dependencies"])]
    assert recipe["requirements"]["run"] == run
    assert recipe["requirements"]["host"][2:] == conda(build["requires"])
    about = recipe["about"]
    assert (about["license"], about["summary"]) == (project["license"], project["description"])
    head = (ROOT / ".ci" / "recipe.yaml").read_text().split("schema_version")[0]
    assert f"python_min={project['requires-python'].removeprefix('>=')}" in head
