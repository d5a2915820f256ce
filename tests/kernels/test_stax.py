"""The door to neural-tangents, each time from a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kipsk

ROOT = Path(kipsk.__file__).parents[1]

# A finder that comes first and refuses one module.
BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocker())
"""


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
    return json.loads(done.stdout.splitlines()[-1])


def test_kernel_without_tensorflow():
    """Oracle of the value: a linear network's kernel is 2 <x, x'> / n_features."""
    value, again, tensorflow = run("""
import json, sys
import numpy as np
from kipsk.kernels._stax import load_stax
stax = load_stax()
kernel_fn = stax.serial(stax.Dense(1, 2**0.5))[2]
value = float(kernel_fn(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), "nngp")[0, 0])
print(json.dumps([value, load_stax() is stax, "tensorflow" in sys.modules]))
""")
    assert abs(value - 11) < 1e-5
    assert again
    assert not tensorflow


MISSING = """
import json
import kipsk.kernels
from kipsk.kernels._stax import load_stax
before = set(sys.modules)
messages = []
for _ in range(2):
    try:
        load_stax()
    except ImportError as error:
        messages.append([str(error), str(error.__cause__)])
left = sorted(name for name in set(sys.modules) - before if name.startswith("neural_tangents"))
print(json.dumps([messages, left]))
"""


def test_missing_neural_tangents_names_the_extra_and_leaves_nothing_behind():
    messages, left = run(BLOCK.format(name="neural_tangents") + MISSING)
    assert len(messages) == 2
    for message, cause in messages:
        assert 'pip install "kipsk[neural-tangents]"' in message
        assert "neural_tangents is blocked" in cause
    assert left == []


def test_broken_neural_tangents_leaves_no_placeholder_behind():
    messages, left = run(BLOCK.format(name="neural_tangents.stax") + MISSING)
    assert len(messages) == 2
    assert all("neural_tangents.stax is blocked" in cause for _, cause in messages)
    assert "neural_tangents.experimental" not in left
    assert "neural_tangents._src.empirical" not in left
