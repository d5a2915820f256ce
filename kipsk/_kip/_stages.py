"""Which stage of a run is the best training set for models of other kinds.

A support set is learned for kernel ridge regression, and its end serves that alone; earlier stages
of a run under several kernels serve other models, which one tries. What was measured is in the
documentation's page of results, "Training other models".
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_regressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils import _safe_indexing, check_random_state, column_or_1d
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits

from kipsk._checks import check_predictions, refuse
from kipsk._data._containers import is_frame
from kipsk._data._ward import ward_centres
from kipsk._estimators._distiller import is_same_kernel
from kipsk._types import AnyArray, Estimator, Floats, Given, Ints, MatrixLike
from kipsk._warn import warn

#: Rows and class labels of a support set.
Stage = tuple[MatrixLike, AnyArray]

#: Steps after which models are tried: the start, and powers of two.
STAGES = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

#: What random rows, and the centres of Ward's clusters, are called among the stages.
RANDOM, WARD = "random", "agglomerative"

#: Kernels of such a run beside the distiller's own.
COMPANIONS = ("fc3", "rbf", "laplace")

#: Rows that models are tried on, at most.
MAX_ROWS = 5000

#: Rows of a class that Ward's clusters are made of, at most.
MAX_ROWS_OF_CLUSTERS = 2000

#: Rows of a cluster, at least, on average: centres of fewer are rows that models are then tried on.
MIN_ROWS_PER_CLUSTER = 2

#: The most accuracy that any of the models may lose for what the others win.
MAX_LOSS = 0.01


def check_downstream(owner: str, downstream: Given) -> Given:
    """Return the value of the parameter; raise ValueError if it is none of those it may have."""
    is_name = isinstance(downstream, str) and downstream in ("auto", "last")
    is_model = hasattr(downstream, "fit") and hasattr(downstream, "predict")
    if not is_name and (not is_model or isinstance(downstream, type) or is_regressor(downstream)):
        raise refuse(owner, "downstream", "'auto', 'last' or a classifier", downstream)
    return downstream


def models_of(downstream: Given) -> list[Estimator]:
    """Return the models to try: the one given, or one of each kind."""
    if not isinstance(downstream, str):
        return [downstream]
    return [
        SVC(),
        LogisticRegression(max_iter=200),
        KNeighborsClassifier(1),
        RandomForestClassifier(50, random_state=0),
        # The default, 20 rows in a leaf, leaves small sets whole.
        HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=1, random_state=0),
    ]


def rows_to_try(codes: Ints, rng: np.random.RandomState) -> Ints:
    """Return random rows, as many of each class as far as they go, `MAX_ROWS` in all at most."""
    per_class = max(1, MAX_ROWS // len(np.unique(codes)))
    members = [rng.permutation(np.flatnonzero(codes == code)) for code in np.unique(codes)]
    return np.sort(np.concatenate([rows[:per_class] for rows in members]))


def hits(
    model: Estimator, X_s: MatrixLike, y_s: AnyArray, X: MatrixLike, y: AnyArray
) -> NDArray[np.bool_]:
    """Return which rows of X a clone of the model gets right, trained on (X_s, y_s)."""
    if len(np.unique(y_s)) < 2:  # most classifiers refuse to learn one class
        return np.equal(y, y_s[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            trained = clone(model).fit(X_s, y_s)
        except Exception as error:
            raise ValueError(
                f"The 'downstream' model {model!r} cannot be trained on {len(X_s)} rows of "
                f"{len(np.unique(y_s))} classes: {str(error).rstrip('.')}. Raise 'ipc', or choose "
                "another model."
            ) from error
        owner = f"The 'downstream' model {model!r}"
        return np.equal(y, check_predictions(owner, trained.predict(X), len(y), y))


def best_stage(
    stages: Mapping[int | str, Stage],
    models: Sequence[Estimator],
    X: MatrixLike,
    y: AnyArray,
) -> tuple[int | str, dict[int | str, float]]:
    """Return the stage that trains the models best on average, and the accuracies of all stages.

    The first stage stays unless another one is better by more than one standard error of their
    difference on the same rows (the best of many noisy scores is not the best set), and none of
    the models loses more than `MAX_LOSS`. Each class counts equally.

    Parameters
    ----------
    stages : dict of int or str to (X_s, y_s)
        Sets with class labels, by step or name; the first is the start.
    models : sequence of classifiers
    X : ndarray or DataFrame of shape (n, n_features)
    y : ndarray of shape (n,)
        Real rows and their labels.

    Returns
    -------
    step : int or str
    accuracies : dict of int or str to float
        Balanced ones, means over the models.
    """
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    weights = 1 / (len(counts) * counts[codes])  # their sum is 1
    # Threads gain little on a few rows, and those of several fits at once spin for minutes.
    with threadpool_limits(1):
        right = {
            step: np.array([hits(model, *stage, X, y) for model in models], np.float64)
            for step, stage in stages.items()
        }
    accuracies = {step: float(np.mean(hit @ weights)) for step, hit in right.items()}
    start = next(iter(stages))

    def is_better(step: int | str) -> bool:
        differences = right[step] - right[start]
        of_rows = differences.mean(axis=0)
        mean = of_rows @ weights
        error = np.sqrt(np.sum((weights * (of_rows - mean)) ** 2))
        return bool(mean > error and np.min(differences @ weights) >= -MAX_LOSS)

    better = [step for step in stages if step != start and is_better(step)]
    return max(better, key=lambda step: accuracies[step], default=start), accuracies


def steps_of(distiller: Estimator) -> set[int]:
    """Return the steps of a run whose stages are tried."""
    last = len(distiller._settings().steps.rates)
    return {step for step in STAGES if step < last} | {last}


def run_for_others(distiller: Estimator) -> Estimator:
    """Return a copy of a distiller whose run is one for other models.

    See `KIPDistiller.fit_resample` for what such a run is.
    """
    run = copy.copy(distiller)
    run.snapshots = sorted(steps_of(distiller) | distiller._settings().looking.snapshots)
    run.warm_start = False  # always from a new support
    if isinstance(distiller.init, str) and distiller.init == "sample":
        run.init = "kmeans"
    if distiller.labels == "learned":
        run.labels = "fixed"
    if not isinstance(distiller.kernel, list | tuple):
        own = distiller._get_kernel(distiller.kernel)  # "rbf" and RBF() are one
        others = [
            name for name in COMPANIONS if not is_same_kernel(own, distiller._get_kernel(name))
        ]
        run.kernel, run.kernel_weights = [distiller.kernel, *others], None
    return run


def stages_of(distiller: Estimator, X: MatrixLike) -> dict[int | str, Stage]:
    """Return the stages of a fitted distiller's run, by step, with class labels."""
    steps = steps_of(distiller)
    return {
        step: distiller._resampled(X, *snapshot)
        for step, snapshot in sorted(distiller.snapshots_.items())
        if step in steps
    }


class Choice(NamedTuple):
    """What `fit_resample` returns, and why.

    Attributes
    ----------
    step : int or str
        The stage, `RANDOM` or `WARD`.
    scores : dict of int or str to float
        As `best_stage` returns them.
    rows : tuple (X_s, y_s)
    """

    step: int | str
    scores: dict[int | str, float]
    rows: Stage


def best_of(distiller: Estimator, X: MatrixLike, y: MatrixLike, downstream: Given) -> Choice:
    """Return the best of a fitted distiller's stages and random rows; warn if none was learned.

    Models are tried on some of the rows that the distiller was fitted on.
    """
    y = column_or_1d(y)
    codes: Ints = np.asarray(np.searchsorted(distiller.classes_, y))
    rng = check_random_state(distiller.random_state)
    rows, stages, models = rows_to_try(codes, rng), stages_of(distiller, X), models_of(downstream)
    start = next(iter(stages))
    if ward := ward_stage(distiller, X, codes, stages[start][1], rng):
        stages[WARD] = ward
    step, scores = best_stage(stages, models, _as_models_see(distiller, X, rows), y[rows])
    drawn = random_rows(codes, len(distiller.X_s_), rng)
    rest = np.setdiff1d(rows, drawn)
    if len(drawn) and len(rest):
        stages[RANDOM] = distiller._resampled(
            X, _in_space(distiller, X, drawn), np.eye(len(distiller.classes_))[codes[drawn]]
        )
        two = {name: stages[name] for name in (step, RANDOM)}
        # On other rows than those drawn, which a model that saw them would get right.
        step, of_two = best_stage(two, models, _as_models_see(distiller, X, rest), y[rest])
        scores[RANDOM] = of_two[RANDOM]
    if step in (start, RANDOM, WARD):
        _warn_of_none_learned(distiller, step, downstream)
    return Choice(step, scores, stages[step])


def ward_stage(
    distiller: Estimator, X: MatrixLike, codes: Ints, labels: AnyArray, rng: np.random.RandomState
) -> Stage | None:
    """Return the centres of Ward's clusters, as many of each class as there are labels of it.

    None if the user has chosen how to start, and for clusters of fewer than two rows.
    """
    if not isinstance(distiller.init, str) or distiller.init != "sample":
        return None
    n_classes = len(distiller.classes_)
    counts = np.bincount(np.searchsorted(distiller.classes_, labels), minlength=n_classes)
    seen = np.minimum(np.bincount(codes, minlength=n_classes), MAX_ROWS_OF_CLUSTERS)
    if np.any(MIN_ROWS_PER_CLUSTER * counts > seen):
        return None
    centres = []
    for code, n in enumerate(counts):
        own = rng.permutation(np.flatnonzero(codes == code))[:MAX_ROWS_OF_CLUSTERS]
        rows = _in_space(distiller, X, np.sort(own)).astype(np.float64)
        centres.append(ward_centres(rows, int(n), rng))
    X_s = np.concatenate(centres).astype(distiller.dtype)
    of_rows = np.eye(len(counts))[np.repeat(np.arange(len(counts)), counts)]
    return distiller._resampled(X, X_s, of_rows)


def random_rows(codes: Ints, n_support: int, rng: np.random.RandomState) -> Ints:
    """Return as many random rows of each class as the support has; of small classes only half.

    The other half is for the models to be tried on. There are none if a class has a single row.
    """
    counts = np.bincount(codes)
    per_class = np.minimum(max(1, round(n_support / len(counts))), counts // 2)
    if not per_class.all():
        return np.zeros(0, np.intp)
    members = [rng.permutation(np.flatnonzero(codes == code)) for code in range(len(counts))]
    return np.concatenate([rows[:n] for rows, n in zip(members, per_class, strict=True)])


def _in_space(distiller: Estimator, X: MatrixLike, rows: Ints) -> Floats:
    """Return some rows in the units of the support."""
    some = _safe_indexing(X, rows)
    return distiller._into_space(validate_data(distiller, some, dtype=distiller.dtype, reset=False))


def _as_models_see(distiller: Estimator, X: MatrixLike, rows: Ints) -> MatrixLike:
    """Return some rows as those of the stages are: with names if X has them."""
    some = _safe_indexing(X, rows)
    if is_frame(some) and not hasattr(distiller, "preprocess_"):
        return some
    return _in_space(distiller, X, rows)


def _warn_of_none_learned(distiller: Estimator, step: int | str, downstream: Given) -> None:
    """Warn that what is returned was not learned."""
    made: dict[int | str, str] = {
        RANDOM: "random rows of X",
        WARD: "the centres of Ward's clusters (CoresetSampler('agglomerative') makes such centres)",
    }
    what = (
        f"{made[step]}, which trained the models better than every stage of the run"
        if step in made
        else "those that the run started from: no later stage trained the models better by more "
        "than chance"
    )
    own_model = "" if downstream != "auto" else "pass your model as 'downstream', "
    warn(
        f"{type(distiller).__name__}.fit_resample learned no better training set. The rows "
        f"returned are {what}. Scale the features (StandardScaler), {own_model}raise 'ipc', or "
        "keep these rows."
    )
