"""Moving averages of a network's parameters, which predict better than where the run ends.

Steps of few rows, or of rows that are augmented, end somewhere around the minimum. The average over
the last of them is nearer to it (Polyak and Juditsky 1992, SIAM J. Control Optim. 30, 838).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._descent._step import State
from kipsk._types import PyTree
from kipsk.architectures._function import Params

if TYPE_CHECKING:
    from optax import GradientTransformation


class Averaged(NamedTuple):
    """The state of an optimiser, and the sum that makes the average.

    Attributes
    ----------
    own : pytree
        The optimiser's state.
    total : Params
        ``sum_i (1 - decay) decay^(t - i) params_i`` over the parameters so far.
    weight : Array of shape ()
        ``1 - decay^(t + 1)``, the sum of the factors.
    decay : Array of shape ()
    """

    own: PyTree
    total: Params
    weight: Array
    decay: Array

    def with_one_more(self, params: PyTree) -> Averaged:
        """Return the state that takes in some parameters."""
        decay, new = self.decay, 1 - self.decay
        total = jax.tree.map(lambda a, p: decay * a + new * p, self.total, params)
        return self._replace(total=total, weight=decay * self.weight + new)


@lru_cache
def averaging(optimizer: GradientTransformation, decay: float) -> GradientTransformation:
    """Return an optimiser that takes the same steps and averages the parameters it sees.

    As part of the optimiser's state the average stops where a run fails. It is cached, because
    jitted code is compiled again for an equal transformation that is another object.

    Parameters
    ----------
    optimizer : GradientTransformation
    decay : float
        In (0, 1): the factor of the past at each step.
    """
    import optax  # here, because it takes half a second that few imports of kipsk.networks need

    def init(params: Params) -> Averaged:
        total, weight = jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.float32)
        return Averaged(optimizer.init(params), total, weight, jnp.float32(decay))

    def update(
        gradient: Params, state: Averaged, params: Params | None = None
    ) -> tuple[Params, Averaged]:
        direction, own = optimizer.update(gradient, state.own, params)
        return direction, state._replace(own=own).with_one_more(params)

    return optax.GradientTransformation(init, update)


def predicting(state: State) -> Params:
    """Return the average if the run makes one, else the last parameters.

    They are those at the end of a run. A step takes in the parameters that it begins with, so the
    average has the last ones after `look_again` alone.
    """
    return _mean(state.opt_state) if isinstance(state.opt_state, Averaged) else state.good


def predicting_so_far(state: State) -> Params:
    """Return the same in the middle of a run, whose last parameters no step has begun with yet."""
    if not isinstance(state.opt_state, Averaged):
        return state.params
    averaged = state.opt_state
    return _mean(averaged if state.failed else averaged.with_one_more(state.params))


def _mean(averaged: Averaged) -> Params:
    return jax.tree.map(lambda a: a / averaged.weight, averaged.total)
