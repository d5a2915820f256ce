"""Optimisers by name, and the size of every step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

#: Names of schedules.
SCHEDULES = ("cosine", "linear", "constant")


@lru_cache
def get_optimizer(name: str) -> Any:
    """Return an optax transformation without its learning rate; cached, so that jit is too."""
    import optax  # not at the top: half a second that `import kipsk` does not need

    return {"adam": optax.scale_by_adam, "adabelief": optax.scale_by_belief}[name]()


#: Names of optimisers.
OPTIMIZERS = ("adam", "adabelief")


def is_transformation(optimizer: Any) -> bool:
    """Whether it is an optax.GradientTransformation, by what it can do."""
    return hasattr(optimizer, "init") and hasattr(optimizer, "update")


def learning_rates(schedule: Any, learning_rate: float, n_steps: int) -> np.ndarray:
    """Return the step size of every step.

    Parameters
    ----------
    schedule : {"cosine", "linear", "constant"} or callable
        From its value down to zero, or not; or a function of the step that returns what to
        multiply with, such as optax's schedules.
    learning_rate : float
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
    factor = {"cosine": 0.5 * (1 + np.cos(np.pi * part)), "linear": 1 - part}
    return learning_rate * factor.get(schedule, np.ones(n_steps))
