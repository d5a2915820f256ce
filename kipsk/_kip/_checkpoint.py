"""The checkpoint of a fit: which fit it belongs to, and whether a longer one may go on from it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from kipsk._checks import refuse
from kipsk._data._coding import Data
from kipsk._descent._schedule import is_transformation
from kipsk._distil._history import History
from kipsk._storage._checkpoint import Checkpoint
from kipsk._storage._describe import describe, in_one_dtype
from kipsk._storage._files import DAMAGED, read_json
from kipsk._types import AnyArray, Estimator

# Parameters whose value does not change the result: a checkpoint is good for any.
_FREE = {"checkpoint_path", "checkpoint_interval", "downstream", "verbose"}

# By name the generators of numpy that a RandomState may be made of.
_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")

# What to do to prolong a run that a checkpoint cannot prolong.
_LONGER = (
    "To go on from a run that is over, fit with its own max_iter, which ends at once; then set "
    "warm_start=True, the number of further steps as max_iter, and another 'checkpoint_path', and "
    "fit again. (With schedule='constant', or a function, without early_stopping and "
    "snapshots='log', a larger max_iter goes on by itself.)"
)


def open_checkpoint(
    estimator: Estimator, given: dict[str, str]
) -> tuple[Checkpoint | None, dict[str, AnyArray] | None, np.random.RandomState]:
    """Return the file, what it holds, and the generator as it was before the first draw.

    `given` describes what the fit is given.
    """
    rng = check_random_state(estimator.random_state)
    if estimator.checkpoint_path is None:
        return None, None, rng
    params = estimator.get_params(deep=False)
    facts = {f"'{name}'": describe(params[name]) for name in sorted(params.keys() - _FREE)}
    facts |= given
    if estimator.warm_start and hasattr(estimator, "X_s_"):
        facts["the support to start from"] = describe((estimator.X_s_, estimator.y_s_))
    longer = ("'max_iter'",) if _can_be_prolonged(estimator) else ()
    checkpoint = Checkpoint(estimator.checkpoint_path, facts, longer, {"'max_iter'": _LONGER})
    saved = checkpoint.load()
    if saved is not None:
        try:
            n_steps = len(History.from_arrays(saved).losses[0])
            rng = _restored(read_json(saved["rng"]))
        except DAMAGED as error:
            raise checkpoint.unreadable(error) from error
        if n_steps > estimator.max_iter:
            rule = f"at least {n_steps}, the steps in {checkpoint.path!r}"
            raise refuse(type(estimator).__name__, "max_iter", rule, estimator.max_iter)
    state = json.dumps(rng.get_state(legacy=False), default=np.ndarray.tolist)
    checkpoint.always = {"rng": np.array(state)}
    return checkpoint, saved, rng


def _restored(state: dict[str, Any]) -> np.random.RandomState:
    """Return the generator whose state was saved; it may be any of numpy's."""
    name = state["bit_generator"]
    if name not in _GENERATORS:
        raise ValueError(f"a generator {name!r}")
    rng = np.random.RandomState(getattr(np.random, name)())
    rng.set_state(state)
    return rng


def facts_of_data(data: Data) -> dict[str, str]:
    """Return descriptions of rows and targets, for a checkpoint."""
    return {"X": describe(data.X), "y": describe(in_one_dtype(data.labels()))}


def _can_be_prolonged(estimator: Estimator) -> bool:
    """Return whether the steps of a run, and what is kept of it, are those of a longer one."""
    has_same_rates = callable(estimator.schedule) or estimator.schedule == "constant"
    has_same_rates = has_same_rates or is_transformation(estimator.optimizer)
    return (
        has_same_rates and not estimator.early_stopping and not isinstance(estimator.snapshots, str)
    )
