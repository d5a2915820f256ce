"""Losses on kernel matrices: what KIP descends on. Nothing here knows where kernels came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_dataclass

from kipsk import _ridge
from kipsk.kernels._base import KernelFunction


class Targets(NamedTuple):
    """A batch of target rows.

    Attributes
    ----------
    prepared : pytree
        ``function.prepare(X_t)``: the targets never change, so this is evaluated once a fit. For
        a kernel that is drawn anew at every step, X_t itself.
    y_t : Array of shape (n_t, n_outputs)
    """

    prepared: Any
    y_t: Array


def mse(prediction: Array | float, y_t: Array) -> Array:
    """Return ``1/2 mean (prediction - y_t)^2``, the mean over rows and outputs."""
    return 0.5 * jnp.mean(jnp.square(prediction - y_t))


def platt(prediction: Array, y_t: Array, log_scale: Array) -> Array:
    """Return the cross-entropy of ``softmax(exp(log_scale) * prediction)``, the mean over rows.

    Platt scaling with one learned number (Loo et al. 2022, arXiv 2210.12067, section 3.3).
    """
    log_probability = jax.nn.log_softmax(jnp.exp(log_scale) * prediction)
    return -jnp.mean(jnp.sum((y_t + 1 / y_t.shape[1]) * log_probability, axis=1))


@register_dataclass
@dataclass(frozen=True)
class Objective:
    """KIP's loss of a support set on a batch of targets (arXiv 2011.00050, eq. 7).

    ``1/2 mean |y_t - K_ts (K_ss + reg trace(K_ss)/n_s I)^-1 y_s|^2``, or the cross-entropy of the
    same predictions. A pytree: numbers are leaves, so another ridge or length scale runs the same
    compiled code.

    Attributes
    ----------
    function : KernelFunction
    reg : float
        Relative ridge of the prediction.
    label_reg : float
        Relative ridge of the labels, used if they are solved.
    scale : float
        Deviation of the training features; ``params["X"]`` is in its units.
    y_s : Array of shape (n_s, n_outputs) or None
        Support labels if they are fixed; None reads ``params["y"]``, labels that are learned.
    solves_labels : bool
        Take the labels from the batch in closed form instead.
    loss : {"mse", "platt"}
        "platt" reads ``params["log_scale"]``.
    key : Array or None
        Draws the networks of each step; for a kernel that is random (`is_random`).
    """

    function: KernelFunction
    reg: Array | float
    label_reg: Array | float
    scale: Array | float
    y_s: Array | None
    solves_labels: bool = field(metadata={"static": True})
    loss: str = field(default="mse", metadata={"static": True})
    key: Array | None = None

    def __call__(
        self, params: dict[str, Array], targets: Targets, n_steps: Array | int = 0
    ) -> tuple[Array, Array]:
        """Return the loss and the share of targets whose largest output is the right one."""
        function, prepared_t = self.function, targets.prepared
        if self.key is not None:
            function = function.draw(jax.random.fold_in(self.key, n_steps))
            prepared_t = jax.lax.stop_gradient(function.prepare(targets.prepared))
        prepared = function.prepare(params["X"] * self.scale)
        K_st = function.cross(prepared, prepared_t)
        regularised = _ridge.regularise(function.gram(prepared), self.reg)
        if self.solves_labels:
            K = K_st.astype(jnp.float64)
            alpha = _ridge.solved_alpha(
                K @ K.T, K @ targets.y_t.astype(jnp.float64), regularised, self.label_reg
            )
        else:
            y_s = params["y"] if self.y_s is None else self.y_s
            alpha = _ridge.solve(regularised, y_s)
        prediction = _ridge.predict(K_st, alpha)
        hits = jnp.argmax(prediction, axis=1) == jnp.argmax(targets.y_t, axis=1)
        accuracy = jnp.mean(hits, dtype=jnp.float32)
        if self.loss == "platt":
            return platt(prediction, targets.y_t, params["log_scale"]), accuracy
        return mse(prediction, targets.y_t), accuracy
