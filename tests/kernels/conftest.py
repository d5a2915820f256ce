from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kipsk.kernels._stax import load_stax

KernelFn = Callable[..., Any]


@pytest.fixture(scope="session")
def neural_tangents() -> Callable[..., KernelFn]:
    """Oracle: `(depth, w_std, b_std, activation)` to neural-tangents' ``kernel_fn(X1, X2, kind)``.

    Call the result under ``jax.enable_x64(True)`` for float64.
    """
    stax = load_stax()
    activations = {"relu": stax.Relu, "erf": stax.Erf, "gelu": stax.Gelu, "exp": stax.ExpNormalized}

    def kernel_fn(depth: int, w_std: float, b_std: float, activation: str) -> KernelFn:
        layers = []
        for _ in range(depth):
            layers += [stax.Dense(1, w_std, b_std), activations[activation]()]
        return stax.serial(*layers, stax.Dense(1, w_std, b_std))[2]

    return kernel_fn
