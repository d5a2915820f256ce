"""What is said of networks that have not learned."""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning

from kipsk._estimators._rounding import what_scaling_mends
from kipsk._types import Floats
from kipsk._warn import warn

# The share of the loss of predicting nothing above which a network has learned next to nothing.
_LITTLE = 0.8


def warn_of_features(name: str, X: Floats, losses: Floats, of_nothing: float) -> None:
    """Warn if a network on rows that are not standardised has learned next to nothing.

    Parameters
    ----------
    name : str
        The estimator's.
    X : ndarray of shape (n, n_features)
        Its rows.
    losses : ndarray of shape (n_steps,)
        Before each step.
    of_nothing : float
        The loss of predicting nothing.
    """
    first, last = map(float, losses[[0, -1]])
    if not _LITTLE * of_nothing < last <= max(first, of_nothing):
        return  # it has learned, or has diverged, which another warning says
    what = what_scaling_mends(X)
    if what is not None:
        warn(
            f"{name} has learned next to nothing in {len(losses)} steps: its loss went from "
            f"{first:.3g} to {last:.3g}, where predicting nothing has {of_nothing:.3g}. The "
            f"features of X {what}: put StandardScaler in front, in a Pipeline.",
            ConvergenceWarning,
        )


def warn_of_failures(name: str, what: str | None, learning_rate: float | None) -> None:
    """Warn of what went wrong, if anything did; `learning_rate` is None if optax's own is used."""
    if what is None:
        return
    advice = "'max_iter' or use smaller steps"
    if learning_rate is not None:
        advice = f"'learning_rate' (now {learning_rate:.3g})"
    warn(f"{name} {what}. The last finite parameters are kept. Lower {advice}.", ConvergenceWarning)
