"""What trained networks predict: the outputs of each, in blocks of rows, and of all together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array
from scipy.special import log_softmax, logsumexp

from kipsk._engine import map_rows
from kipsk._engine._sizes import block_size_for
from kipsk._types import AnyArray, Float64s, Floats
from kipsk.architectures._function import Params
from kipsk.networks import _training
from kipsk.networks._training import Problem


def outputs_of_each(
    problem: Problem,
    params: Sequence[Params],
    initials: Sequence[Params | None],
    X: Floats,
    largest: int,
) -> Float64s:
    """Return the outputs of networks for rows, of shape (n_networks, n, n_outputs).

    Parameters
    ----------
    problem : Problem
    params : sequence of Params
        Of each network.
    initials : sequence of Params or None
        The initial parameters of each whose outputs are subtracted, if they are.
    X : ndarray of shape (n, n_features)
    largest : int
        How many numbers one row has where it has most, before or after a layer.
    """
    size = block_size_for("auto", largest, X.shape[1], X.itemsize)
    return np.array(
        [
            map_rows(_function(problem, own, initial), X, size)
            for own, initial in zip(params, initials, strict=True)
        ],
        dtype=np.float64,
    )


def together(f: Float64s, loss: str, label_scale: float) -> Float64s:
    """Return the mean outputs in units of the labels; log probabilities with cross-entropy."""
    if loss == "mse":
        return f.mean(axis=0) / label_scale
    return logsumexp(log_softmax(f, axis=2), axis=0) - math.log(len(f))


_outputs = jax.jit(_training.outputs, static_argnames="problem")


def _function(
    problem: Problem, params: Params, initial: Params | None
) -> Callable[[Array | AnyArray], Array]:
    """Return a network as a function of rows; its parameters are brought to the device once."""
    params, initial = jax.tree.map(jax.numpy.asarray, (params, initial))
    return lambda X: _outputs(problem, params, initial, X)
