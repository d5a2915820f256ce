"""How often a network forgets each row while it is trained."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from kipsk._checks import refuse
from kipsk._data._coresets import forgetting_events
from kipsk._types import AnyArray, Float64s, Given
from kipsk.baselines._features import set_random_states
from kipsk.networks._classifier import FiniteNetworkClassifier

# How the network is trained if none is given.
_EPOCHS, _BATCH = 20, 100


class Forgotten(NamedTuple):
    """What a network forgot.

    Attributes
    ----------
    events : ndarray of shape (n_samples,)
        How often each row was forgotten, inf if it was never learned.
    network : FiniteNetworkClassifier
        The fitted one.
    """

    events: Float64s
    network: FiniteNetworkClassifier


def forgotten_by(
    owner: str, network: Given, X: AnyArray, y: AnyArray, rng: np.random.RandomState
) -> Forgotten:
    """Train a clone of a network, or the one for None, and count what it forgets.

    Raises
    ------
    ValueError
        If `network` is none, or trains for fewer than two epochs.
    """
    network = _default_network(len(X)) if network is None else network
    if not isinstance(network, FiniteNetworkClassifier):
        raise refuse(owner, "network", "None or a FiniteNetworkClassifier", network)
    network = clone(network)
    set_random_states(network, rng)
    correct: list[AnyArray] = []
    network.fit(X, y, on_epoch=lambda trained: correct.append(trained.predict(X) == y))
    if len(correct) < 2:
        raise ValueError(
            f"The 'network' of {owner} must train for at least 2 epochs. Got "
            f"max_iter={network.max_iter} instead, {len(correct)} epochs of the "
            f"{len(X)} rows: raise its max_iter or its batch_size."
        )
    return Forgotten(forgetting_events(np.array(correct)), network)


def _default_network(n: int) -> FiniteNetworkClassifier:
    """Return the network that "forgetting" trains on n rows if none is given."""
    batch_size = min(_BATCH, n)
    return FiniteNetworkClassifier(
        "fc1",
        loss="cross_entropy",
        optimizer="adam",
        l2=0.0,
        max_iter=_EPOCHS * math.ceil(n / batch_size),
        batch_size=batch_size,
    )
