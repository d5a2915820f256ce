"""Finite networks that learn a little between their uses, each a vector of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk._types import AnyArray, PyTree
from kipsk.architectures import Architecture, Shape
from kipsk.architectures._frozen import frozen_features
from kipsk.architectures._function import Params, apply, init


@dataclass(frozen=True)
class Kind:
    """What the networks of a pool have in common: the static part of all code here.

    Attributes
    ----------
    architecture : Architecture
    width : int
    image_shape : tuple (H, W, C) or None
    """

    architecture: Architecture
    width: int
    image_shape: Shape | None

    def input_shape(self, n_features: int) -> Shape:
        """Return the shape that a row is given before the first layer."""
        return self.architecture.input_shape(n_features, self.image_shape, owner="TrainedFeatures")

    def draw(self, key: Array, n_features: int, n_outputs: int) -> Params:
        """Return the parameters of a new network."""
        shape = self.input_shape(n_features)
        return init(self.architecture, key, self.width, shape, n_outputs)

    def params(self, weights: Array, n_features: int, n_outputs: int | None = None) -> Params:
        """Return the parameters that a vector of `fresh` holds; without outputs no readout."""
        key = jax.ShapeDtypeStruct((2,), jnp.uint32)
        shapes = jax.eval_shape(
            lambda key: self.draw(jax.random.wrap_key_data(key), n_features, n_outputs or 1), key
        )
        kept = shapes if n_outputs else [*shapes[:-1], {}]
        leaves, structure = jax.tree.flatten(kept)
        ends = np.cumsum([math.prod(leaf.shape) for leaf in leaves])
        if ends[-1] > len(weights):
            raise ValueError(
                f"The 'networks' parameter of TrainedFeatures must have {ends[-1]} numbers for "
                f"each network and rows of {n_features} features. Got {len(weights)} instead: "
                "train it on rows like these."
            )
        parts = [
            weights[end - math.prod(leaf.shape) : end].reshape(leaf.shape)
            for leaf, end in zip(leaves, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, parts)

    def n_hidden(self, n_features: int) -> int:
        """Return how many features a network has."""
        shapes = self.architecture.shapes(self.input_shape(n_features), self.width)
        return shapes[-2][0]

    def features(self, weights: Array, X: Array) -> Array:
        """Return the features of some networks, (n_networks, n_numbers), side by side."""
        networks = [self.params(own, X.shape[1]) for own in weights]
        x = X.reshape(len(X), *self.input_shape(X.shape[1]))
        return frozen_features(self.architecture, networks, self.width, x)


class Learner(NamedTuple):
    """A network that is being trained; of a pool, all leaves have a first axis of networks.

    Attributes
    ----------
    weights : Array of shape (n_numbers,)
        Its parameters, those of the readout last.
    opt_state : pytree
        Adam's.
    age : Array of shape ()
        The steps that it was trained.
    """

    weights: Array
    opt_state: PyTree
    age: Array


def _adam() -> Any:
    import optax  # here, because it takes half a second that few imports of kipsk.kernels need

    return optax.scale_by_adam()


def fresh(kind: Kind, key: Array, n_features: int, n_outputs: int) -> Learner:
    """Return a new network."""
    params = kind.draw(key, n_features, n_outputs)
    weights = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
    return Learner(weights, _adam().init(weights), jnp.zeros((), jnp.int32))


def trained(kind: Kind, learner: Learner, X: Array, y: Array, rate: Array | AnyArray) -> Learner:
    """Return a network after a step of Adam on the squared error over all rows."""
    x = X.astype(jnp.float32).reshape(len(X), *kind.input_shape(X.shape[1]))
    y = y.astype(jnp.float32)

    def loss(weights: Array) -> Array:
        params = kind.params(weights, X.shape[1], y.shape[1])
        return jnp.mean((apply(kind.architecture, params, x) - y) ** 2) / 2

    direction, opt_state = _adam().update(jax.grad(loss)(learner.weights), learner.opt_state)
    weights = (learner.weights - rate * direction).astype(jnp.float32)
    return Learner(weights, opt_state, learner.age + 1)


#: The same, compiled, for a training that is no part of a step.
compiled_fresh = partial(jax.jit, static_argnums=(0, 2, 3))(fresh)
compiled_trained = partial(jax.jit, static_argnums=0)(trained)


@partial(jax.jit, static_argnums=(0, 2, 3, 4, 5))
def begun(
    kind: Kind, key: Array, n_networks: int, max_age: int, n_features: int, n_outputs: int
) -> Learner:
    """Return a pool of new networks, of which each is replaced at another time.

    They count as if they were trained already, from no step to nearly `max_age`, so that later
    networks of all ages are in the pool.
    """
    keys = jax.random.split(key, n_networks)
    pool = jax.vmap(lambda key: fresh(kind, key, n_features, n_outputs))(keys)
    ages = jnp.arange(n_networks, dtype=jnp.int32) * max_age // n_networks
    return pool._replace(age=ages.astype(jnp.int32))


def advanced(
    kind: Kind,
    pool: Learner,
    which: Array | int,
    support: tuple[Array, Array],
    key: Array,
    *,
    rate: Array | AnyArray,
    n_steps: int,
    max_age: int,
) -> Learner:
    """Return a pool after the training of one of its networks on the support.

    Parameters
    ----------
    kind : Kind
    pool : Learner
    which : int
        The number of the network.
    support : tuple of Arrays (n_s, n_features) and (n_s, n_outputs)
    key : Array
        Draws the network anew if it is older than `max_age` then.
    rate : float
    n_steps, max_age : int
    """
    X, y = support
    learner = jax.tree.map(lambda leaf: leaf[which], pool)
    for _ in range(n_steps):  # written out: see `_descent._step.steps`
        learner = trained(kind, learner, X, y, rate)
    learner = jax.lax.cond(
        learner.age > max_age,
        lambda: fresh(kind, key, X.shape[1], y.shape[1]),
        lambda: learner,
    )
    return jax.tree.map(lambda leaf, own: leaf.at[which].set(own), pool, learner)
