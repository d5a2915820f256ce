"""Small images, and what the tests of exact kernels share."""

from __future__ import annotations

import math
from functools import partial

import jax
import numpy as np
import pytest

from kipsk.architectures import Activation

TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
RELU = Activation()
SHAPE = (6, 6, 1)


def rows(n, shape, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, math.prod(shape)))
    X[0] *= 3  # variances differ
    return X


def with_gradients(kernel, G, X, Y):
    K, pull_back = jax.vjp(kernel, X, Y)
    return K, *pull_back(G)


slow = partial(pytest.param, marks=pytest.mark.slow)
