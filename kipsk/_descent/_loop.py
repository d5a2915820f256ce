"""The loop that every run goes through: steps on one batch after another, looked at on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from tqdm.auto import tqdm

from kipsk._descent._step import State
from kipsk._types import Floats

#: Compiled code that takes some steps: ``(turn, state, rates, n_steps) -> (state, (losses,
#: scores))``. The first `n_steps` of `rates` are taken; losses and scores have as many entries as
#: `rates`. A turn is what a source yields.
Take = Callable[[Any, State, Floats, int], tuple[State, tuple[Array, Array]]]

#: What the host does after some steps: ``(state, number of steps done) -> whether the run ends``.
Look = Callable[[State, int], bool]


class Ended(NamedTuple):
    """How a run ended.

    Attributes
    ----------
    state : State
        After the last step.
    done : int
        Steps whose losses are noted. An interrupt may come between a step and its note: the state
        is then one call ahead.
    turn : object
        What the last steps were taken on.
    early : bool
        Whether a look ended the run.
    error : BaseException or None
        What ended the run instead: the user's Ctrl-C, or an error.
    """

    state: State
    done: int
    turn: Any
    early: bool = False
    error: BaseException | None = None


class Bar(NamedTuple):
    """A progress bar.

    Attributes
    ----------
    name : str
    is_shown : bool
    score_name : str or None
        What the scores are called beside the loss.
    more : callable or None
        Returns what else is shown, by name.
    """

    name: str
    is_shown: bool
    score_name: str | None = None
    more: Callable[[], dict[str, str]] | None = None


def ends_of_calls(
    n_steps: int, per_call: int, stops: Collection[int] = (), done: int = 0
) -> Iterator[int]:
    """Yield the number of steps done after each call of compiled code.

    A call takes at most `per_call` steps, and ends at every one of the `stops`.
    """
    ends = np.unique([n_steps, *(stop for stop in stops if 0 < stop < n_steps)])
    while done < n_steps:
        done = min(done + per_call, int(ends[np.searchsorted(ends, done, side="right")]))
        yield done


def run(
    take: Take,
    source: Iterable[Any],
    state: State,
    rates: Floats,
    ends: Iterable[int],
    losses: list[Any],
    *,
    bar: Bar,
    per_call: int = 1,
    done: int = 0,
    look: Look | None = None,
) -> Ended:
    """Take steps until the rates or the source end, a loss is not finite, or a look ends the run.

    The result of a call is looked at when the next call is on its way, so the device never waits
    for the host, and no more than two turns of the source are in memory.

    Parameters
    ----------
    take : callable
    source : iterable
        Yields what each call is taken on. It is read when it is needed, so it may be lazy.
    state : State
        After `done` steps.
    rates : ndarray of shape (n_steps,)
        The size of every step, from the first one of the run.
    ends : iterable of int
        As `ends_of_calls` yields them.
    losses : list
        Gets the losses of each call, before each step. It is the caller's, so that nothing of it
        is lost, however the run ends.
    bar : Bar
    per_call : int
        The most steps of one call. All calls run the same compiled code.
    done : int
    look : callable or None
        Called after every call. It may wait for the state, or not.
    """
    turn, early = None, False
    error: BaseException | None = None
    with tqdm(
        total=len(rates), initial=done, disable=not bar.is_shown, desc=bar.name, unit="step"
    ) as progress:
        try:
            for end, turn in zip(ends, source, strict=False):
                before, n_steps = state, end - done
                part = _padded(rates[done:end], per_call)
                state, history = take(turn, state, part, n_steps)
                losses.append(history[0][:n_steps])
                done = end
                # tqdm returns True a few times a second: only then the numbers are waited for.
                if progress.update(n_steps) or (bar.is_shown and done == len(rates)):
                    progress.set_postfix(_shown(bar, history, n_steps))
                if before.failed:
                    break
                if look is not None and look(state, done):
                    early = True
                    break
        except (KeyboardInterrupt, Exception) as raised:
            error = raised
    return Ended(state, done, turn, early, error)


def look_again(take: Take, turn: Any, state: State, per_call: int = 1) -> State:
    """Take a step of length zero, which sees the loss that the last step led to.

    ``state.good`` is then the end of the run, or, if that loss is not finite, the last parameters
    whose loss was.
    """
    return take(turn, state, np.zeros(per_call, np.float32), 1)[0]


def _padded(rates: Floats, per_call: int) -> Floats:
    part = np.zeros(per_call, np.float32)
    part[: len(rates)] = rates
    return part


def _shown(bar: Bar, history: Sequence[Array], n_steps: int) -> dict[str, str]:
    """Return the numbers beside a bar: loss and score before the last step of a call."""
    loss, score = (np.asarray(values)[n_steps - 1] for values in history)
    shown = {"loss": f"{loss:.5f}"}
    if bar.score_name is not None:
        shown[bar.score_name] = f"{score:.3f}"
    return shown | (bar.more() if bar.more is not None else {})
