"""Gradient descent on a support set: immutable state, a pure step, many steps a jitted call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import lru_cache, partial
from threading import Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from threadpoolctl import threadpool_limits

Params = Any  # a pytree of Arrays

#: What takes steps: ``(objective, optimizer, state, batch, rates, n_steps) -> (state, history)``,
#: as `steps` does.
Stepper = Callable[..., tuple[Any, Any]]

#: Steps of one jitted call, at most. A call returns after this many so that the host can look.
MAX_STEPS_PER_CALL = 32

#: Calls between two looks at a run of one step a call: looking waits for the result, and the next
#: step could have been under way.
LOOK_EVERY = 10

#: Names of schedules.
SCHEDULES = ("cosine", "linear", "constant")


class State(NamedTuple):
    """All that a step reads and writes.

    Attributes
    ----------
    params : pytree of Array
    good : pytree of Array
        The last parameters whose loss was finite.
    opt_state : pytree
        Optax's state.
    n_steps : int Array
        Steps done, that is, parameters found good.
    failed : bool Array
        Whether a loss or gradient was not finite; from then on steps change nothing.
    """

    params: Params
    good: Params
    opt_state: Any
    n_steps: Array
    failed: Array


class _SingleThreadedBLAS:
    """Limit BLAS to one thread while any fit runs, and restore it after the last one.

    BLAS only factors n_s x n_s matrices here, which gains nothing from threads; but idle OpenBLAS
    threads spin for tens of milliseconds after each call, in the way of the kernel's products. The
    limit is global to the process, so fits in several threads share one.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_inside = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._limits is None:
                self._limits = threadpool_limits(1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


single_threaded_blas = _SingleThreadedBLAS()


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


def initial_state(optimizer: Any, params: Params) -> State:
    """Return the state before the first step."""
    return State(params, params, optimizer.init(params), jnp.zeros((), int), jnp.array(False))


def leaves(state: State) -> list[np.ndarray]:
    """Return the state's numbers as numpy, to be stored."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def restore(state: State, stored: Sequence[np.ndarray]) -> State:
    """Return the state that `leaves` was called on, in the structure of another of its kind.

    Raises
    ------
    ValueError
        If the stored numbers are of another optimiser or of other shapes.
    """
    own, structure = jax.tree.flatten(state)
    kinds = [[(leaf.shape, leaf.dtype) for leaf in tree] for tree in (own, stored)]
    if kinds[0] != kinds[1]:
        raise ValueError("The stored state is of another optimizer, or of rows of another shape.")
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in stored])


def step(
    objective: Callable[..., Any], optimizer: Any, state: State, batch: Any, learning_rate: Array
) -> tuple[State, tuple[Array, Array]]:
    """Return the state after one step and the (loss, accuracy) before it."""
    (loss, accuracy), gradient = jax.value_and_grad(objective, has_aux=True)(
        state.params, batch, state.n_steps
    )
    return moved(optimizer, state, loss, gradient, learning_rate), (loss, accuracy)


def moved(
    optimizer: Any, state: State, loss: Array, gradient: Params, learning_rate: Array
) -> State:
    """Return the state after a step along a gradient; no step if it or the loss is not finite."""
    direction, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = jax.tree.map(
        lambda p, u: (p - learning_rate * u).astype(p.dtype), state.params, direction
    )
    parts = [jnp.all(jnp.isfinite(part)) for part in jax.tree.leaves(gradient)]
    finite = jnp.isfinite(loss) & jnp.all(jnp.array(parts))
    after = State(params, state.params, opt_state, state.n_steps + 1, jnp.array(False))
    stays = state._replace(failed=jnp.array(True))
    ok = finite & ~state.failed
    return jax.tree.map(partial(jnp.where, ok), after, stays)


# The state is small and not donated: one that was interrupted can be published.
@partial(jax.jit, static_argnames="optimizer")
def steps(
    objective: Callable[..., Any],
    optimizer: Any,
    state: State,
    batch: Any,
    rates: Array,
    n_steps: Array | int,
) -> tuple[State, tuple[Array, Array]]:
    """Run the first `n_steps` of `rates` on one batch.

    Returns
    -------
    state : State
    history : tuple of two Arrays of shape (len(rates),)
        Loss and accuracy before each step; zero from `n_steps` on.
    """

    def body(i: Array, carry: Any) -> Any:
        state, losses, accuracies = carry
        state, (loss, accuracy) = step(objective, optimizer, state, batch, rates[i])
        return state, losses.at[i].set(loss), accuracies.at[i].set(accuracy)

    blank = jnp.zeros(len(rates), jnp.float64)
    start = (state, blank, blank)
    if len(rates) == 1:
        # No loop: on a CPU the gradient of a convolution is many times slower inside of one.
        state, *history = body(jnp.array(0), start)
    else:
        # A dynamic trip count: the last, shorter call runs the same compiled code.
        state, *history = jax.lax.fori_loop(0, n_steps, body, start)
    return state, tuple(history)


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
