"""What a run of KIP leaves behind, and how it is saved."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Params = dict[str, NDArray[Any]]


@dataclass
class History:
    """What a run leaves behind.

    Attributes
    ----------
    params : dict of ndarrays
        The result: the parameters of the highest score, or, where nothing was scored, the last
        ones of finite loss.
    losses : list of arrays
        The losses on the batch before each step, in parts.
    scored, scores : list
        The numbers of steps after which held-out rows were scored, and the scores.
    snapshots : dict of int to dict of ndarrays
        The parameters after so many steps.
    best : dict of ndarrays
        The parameters of the highest score.
    n_good : int
        How many times the parameters had a finite loss. It is known at the end of the run.
    failed, interrupted : bool
        Whether a loss was not finite, and whether the user ended the run.
    """

    params: Params = field(default_factory=dict)
    losses: list[Any] = field(default_factory=list)
    scored: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    snapshots: dict[int, Params] = field(default_factory=dict)
    best: Params = field(default_factory=dict)
    n_good: int = sys.maxsize
    failed: bool = False
    interrupted: bool = False

    def add_score(self, n_steps: int, value: float, params: Params) -> None:
        """Keep a score, and the parameters if none before was as high.

        A score that is not a number, because predictions are not finite, is kept as -inf: every
        other one is higher.
        """
        value = -np.inf if np.isnan(value) else value
        if not self.scores or value > max(self.scores):
            self.best = params
        # One statement assigns both, so that an interrupt cannot save one without the other.
        self.scored, self.scores = [*self.scored, n_steps], [*self.scores, value]

    def is_stale(self, patience: int) -> bool:
        """Return whether the best score is `patience` steps old."""
        return bool(self.scores) and self.scored[-1] - self.best_step >= patience

    @property
    def best_step(self) -> int:
        """Steps done when the best score was reached first."""
        return self.scored[int(np.argmax(self.scores))]

    def loss_curve(self) -> NDArray[np.float64]:
        """Return the losses so far as one array."""
        losses = np.concatenate([np.zeros(0), *map(np.asarray, self.losses)])
        return losses[: self.n_good]

    @property
    def n_steps(self) -> int:
        """Steps done."""
        return len(self.loss_curve())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it by names, to be saved."""
        kept = {("best", name): value for name, value in self.best.items()}
        for step, params in self.snapshots.items():
            kept |= {(f"snapshot {step}", name): value for name, value in params.items()}
        arrays = {" ".join(key): value for key, value in kept.items()}
        scored = {"scored": np.array(self.scored, int), "scores": np.array(self.scores, float)}
        return {"losses": self.loss_curve(), **scored, **arrays}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> History:
        """Return what `to_arrays` was called on.

        Raises
        ------
        KeyError, ValueError
            If the arrays cannot be those of a run.
        """
        losses, scored, scores = (arrays[name] for name in ("losses", "scored", "scores"))
        kinds = [(one.ndim, one.dtype.kind) for one in (losses, scored, scores)]
        if kinds != [(1, "f"), (1, "i"), (1, "f")] or len(scored) != len(scores):
            raise ValueError("its losses and scores are not those of a run")
        history = cls(losses=[losses])
        history.scored, history.scores = scored.tolist(), scores.tolist()
        for name, value in arrays.items():
            match name.split():
                case ["best", key]:
                    history.best[key] = value
                case ["snapshot", step, key]:
                    history.snapshots.setdefault(int(step), {})[key] = value
        return history
