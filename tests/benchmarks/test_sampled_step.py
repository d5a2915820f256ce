"""One KIP step with sampled ConvNets beside the convolutions that it cannot do without.

    python -m pytest -m benchmark -s tests/benchmarks/test_sampled_step.py

Value and gradient of the loss (ConvNet3, 4 networks of width 32, 500 targets, 100 support rows of
32 x 32 x 3). Contestants: each convolution of the step as one call of XLA on its own, the networks
one after the other with plain autodiff, and a matrix product of as many operations at this
machine's best speed. They take turns in one process; medians, and ratios turn by turn.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kipsk._distil._objective import Objective
from kipsk._distil._targets import Targets
from kipsk.kernels import RandomFeatures
from kipsk.kernels import _random_features as sampled
from kipsk.networks import features

N_T, N_S, C, N_NETWORKS, WIDTH = 500, 100, 10, 4, 32
TURNS = 15
# pixels a side, channels and units of the step's convolutions, and how often each is done
LAYERS = [
    (32, 3, N_NETWORKS * WIDTH, 1),
    (16, WIDTH, WIDTH, N_NETWORKS),
    (8, WIDTH, WIDTH, N_NETWORKS),
]


def convolve(x, weight):
    return jax.lax.conv_general_dilated(
        x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolutions_alone():
    """Return a function that does them one by one, and their operations: targets and support
    forward, and the support's gradient."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape, dtype=np.float32))

    forward = jax.jit(convolve)
    backward = jax.jit(lambda g, w: convolve(g, jnp.flip(w, (0, 1)).swapaxes(2, 3)))
    calls, operations = [], 0
    for side, channels, units, times in LAYERS:
        weight = normal(3, 3, channels, units)
        x, g = normal(N_T + N_S, side, side, channels), normal(N_S, side, side, units)
        calls += [(forward, x, weight), (backward, g, weight)] * times
        operations += (N_T + 2 * N_S) * side**2 * 9 * channels * units * 2 * times

    def run():
        for function, x, weight in calls:
            jax.block_until_ready(function(x, weight))

    return run, operations


def plain_features(architecture, networks, width, x):
    return jnp.concatenate([features(architecture, params, x) for params in networks], axis=1)


@pytest.mark.benchmark
def test_step_against_its_convolutions(monkeypatch):
    rng = np.random.default_rng(1)
    X_t, X_s = (jnp.asarray(rng.standard_normal((n, 3072), dtype=np.float32)) for n in (N_T, N_S))
    y_t, y_s = (
        jnp.asarray(np.eye(C, dtype=np.float32)[np.arange(n) % C] - 1 / C) for n in (N_T, N_S)
    )
    kernel = RandomFeatures("convnet3", N_NETWORKS, WIDTH, image_shape=(32, 32, 3))
    objective = Objective(kernel.function(), 5e-3, 1.0, loss="platt")
    params = {"X": X_s, "y": y_s, "log_scale": jnp.float32(1.5)}
    targets = Targets(X_t, y_t)
    compiled = {}
    with jax.enable_x64(True):
        for name, features_of in (("ours", sampled.frozen_features), ("plain", plain_features)):
            monkeypatch.setattr(sampled, "frozen_features", features_of)
            step = jax.jit(lambda o, p, t: jax.value_and_grad(o, has_aux=True)(p, t))
            compiled[name] = step.lower(objective, params, targets).compile()
    alone, operations = convolutions_alone()
    n = 2048
    A = jnp.asarray(rng.standard_normal((n, n), dtype=np.float32))
    product = jax.jit(jnp.matmul)

    contestants = {
        "the convolutions alone": alone,
        "kipsk": lambda: compiled["ours"](objective, params, targets),
        "networks one by one, autodiff": lambda: compiled["plain"](objective, params, targets),
        "a 2048 x 2048 matrix product": lambda: product(A, A),
    }
    times = {name: [] for name in contestants}
    with jax.enable_x64(True), threadpool_limits(1, user_api="blas"):
        for turn in range(TURNS + 2):
            for name, contestant in contestants.items():
                start = time.perf_counter()
                jax.block_until_ready(contestant())
                if turn > 1:
                    times[name].append(time.perf_counter() - start)
    peak = 2 * n**3 / np.median(times["a 2048 x 2048 matrix product"])
    best = operations / peak
    print(
        f"\n{operations / 1e9:.0f} GFLOP of convolutions; matrix products: {peak / 1e9:.0f} GFLOP/s"
    )
    for name, values in times.items():
        ratios = np.divide(values, times["the convolutions alone"])
        print(
            f"{name:<34}{1e3 * np.median(values):>8.0f} ms  {np.median(ratios):>6.2f} x the "
            f"convolutions  {np.median(values) / best:>6.2f} x their operations at that speed"
        )
    assert np.median(np.divide(times["kipsk"], times["networks one by one, autodiff"])) < 1
