"""Blocks on several devices of one process. Oracle: the same blocks one after the other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import jax
import numpy as np

from kipsk import KIPDistiller, _engine
from kipsk._engine import LOCAL, current, map_rows, sum_rows
from kipsk._engine._devices import Devices
from kipsk.kernels import RBF
from kipsk.kernels._dot_product import RBFFunction

jax.config.update("jax_disable_most_optimizations", True)
RBFFunction.pair_size = lambda *_: 2  # as if it were slow
assert isinstance(current(), Devices) and current(is_slow=False) is LOCAL
rng = np.random.default_rng(0)
X, y = rng.standard_normal((31, 16)), np.arange(31) % 3


def fit():
    options = {"ipc": 1, "max_iter": 3, "block_size": 7, "labels": "solved", "random_state": 0}
    distiller = KIPDistiller(RBF(4.0), **options).fit(X, y)
    return distiller, distiller.decision_function(X)


(several, predicted), devices = fit(), jax.local_devices
jax.local_devices = lambda: devices()[:1]
assert current() is LOCAL
one, expected = fit()
np.testing.assert_allclose(several.loss_curve_, one.loss_curve_, rtol=1e-6)
np.testing.assert_allclose(several.X_s_, one.X_s_, rtol=1e-5, atol=1e-6)
np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-4)
"""


@pytest.mark.slow
def test_two_devices():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, timeout=300)
