"""The loop that every run goes through: steps on one batch after another, looked at on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from kipsk._bar import tqdm
from kipsk._descent._step import State
from kipsk._interrupts import noted_interrupts
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


class Plan(NamedTuple):
    """The steps of a run, and the calls of compiled code that take them.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        The size of every step, from the first one of the run.
    per_call : int
        The most steps of one call. All calls run the same compiled code.
    stops : collection of int
        Numbers of steps after which a call has to end. What is computed does not depend on it.
    done : int
        Steps that were taken earlier.
    """

    rates: Floats
    per_call: int = 1
    stops: Collection[int] = ()
    done: int = 0

    def ends(self) -> Iterator[int]:
        """Yield the number of steps done after each call."""
        n_steps, done = len(self.rates), self.done
        stops = np.unique([n_steps, *(stop for stop in self.stops if 0 < stop < n_steps)])
        while done < n_steps:
            next_stop = int(stops[np.searchsorted(stops, done, side="right")])
            done = min(done + self.per_call, next_stop)
            yield done

    def sizes(self, start: int, end: int) -> Floats:
        """Return the rates of some steps, padded with zeros to those of a whole call."""
        part = np.zeros(self.per_call, np.float32)
        part[: end - start] = self.rates[start:end]
        return part


def run(
    take: Take,
    source: Iterable[Any],
    state: State,
    plan: Plan,
    losses: list[Any],
    *,
    bar: Bar,
    look: Look | None = None,
) -> Ended:
    """Take steps until the plan or the source ends, a loss is not finite, or a look ends the run.

    The result of a call is looked at when the next call is on its way, so the device never waits
    for the host, and no more than two turns of the source are in memory.

    Parameters
    ----------
    take : callable
    source : iterable
        Yields what each call is taken on. It is read when it is needed, so it may be lazy.
    state : State
        After ``plan.done`` steps.
    plan : Plan
    losses : list
        Gets the losses of each call, before each step. It is the caller's, so that nothing of it
        is lost, however the run ends.
    bar : Bar
    look : callable or None
        Called after every call. It may wait for the state, or not.
    """
    turn, early, done, n_all = None, False, plan.done, len(plan.rates)
    error: BaseException | None = None
    shown = {"disable": not bar.is_shown, "desc": bar.name, "unit": "step"}
    with noted_interrupts() as interrupts, tqdm(total=n_all, initial=done, **shown) as progress:
        try:
            for end, turn in zip(plan.ends(), source, strict=False):
                before, n_steps = state, end - done
                state, history = take(turn, state, plan.sizes(done, end), n_steps)
                losses.append(history[0][:n_steps])
                done = end
                # tqdm returns True a few times a second: only then the numbers are waited for.
                if progress.update(n_steps) or (bar.is_shown and done == n_all):
                    progress.set_postfix(_shown(bar, history, n_steps))
                if interrupts or before.failed:
                    break
                if look is not None and look(state, done):
                    early = True
                    break
            jax.block_until_ready(state)  # here, where Ctrl-C is caught
        except KeyboardInterrupt as raised:
            error = raised.with_traceback(None)  # its frames hold the turn
        except Exception as raised:
            error = raised
        if interrupts:  # also where Python has dropped it, or XLA made another error of it
            error = KeyboardInterrupt()
    return Ended(state, done, turn, early, error)


def look_again(take: Take, turn: Any, state: State, per_call: int = 1) -> State:
    """Take a step of length zero, which sees the loss that the last step led to.

    ``state.good`` is then the end of the run, or, if that loss is not finite, the last parameters
    whose loss was.
    """
    return take(turn, state, np.zeros(per_call, np.float32), 1)[0]


def _shown(bar: Bar, history: Sequence[Array], n_steps: int) -> dict[str, str]:
    """Return the numbers beside a bar: loss and score before the last step of a call."""
    loss, score = (np.asarray(values)[n_steps - 1] for values in history)
    shown = {"loss": f"{loss:.5f}"}
    if bar.score_name is not None:
        shown[bar.score_name] = f"{score:.3f}"
    return shown | (bar.more() if bar.more is not None else {})
