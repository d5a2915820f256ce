"""How near a map of features comes to the speed of matrix products.

    python -m pytest -m benchmark -s --optimised tests/benchmarks/test_maps.py

The features of 1000 images, and those of 100 with the gradient with respect to the images, as a
step takes it. Operations are the multiplications and additions of the convolutions, a mirror image
included where the map is blind to mirroring; the gradient takes twice as many again. Contestants
take turns in one process, with a matrix product of 2048 x 2048 float32 numbers among them.
"""

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kipsk.architectures import shallow
from kipsk.kernels import Invariant, RandomFeatures

N_ROWS, N_SUPPORT, TURNS, SIDE = 1000, 100, 9, 2048


class Map(NamedTuple):
    kernel: object
    n_pixels: int
    operations: int  # an image's


def patches(shape, n_networks, is_blind, architecture, layers):
    """`layers`: positions, inputs and filters of each convolution, and how many there are."""
    kernel = RandomFeatures(
        architecture, n_networks, 32, filters="patches", image_shape=shape, resample=False
    )
    if is_blind:
        kernel = Invariant(kernel, image_shape=shape)
    operations = 2 * sum(np.prod(layer) for layer in layers) * (1 + is_blind)
    return Map(kernel, int(np.prod(shape)), int(operations))


CIFAR, FASHION = (32, 32, 3), (28, 28, 1)
CONVNET = RandomFeatures("convnet3", 8, 32, image_shape=CIFAR, resample=False)
MAPS = {
    '"patches", 192 filters, mirror images': patches(
        CIFAR, 6, True, "shallow", [(27**2, 108, 192, 1)]
    ),
    '"patches", 896 filters, mirror images': patches(
        CIFAR, 28, True, "shallow", [(27**2, 108, 896, 1)]
    ),
    '"patches2", 512 filters, mirror images': patches(
        FASHION, 16, True, "shallow2", [(24**2, 25, 512, 1), (12**2, 9 * 64, 32, 16)]
    ),
    "4 x 4 filters of 3 channels, 512 of them": patches(
        CIFAR, 16, False, shallow(4), [(29**2, 48, 512, 1)]
    ),
    "ConvNet3, 8 networks of width 32": Map(
        CONVNET,
        3072,
        2 * 8 * (32**2 * 27 * 32 + 16**2 * 288 * 32 + 8**2 * 288 * 32),
    ),
}


@pytest.mark.benchmark
def test_speed_of_maps():
    rng = np.random.default_rng(0)
    A = jnp.asarray(rng.standard_normal((SIDE, SIDE), dtype=np.float32))
    product = jax.jit(jnp.matmul)
    contestants = {"product": lambda: product(A, A)}
    for name, one in MAPS.items():
        X = rng.uniform(size=(N_ROWS, one.n_pixels)).astype(np.float32)
        function = one.kernel.resolve(X).function()
        weight = jnp.asarray(rng.standard_normal(function.row_size(one.n_pixels), np.float32))

        def features(X, function=function):
            return function.features(function.prepare(X))

        def loss(X, features=features, weight=weight):
            return jnp.sum(jnp.square(features(X)) @ weight)

        forward, backward = jax.jit(features), jax.jit(jax.grad(loss))
        contestants[name] = partial(forward, jnp.asarray(X))
        contestants[name, "gradient"] = partial(backward, jnp.asarray(X[:N_SUPPORT]))
    times = {name: [] for name in contestants}
    for turn in range(TURNS + 1):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            jax.block_until_ready(contestant())
            if turn:
                times[name].append(time.perf_counter() - start)
    seconds = {name: np.median(values) for name, values in times.items()}
    peak = 2 * SIDE**3 / seconds["product"]
    print(f"\nmatrix products: {peak / 1e9:.0f} GFLOP/s")
    print("| map | MFLOP an image | ms an image | share of products | with gradient, ms | share |")
    print("|---|---|---|---|---|---|")
    for name, one in MAPS.items():
        alone, whole = seconds[name] / N_ROWS, seconds[name, "gradient"] / N_SUPPORT
        shares = one.operations / alone / peak, 3 * one.operations / whole / peak
        print(
            f"| {name} | {one.operations / 1e6:.0f} | {1e3 * alone:.2f} | {shares[0]:.0%} "
            f"| {1e3 * whole:.2f} | {shares[1]:.0%} |"
        )
        assert 0 < shares[0] < 1.1
