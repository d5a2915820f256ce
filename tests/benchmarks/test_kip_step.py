"""One KIP step beside neural-tangents and beside the matrix products that it cannot do without.

    python -m pytest -m benchmark -s tests/benchmarks/test_kip_step.py

Value and gradient of the published loss (FC1 NTK, 5000 targets, 100 support rows, 3072 features,
learned labels). The contestants take turns in one process, so that drift of the machine's speed
hits all alike; medians of 31 turns, ratios turn by turn. neural-tangents runs twice: as a user gets
it, and with the BLAS thread limit that kipsk sets around its steps.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kipsk._distil._objective import Objective
from kipsk._distil._targets import Form
from kipsk.kernels import FullyConnected
from kipsk.kernels._stax import load_stax

N_T, N_S, D, C = 5000, 100, 3072, 10
TURNS = 31


def _neural_tangents_loss():
    stax = load_stax()

    def dense():
        return stax.Dense(1, W_std=2**0.5, b_std=0.1)

    _, _, kernel_fn = stax.serial(dense(), stax.Relu(), dense())

    def loss(params, X_t, y_t):
        K_ss = kernel_fn(params["X"], None, "ntk")
        K_ts = kernel_fn(X_t, params["X"], "ntk")
        regularised = K_ss + 1e-6 * jnp.trace(K_ss) / N_S * jnp.eye(N_S, dtype=K_ss.dtype)
        alpha = jax.scipy.linalg.solve(regularised, params["y"], assume_a="pos")
        return 0.5 * jnp.mean((K_ts @ alpha - y_t) ** 2)

    return jax.jit(jax.value_and_grad(loss))


@pytest.mark.benchmark
def test_step_against_neural_tangents_and_matrix_products():
    rng = np.random.default_rng(0)
    X_t, X_s, G = (
        jnp.asarray(rng.standard_normal(shape, dtype=np.float32))
        for shape in ((N_T, D), (N_S, D), (N_S, N_T))
    )
    y_t, y_s = (
        jnp.asarray(np.eye(C, dtype=np.float32)[np.arange(n) % C] - 1 / C) for n in (N_T, N_S)
    )
    params = {"X": X_s, "y": y_s}

    function = FullyConnected(depth=1).function()
    objective = Objective(function, 1e-6, 1.0)
    targets = Form(function)(X_t, y_t)
    ours_fn = jax.jit(lambda o, p, t: jax.value_and_grad(o, has_aux=True)(p, t))
    products_fn = jax.jit(lambda X_s, X_t, G: (X_s @ X_t.T, G @ X_t))
    peer_fn = _neural_tangents_loss()

    def ours():
        with jax.enable_x64(True):
            return ours_fn(objective, params, targets)

    with jax.enable_x64(True):
        X_t64, y_t64 = X_t.astype(jnp.float64), y_t.astype(jnp.float64)
        params64 = {name: p.astype(jnp.float64) for name, p in params.items()}

    def peer_in_float64():
        with jax.enable_x64(True):
            return peer_fn(params64, X_t64, y_t64)

    contestants = {
        "the two matrix products alone": (1, lambda: products_fn(X_s, X_t, G)),
        "kipsk (float64 K_ss and solve)": (1, ours),
        "neural-tangents float32": (None, lambda: peer_fn(params, X_t, y_t)),
        "neural-tangents float32, BLAS limited": (1, lambda: peer_fn(params, X_t, y_t)),
        "neural-tangents float64": (None, peer_in_float64),
    }

    def timed(limit, run):
        with threadpool_limits(limit, user_api="blas"):
            jax.block_until_ready(run())  # settle after the previous contestant
            start = time.perf_counter()
            jax.block_until_ready(run())
            return time.perf_counter() - start

    for contestant in contestants.values():
        timed(*contestant)
    seconds = np.array(
        [[timed(*contestant) for contestant in contestants.values()] for _ in range(TURNS)]
    )
    ratios = np.median(seconds / seconds[:, :1], axis=0)
    gflop = 4 * N_T * N_S * D / 1e9
    print(f"\n{N_T} targets x {N_S} support x {D} features, {gflop:.1f} GFLOP of products")
    print(f"jax {jax.__version__} on {jax.devices()[0].platform}, median of {TURNS} turns")
    for name, column, ratio in zip(contestants, seconds.T, ratios, strict=True):
        print(f"{name:<40}{np.median(column) * 1e3:7.1f} ms{ratio:7.2f} x the products")
    rate = gflop / np.median(seconds[:, 0])
    print(f"the products run at {rate:.0f} GFLOP/s; kipsk reaches {1 / ratios[1]:.0%} of that")
    for column in (2, 3, 4):
        ratio = np.median(seconds[:, column] / seconds[:, 1])
        print(f"{list(contestants)[column]} / kipsk = {ratio:.2f}")

    (loss, _), gradient = ours()
    peer_loss, peer_gradient = peer_fn(params, X_t, y_t)
    np.testing.assert_allclose(loss, peer_loss, rtol=1e-4)
    for name in params:
        scale = np.abs(peer_gradient[name]).max()
        np.testing.assert_allclose(gradient[name], peer_gradient[name], atol=1e-2 * scale)
