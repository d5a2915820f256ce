"""What KIP descends on: a loss of kernel matrices, and these matrices from rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._closed_form import _label_solve, _ridge
from kipsk._closed_form._products import matmul
from kipsk._closed_form._quadratic import (
    Quadratic,
    kernel_moments,
    mean_squares,
    r2,
    squares_of,
)
from kipsk._distil._mosaic import Mosaic
from kipsk._distil._targets import Targets
from kipsk._types import PyTree
from kipsk.kernels._base import FIXED_DRAW, KernelFunction

#: What is learned: the rows "X", in units of their deviation, and where they are learned too the
#: labels "y", and the logarithms "log_scale" and "log_label_reg".
Params = dict[str, Array]

#: What a step sees: a batch of rows, or the moments of all.
Batch = Targets | Quadratic


def mse(prediction: Array | float, y_t: Array, weight: Array | None = None) -> Array:
    """Return ``1/2 mean w (prediction - y_t)^2``, the mean over rows and outputs."""
    squares = jnp.square(prediction - y_t)
    return 0.5 * jnp.mean(squares if weight is None else weight[:, None] * squares)


def platt(prediction: Array, y_t: Array, log_scale: Array, weight: Array | None = None) -> Array:
    """Return the cross-entropy of ``softmax(exp(log_scale) * prediction)``, the mean over rows.

    Platt scaling with one learned number (Loo et al. 2022, arXiv 2210.12067, section 3.3).
    """
    log_probability = jax.nn.log_softmax(jnp.exp(log_scale) * prediction)
    likelihood = jnp.sum((y_t + 1 / y_t.shape[1]) * log_probability, axis=1)
    return -jnp.mean(likelihood if weight is None else weight * likelihood)


class Loss(NamedTuple):
    """A loss of predictions.

    Attributes
    ----------
    value : callable
        ``(prediction, y_t, params, weight) -> number``, where `weight` is None or that of each row.
    start : dict of str to float
        The numbers that it learns beside the support, in ``params``, and where they start.
    limit : callable
        ``(first, y_t) -> number``: a run has diverged if it ends above this, where `first` is its
        first loss.
    """

    value: Callable[[Array, Array, Params, Array | None], Array]
    start: dict[str, float]
    limit: Callable[[float, Array], float]


#: The losses by their names. The limit is clearly more than predicting nothing; for "platt", whose
#: learned scale may go to zero, it is as much.
LOSSES = {
    "mse": Loss(
        value=lambda prediction, y_t, params, weight: mse(prediction, y_t, weight),
        start={},
        # Noise for privacy may bring a loss below zero.
        limit=lambda first, y_t: max(first + 0.1 * abs(first), 1.1 * float(mse(0.0, y_t))),
    ),
    "platt": Loss(
        value=lambda prediction, y_t, params, weight: platt(
            prediction, y_t, params["log_scale"], weight
        ),
        # From 0 the first hundred steps are slower, and it ends between 1.5 and 2 on images.
        start={"log_scale": 1.5},
        limit=lambda first, y_t: max(first, 0.999 * float(np.log(y_t.shape[1]))),
    ),
}


@register_dataclass
@dataclass(frozen=True)
class Labels:
    """Where the labels of the support come from: ``params["y"]`` if nothing else is said.

    Attributes
    ----------
    fixed : Array of shape (n_s, n_outputs) or None
        Labels that stay; None if they are learned or solved.
    reg : Array, float or None
        Relative ridge of solved labels. None reads ``params["log_label_reg"]``: it is learned with
        the rows.
    are_solved : bool
        Whether each batch gives its own labels, in closed form.
    """

    fixed: Array | None = None
    reg: Array | float | None = 0.0
    are_solved: bool = field(default=False, metadata={"static": True})


@register_dataclass
@dataclass(frozen=True)
class Objective:
    """KIP's loss of a support set on a batch of targets (arXiv 2011.00050, eq. 7).

    ``1/2 mean w |y_t - K_ts (K_ss + reg trace(K_ss)/n_s I)^-1 y_s|^2`` with the rows' weights w, or
    the cross-entropy of the same predictions. Labels that are solved on the batch would fit it too
    well; the prediction of each target is then the one by the labels that all other targets give
    (leave-one-out, in closed form). An objective is a pytree whose numbers are leaves, so another
    ridge or length scale runs the same compiled code.

    Attributes
    ----------
    function : KernelFunction
        The kernel.
    reg : float
        Relative ridge of the prediction.
    scale : float
        Deviation of the training features; ``params["X"]`` is in its units.
    labels : Labels
        Where y_s comes from.
    frozen : tuple of Arrays (mask, X) of shape (n_s, n_features), or None
        Where the mask is true the support stays X.
    loss : str
        A name in `LOSSES`.
    score_name : {"accuracy", "R2"}
        The score of the predictions, returned beside the loss.
    mosaic : Mosaic or None
        ``params["X"]`` are mosaics of support rows.
    """

    function: KernelFunction
    reg: Array | float
    scale: Array | float
    labels: Labels = Labels()
    frozen: tuple[Array, Array] | None = None
    loss: str = field(default="mse", metadata={"static": True})
    score_name: str = field(default="accuracy", metadata={"static": True})
    mosaic: Mosaic | None = field(default=None, metadata={"static": True})

    def __call__(
        self, params: Params, targets: Batch, step: Array | int = 0
    ) -> tuple[Array, Array]:
        """Return the loss and the score of the same predictions."""
        function = self.function.at(step)
        prepared = function.prepare(self.support(params))
        K_ss = function.gram(prepared)
        if isinstance(targets, Quadratic):
            return self._of_quadratic(params, K_ss, function.features(prepared), targets)
        prepared_t, y_t = targets.at(step, function)
        if function.has_features and not self.labels.are_solved:
            W = _linear_model(function.features(prepared), self._alpha(params, K_ss))
            prediction = matmul(function.features(prepared_t), W)
            return self._of_prediction(params, prediction, y_t, targets.weight)
        if self.labels.are_solved or len(K_ss) * len(y_t) <= _ENTRIES:
            K_st = function.cross(prepared, prepared_t)
            return self.of_matrices(params, K_ss, K_st, y_t, targets.weight)
        alpha = self._alpha(params, K_ss)
        prediction = _in_blocks(function, prepared, prepared_t, alpha, _ENTRIES // len(K_ss))
        return self._of_prediction(params, prediction.astype(y_t.dtype), y_t, targets.weight)

    def of_matrices(
        self, params: Params, K_ss: Array, K_st: Array, y_t: Array, weight: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the loss and the score from the kernel's matrices, wherever they came from.

        Parameters
        ----------
        params : dict of Arrays
            All entries but the rows are read.
        K_ss : Array of shape (n_s, n_s)
        K_st : Array of shape (n_s, n_t)
        y_t : Array of shape (n_t, n_outputs)
        weight : Array of shape (n_t,) or None
        """
        if self.labels.are_solved:
            alpha, leverage = self._solve_labels(params, K_ss, K_st, y_t, weight)
            residual = (y_t - _ridge.predict(K_st, alpha)) / (1 - leverage)[:, None]
            prediction = y_t - residual.astype(y_t.dtype)
        else:
            prediction = _ridge.predict(K_st, self._alpha(params, K_ss))
        return self._of_prediction(params, prediction, y_t, weight)

    def _of_prediction(
        self, params: Params, prediction: Array, y_t: Array, weight: Array | None
    ) -> tuple[Array, Array]:
        score = _SCORES[self.score_name](prediction, y_t, weight)
        return LOSSES[self.loss].value(prediction, y_t, params, weight), score

    def _of_quadratic(
        self, params: Params, K_ss: Array, Phi_s: Array, quadratic: Quadratic
    ) -> tuple[Array, Array]:
        """Return the squared error over all rows, and R2.

        Of solved labels it is that of generalised cross-validation: what leaving out each row would
        give, with the mean of all leverages in place of each.
        """
        if self.labels.are_solved:
            _, squares = self._solve_for_all(params, K_ss, Phi_s, quadratic)
        else:
            squares = mean_squares(quadratic, _linear_model(Phi_s, self._alpha(params, K_ss)))
        return 0.5 * jnp.mean(squares), r2(quadratic, squares)

    def _solve_for_all(
        self, params: Params, K_ss: Array, Phi_s: Array, quadratic: Quadratic
    ) -> tuple[Array, Array]:
        """Return the dual coefficients of the best labels for all rows, and their mean squares."""
        Phi_s = Phi_s.astype(quadratic.H.dtype)
        products, moments = kernel_moments(quadratic, Phi_s), matmul(Phi_s, quadratic.C)
        alpha, leverage = _label_solve.solved_alpha_and_mean_leverage(
            products,
            moments,
            _ridge.regularise(K_ss, self.reg),
            self._label_reg(params),
            quadratic.n_rows,
        )
        squares = squares_of(products, moments, quadratic.y_squares, alpha)
        return alpha, squares / (1 - leverage) ** 2

    def support(self, params: Params) -> Array:
        """Return X_s, in the units of the training features."""
        X_s = params["X"] * self.scale
        if self.mosaic is not None:
            return self.mosaic.enlarged(X_s)
        return X_s if self.frozen is None else jnp.where(self.frozen[0], self.frozen[1], X_s)

    def initial_memory(self, params: Params) -> KernelFunction | None:
        """Return what changes from step to step beside `params`: a kernel that steps train."""
        if not self.function.is_trained:
            return None
        return self.function.begun(self.support(params).shape[1], self._labels(params).shape[1])

    def with_memory(self, memory: KernelFunction | None) -> Objective:
        """Return the objective of a step."""
        return self if memory is None else replace(self, function=memory)

    def remembered(self, params: Params, step: Array | int) -> KernelFunction:
        """Return the memory after a step."""
        return self.function.advance(self.support(params), self._labels(params), step)

    def score(self, params: Params, targets: Batch, held_out: Batch) -> Array:
        """Return the score on other rows, with the networks of one fixed draw.

        Parameters
        ----------
        params : dict of Arrays
        targets : Targets or Quadratic
            Where solved labels come from.
        held_out : Targets or Quadratic
            Rows that the kernel sees, not prepared; of their moments the score is R2.
        """
        function = self.function.fixed()
        prepared = function.prepare(self.support(params))
        K_ss = function.gram(prepared)
        if not self.labels.are_solved:
            alpha = self._alpha(params, K_ss)
        elif isinstance(targets, Quadratic):
            alpha, _ = self._solve_for_all(params, K_ss, function.features(prepared), targets)
        else:
            prepared_t, y_t = targets.at(FIXED_DRAW, function)
            K_st = function.cross(prepared, prepared_t)
            alpha, _ = self._solve_labels(params, K_ss, K_st, y_t, targets.weight)
        if isinstance(held_out, Quadratic):
            W = _linear_model(function.features(prepared), alpha)
            return r2(held_out, mean_squares(held_out, W))
        K_sv = function.cross(prepared, function.prepare(held_out.rows))
        prediction = _ridge.predict(K_sv, alpha)
        return _SCORES[self.score_name](prediction, held_out.y_t, held_out.weight)

    def _alpha(self, params: Params, K_ss: Array) -> Array:
        """Return the dual coefficients of labels that are learned or fixed."""
        return _ridge.solve(_ridge.regularise(K_ss, self.reg), self._labels(params))

    def _labels(self, params: Params) -> Array:
        """Return labels that are learned or fixed."""
        return params["y"] if self.labels.fixed is None else self.labels.fixed

    def _solve_labels(
        self, params: Params, K_ss: Array, K_st: Array, y_t: Array, weight: Array | None
    ) -> tuple[Array, Array]:
        """Return the dual coefficients of the targets' best labels, and each target's leverage."""
        K_st, y_t = K_st.astype(jnp.float64), y_t.astype(jnp.float64)
        if weight is not None:
            # Weighted least squares is least squares on rows that are scaled by sqrt(weight).
            root = jnp.sqrt(weight.astype(jnp.float64))
            K_st, y_t = K_st * root, y_t * root[:, None]
        regularised = _ridge.regularise(K_ss, self.reg)
        return _label_solve.solved_alpha_and_leverage(
            K_st, y_t, regularised, self._label_reg(params)
        )

    def _label_reg(self, params: Params) -> Array | float:
        reg = self.labels.reg
        return jnp.exp(params["log_label_reg"]) if reg is None else reg


def _in_blocks(
    function: KernelFunction, prepared: PyTree, prepared_t: PyTree, alpha: Array, size: int
) -> Array:
    """Return the predictions of many targets, a block at a time; the gradient does each again.

    The kernel's matrix between the support and all of them is never whole.
    """

    @jax.checkpoint
    def predict(prepared_t: PyTree) -> Array:
        return _ridge.predict(function.cross(prepared, prepared_t), alpha)

    n = len(jax.tree.leaves(prepared_t)[0])
    n_whole = n - n % size
    blocks = jax.tree.map(
        lambda leaf: leaf[:n_whole].reshape(n_whole // size, size, *leaf.shape[1:]), prepared_t
    )
    predicted = jax.lax.map(predict, blocks).reshape(n_whole, -1)
    if n_whole == n:
        return predicted
    last = predict(jax.tree.map(lambda leaf: leaf[n_whole:], prepared_t))
    return jnp.concatenate([predicted, last])


def _linear_model(Phi_s: Array, alpha: Array) -> Array:
    """Return ``W = Phi_s^T alpha``: the predictions are ``Phi W``, in the precision of Phi.

    The dual coefficients are large and of both signs, so the sum is in float64.
    """
    return matmul(Phi_s.astype(alpha.dtype).T, alpha).astype(Phi_s.dtype)


# Entries of K_st that a step may hold at once; beyond them it goes through blocks of targets.
_ENTRIES = 2**26


@jax.jit
def score(objective: Objective, params: Params, targets: Batch, held_out: Batch) -> Array:
    """Return ``objective.score(...)``, compiled."""
    return objective.score(params, targets, held_out)


@jax.jit
def support(objective: Objective, params: Params) -> Array:
    """Return ``objective.support(params)``, compiled as it is in a step."""
    return objective.support(params)


def _accuracy(prediction: Array, y_t: Array, weight: Array | None = None) -> Array:
    """Return the (weighted) share of targets whose largest output is the right one."""
    hits = jnp.argmax(prediction, axis=1) == jnp.argmax(y_t, axis=1)
    if weight is None:
        return jnp.mean(hits, dtype=jnp.float32)
    return (jnp.sum(weight * hits) / jnp.sum(weight)).astype(jnp.float32)


def _r2(prediction: Array, y_t: Array, weight: Array | None = None) -> Array:
    """Return the mean over outputs of R2, as `sklearn.metrics.r2_score` does; without weights."""
    residual = jnp.sum(jnp.square(y_t - prediction), axis=0)
    total = jnp.sum(jnp.square(y_t - jnp.mean(y_t, axis=0)), axis=0)
    constant = jnp.where(residual == 0, 1.0, 0.0)
    r2 = jnp.where(total > 0, 1 - residual / jnp.where(total > 0, total, 1), constant)
    return jnp.mean(r2)


_SCORES = {"accuracy": _accuracy, "R2": _r2}
