"""Training of one finite network: its losses, its batches, and the compiled code of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import softmax

from kipsk._descent import _step
from kipsk._descent._loop import Bar, Plan, look_again, run
from kipsk._descent._step import State
from kipsk._types import Float64s, Floats
from kipsk.architectures import Architecture, Shape
from kipsk.architectures._function import Params, apply, init, scaled
from kipsk.augment._apply import Function
from kipsk.augment._apply import apply as augmented
from kipsk.networks._averaging import predicting_so_far

if TYPE_CHECKING:
    from optax import GradientTransformation

#: How many steps one jitted call takes, at most, so that the host can look at the run in between.
#: With images a call takes one step, because on a CPU the gradient of a convolution is many times
#: slower inside of a loop.
MAX_STEPS_PER_CALL = 50

# batch_size="auto" takes all rows if there are at most _FULL_BATCH, else _BATCH rows a step. It
# takes fewer where a network's activations on them would need more than _BATCH_BYTES.
_FULL_BATCH, _BATCH = 500, 100
_BATCH_BYTES = 2 * 2**30

#: Names of losses and of optimisers.
LOSSES = ("mse", "cross_entropy")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Problem:
    """The settings that code is compiled for: the static argument of the functions jitted here.

    Attributes
    ----------
    architecture : Architecture
    input_shape : tuple of int
        The shape that each row of X is given before the first layer.
    loss : {"mse", "cross_entropy"}
    optimizer : optax.GradientTransformation
        Its updates are multiplied by a step's rate and subtracted.
    augment : callable or None
        From `kipsk.augment._augmentations.get_augmentation`.
    image_shape : tuple of int or None
        The shape (H, W, C) of the images that are augmented; None if rows are.
    """

    architecture: Architecture
    input_shape: Shape
    loss: str
    optimizer: GradientTransformation | None = None
    augment: Function | None = None
    image_shape: Shape | None = None


class Data(NamedTuple):
    """Training rows (n, n_features) and their targets (n, n_outputs), in float32."""

    X: Array
    y: Array


@lru_cache
def get_optimizer(name: str, momentum: float) -> GradientTransformation:
    """Return an optax transformation without its learning rate.

    It is cached, because jitted code is compiled again for an equal transformation that is another
    object.
    """
    import optax  # here, because it takes half a second that few imports of kipsk.networks need

    return optax.trace(decay=momentum) if name == "sgd" else optax.scale_by_adam()


def row_sizes(problem: Problem, width: int, n_classes: int) -> list[int]:
    """Return how many numbers one row has before each layer and after the last."""
    shapes = problem.architecture.shapes(problem.input_shape, int(width), n_classes)
    return [math.prod(shape) for shape in shapes]


def auto_batch_size(n_rows: int, sizes: list[int]) -> int:
    """Return how many rows a step takes by default; `sizes` are the `row_sizes`."""
    most = max(1, _BATCH_BYTES // (4 * sum(sizes)))
    return n_rows if n_rows <= min(_FULL_BATCH, most) else min(_BATCH, most)


def probabilities(targets: Float64s, temperature: float | None = None) -> Floats:
    """Return centred labels as probabilities in float32.

    With a temperature they are ``softmax(targets / temperature)``. Without one they are not
    centred, clipped at 0, and divided by their sum.
    """
    n_classes = targets.shape[1]
    if temperature is not None:
        return softmax(targets / temperature, axis=1).astype(np.float32)
    p = np.maximum(targets + 1 / n_classes, 0)
    total = p.sum(axis=1, keepdims=True)
    # A label without a positive entry tells nothing of the class, so all classes are as likely.
    p = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / n_classes)
    return p.astype(np.float32)


@partial(jax.jit, static_argnames=("architecture", "width", "input_shape", "n_outputs"))
def draw(
    architecture: Architecture, key: Array, width: int, input_shape: Shape, n_outputs: int
) -> Params:
    """Return `init`'s parameters, compiled."""
    return init(architecture, key, width, input_shape, n_outputs)


def outputs(problem: Problem, params: Params, initial: Params | None, X: Array) -> Array:
    """Return f(X), minus the outputs of the initial network if its parameters are given."""
    x = X.reshape(len(X), *problem.input_shape)
    f = apply(problem.architecture, params, x)
    return f if initial is None else f - apply(problem.architecture, initial, x)


def penalty(architecture: Architecture, params: Params) -> Array:
    """Return half the sum of squares of the weights and biases that the network applies.

    In the "standard" parameterisation these are the parameters themselves. In the "ntk" one they
    are the parameters times ``w_std / sqrt(fan_in)`` and ``b_std``. So the objective has the same
    minimum in both.
    """
    total = jnp.zeros((), jnp.float32)
    for own in params:
        if own:
            parts = own["weight"], own["bias"]
            if architecture.parameterization == "ntk":
                parts = scaled(architecture, *parts)
            total += sum(jnp.sum(part**2) for part in parts)
    return total / 2


def objective(
    problem: Problem, params: Params, initial: Params | None, data: Data, l2: Array | float
) -> Array:
    """Return the loss plus `l2` times `penalty`.

    "mse" is ``1/2 mean (f - y)^2`` over rows and outputs. "cross_entropy" is the mean over rows of
    ``-sum y log softmax(f)``, where y are probabilities.
    """
    f = outputs(problem, params, initial, data.X)
    if problem.loss == "mse":
        loss = jnp.mean((f - data.y) ** 2) / 2
    else:
        loss = -jnp.mean(jnp.sum(data.y * jax.nn.log_softmax(f), axis=1))
    return loss + l2 * penalty(problem.architecture, params)


def step(
    problem: Problem, state: State, initial: Params | None, data: Data, rate: Array, l2: Array
) -> tuple[State, Array]:
    """Return the state after one step and the loss before it."""

    def loss_of(params: Params, data: Data, _: Array) -> tuple[Array, Array]:
        return objective(problem, params, initial, data, l2), jnp.zeros(())

    state, (loss, _) = _step.step(loss_of, problem.optimizer, state, data, rate)
    return state, loss


class Fixed(NamedTuple):
    """The arrays that all steps of a run share.

    Attributes
    ----------
    data : Data
    initial : Params or None
        If given, the function that is trained is the network minus the network with these
        parameters.
    l2 : Array of shape ()
        The factor of `penalty`.
    key : Array
        A key of `jax.random`, which draws the augmentations.
    """

    data: Data
    initial: Params | None
    l2: Array
    key: Array


@partial(jax.jit, static_argnames="problem")
def steps(
    problem: Problem,
    fixed: Fixed,
    state: State,
    rows: Array | None,
    rates: Array,
    n_steps: Array | int,
) -> tuple[State, Array]:
    """Take `n_steps` steps with the first of the `rates`.

    Step i takes the rows of data that ``rows[i]`` names, or all rows if `rows` is None.

    Returns
    -------
    state : State
    losses : Array of shape (len(rates),)
        The loss before each step; zeros from `n_steps` on.
    """
    data, initial, l2, key = fixed

    def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
        state, losses = carry
        batch = data if rows is None else Data(data.X[rows[i]], data.y[rows[i]])
        if problem.augment is not None:
            own_key = jax.random.fold_in(key, state.n_steps)
            batch = Data(*augmented(problem.augment, own_key, *batch, problem.image_shape))
        state, loss = step(problem, state, initial, batch, rates[i], l2)
        return state, losses.at[i].set(loss)

    start = (state, jnp.zeros(len(rates), jnp.float32))
    if len(rates) == 1:
        return body(jnp.array(0), start)
    # The number of turns is not known when this is compiled, so that a shorter call, such as the
    # last one, runs the same code.
    return jax.lax.fori_loop(0, n_steps, body, start)


class Schedule(NamedTuple):
    """The numbers of a training run.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        The learning rate of every step.
    l2 : float
        The factor of `penalty`.
    batch_size : int
        How many rows a step takes.
    centering : bool
        Whether the function that is trained is the network minus its initial function.
    """

    rates: Floats
    l2: float
    batch_size: int
    centering: bool


def train(
    problem: Problem,
    params: Params,
    data: Data,
    schedule: Schedule,
    rng: np.random.RandomState,
    *,
    bar: Bar,
    look: Callable[[Params], None] | None = None,
) -> tuple[State, Floats]:
    """Train a network.

    Parameters
    ----------
    problem : Problem
    params : Params
        The parameters to start from.
    data : Data
    schedule : Schedule
    rng : RandomState
        Draws the batches and the augmentations.
    bar : Bar
    look : callable, default=None
        Called with the parameters after every epoch. Results do not depend on it.

    Returns
    -------
    state : State
        ``state.good`` are the parameters at the end of the run or, if it failed, the last ones
        whose loss was finite.
    losses : ndarray of shape (n_steps,)
        The loss before each step.
    """
    rates, l2, batch_size, centering = schedule
    state = _step.initial_state(problem.optimizer, params)
    key = jax.random.key(rng.randint(2**31))
    fixed = Fixed(data, params if centering else None, jnp.float32(l2), key)
    n_steps, epoch = len(rates), -(-len(data.X) // batch_size)
    per_call = 1 if problem.architecture.needs_images else MAX_STEPS_PER_CALL
    looks = () if look is None else range(epoch, n_steps + 1, epoch)
    # A call ends where the rows that were drawn for it end, and at every look.
    plan = Plan(rates, per_call, {*looks, *range(per_call, n_steps, per_call)})
    turns = _turns(plan, _batches(len(data.X), batch_size, per_call, rng))

    def take(
        rows: Array | None, state: State, rates: Floats, n_steps: int
    ) -> tuple[State, tuple[Array, Array]]:
        state, losses = steps(problem, fixed, state, rows, rates, n_steps)
        return state, (losses, losses)

    def look_at(state: State, done: int) -> bool:
        if look is not None and done in looks:
            look(predicting_so_far(state))
        return False

    parts: list[Floats] = []
    ended = run(take, turns, state, plan, parts, bar=bar, look=look_at)
    if ended.error is not None:
        raise ended.error
    state = ended.state
    if not state.failed:
        state = look_again(take, next(turns), state, per_call)
    return state, np.concatenate(parts)


def _turns(plan: Plan, batches: Iterator[np.ndarray | None]) -> Iterator[np.ndarray | None]:
    """Yield the rows of each call of a plan, and then rows for a last look."""
    rows = None
    for start in (0, *plan.ends()):
        offset = start % plan.per_call
        if offset == 0 or start == len(plan.rates):
            rows = next(batches)
        yield None if rows is None else np.roll(rows, -offset, axis=0)


def _batches(
    n_rows: int, batch_size: int, per_call: int, rng: np.random.RandomState
) -> Iterator[np.ndarray | None]:
    """Yield for each call the rows of its steps; None if each step takes all rows.

    All rows are used once before any is used again. The order is random and new each time.
    """
    if batch_size >= n_rows:
        while True:
            yield None
    n_needed = per_call * batch_size
    queue = np.empty(0, np.int32)
    while True:
        n_rounds = -(-(n_needed - len(queue)) // n_rows)
        rounds = [rng.permutation(n_rows).astype(np.int32) for _ in range(n_rounds)]
        queue = np.concatenate([queue, *rounds])
        yield queue[:n_needed].reshape(-1, batch_size)
        queue = queue[n_needed:]
