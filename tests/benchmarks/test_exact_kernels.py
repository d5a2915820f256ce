"""Exact convolutional kernels: time of a pair beside neural-tangents', and memory of a block.

python -m pytest -m benchmark -s tests/benchmarks/test_exact_kernels.py
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kipsk.architectures import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    conv_vec,
    convnet,
    myrtle,
)
from kipsk.kernels import Convolutional, load_stax

pytestmark = pytest.mark.benchmark

NETWORKS = {
    "Conv3": conv_vec(3),
    "ConvNet3": convnet(3),
    "ConvNet": convnet(3, first_conv=True),
    "Myrtle5": myrtle(5),
}
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3)]
#: Operations of a covariance entry: both arc-cosine kernels with their scales, additions of a
#: filter, done rows first, and of a window, for nngp and ntk.
RELU, FILTER, WINDOW = 34, 2 * 5, 2


def operations(architecture, shape):
    """Count what one pair takes: additions and multiplications of the full covariances."""
    height, breadth, channels = shape
    has_pooling = any(isinstance(layer, AvgPool | GlobalAvgPool) for layer in architecture.layers)
    power, total, is_first = (2 if has_pooling else 1), 0, True
    for layer in architecture.layers:
        entries = (height * breadth) ** power
        match layer:
            case Conv():
                total += entries * (2 * 9 * channels if is_first else FILTER)
                is_first = False
            case Activation():
                total += entries * RELU
            case AvgPool():
                total += entries * WINDOW
                height, breadth = height // 2, breadth // 2
            case Flatten() | GlobalAvgPool() | Dense():
                pass
    return total


def neural_tangents(architecture):
    stax = load_stax()
    how = 2**0.5, 0.1
    layers = []
    for layer in architecture.layers:
        match layer:
            case Conv():
                layers.append(stax.Conv(1, (3, 3), (1, 1), "SAME", *how))
            case Activation():
                layers.append(stax.Relu())
            case AvgPool():
                layers.append(stax.AvgPool((2, 2), (2, 2)))
            case Flatten():
                layers.append(stax.Flatten())
            case GlobalAvgPool():
                layers.append(stax.GlobalAvgPool())
            case Dense():
                layers.append(stax.Dense(1, *how))
    return stax.serial(*layers)[2]


def seconds(function, *arguments, turns):
    """Best of some turns, compiled before."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


def rows(n, shape, seed):
    X = np.random.default_rng(seed).standard_normal((n, math.prod(shape)), dtype=np.float32)
    return jnp.asarray(X)


def of_pairs(kernel, n, m, shape, turns):
    """ms a pair of the matrix of n x m images, and of it with its gradient by the n."""
    X, Y = rows(n, shape, 0), rows(m, shape, 1)
    forward = jax.jit(kernel)
    both = jax.jit(jax.value_and_grad(lambda X, Y: jnp.sum(kernel(X, Y))))
    return [1e3 * seconds(f, X, Y, turns=turns) / (n * m) for f in (forward, both)]


def test_time_of_a_pair():
    """Ours with all that it prepares; of neural-tangents' long ones two pairs."""
    A = jnp.asarray(np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32))
    peak = 2 * 2048**3 / seconds(jax.jit(jnp.matmul), A, A, turns=5) / 1e9
    print(f"\nmatrix products: {peak:.0f} GFLOP/s")
    print("| images | network | ours | with gradient | neural-tangents | with gradient |", end="")
    print(" ratio | with gradient | GFLOP | share of peak |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for name, architecture in NETWORKS.items():
            kernel = Convolutional(architecture, image_shape=shape).function()

            def ours(X, Y, kernel=kernel):
                return kernel.cross(kernel.prepare(X), kernel.prepare(Y))

            oracle = neural_tangents(architecture)

            def theirs(X, Y, oracle=oracle, shape=shape):
                return oracle(X.reshape(-1, *shape), Y.reshape(-1, *shape), "ntk")

            is_long = shape[0] > 8 and name != "Conv3"
            n, m, turns = (8, 32, 3) if is_long else (20, 100, 3)
            mine = of_pairs(ours, n, m, shape, turns)
            n, m, turns = (1, 2, 2) if is_long else (20, 20, 3)
            other = of_pairs(theirs, n, m, shape, turns)
            ratios = [b / a for a, b in zip(mine, other, strict=True)]
            work = operations(architecture, shape) / 1e9
            cells = [f"{ms:.3g}" for ms in (*mine, *other)] + [f"{r:.0f}" for r in ratios]
            share = work / (mine[0] / 1e3) / peak
            print(f"| {shape} | {name} |", " | ".join(cells), f"| {work:.3g} | {share:.0%} |")
            sys.stdout.flush()
            if shape == (32, 32, 3) and name == "ConvNet3":
                assert ratios[0] > 20
                assert ratios[1] > 10


def test_time_of_an_exponential_pair():
    """The exponential activation has no arccos, and still takes about as long as relu."""
    print("\n| images | network | relu | with gradient | exponential | with gradient |")
    print("|---|---|---|---|---|---|")
    shape = (32, 32, 3)
    for name, of in (("ConvNet3", partial(convnet, 3)), ("Myrtle5", partial(myrtle, 5))):
        found = []
        for activation in ("relu", "exp"):
            kernel = Convolutional(of(activation), image_shape=shape).function()

            def ours(X, Y, kernel=kernel):
                return kernel.cross(kernel.prepare(X), kernel.prepare(Y))

            found += of_pairs(ours, 8, 32, shape, 3)
        print(f"| {shape} | {name} |", " | ".join(f"{ms:.3g}" for ms in found), "|", flush=True)
        assert found[2] < 2 * found[0]


# Not resource.getrusage: its peak is also that of the process that started this one.
MEMORY = """
import re
from pathlib import Path
import numpy as np
from kipsk.kernels import ConvNet
kernel = ConvNet(3, image_shape=(32, 32, 3))
X, Y = (np.random.default_rng(n).standard_normal((n, 3072), dtype=np.float32) for n in (1000, 100))
kernel(X[:2], Y[:2])
K = kernel(Y, X)
peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
print(int(peak[1]) / 2**20)
"""


def test_memory_of_a_block():
    """1000 x 100 images of 32 x 32 x 3 take less than 1 GB, interpreter and JAX included."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    peak = float(done.stdout)
    print(f"\npeak memory of a process that evaluates 1000 x 100 images: {peak:.2f} GiB")
    assert peak < 1
