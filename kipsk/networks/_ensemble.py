"""Networks that are trained independently of each other, and how their training went."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from kipsk._descent._loop import Bar
from kipsk._types import Floats
from kipsk.architectures._function import Params
from kipsk.networks._averaging import predicting
from kipsk.networks._training import Data, Problem, Schedule, train


class Trained(NamedTuple):
    """One trained network.

    Attributes
    ----------
    params : Params
        The last parameters whose loss was finite, or the average up to them, as numpy.
    losses : ndarray of shape (n_steps,)
        The loss before each step.
    failed : bool
        Whether the network stopped because a loss was not finite.
    """

    params: Params
    losses: Floats
    failed: bool


def train_each(
    problem: Problem,
    data: Data,
    drawn: Sequence[Params],
    schedule: Schedule,
    rng: np.random.RandomState,
    *,
    verbose: bool,
    look: Callable[[Params], None] | None,
) -> list[Trained]:
    """Train networks one after the other.

    Parameters
    ----------
    problem : Problem
    data : Data
    drawn : sequence of Params
        The parameters that each network starts from.
    schedule : Schedule
    rng : RandomState
        Draws batches and augmentations.
    verbose : bool
        Whether to show a progress bar.
    look : callable or None
        Called with the parameters after every epoch.

    Returns
    -------
    trained : list of Trained

    Raises
    ------
    ValueError
        If the loss of an untrained network or its gradient is not finite.
    """
    bar = Bar("network", verbose)
    trained = []
    for params in drawn:
        state, losses = train(problem, params, data, schedule, rng, bar=bar, look=look)
        n_good = int(state.n_steps)
        if not n_good:
            raise ValueError(
                "The loss of the untrained network, or its gradient, is not finite. Scale the "
                "features, for instance with StandardScaler."
            )
        good = jax.tree.map(np.asarray, predicting(state))
        losses = losses[: min(n_good, len(schedule.rates))]
        trained.append(Trained(good, losses, bool(state.failed)))
    return trained


def mean_losses(trained: Sequence[Trained]) -> Floats:
    """Return the loss before each step, averaged over the networks that took the step."""
    n_steps = max(len(one.losses) for one in trained)
    return np.array(
        [np.mean([one.losses[i] for one in trained if i < len(one.losses)]) for i in range(n_steps)]
    )


def what_went_wrong(
    trained: Sequence[Trained], problem: Problem, data: Data, max_iter: int
) -> str | None:
    """Say how the worst network failed; None if all went well.

    A network fails if its loss becomes infinite or NaN. It also fails if its last loss is higher
    than both its first one and the loss of predicting nothing.
    """
    n_failed = sum(one.failed for one in trained)
    if n_failed:
        n_steps = min(len(one.losses) for one in trained)
        return (
            f"stopped after {n_steps} of {max_iter} steps ({n_failed} of {len(trained)} networks): "
            "its loss was no longer finite"
        )
    of_nothing = loss_of_nothing(problem, data)
    worst = max(trained, key=lambda one: one.losses[-1] / one.losses[0])
    first, last = worst.losses[[0, -1]]
    if last > 1.1 * max(first, of_nothing):
        return f"diverged: its loss went from {first:.3g} to {last:.3g}"
    return None


def loss_of_nothing(problem: Problem, data: Data) -> float:
    """Return the loss of a network that predicts zero, or that all classes are as likely."""
    if problem.loss == "mse":
        return float(np.mean(np.square(data.y))) / 2
    return math.log(len(data.y[0]))
