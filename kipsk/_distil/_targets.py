"""Target rows as a step sees them: augmented, preprocessed and prepared for the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._types import Floats, PyTree
from kipsk.architectures import Shape
from kipsk.augment import _apply
from kipsk.augment._apply import Function
from kipsk.kernels._base import KernelFunction, prepare


@register_dataclass
@dataclass(frozen=True)
class Change:
    """What is done to target rows at every step, before the kernel sees them.

    Attributes
    ----------
    key : Array
        From which each step's augmentation is drawn.
    preprocess : callable pytree or None
        From augmented rows to those that the kernel sees.
    augmentation : callable
        What `kipsk.augment._apply.apply` takes.
    image_shape : tuple (H, W, C) or None
        The shape of the images that are augmented.
    """

    key: Array
    preprocess: PyTree
    augmentation: Function = field(metadata={"static": True})
    image_shape: Shape | None = field(metadata={"static": True})

    def __call__(self, X_t: Array, y_t: Array, step: Array | int) -> tuple[Array, Array]:
        """Return the rows and targets of one step."""
        key = jax.random.fold_in(self.key, step)
        X_t, y_t = _apply.apply(self.augmentation, key, X_t, y_t, self.image_shape)
        if self.preprocess is not None:
            X_t = self.preprocess(X_t).astype(X_t.dtype)
        return X_t, y_t


@register_dataclass
@dataclass(frozen=True)
class Targets:
    """A batch of target rows, which the kernel gets as `at` says.

    Attributes
    ----------
    rows : pytree
        The prepared rows, ``function.prepare(X_t)``, if neither they nor the kernel change from
        step to step: they are then evaluated once for a whole fit. Else X_t itself.
    y_t : Array of shape (n_t, n_outputs)
        Their targets.
    change : Change or None
        What is done to X_t at every step.
    weight : Array of shape (n_t,) or None
        How much each row counts; None is 1. A row that is changed keeps its weight.
    is_prepared : bool
        Which of the two `rows` is.
    """

    rows: PyTree
    y_t: Array
    change: Change | None = None
    weight: Array | None = None
    is_prepared: bool = field(default=False, metadata={"static": True})

    def at(self, step: Array | int, function: KernelFunction) -> tuple[PyTree, Array]:
        """Return one step's prepared rows and targets, which are constants without a gradient."""
        if self.is_prepared:
            return self.rows, self.y_t
        now = self.changed(step)
        return jax.lax.stop_gradient((function.prepare(now.rows), now.y_t))

    def changed(self, step: Array | int) -> Targets:
        """Return targets on which the change of one step is done."""
        if self.change is None:
            return self
        X_t, y_t = self.change(self.rows, self.y_t, step)
        return replace(self, rows=X_t, y_t=y_t, change=None)


class Form(NamedTuple):
    """The form in which all targets of a run wait for its steps.

    Attributes
    ----------
    function : KernelFunction or None
        The kernel that prepares rows once; None if every step prepares them.
    change : Change or None
        What every step does to rows.
    """

    function: KernelFunction | None = None
    change: Change | None = None

    def __call__(self, X: Floats, y: Floats, weight: Floats | None = None) -> Targets:
        """Return rows, targets and weights on the device."""
        X_t, y_t = jnp.asarray(X), jnp.asarray(y)
        w_t = None if weight is None else jnp.asarray(weight, y_t.dtype)
        if self.function is None:
            return Targets(X_t, y_t, self.change, w_t)
        return Targets(prepare(self.function, X_t), y_t, weight=w_t, is_prepared=True)


#: Rows as they are, such as those that a support set is scored on.
AS_ROWS = Form()
