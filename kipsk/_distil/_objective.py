"""Losses on kernel matrices: what KIP descends on. Nothing here knows where kernels came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._closed_form import _label_solve, _ridge
from kipsk.architectures import Shape
from kipsk.augment import _apply
from kipsk.kernels._base import KernelFunction


class Targets(NamedTuple):
    """A batch of target rows.

    Attributes
    ----------
    prepared : pytree
        ``function.prepare(X_t)``: the targets never change, so this is evaluated once a fit. X_t
        itself where kernel or targets do change from step to step (`Objective.takes_rows`).
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
    same predictions. Labels solved on the batch would fit it too well, so then each target's
    prediction is the one by the labels that all others give (leave-one-out, in closed form). A
    pytree: numbers are leaves, so another ridge or length scale runs the same compiled code.

    Attributes
    ----------
    function : KernelFunction
    reg : float
        Relative ridge of the prediction.
    label_reg : float or None
        Relative ridge of the labels, used if they are solved. None reads
        ``params["log_label_reg"]``: it is learned with the rows.
    scale : float
        Deviation of the training features; ``params["X"]`` is in its units.
    y_s : Array of shape (n_s, n_outputs) or None
        Support labels if they are fixed; None reads ``params["y"]``, labels that are learned.
    solves_labels : bool
        Take the labels from the batch in closed form instead.
    loss : {"mse", "platt"}
        "platt" reads ``params["log_scale"]``.
    score_name : {"accuracy", "R2"}
        What is told of predictions beside the loss.
    key : Array or None
        Draws the networks of each step; for a kernel that is random (`is_random`).
    frozen : tuple of Arrays (mask, X) of shape (n_s, n_features), or None
        Where the mask is true the support stays X.
    takes_rows : bool
        Targets are rows, to be augmented, preprocessed and prepared at every step.
    augment_key : Array or None
        Draws the augmentation of each step.
    augmentation : callable or None
        What `kipsk._augment.apply` takes.
    image_shape : tuple (H, W, C) or None
        Of the images that are augmented.
    preprocess : pytree, callable, or None
        From augmented rows to those that the kernel sees.
    """

    function: KernelFunction
    reg: float
    label_reg: float | None
    scale: Array | float
    y_s: Array | None
    solves_labels: bool = field(metadata={"static": True})
    loss: str = field(default="mse", metadata={"static": True})
    score_name: str = field(default="accuracy", metadata={"static": True})
    key: Array | None = None
    frozen: tuple[Array, Array] | None = None
    takes_rows: bool = field(default=False, metadata={"static": True})
    augment_key: Array | None = None
    augmentation: Any = field(default=None, metadata={"static": True})
    image_shape: Shape | None = field(default=None, metadata={"static": True})
    preprocess: Any = None

    def __call__(
        self, params: dict[str, Array], targets: Targets, n_steps: Array | int = 0
    ) -> tuple[Array, Array]:
        """Return the loss and the score of the same predictions."""
        function = self.drawn(n_steps)
        prepared_t, y_t = self._prepared(function, targets, n_steps)
        prepared = function.prepare(self.support(params))
        K_st, K_ss = function.cross(prepared, prepared_t), function.gram(prepared)
        return self.of_matrices(params, K_ss, K_st, y_t)

    def of_matrices(
        self, params: dict[str, Array], K_ss: Array, K_st: Array, y_t: Array
    ) -> tuple[Array, Array]:
        """Return the loss and the score from the kernel's matrices, wherever they came from.

        Parameters
        ----------
        params : dict of Arrays
            All but the rows are read.
        K_ss : Array of shape (n_s, n_s)
        K_st : Array of shape (n_s, n_t)
        y_t : Array of shape (n_t, n_outputs)
        """
        if self.solves_labels:
            alpha, leverage = self._solve_labels(params, K_ss, K_st, y_t)
            residual = (y_t - _ridge.predict(K_st, alpha)) / (1 - leverage)[:, None]
            prediction = y_t - residual.astype(y_t.dtype)
        else:
            prediction = _ridge.predict(K_st, self._alpha(params, K_ss))
        score = _SCORES[self.score_name](prediction, y_t)
        if self.loss == "platt":
            return platt(prediction, y_t, params["log_scale"]), score
        return mse(prediction, y_t), score

    def support(self, params: dict[str, Array]) -> Array:
        """Return X_s, in the units of the training features."""
        X_s = params["X"] * self.scale
        return X_s if self.frozen is None else jnp.where(self.frozen[0], self.frozen[1], X_s)

    def score(self, params: dict[str, Array], targets: Targets, held_out: Targets) -> Array:
        """Return the score on other rows, with the networks of one fixed draw.

        Parameters
        ----------
        params : dict of Arrays
        targets : Targets
            Where solved labels come from.
        held_out : Targets
            Rows that the kernel sees, not prepared.
        """
        function = self.drawn(_FIXED_DRAW)
        prepared = function.prepare(self.support(params))
        K_ss = function.gram(prepared)
        if self.solves_labels:
            prepared_t, y_t = self._prepared(function, targets, _FIXED_DRAW)
            K_st = function.cross(prepared, prepared_t)
            alpha, _ = self._solve_labels(params, K_ss, K_st, y_t)
        else:
            alpha = self._alpha(params, K_ss)
        K_sv = function.cross(prepared, function.prepare(held_out.prepared))
        return _SCORES[self.score_name](_ridge.predict(K_sv, alpha), held_out.y_t)

    def drawn(self, n_steps: Array | int) -> KernelFunction:
        """Return the kernel of one step."""
        if self.key is None:
            return self.function
        return self.function.draw(jax.random.fold_in(self.key, n_steps))

    def _prepared(
        self, function: KernelFunction, targets: Targets, n_steps: Array | int
    ) -> tuple[Any, Array]:
        """Return the targets as the kernel takes them: constants, without a gradient."""
        if not self.takes_rows:
            return targets
        X_t, y_t = self.rows(targets, n_steps)
        return jax.lax.stop_gradient((function.prepare(X_t), y_t))

    def rows(self, targets: Targets, n_steps: Array | int) -> Targets:
        """Return targets that are rows as the kernel sees them at one step."""
        X_t, y_t = targets
        if self.augmentation is not None and self.augment_key is not None:
            key = jax.random.fold_in(self.augment_key, n_steps)
            X_t, y_t = _apply.apply(self.augmentation, key, X_t, y_t, self.image_shape)
        if self.preprocess is not None:
            X_t = self.preprocess(X_t).astype(X_t.dtype)
        return Targets(X_t, y_t)

    def _alpha(self, params: dict[str, Array], K_ss: Array) -> Array:
        """Return the dual coefficients of labels that are learned or fixed."""
        y_s = params["y"] if self.y_s is None else self.y_s
        return _ridge.solve(_ridge.regularise(K_ss, self.reg), y_s)

    def _solve_labels(
        self, params: dict[str, Array], K_ss: Array, K_st: Array, y_t: Array
    ) -> tuple[Array, Array]:
        """Return the dual coefficients of the targets' best labels, and each target's leverage."""
        label_reg: Array | float | None = self.label_reg
        if label_reg is None:
            label_reg = jnp.exp(params["log_label_reg"])
        regularised = _ridge.regularise(K_ss, self.reg)
        return _label_solve.solved_alpha_and_leverage(
            K_st.astype(jnp.float64), y_t.astype(jnp.float64), regularised, label_reg
        )


# The step whose draw of networks `score` takes: the same for all calls, and no step's.
_FIXED_DRAW = 2**31 - 1


@jax.jit
def score(
    objective: Objective, params: dict[str, Array], targets: Targets, held_out: Targets
) -> Array:
    """Return ``objective.score(...)``, compiled."""
    return objective.score(params, targets, held_out)


@jax.jit
def support(objective: Objective, params: dict[str, Array]) -> Array:
    """Return ``objective.support(params)``, compiled as it is in a step."""
    return objective.support(params)


def _accuracy(prediction: Array, y_t: Array) -> Array:
    """Return the share of targets whose largest output is the right one."""
    hits = jnp.argmax(prediction, axis=1) == jnp.argmax(y_t, axis=1)
    return jnp.mean(hits, dtype=jnp.float32)


def _r2(prediction: Array, y_t: Array) -> Array:
    """Return the mean over outputs of R2, as `sklearn.metrics.r2_score` does."""
    residual = jnp.sum(jnp.square(y_t - prediction), axis=0)
    total = jnp.sum(jnp.square(y_t - jnp.mean(y_t, axis=0)), axis=0)
    constant = jnp.where(residual == 0, 1.0, 0.0)
    r2 = jnp.where(total > 0, 1 - residual / jnp.where(total > 0, total, 1), constant)
    return jnp.mean(r2)


_SCORES = {"accuracy": _accuracy, "R2": _r2}
