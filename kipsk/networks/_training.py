"""Training of a finite network: its losses, and many steps a jitted call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kipsk._descent import _step
from kipsk._descent._loop import Bar, Plan, look_again, run
from kipsk._descent._step import State
from kipsk._types import Floats
from kipsk.architectures import Architecture, Shape
from kipsk.architectures._function import Params, _scaled, apply, init
from kipsk.augment._apply import Function
from kipsk.augment._apply import apply as augmented

#: Steps of one jitted call, at most. A call returns after this many so that the host can look.
#: Images take one: on a CPU the gradient of a convolution is many times slower inside of a loop.
MAX_STEPS_PER_CALL = 50

# batch_size="auto": all rows up to the first number, and else batches of the second, unless a
# network's activations on them would take more than the third, in bytes.
_FULL_BATCH, _BATCH = 500, 100
_BATCH_BYTES = 2 * 2**30

#: Names of losses and of optimisers.
LOSSES = ("mse", "cross_entropy")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Problem:
    """What compiled code depends on: hashable, the static argument of all that is jitted here.

    Attributes
    ----------
    architecture : Architecture
    input_shape : tuple of int
        What rows of X become before the first layer.
    loss : {"mse", "cross_entropy"}
    optimizer : optax.GradientTransformation
        Its updates are multiplied by a step's rate and subtracted.
    augment : callable or None
        As `kipsk.augment._augmentations.get_augmentation` returns it.
    image_shape : tuple of int or None
        (H, W, C) of the images that are augmented; None if it is rows.
    """

    architecture: Architecture
    input_shape: Shape
    loss: str
    optimizer: Any = None
    augment: Function | None = None
    image_shape: Shape | None = None


class Data(NamedTuple):
    """Training rows (n, n_features) and their targets (n, n_outputs), in float32."""

    X: Array
    y: Array


@lru_cache
def get_optimizer(name: str, momentum: float) -> Any:
    """Return an optax transformation without its learning rate; cached, so that jit is too."""
    import optax  # not at the top: half a second that `import kipsk.networks` does not need

    return optax.trace(decay=momentum) if name == "sgd" else optax.scale_by_adam()


def auto_batch_size(n_rows: int, sizes: list[int]) -> int:
    """Return the rows of a step, from the numbers that one row is before and after each layer."""
    most = max(1, _BATCH_BYTES // (4 * sum(sizes)))
    return n_rows if n_rows <= min(_FULL_BATCH, most) else min(_BATCH, most)


def probabilities(targets: np.ndarray) -> np.ndarray:
    """Return centred labels as probabilities: uncentred, clipped at zero, of sum 1, in float32."""
    n_classes = targets.shape[1]
    p = np.maximum(targets + 1 / n_classes, 0)
    total = p.sum(axis=1, keepdims=True)
    # A label without a positive entry says nothing.
    p = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / n_classes)
    return p.astype(np.float32)


@partial(jax.jit, static_argnames=("architecture", "width", "input_shape", "n_outputs"))
def draw(
    architecture: Architecture, key: Array, width: int, input_shape: Shape, n_outputs: int
) -> Params:
    """Return `init`'s parameters, compiled."""
    return init(architecture, key, width, input_shape, n_outputs)


def outputs(problem: Problem, params: Params, initial: Params | None, X: Array) -> Array:
    """Return f(X), or the function minus the initial one if initial parameters are given."""
    x = X.reshape(len(X), *problem.input_shape)
    f = apply(problem.architecture, params, x)
    return f if initial is None else f - apply(problem.architecture, initial, x)


def penalty(architecture: Architecture, params: Params) -> Array:
    """Return half the sum of squares of the weights and biases that the network applies.

    These are the parameters themselves if the parameterisation is "standard"; if it is "ntk" they
    are the parameters times ``w_std / sqrt(fan_in)`` and ``b_std``. So one penalty has one
    minimiser, whichever way a network is parameterised.
    """
    total = jnp.zeros((), jnp.float32)
    for own in params:
        if own:
            parts = own["weight"], own["bias"]
            if architecture.parameterization == "ntk":
                parts = _scaled(architecture, *parts)
            total += sum(jnp.sum(part**2) for part in parts)
    return total / 2


def objective(
    problem: Problem, params: Params, initial: Params | None, data: Data, l2: Array | float
) -> Array:
    """Return the loss, a mean over rows, and `l2` times `penalty`.

    "mse" is ``1/2 mean (f - y)^2`` over rows and outputs; "cross_entropy" the mean over rows of
    ``-sum y log softmax(f)``, y probabilities.
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

    def loss_of(params: Any, data: Data, _: Array) -> tuple[Array, Array]:
        return objective(problem, params, initial, data, l2), jnp.zeros(())

    state, (loss, _) = _step.step(loss_of, problem.optimizer, state, data, rate)
    return state, loss


@partial(jax.jit, static_argnames="problem")
def steps(
    problem: Problem,
    state: State,
    initial: Params | None,
    data: Data,
    rows: Array | None,
    key: Array,
    rates: Array,
    l2: Array,
    n_steps: Array | int,
) -> tuple[State, Array]:
    """Run the first `n_steps` of `rates`, each on its line of `rows`, or on all data if None.

    Returns
    -------
    state : State
    losses : Array of shape (len(rates),)
        Loss before each step; zero from `n_steps` on.
    """

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
    # A dynamic trip count: the last, shorter call runs the same compiled code.
    return jax.lax.fori_loop(0, n_steps, body, start)


class Schedule(NamedTuple):
    """What a training run does beside its problem.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        The size of every step.
    l2 : float
        Factor of `penalty`.
    batch_size : int
        Rows of a step.
    """

    rates: Floats
    l2: float
    batch_size: int


def train(
    problem: Problem,
    params: Params,
    initial: Params | None,
    data: Data,
    schedule: Schedule,
    rng: np.random.RandomState,
    *,
    bar: Bar,
    epoch: int | None = None,
    look: Callable[[Params], None] | None = None,
) -> tuple[State, Floats]:
    """Train a network.

    Parameters
    ----------
    problem : Problem
    params : Params
        To start from.
    initial : Params or None
        If given, the network trained is the function less that of these parameters.
    data : Data
    schedule : Schedule
    rng : RandomState
        Draws the batches and the augmentation.
    bar : Bar
    epoch : int, default=None
        Steps between two looks.
    look : callable, default=None
        Called with the parameters after every epoch. What is computed does not depend on it.

    Returns
    -------
    state : State
        ``state.good`` is the end of the run, or, if it failed, the last parameters of finite loss.
    losses : ndarray
        Before each step.
    """
    rates, l2, batch_size = schedule
    state = _step.initial_state(problem.optimizer, params)
    key = jax.random.key(rng.randint(2**31))
    n_steps = len(rates)
    per_call = 1 if problem.architecture.needs_images else MAX_STEPS_PER_CALL
    looks = () if epoch is None else range(epoch, n_steps + 1, epoch)
    # A call ends with the rows that were drawn for it, and at every look.
    plan = Plan(rates, per_call, {*looks, *range(per_call, n_steps, per_call)})
    turns = _turns(plan, _batches(len(data.X), batch_size, per_call, rng))

    def take(
        rows: Array | None, state: State, rates: Floats, n_steps: int
    ) -> tuple[State, tuple[Array, Array]]:
        state, losses = steps(
            problem, state, initial, data, rows, key, rates, np.float32(l2), n_steps
        )
        return state, (losses, losses)

    def look_at(state: State, done: int) -> bool:
        if look is not None and done in looks:
            look(state.params)
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
    """Yield the rows of each call of a plan, and once more for a last look."""
    rows = None
    for start in (0, *plan.ends()):
        offset = start % plan.per_call
        if offset == 0 or start == len(plan.rates):
            rows = next(batches)
        yield None if rows is None else np.roll(rows, -offset, axis=0)


def _batches(
    n_rows: int, batch_size: int, per_call: int, rng: np.random.RandomState
) -> Iterator[np.ndarray | None]:
    """Yield the rows of each step of a call, None for all of them.

    Every row is used once before any is used again, in a new random order each time around.
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
