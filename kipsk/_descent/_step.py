"""Gradient descent: an immutable state, a pure step, and many steps in one jitted call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk._types import AnyArray, PyTree

Params = PyTree  # of Arrays


class State(NamedTuple):
    """All that a step reads and writes.

    Attributes
    ----------
    params : pytree of Array
    good : pytree of Array
        The last parameters whose loss was finite.
    opt_state : pytree
        Optax's state.
    n_steps : int Array
        Steps done: each was taken from parameters of finite loss.
    failed : bool Array
        Whether a loss or a gradient was not finite. From then on steps change nothing.
    memory : pytree of Array or None
        What the objective keeps from step to step beside the parameters; None if nothing.
    """

    params: Params
    good: Params
    opt_state: PyTree
    n_steps: Array
    failed: Array
    memory: PyTree = None


def initial_state(optimizer: PyTree, params: Params, memory: PyTree = None) -> State:
    """Return the state before the first step."""
    opt_state = optimizer.init(params)
    return State(params, params, opt_state, jnp.zeros((), int), jnp.array(False), memory)


def leaves(state: State) -> list[AnyArray]:
    """Return the state's numbers as numpy, to be stored."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def restore(state: State, stored: Sequence[AnyArray]) -> State:
    """Return the state that `leaves` was called on, in the structure of another of its kind.

    Raises
    ------
    ValueError
        If the stored numbers are of another optimiser or of other shapes.
    """
    own, structure = jax.tree.flatten(state)
    kinds = [[(leaf.shape, leaf.dtype) for leaf in tree] for tree in (own, stored)]
    if kinds[0] != kinds[1]:
        raise ValueError("The stored state is of another optimizer, or of rows of another shape.")
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in stored])


def step(
    objective: PyTree,
    optimizer: PyTree,
    state: State,
    batch: PyTree,
    learning_rate: Array,
) -> tuple[State, tuple[Array, Array]]:
    """Return the state after one step and the (loss, accuracy) before it.

    An objective with a memory has two methods more: ``with_memory(memory)`` is the objective that
    a step descends on, and ``remembered(params, step)`` the memory after the step.
    """
    memory = state.memory
    if memory is not None:
        objective = objective.with_memory(memory)
        memory = objective.remembered(state.params, state.n_steps)
    (loss, accuracy), gradient = jax.value_and_grad(objective, has_aux=True)(
        state.params, batch, state.n_steps
    )
    return moved(optimizer, state, loss, gradient, learning_rate, memory), (loss, accuracy)


def moved(
    optimizer: PyTree,
    state: State,
    loss: Array,
    gradient: Params,
    learning_rate: Array,
    memory: PyTree = None,
) -> State:
    """Return the state after a step along a gradient, with the memory after it.

    If the gradient or the loss is not finite the state has failed, and nothing else of it changes.
    """
    direction, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = jax.tree.map(
        lambda p, u: (p - learning_rate * u).astype(p.dtype), state.params, direction
    )
    parts = [jnp.all(jnp.isfinite(part)) for part in jax.tree.leaves(gradient)]
    finite = jnp.isfinite(loss) & jnp.all(jnp.array(parts))
    after = State(params, state.params, opt_state, state.n_steps + 1, jnp.array(False), memory)
    stays = state._replace(failed=jnp.array(True))
    ok = finite & ~state.failed
    return jax.tree.map(partial(jnp.where, ok), after, stays)


# The state is small and is not donated, so that the last state of an interrupted run is there to be
# published.
@partial(jax.jit, static_argnames="optimizer")
def steps(
    objective: Callable[..., PyTree],
    optimizer: PyTree,
    state: State,
    batch: PyTree,
    rates: Array,
    n_steps: Array | int,
) -> tuple[State, tuple[Array, Array]]:
    """Run the first `n_steps` of `rates` on one batch.

    Returns
    -------
    state : State
    history : tuple of two Arrays of shape (len(rates),)
        Loss and accuracy before each step; zero from `n_steps` on.
    """

    def body(i: Array, carry: PyTree) -> PyTree:
        state, losses, accuracies = carry
        state, (loss, accuracy) = step(objective, optimizer, state, batch, rates[i])
        return state, losses.at[i].set(loss), accuracies.at[i].set(accuracy)

    blank = jnp.zeros(len(rates), jnp.float64)
    start = (state, blank, blank)
    if len(rates) == 1:
        # No loop: on a CPU the gradient of a convolution is many times slower inside of one.
        state, *history = body(jnp.array(0), start)
    else:
        # A dynamic trip count: the last, shorter call runs the same compiled code.
        state, *history = jax.lax.fori_loop(0, n_steps, body, start)
    return state, tuple(history)
