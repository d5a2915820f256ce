"""Optimisers by name, and the size of every step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kipsk._types import Float64s, Given, PyTree

#: Names of schedules.
SCHEDULES = ("cosine", "linear", "constant")


@lru_cache
def get_optimizer(name: str) -> PyTree:
    """Return an optax transformation without its learning rate.

    It is cached, so that compiled code, which depends on it, is found again.
    """
    import optax  # not at the top: half a second that `import kipsk` does not need

    return {"adam": optax.scale_by_adam, "adabelief": optax.scale_by_belief}[name]()


#: Names of optimisers.
OPTIMIZERS = ("adam", "adabelief")


def is_transformation(optimizer: Given) -> bool:
    """Return whether an object can do what an optax.GradientTransformation does."""
    return hasattr(optimizer, "init") and hasattr(optimizer, "update")


def learning_rates(schedule: Given, learning_rate: float, n_steps: int) -> Float64s:
    """Return the step size of every step.

    Parameters
    ----------
    schedule : {"cosine", "linear", "step", "constant"} or callable
        The rate goes down to zero along a cosine or a line, or to a tenth in the middle, or it
        stays; or it is multiplied with what a function of the step returns, such as an optax
        schedule.
    learning_rate : float
        The rate that it starts from.
    n_steps : int
    """
    if callable(schedule):
        factors = np.array([float(schedule(i)) for i in range(n_steps)])
        if not np.isfinite(factors).all():
            raise ValueError(
                "The 'schedule' must return finite numbers. Got "
                f"{factors[~np.isfinite(factors)][0]} at step "
                f"{np.flatnonzero(~np.isfinite(factors))[0]} instead."
            )
        return learning_rate * factors
    part = np.arange(n_steps) / n_steps
    factor = {
        "cosine": 0.5 * (1 + np.cos(np.pi * part)),
        "linear": 1 - part,
        "step": np.where(part < 0.5, 1.0, 0.1),
    }
    return learning_rate * factor.get(schedule, np.ones(n_steps))
