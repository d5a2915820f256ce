"""The calls of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from kipsk._descent._step import State, steps

#: What takes steps: ``(objective, optimizer, state, batch, rates, n_steps) -> (state, history)``,
#: as `steps` does.
Stepper = Callable[..., tuple[Any, Any]]

#: Steps of one jitted call, at most. A call returns after this many so that the host can look.
MAX_STEPS_PER_CALL = 32

#: Calls between two looks at a run of one step a call: looking waits for the result, and the next
#: step could have been under way.
LOOK_EVERY = 10


def run(
    objectives: Sequence[Callable[..., Any]],
    optimizer: Any,
    state: State,
    batches: Sequence[Any],
    rates: np.ndarray,
    rng: np.random.RandomState,
    *,
    weights: np.ndarray | None = None,
    stops: Collection[int] = (),
    done: int = 0,
    one_a_call: bool = False,
    stepper: Stepper | None = None,
) -> Generator[tuple[State, Any, int], bool | None]:
    """Yield (state, history, number of steps) after every jitted call; end early if sent True.

    One batch is stepped on `MAX_STEPS_PER_CALL` times a call, unless the steps are slow; several
    are visited in a new random order each epoch, one step a call, so that no batch is ever copied.
    A last step of length zero (yielded with 0 steps) looks at where the others led: ``state.good``
    is then the end of the run, or, if it failed, the last parameters of finite loss.

    Parameters
    ----------
    objectives : sequence of callables
        Each step takes one of them: always the same, or drawn with `weights`.
    optimizer : optax.GradientTransformation
    state : State
        After `done` steps.
    batches : sequence of pytrees
    rates : ndarray of shape (n_steps,)
    rng : RandomState
        As it was before the first step: the draws of the steps done are repeated.
    weights : ndarray of shape (len(objectives),), default=None
    stops : collection of int
        Numbers of steps after which a call has to end. What is computed does not depend on it.
    done : int
    one_a_call : bool
    stepper : callable, default=None
        What a call is, in place of `steps`.
    """
    stepper = stepper or steps
    single = len(batches) == 1 and len(objectives) == 1 and not one_a_call
    per_call = MAX_STEPS_PER_CALL if single else 1
    drawn = draws(len(objectives), weights, len(batches), rng)
    for _ in range(0 if single else done):
        next(drawn)
    ends = np.unique([len(rates), *(stop for stop in stops if 0 < stop < len(rates))])
    while done < len(rates):
        end = min(done + per_call, int(ends[np.searchsorted(ends, done, side="right")]))
        n_steps = end - done
        part = np.zeros(per_call, np.float32)
        part[:n_steps] = rates[done:end]
        which, batch = next(drawn)
        state, history = stepper(objectives[which], optimizer, state, batches[batch], part, n_steps)
        done = end
        if (yield state, history, n_steps):
            break
    look = np.zeros(per_call, np.float32)
    yield *stepper(objectives[0], optimizer, state, batches[0], look, 1), 0


def draws(
    n_objectives: int, weights: np.ndarray | None, n_batches: int, rng: np.random.RandomState
) -> Iterator[tuple[int, int]]:
    """Yield the objective and the batch of each call."""
    order: list[int] = []
    while True:
        order = order or rng.permutation(n_batches).tolist()
        which = 0 if n_objectives == 1 else int(rng.choice(n_objectives, p=weights))
        yield which, order.pop()
