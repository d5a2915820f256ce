"""From what a run learned to the support set that is published."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kipsk._closed_form._quadratic import Quadratic
from kipsk._data._coding import Data
from kipsk._data._support import Support
from kipsk._distil import _objective
from kipsk._distil._all_rows import solved_labels
from kipsk._distil._history import History, Params
from kipsk._distil._label_solve import solve_labels_over
from kipsk._distil._moments import features
from kipsk._distil._objective import Objective
from kipsk._kip._settings import Settings
from kipsk._kip._start import Start
from kipsk._types import Estimator, Floats


class Run(NamedTuple):
    """A run, with all that its result is made of beside the parameters that it learned.

    Attributes
    ----------
    settings : Settings
    start : Start
    objective : Objective
        That of the first kernel.
    data : Data
        Training rows as the kernel sees them; solved labels are those of all of them.
    held_out : Data
        Rows that the run does not learn from, as the kernel sees them.
    transformer : transformer or None
        The fitted `preprocess`.
    moments : Quadratic or None
        The error of all rows in float64, if the steps see their moments.
    solves_last : bool
        Whether learned labels are solved for these at the end: the steps saw them in a metric.
    """

    settings: Settings
    start: Start
    objective: Objective
    data: Data
    held_out: Data
    transformer: Estimator | None
    moments: Quadratic | None = None
    solves_last: bool = False


def support_of(run: Run, params: Params) -> tuple[Support, float | None]:
    """Return the support set that parameters stand for, and the ridge of solved labels."""
    objective, data, settings = run.objective, run.data, run.settings
    X_s = np.asarray(_objective.support(objective, params))
    if run.moments is not None and (settings.goal.labels == "solved" or run.solves_last):
        Phi_s = features(objective.function, X_s)
        given = settings.goal.label_reg if settings.goal.labels == "solved" else None
        y_s, label_reg = solved_labels(run.moments, Phi_s, float(objective.reg), given)
        return Support(X_s, y_s), None if run.solves_last else label_reg
    if settings.goal.labels == "solved":
        y_s, label_reg = solve_labels_over(
            run.start.predict_kernel.function(),
            X_s,
            data.X,
            data.y,
            float(objective.reg),
            settings.goal.label_reg,
            settings.block_size,
            settings.looking.verbose,
            data.weight,
        )
        return Support(X_s, y_s), label_reg
    y_s = params.get("y", run.start.support.y)
    if settings.goal.loss == "platt":
        # Softmax does not see what all classes have in common; other models would.
        y_s = y_s - y_s.mean(axis=1, keepdims=True)
    return Support(X_s, y_s.astype(np.float64)), None


def snapshots_of(run: Run, history: History) -> dict[int, tuple[Floats, Floats]]:
    """Return the support sets that a run kept on its way, by step, as they are published."""
    snapshots = {}
    for step, params in sorted(history.snapshots.items()):
        # The loss of a snapshot is known only after it was taken.
        if not history.failed or step < history.n_good:
            support, _ = support_of(run, params)
            snapshots[step] = (support.X, run.data.coding.published(support.y))
    return snapshots
