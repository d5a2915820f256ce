"""The door to neural-tangents, each time from a fresh interpreter, and kernels from there."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

import kipsk
from kipsk import KIPDistiller
from kipsk.kernels import FullyConnected, StaxKernel, _stax, load_stax

ROOT = Path(kipsk.__file__).parents[1]

# A finder that comes first and refuses one module: the package itself, then one inside it.
BLOCKED = """
import json, sys
import kipsk.kernels
from kipsk.kernels._stax import load_stax

class Blocker:
    blocked = None
    def find_spec(self, name, path=None, target=None):
        if name == self.blocked:
            raise ImportError(f"{name} is blocked")

blocker = Blocker()
sys.meta_path.insert(0, blocker)
results = {}
for blocker.blocked in ("neural_tangents", "neural_tangents.stax"):
    before, messages = set(sys.modules), []
    for _ in range(2):
        try:
            load_stax()
        except ImportError as error:
            messages.append([str(error), str(error.__cause__)])
    left = sorted(name for name in set(sys.modules) - before if name.startswith("neural_tangents"))
    results[blocker.blocked] = messages, left
print(json.dumps(results))
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


@pytest.fixture(scope="module")
def blocked():
    """What came of two attempts to load each, and the modules that they left behind."""
    return run(BLOCKED)


def test_missing_neural_tangents_names_the_extra_and_leaves_nothing_behind(blocked):
    messages, left = blocked["neural_tangents"]
    assert len(messages) == 2
    for message, cause in messages:
        assert "kipsk with its extra 'neural-tangents'" in message
        assert "neural_tangents is blocked" in cause
    assert left == []


def test_broken_neural_tangents_leaves_no_placeholder_behind(blocked):
    messages, left = blocked["neural_tangents.stax"]
    assert len(messages) == 2
    assert all("neural_tangents.stax is blocked" in cause for _, cause in messages)
    assert "neural_tangents.experimental" not in left
    assert "neural_tangents._src.empirical" not in left


def polynomial(x1, x2):
    return (1 + x1 @ x2.T / x1.shape[1]) ** 2


class TestStaxKernel:
    def test_any_function_of_two_batches(self):
        """Oracle: numpy."""
        rng = np.random.default_rng(0)
        X, Y = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
        kernel = StaxKernel(polynomial)
        np.testing.assert_allclose(kernel(X, Y), (1 + X @ Y.T / 3) ** 2, rtol=1e-12)
        np.testing.assert_allclose(kernel(X), (1 + X @ X.T / 3) ** 2, rtol=1e-12)
        np.testing.assert_allclose(kernel.diag(X), np.diag(kernel(X)), rtol=1e-12)

    def test_tiles_do_not_matter(self, monkeypatch):
        X = np.random.default_rng(0).standard_normal((5, 4))

        def of_images(a, b):
            return polynomial(a.reshape(len(a), -1), b.reshape(len(b), -1))

        kernel = StaxKernel(of_images, (2, 2, 1))
        whole = kernel(X), kernel(X, X[:3])
        monkeypatch.setattr(_stax, "_TOGETHER", 2 * 4**2)
        jax.clear_caches()
        np.testing.assert_allclose(kernel(X), whole[0], rtol=1e-12)
        np.testing.assert_allclose(kernel(X, X[:3]), whole[1], rtol=1e-12)

    def test_products_are_in_full_precision_on_a_gpu(self, monkeypatch):
        """Unless a user has chosen another one; a CPU knows no other."""
        X = np.ones((2, 4), np.float32)

        def products():
            jax.clear_caches()
            function = StaxKernel(polynomial).function()
            return str(jax.make_jaxpr(function.cross)(X, X))

        assert "HIGHEST" not in products()
        monkeypatch.setattr(_stax.jax, "default_backend", lambda: "gpu")
        assert "HIGHEST" in products()
        with jax.default_matmul_precision("tensorfloat32"):
            assert "HIGHEST" not in products()

    def test_neural_tangents_in_an_estimator(self):
        """Oracle: the same network as a kernel of this package."""
        stax = load_stax()
        dense = 1, 2**0.5, 0.1
        kernel_fn = stax.serial(stax.Dense(*dense), stax.Relu(), stax.Dense(*dense))[2]
        X, y = load_iris(return_X_y=True)
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        fits = [
            KIPDistiller(kernel, ipc=2, max_iter=5, random_state=0).fit(X, y)
            for kernel in (StaxKernel(kernel_fn), FullyConnected())
        ]
        np.testing.assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-3)
        scores = [fit.decision_function(X) for fit in fits]
        np.testing.assert_allclose(*scores, rtol=1e-2, atol=1e-3)

    def test_clones_and_pickles(self):
        kernel = StaxKernel(polynomial, get="nngp")
        assert clone(kernel).get_params() == kernel.get_params()
        assert pickle.loads(pickle.dumps(StaxKernel(np.dot))).kernel_fn is np.dot

    def test_bad_input(self):
        X = np.ones((2, 4))
        with pytest.raises(ValueError, match=r"'kernel_fn' parameter of StaxKernel .* Got 'fc1'"):
            StaxKernel("fc1")(X)
        with pytest.raises(ValueError, match=r"'get' parameter of StaxKernel"):
            StaxKernel(polynomial, get="cov")(X)
        with pytest.raises(ValueError, match=r"must return a matrix, here of shape \(2, 2\)"):
            StaxKernel(lambda a, b: a @ b.T @ b)(X)
        with pytest.raises(ValueError, match=r"'image_shape' .* 4 values .* Got \(3, 3, 1\)"):
            StaxKernel(polynomial, (3, 3, 1))(X)
