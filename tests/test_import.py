"""What `import kipsk` costs and touches, seen from a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kipsk

ROOT = Path(kipsk.__file__).parents[1]
OPTIONAL = {"dask", "distributed", "matplotlib", "neural_tangents", "tensorflow"}
PUBLIC_MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "kipsk").rglob("*.py")
    if not any(
        part.startswith("_") and part != "__init__.py" for part in path.relative_to(ROOT).parts
    )
)


def run(code: str) -> Any:
    """Run code in a fresh interpreter that finds this kipsk; return its output, read as JSON."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_is_fast():
    code = """
import json, time
start = time.perf_counter()
import kipsk
print(json.dumps(time.perf_counter() - start))
"""
    assert min(run(code) for _ in range(3)) < 1.5


@pytest.mark.parametrize(
    "names",
    [[], kipsk.__all__],
    ids=["the package", "all public names"],
)
def test_import_touches_no_device_and_no_optional_package(names):
    modules = PUBLIC_MODULES if names else ["kipsk"]
    code = f"""
import importlib, json, sys
for module in {modules!r}:
    module = importlib.import_module(module)
    if {names!r}:
        for name in getattr(module, "__all__", []):
            getattr(module, name)
loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
from jax._src import xla_bridge
print(json.dumps([list(xla_bridge._backends), loaded]))
"""
    backends, loaded = run(code)
    assert backends == []
    assert not OPTIONAL & set(loaded)


@pytest.mark.parametrize("name", kipsk.__all__)
def test_public_name_resolves(name):
    assert name in dir(kipsk)
    value = getattr(kipsk, name)
    if name != "__version__":
        assert value.__name__ == name
        assert getattr(kipsk, name) is value


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'kipsk' has no attribute 'KIPDistillery'"):
        _ = kipsk.KIPDistillery
