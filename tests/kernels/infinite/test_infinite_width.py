"""Finite networks approach the kernels of infinite width as 1/sqrt(width), for every layer.

Three estimates of networks of finite width: the NNGP kernel of their last hidden layer, the NTK
from derivatives in one direction (both of `RandomFeatures`), and the empirical NTK, all derivatives
by parameters. Oracles: the exact kernels, which other tests hold against neural-tangents.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kipsk.architectures import (
    Activation,
    Architecture,
    Conv,
    Dense,
    GlobalAvgPool,
    conv_vec,
    convnet,
    fully_connected,
    myrtle,
)
from kipsk.kernels import Convolutional, FullyConnected, RandomFeatures
from kipsk.networks import apply, init

RELU = Activation("relu")
OTHER = {"w_std": 1.3, "b_std": 0.5}  # large biases, so that a wrong one is seen
N_ROWS = 3


def rows(shape):
    X = np.random.default_rng(0).standard_normal((N_ROWS, *shape))
    return X.reshape(N_ROWS, -1)


@pytest.fixture(autouse=True)
def exact_products():
    """Accelerators round float32 products to fewer bits by default."""
    with jax.default_matmul_precision("highest"):
        yield


@partial(jax.jit, static_argnames=("architecture", "shape", "width", "estimate"))
def estimated(architecture, shape, width, estimate, key):
    """The kernel estimate of one network, (n, n)."""
    X = jnp.asarray(rows(shape), jnp.float32)
    if estimate == "empirical ntk":
        derivative = jax.jacobian(
            lambda params: apply(architecture, params, X.reshape(N_ROWS, *shape))[:, 0]
        )(init(architecture, key, width, shape))
        by_parameter = [leaf.reshape(N_ROWS, -1) for leaf in jax.tree.leaves(derivative)]
        return sum(leaf @ leaf.T for leaf in by_parameter)
    image_shape = shape if len(shape) == 3 else None
    kernel = RandomFeatures(architecture, 1, width, kind=estimate, image_shape=image_shape)
    function = kernel.function().draw(key)
    return function.gram(function.prepare(X))


def check_convergence(architecture, shape, estimate, oracle, widths, n_networks):
    """Errors of single networks fall as 1/sqrt(width), and their mean is the oracle.

    Errors are relative to the oracle's Frobenius norm. Their root mean square over the networks is
    known to some 20 %; the error of their mean is rms / sqrt(n_networks).
    """
    keys = jax.random.split(jax.random.key(7), n_networks)
    rms = []
    for width in widths:
        estimates = [estimated(architecture, shape, width, estimate, key) for key in keys]
        error = (np.array(estimates, np.float64) - oracle) / np.linalg.norm(oracle)
        rms.append(np.sqrt(np.mean(np.sum(error**2, axis=(1, 2)))))
    bias = np.linalg.norm(error.mean(axis=0))
    print(f"rms {rms[0]:.3f} {rms[1]:.3f}, their ratio {rms[0] / rms[1]:.2f}, bias {bias:.4f}")
    assert 0.65 < rms[0] / rms[1] / np.sqrt(widths[1] / widths[0]) < 1.5
    assert bias < 2.5 * rms[1] / np.sqrt(n_networks)
    assert bias < 0.05


slow = pytest.mark.slow
every_estimate = pytest.mark.parametrize("estimate", ["nngp", "ntk", "empirical ntk"])


@every_estimate
@pytest.mark.parametrize(
    ("depth", "activation"),
    [(2, "gelu"), *(pytest.param(*more, marks=slow) for more in [(1, "relu"), (3, "erf")])],
)
def test_fully_connected(depth, activation, estimate):
    kind = "nngp" if estimate == "nngp" else "ntk"
    oracle = FullyConnected(depth, kind, 1.3, 0.5, activation)(rows((20,)))
    architecture = fully_connected(depth, activation, **OTHER)
    check_convergence(architecture, (20,), estimate, oracle, widths=(16, 256), n_networks=128)


STRIDED = (Conv(3, 2), RELU, Conv(2, 1, "VALID"), RELU, GlobalAvgPool(), Dense())


CONVOLUTIONAL = {
    "ConvNet": convnet(2, first_conv=True),
    "conv vec": conv_vec(2, "erf", **OTHER),
    "Myrtle5": myrtle(5, **OTHER),
    "strides and VALID": Architecture(STRIDED, **OTHER),
}
QUICK = [
    *[("ConvNet", estimate) for estimate in ("nngp", "ntk", "empirical ntk")],
    ("strides and VALID", "nngp"),
]


@pytest.mark.parametrize(
    ("architecture", "estimate"),
    [
        pytest.param(
            architecture,
            estimate,
            id=f"{name}-{estimate}",
            marks=() if (name, estimate) in QUICK else slow,
        )
        for name, architecture in CONVOLUTIONAL.items()
        for estimate in ("nngp", "ntk", "empirical ntk")
    ],
)
def test_convolutional(architecture, estimate):
    shape, kind = (8, 8, 2), "nngp" if estimate == "nngp" else "ntk"
    oracle = Convolutional(architecture, kind, image_shape=shape)(rows(shape))
    check_convergence(architecture, shape, estimate, oracle, widths=(12, 96), n_networks=64)
