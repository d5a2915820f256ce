"""The rooms of kipsk and who may import whom, read from the source with `ast`.

A new module gets a row in `MODULES`; where it stands in the table is a decision about design.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "kipsk"

# The lowest layer first. A module imports from its own layer or from a lower one, and nothing
# goes round in a circle.
LAYERS = ("description", "models", "mathematics", "steps", "estimators", "studies", "package")


class Room(NamedTuple):
    layer: str
    sklearn: bool = False  # may the module import scikit-learn?


# Some rows are ahead of the code: a module that is planned but not written breaks no rule.
MODULES = {
    # what a network is
    "architectures": Room("description"),
    "_checks": Room("description"),
    "_layers": Room("description"),
    # random changes of rows
    "_augment": Room("models"),
    "augment": Room("models"),
    # what a kernel is; scikit-learn in the shell of the kernel objects only
    "kernels": Room("models"),
    "kernels._base": Room("models", sklearn=True),
    "kernels._activations": Room("models"),
    "kernels._convolutional": Room("models", sklearn=True),
    "kernels._covariance": Room("models"),
    "kernels._invariant": Room("models"),
    "kernels._pairs": Room("models"),
    "kernels._dot_product": Room("models", sklearn=True),
    "kernels._duals": Room("models"),
    "kernels._propagation": Room("models"),
    "kernels._random_features": Room("models", sklearn=True),
    "kernels._registry": Room("models"),
    "kernels._stax": Room("models", sklearn=True),
    "networks": Room("models"),
    "networks._frozen": Room("models"),
    "networks._network": Room("models"),
    # matrices and blocks, which know no estimator
    "_blocks": Room("mathematics"),
    "_checkpoint": Room("mathematics"),
    "_calibration": Room("mathematics"),
    "_losses": Room("mathematics"),
    "_ridge": Room("mathematics"),
    # what an estimator is wired from
    "_block_step": Room("steps"),
    "_engine": Room("steps"),
    "_engine._base": Room("steps"),
    "_engine._dask": Room("steps"),
    "_engine._dask_run": Room("steps"),
    "_engine._dask_cluster": Room("steps"),
    "_engine._dask_worker": Room("steps"),
    "_engine._devices": Room("steps"),
    "_engine._local": Room("steps"),
    "_engine._rows": Room("steps"),
    "_optimize": Room("steps"),
    "_coresets": Room("steps", sklearn=True),
    "_coding": Room("steps", sklearn=True),
    "_support": Room("steps", sklearn=True),
    "_targets": Room("steps", sklearn=True),
    "networks._rates": Room("steps"),
    "networks._training": Room("steps"),
    # estimators, and what they share
    "_callbacks": Room("estimators", sklearn=True),
    "_descent": Room("estimators"),
    "_downstream": Room("estimators", sklearn=True),
    "_history": Room("estimators"),
    "_pictures": Room("estimators", sklearn=True),
    "_preprocess": Room("estimators", sklearn=True),
    "_settings": Room("estimators"),
    "_start": Room("estimators", sklearn=True),
    "_streaming": Room("estimators", sklearn=True),
    "_support_file": Room("estimators"),
    "_distiller": Room("estimators", sklearn=True),
    "_kernel_ridge": Room("estimators", sklearn=True),
    "_kip": Room("estimators", sklearn=True),
    "_kip_base": Room("estimators", sklearn=True),
    "_kip_regressor": Room("estimators", sklearn=True),
    "_label_solve": Room("estimators", sklearn=True),
    "_zca": Room("estimators", sklearn=True),
    "networks._classifier": Room("estimators", sklearn=True),
    # what is made with estimators
    "baselines": Room("studies", sklearn=True),
    "datasets": Room("studies", sklearn=True),
    "_comparison": Room("studies", sklearn=True),
    "_displays": Room("studies"),
    "_displays._base": Room("studies", sklearn=True),
    "_displays._comparison": Room("studies"),
    "_displays._curves": Room("studies"),
    "_displays._dimension": Room("studies"),
    "_displays._labels": Room("studies"),
    "_displays._snapshots": Room("studies"),
    "_displays._support": Room("studies"),
    "_displays._table": Room("studies"),
    "_results_file": Room("studies"),
    "evaluation": Room("studies", sklearn=True),
    "metrics": Room("studies", sklearn=True),
    "plotting": Room("studies"),
    # the public names
    "": Room("package"),
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
    while name and name not in FILES and name not in MODULES:
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


def violations(module: str, source: str) -> list[str]:
    """The rules that a module with this source breaks, as 'line: what is wrong'."""
    room = MODULES[module]
    found = []
    for line, name in imports(module, source):
        if name.partition(".")[0] == "sklearn" and not room.sklearn:
            found.append(f"{line}: imports scikit-learn ({name})")
        target = resolve(name)
        # A package's __init__ may publish names from any file of its own room.
        if target is None or (module and target.startswith(f"{module}.")):
            continue
        # A target without a row is test_every_module_has_a_row's affair.
        above = MODULES.get(target, room).layer
        if LAYERS.index(above) > LAYERS.index(room.layer):
            found.append(f"{line}: imports upwards ({name}, of layer {above!r})")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            found.append(f"{node.lineno}: has an assert statement; raise an error instead")
        if changes_jax_settings(node):
            found.append(
                f"{getattr(node, 'lineno', '?')}: changes JAX's global settings; use "
                "`with jax.enable_x64(True):`"
            )
    return found


def test_every_module_has_a_row():
    assert "" in FILES, f"no package found in {PACKAGE}"
    missing = sorted(FILES.keys() - MODULES.keys())
    assert not missing, (
        f"{missing} of kipsk are not in the table: add them to MODULES in this file, in the layer "
        "where they belong, with sklearn=True only if they may import scikit-learn."
    )


def test_no_utils_module():
    utils = [name for name in FILES if name.rpartition(".")[2].strip("_") in {"util", "utils"}]
    assert not utils, f"{utils}: name a module after what it does."


@pytest.mark.parametrize("module", [pytest.param(m, id=m or "kipsk") for m in FILES])
def test_module_follows_the_rules(module):
    if module not in MODULES:
        pytest.skip("it has no row yet: see test_every_module_has_a_row")
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
        ("_ridge", "import sklearn", "scikit-learn"),
        ("_losses", "def f():\n    from sklearn.utils import check_array", "scikit-learn"),
        ("kernels._duals", "import sklearn.base as base", "scikit-learn"),
        ("kernels._base", "from kipsk._ridge import solve", "upwards"),
        ("kernels._base", "from .._ridge import solve", "upwards"),
        ("kernels", "from .. import _kip", "upwards"),
        ("_ridge", "from . import _kip", "upwards"),
        ("_ridge", "from kipsk import KIPDistiller", "upwards"),
        ("_ridge", "import kipsk._zca", "upwards"),
        ("architectures", "import kipsk.kernels", "upwards"),
        ("_layers", "from kipsk.networks import init", "upwards"),
        ("networks._network", "from sklearn.base import ClassifierMixin", "scikit-learn"),
        ("networks._network", "from kipsk._optimize import learning_rates", "upwards"),
        ("_kip", "from .plotting import Display", "upwards"),
        ("_ridge", "assert True", "assert"),
        ("_ridge", "jax.config.update('jax_enable_x64', True)", "settings"),
        ("_ridge", "config.jax_enable_x64 = True", "settings"),
        ("_ridge", "os.environ['JAX_ENABLE_X64'] = '1'", "settings"),
    ],
)
def test_the_rules_bite(module, source, rule):
    assert rule in " ".join(violations(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("_kip", "from sklearn.base import BaseEstimator"),
        ("_losses", "from kipsk import _ridge"),
        ("_kip", "from .kernels import get_kernel\nfrom . import _ridge"),
        ("kernels", "from ._base import JaxKernel"),
        ("networks", "from kipsk.networks._classifier import FiniteNetworkClassifier"),
        ("", "from ._kip import KIPDistiller"),
        ("_ridge", "with jax.enable_x64(True):\n    pass"),
        ("_ridge", "import jax.numpy as jnp\nimport numpy"),
    ],
)
def test_the_rules_allow(module, source):
    assert violations(module, source) == []
