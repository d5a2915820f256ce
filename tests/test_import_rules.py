"""The rooms of kipsk and who may import whom, read from the source with `ast`.

A new room gets a row in `ROOMS`; what stands in it is a decision about design.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kipsk"

# A room is a folder, or a file of the package itself. Each may import from itself and from the
# rooms named in its row, and from nothing else.
LOWEST = {"_bar", "_checks", "_interrupts", "_jax", "_types", "_warn"}
NETWORKS = LOWEST | {"_closed_form", "_engine", "_descent", "architectures", "augment"}
KERNELS = LOWEST | {"_closed_form", "architectures"}
DISTIL = NETWORKS | {"_storage", "_data", "kernels"}
ROOMS = {
    "_types": set(),
    "_interrupts": set(),
    "_warn": set(),
    "_bar": set(),
    "_jax": set(),
    "_checks": {"_types"},
    "_closed_form": LOWEST,
    "_engine": LOWEST,
    "_descent": LOWEST,
    "_storage": LOWEST,
    "architectures": LOWEST,
    "augment": LOWEST,
    "_data": LOWEST,
    "kernels": KERNELS,
    "_distil": DISTIL,
    "_estimators": DISTIL | {"_distil"},
    "_kip": DISTIL | {"_distil", "_estimators"},
    "networks": NETWORKS | {"_data", "_estimators"},
    "plotting": LOWEST | {"_estimators", "evaluation", "metrics"},
    "evaluation": LOWEST | {"_storage"},
    "metrics": LOWEST | {"_closed_form", "_engine"},
    "datasets": LOWEST | {"_storage"},
    "baselines": DISTIL | {"_estimators", "networks"},
    "": LOWEST | {"_estimators", "_kip"},
}

# Files that may import scikit-learn: rooms from `_estimators` up, and below it `_data`, and the
# shell of the kernels, which are scikit-learn's kernel objects.
SKLEARN_ROOMS = {
    "_data",
    "_estimators",
    "_kip",
    "networks",
    "plotting",
    "evaluation",
    "metrics",
    "datasets",
    "baselines",
}
SKLEARN_FILES = {
    "kernels._base",
    "kernels._landmarks",
}
# The mathematics of networks knows no estimator, though it lives in a room that has one.
NO_SKLEARN_FILES = {
    "networks",
    "networks._averaging",
    "networks._ensemble",
    "networks._parameters",
    "networks._prediction",
    "networks._rates",
    "networks._training",
}


def module_name(path: Path) -> str:
    """The dotted name of a file below kipsk; the package itself is the empty string."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def resolve(name: str) -> str | None:
    """The module of kipsk that an absolute dotted name leads to, None if it is not of kipsk."""
    root, _, name = name.partition(".")
    if root != "kipsk":
        return None
    while name and name not in FILES and name not in ROOMS:
        name = name.rpartition(".")[0]
    return name


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import, those inside functions included."""
    here = ["kipsk", *filter(None, module.split("."))]
    is_package = module in FILES and FILES[module].name == "__init__.py"
    package = here if is_package else here[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def changes_jax_settings(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="update"), args=[ast.Constant(value=str(name)), *_]):
            return name.startswith("jax_")
        case ast.Attribute(attr=name, ctx=ast.Store()):
            return name.startswith("jax_")
        case ast.Constant(value="JAX_ENABLE_X64"):
            return True
    return False


def room_of(module: str) -> str:
    return module.partition(".")[0]


def violations(module: str, source: str) -> list[str]:
    """The rules that a module with this source breaks, as 'line: what is wrong'."""
    room = room_of(module)
    may_sklearn = module in SKLEARN_FILES or (
        room in SKLEARN_ROOMS and module not in NO_SKLEARN_FILES
    )
    found = []
    for line, name in imports(module, source):
        if name.partition(".")[0] == "sklearn" and not may_sklearn:
            found.append(f"{line}: imports scikit-learn ({name})")
        target = resolve(name)
        if target is not None and room_of(target) not in ROOMS[room] | {room}:
            found.append(f"{line}: imports from a room that is not in its row ({name})")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append(f"{node.lineno}: has an assert statement; raise an error instead")
        if changes_jax_settings(node):
            found.append(
                f"{getattr(node, 'lineno', '?')}: changes JAX's global settings; use "
                "`with jax.enable_x64(True):`"
            )
    found += [f"{line}: {what}" for line, what in of_estimators(room, tree)]
    return found


# The rooms that an estimator may enter; in `plotting`, `evaluation` and `baselines` it is the
# user's.
WITH_ESTIMATORS = {"_estimators", "_kip", "networks", "plotting", "evaluation", "baselines"}


def of_estimators(room: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Estimators where they must not be, and attributes of others that are written wholesale."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg="estimator" | "distiller" as name) if room not in WITH_ESTIMATORS:
                yield node.lineno, f"has a parameter {name!r}; take values instead"
            case ast.Attribute(value=ast.Name(id="self"), attr="__dict__"):
                pass
            case ast.Attribute(attr="__dict__"):
                yield node.lineno, "uses the __dict__ of another object; return values instead"
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[ast.Name(id="self"), *_]):
                pass
            case ast.Call(func=ast.Name(id="setattr" | "delattr" as name)):
                yield node.lineno, f"calls {name} on another object; return values instead"


def test_every_room_has_a_row():
    assert "" in FILES, f"no package found in {PACKAGE}"
    rooms = {room_of(module) for module in FILES}
    assert rooms == ROOMS.keys(), "ROOMS in this file has one row for each room, and no other"


def test_rooms_point_down():
    """Oracle: graphlib."""
    try:
        TopologicalSorter(ROOMS).prepare()
    except CycleError as error:
        pytest.fail(f"rooms may import each other in a circle: {error.args[1]}")


def test_no_utils_module():
    utils = [name for name in FILES if name.rpartition(".")[2].strip("_") in {"util", "utils"}]
    assert not utils, f"{utils}: name a module after what it does."


@pytest.mark.parametrize("module", [pytest.param(m, id=m or "kipsk") for m in FILES])
def test_module_follows_the_rules(module):
    found = violations(module, FILES[module].read_text(encoding="utf-8"))
    assert not found, "\n".join([f"{FILES[module]}:", *found])


def test_no_import_cycle():
    graph = {}
    for module, path in FILES.items():
        targets = {resolve(name) for _, name in imports(module, path.read_text(encoding="utf-8"))}
        graph[module] = targets - {module, None}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules of kipsk import each other in a circle: {error.args[1]}")


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("_closed_form._ridge", "import sklearn", "scikit-learn"),
        (
            "_distil._objective",
            "def f():\n    from sklearn.utils import check_array",
            "scikit-learn",
        ),
        ("kernels._duals", "import sklearn.base as base", "scikit-learn"),
        ("networks._training", "from sklearn.base import ClassifierMixin", "scikit-learn"),
        ("kernels._base", "from kipsk._distil._run import descend", "not in its row"),
        ("kernels._base", "from .._kip import _base", "not in its row"),
        ("kernels._infinite._propagation", "from ... import networks", "not in its row"),
        ("_closed_form._ridge", "from kipsk import KIPDistiller", "not in its row"),
        ("_closed_form._ridge", "import kipsk.kernels", "not in its row"),
        ("_closed_form._ridge", "from kipsk._engine import Block", "not in its row"),
        ("evaluation._compare", "from kipsk._kip._base import BaseKIP", "not in its row"),
        ("architectures", "import kipsk.kernels", "not in its row"),
        ("_kip._base", "from ..plotting import SupportDisplay", "not in its row"),
        ("_closed_form._ridge", "assert True", "assert"),
        ("_closed_form._ridge", "jax.config.update('jax_enable_x64', True)", "settings"),
        ("_closed_form._ridge", "config.jax_enable_x64 = True", "settings"),
        ("_closed_form._ridge", "os.environ['JAX_ENABLE_X64'] = '1'", "settings"),
        ("_distil._run", "def run(estimator): ...", "parameter 'estimator'"),
        ("_data._coding", "f = lambda distiller: 1", "parameter 'distiller'"),
        ("_kip._stages", "distiller.__dict__ = {}", "__dict__"),
        ("_kip._stages", "delattr(distiller, 'a_')", "delattr"),
    ],
)
def test_the_rules_bite(module, source, rule):
    assert rule in " ".join(violations(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("_kip._base", "from sklearn.base import BaseEstimator"),
        ("_distil._objective", "from kipsk._closed_form import _ridge"),
        ("_kip._base", "from kipsk.kernels import get_kernel\nfrom . import _start"),
        ("kernels", "from ._base import JaxKernel"),
        ("networks", "from kipsk.networks._classifier import FiniteNetworkClassifier"),
        ("", "from ._kip._distiller import KIPDistiller"),
        ("_closed_form._ridge", "with jax.enable_x64(True):\n    pass"),
        ("_closed_form._ridge", "import jax.numpy as jnp\nimport numpy"),
        ("_kip._base", "self.__dict__.pop('a_', None)\ndelattr(self, 'a_')"),
    ],
)
def test_the_rules_allow(module, source):
    assert violations(module, source) == []
