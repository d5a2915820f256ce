"""What a run descends on: an objective for each kernel, of which every step takes one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kipsk._closed_form._quadratic import Quadratic
from kipsk._descent._step import State, initial_state
from kipsk._distil._objective import Batch, Objective, Params
from kipsk._distil._targets import Form
from kipsk._types import Float64s, PyTree


class Problem(NamedTuple):
    """What a run descends on, and with what.

    Attributes
    ----------
    objectives : sequence of Objective
        One for each kernel of a family.
    weights : ndarray of shape (len(objectives),) or None
        How likely each is drawn; None draws all alike.
    form : Form
        The form in which targets wait for a step.
    optimizer : optax.GradientTransformation
        It gives the direction of each step.
    params : dict of Arrays
        Where the run starts.
    rng : RandomState
        Draws the order of batches and kernels.
    block_size : int or "auto"
        Targets of a block, for kernels with slow pairs.
    """

    objectives: Sequence[Objective]
    weights: Float64s | None
    form: Form
    optimizer: PyTree
    params: Params
    rng: np.random.RandomState
    block_size: int | str = "auto"

    def initial_state(self) -> State:
        """Return the state before the first step."""
        memory = self.objectives[0].initial_memory(self.params)
        return initial_state(self.optimizer, self.params, memory)

    def has_slow_pairs(self, objective: Objective) -> bool:
        """Return whether a step with an objective goes through blocks of pairs."""
        return objective.function.has_slow_pairs(self.params["X"].shape[1])


class Turn(NamedTuple):
    """What one call of compiled code takes its steps on.

    Attributes
    ----------
    which : int
        The number of the objective.
    targets : Targets or Quadratic
    tree : int or None
        Where the engine of blocks has placed the rows of the targets, if it has.
    """

    which: int
    targets: Batch
    tree: int | None = None


def drawn_kernels(problem: Problem) -> Iterator[int]:
    """Yield the number of the objective that each step takes."""
    n = len(problem.objectives)
    while True:
        yield 0 if n == 1 else int(problem.rng.choice(n, p=problem.weights))


def drawn_turns(problem: Problem, batches: Sequence[Batch]) -> Iterator[Turn]:
    """Yield the turns of a run: each epoch visits all batches, in a new random order.

    Moments are those of all rows under one kernel: there are as many of them as kernels.
    """
    order: list[int] = []
    kernels = drawn_kernels(problem)
    if isinstance(batches[0], Quadratic):
        yield from (Turn(which, batches[which]) for which in kernels)
    while True:
        order = order or problem.rng.permutation(len(batches)).tolist()
        which = next(kernels)
        number = order.pop()
        yield Turn(which, batches[number], number)
