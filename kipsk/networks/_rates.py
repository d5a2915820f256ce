"""Learning rates from the network itself: the largest curvature of its loss at the start."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from kipsk.architectures._function import Params
from kipsk.networks._training import Data, Problem, outputs, penalty

#: Rates of "adam", which changes every parameter by about the rate. Parameters of "ntk" are of
#: order 1, which is sqrt(fan_in / 2) times those of "standard", so their rate is higher.
ADAM_RATES = {"standard": 1e-3, "ntk": 1e-2}

_POWER_ITERATIONS = 50

# The share of the largest stable rate that is used. Curvature grows while a network learns, so the
# bound itself would be too high. Half of it made 1 of 40 narrow networks diverge on ten rows.
_SAFE_PART = 0.25


def sgd_rate(
    problem: Problem,
    params: Params,
    start: Params,
    data: Data,
    l2: float,
    momentum: float,
    is_full_batch: bool,
) -> float:
    """Return a safe rate of descent with momentum.

    It is a quarter of ``2 (1 + momentum) / L`` with L the `largest_curvature` on one batch, which
    `data` is. If steps take part of the rows it is at most ``2 (1 - momentum) / L``, because
    momentum adds up the noise of ``1 / (1 - momentum)`` batches.

    Raises
    ------
    ValueError
        If the curvature is zero or not finite.
    """
    curvature = float(largest_curvature(problem, params, start, data, l2))
    if not (math.isfinite(curvature) and curvature > 0):
        raise ValueError(
            "The slope of the untrained network's outputs must be finite and not zero. Got a "
            f"largest curvature of {curvature} instead: scale the features (for instance with "
            "StandardScaler), or pass a learning_rate."
        )
    part = _SAFE_PART * (1 + momentum)
    return 2 * (part if is_full_batch else min(part, 1 - momentum)) / curvature


def largest_curvature(
    problem: Problem, params: Params, start: Params, data: Data, l2: Array | float
) -> Array:
    """Return the largest eigenvalue of the objective's Gauss-Newton matrix, or a bound on it.

    The matrix is ::

        G = c J^T J + l2 * (Hessian of the penalty),

    where J is the Jacobian of all outputs by the parameters, so that ``J J^T`` is the empirical
    neural tangent kernel. For "mse" c is ``1 / (n n_outputs)`` and G is exact. For "cross_entropy"
    c is ``1 / (2 n)`` and G is a bound, because no eigenvalue of the Hessian of -log softmax,
    ``diag(p) - p p^T``, is above 1/2.

    Gradient descent on a quadratic of curvature up to L descends if its rate is below ``2 / L``.
    With momentum m (Polyak's heavy ball) the bound is ``2 (1 + m) / L``.

    G is never formed. Power iteration needs its products with a vector alone, and each is a forward
    and a backward pass of the linearised network. `start` is the random vector to begin with, in
    the shape of `params`.
    """
    v, size = start, _norm(start)
    # The loop is in Python, because the gradient of a convolution is many times slower inside of a
    # compiled loop.
    for _ in range(_POWER_ITERATIONS):
        v, size = _iterate(problem, params, data, l2, v, size)
    return size


@partial(jax.jit, static_argnames="problem")
def _iterate(
    problem: Problem, params: Params, data: Data, l2: Array | float, v: Params, size: Array
) -> tuple[Params, Array]:
    """Return the product of the Gauss-Newton matrix with v / size, and the product's length."""
    n, n_outputs = data.y.shape
    c = 1 / (n * n_outputs) if problem.loss == "mse" else 1 / (2 * n)
    v = jax.tree.map(lambda leaf: leaf / jnp.maximum(size, 1e-30), v)
    _, forward = jax.linearize(lambda p: outputs(problem, p, None, data.X), params)
    (of_outputs,) = jax.linear_transpose(forward, params)(forward(v))
    # The penalty is quadratic: its gradient at v is its Hessian times v.
    of_penalty = jax.grad(partial(penalty, problem.architecture))(v)
    v = jax.tree.map(lambda a, b: c * a + l2 * b, of_outputs, of_penalty)
    return v, _norm(v)


@jax.jit
def _norm(v: Params) -> Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(v)))
