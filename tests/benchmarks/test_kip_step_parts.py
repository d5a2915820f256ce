"""What the choices behind a KIP step save: each beside what it replaces.

    python -m pytest -m benchmark -s tests/benchmarks/test_kip_step_parts.py

Medians of 21 calls in ms, for 5000 targets, 100 support rows and 3072 features.
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
from kipsk.kernels._duals import arccos_orders

N_T, N_S, D, C = 5000, 100, 3072, 10


def milliseconds(function, *arguments, turns=21):
    function = jax.jit(function)
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return 1e3 * np.median(seconds)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


def report(title, **cases):
    print(f"{title}: " + ", ".join(f"{name} {ms:.1f}" for name, ms in cases.items()))


@pytest.mark.benchmark
def test_parts_of_a_step():
    print()
    cosine = jnp.clip(normal(N_S, N_T), -1, 1)
    report(
        "arc-cosine kernels of 500000 entries, and arccos alone",
        both_orders=milliseconds(arccos_orders, cosine),
        xla_arccos=milliseconds(jnp.arccos, cosine),
    )
    data, X_t, G = normal(2 * N_T, D), normal(N_T, D), normal(N_S, N_T)
    rows = jnp.asarray(np.random.default_rng(0).permutation(2 * N_T)[:N_T])
    report(
        "a batch out of a larger array",
        gather=milliseconds(lambda X, rows: X[rows], data, rows),
        slice=milliseconds(
            lambda X, i: jax.lax.dynamic_slice_in_dim(X, i, N_T), data, jnp.int32(100)
        ),
    )
    low = X_t.astype(jnp.bfloat16)
    report(
        "product of the gradient",
        support_first=milliseconds(jnp.matmul, G, X_t),
        targets_first=milliseconds(lambda G, X: G.T @ X, G.T.copy(), X_t),
        bfloat16=milliseconds(
            lambda G, X: jax.lax.dot(G.astype(jnp.bfloat16), X, preferred_element_type=jnp.float32),
            G,
            low,
        ),
    )
    y_t, y_s = (jnp.asarray(np.eye(C, dtype=np.float32)[np.arange(n) % C]) for n in (N_T, N_S))
    objective = Objective(FullyConnected().function(), 1e-6, 1.0)
    params = {"X": normal(N_S, D), "y": y_s}

    def step(objective, params, targets):
        return jax.value_and_grad(objective, has_aux=True)(params, targets)

    with jax.enable_x64(True):
        form = Form(objective.function)
        targets, small = form(X_t, y_t), form(X_t[:1], y_t[:1])
        cases = {}
        for name, limit in (("one_blas_thread", 1), ("all_blas_threads", None)):
            with threadpool_limits(limit, user_api="blas"):
                cases[name] = milliseconds(step, objective, params, targets)
        with threadpool_limits(1, user_api="blas"):
            cases["of_which_K_ss_and_solve"] = milliseconds(step, objective, params, small)
    report("the whole step", **cases)
    assert cases["of_which_K_ss_and_solve"] < cases["one_blas_thread"]
