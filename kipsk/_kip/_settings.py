"""All that a run reads of an estimator's parameters, as one frozen record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from kipsk._distil._mosaic import Mosaic
from kipsk._types import Estimator, Float64s, Floats, PyTree
from kipsk.architectures import Shape
from kipsk.augment._apply import Function
from kipsk.kernels._base import JaxKernel

#: The batch_size of steps that see all rows.
ALL_ROWS = "all"


@dataclass(frozen=True)
class Kernels:
    """The kernel, or a family of kernels of which every step draws one.

    Attributes
    ----------
    given : str, JaxKernel or sequence of these
        The parameter itself, for messages.
    members : tuple of JaxKernel
        The kernels that it names, with the shape of images set.
    weights : ndarray of shape (len(members),) or None
        How likely each is drawn; None draws all alike.
    regs : tuple of float
        The relative ridge of each.
    predict : JaxKernel or None
        The kernel of `predict`, if it is another one.
    """

    given: Any
    members: tuple[JaxKernel, ...]
    weights: Float64s | None
    regs: tuple[float, ...]
    predict: JaxKernel | None


@dataclass(frozen=True)
class Goal:
    """What is minimised, and where labels come from.

    Attributes
    ----------
    labels : {"learned", "fixed", "solved"}
    label_reg : float or None
        Relative ridge of solved labels; None learns it.
    loss : {"mse", "platt"}
    targets : {"auto", "given", "smoothed"}
        Whether the steps see y or what is left of it without noise.
    score_name : {"accuracy", "R2"}
        The score that is told beside the loss.
    class_weight : None, "balanced" or dict
        How much the rows of each class count in both.
    """

    labels: str
    label_reg: float | None
    loss: str
    targets: str
    score_name: str
    class_weight: Any = None


@dataclass(frozen=True)
class Beginning:
    """Where the support starts.

    Attributes
    ----------
    init : str or tuple (X, y)
    size : int
        Support rows, of each class or of all; with a mosaic those that the kernel sees.
    corruption : float
        Share of the entries that stay at noise.
    is_warm : bool
        Whether the support of the last fit is the start, if there is one.
    mosaic : Mosaic or None
        What support rows share their storage in.
    """

    init: Any
    size: int
    corruption: float
    is_warm: bool
    mosaic: Mosaic | None = None


@dataclass(frozen=True)
class Rows:
    """What target rows go through.

    Attributes
    ----------
    augmentation : callable or None
        As `kipsk.augment` applies it.
    image_shape : tuple (H, W, C) or None
    preprocess : transformer or None
        As it was given, not fitted.
    dtype : {"float32", "float64"}
    """

    augmentation: Function | None
    image_shape: Shape | None
    preprocess: Estimator | None
    dtype: str


@dataclass(frozen=True)
class Steps:
    """The steps.

    Attributes
    ----------
    optimizer : optax.GradientTransformation
    learning_rate : float
    rates : ndarray of shape (max_iter,)
        The size of every step of `fit`.
    schedule : callable or None
        A function that the user gave; None for the names of schedules.
    is_rate_free : bool
        Whether the optimizer is one of the user's, with a rate of its own.
    batch_size : int or "all"
    """

    optimizer: PyTree
    learning_rate: float
    rates: Floats
    schedule: Any
    is_rate_free: bool
    batch_size: int | str


@dataclass(frozen=True)
class Looking:
    """What is looked at on the way.

    Attributes
    ----------
    early_stopping : bool
    validation_fraction : float
        Share of each stratum that is held out.
    patience : int
        Steps without a better score before the run ends.
    score_every : int
        Steps between two scores on held-out rows.
    snapshots : frozenset of int
        Steps after which the support is kept.
    checkpoint_every : int
        Steps between two saves.
    verbose : int
    """

    early_stopping: bool
    validation_fraction: float
    patience: int
    score_every: int
    snapshots: frozenset[int]
    checkpoint_every: int
    verbose: int


@dataclass(frozen=True)
class Settings:
    """All that a run reads of an estimator's parameters, with "auto" replaced.

    Attributes
    ----------
    owner : str
        The name of the estimator, for messages.
    kernels : Kernels
    goal : Goal
    beginning : Beginning
    rows : Rows
    steps : Steps
    looking : Looking
    block_size : int or "auto"
    """

    owner: str
    kernels: Kernels
    goal: Goal
    beginning: Beginning
    rows: Rows
    steps: Steps
    looking: Looking
    block_size: int | str

    def seeing_all(self) -> Self:
        """Return the same settings with steps that see all rows."""
        return replace(self, steps=replace(self.steps, batch_size=ALL_ROWS))

    def with_regs(self, regs: Sequence[float]) -> Self:
        """Return the same settings with other relative ridges."""
        return replace(self, kernels=replace(self.kernels, regs=tuple(regs)))
