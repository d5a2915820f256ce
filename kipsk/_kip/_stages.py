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
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils import _safe_indexing, check_random_state, column_or_1d
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits

from kipsk._checks import check_predictions, refuse
from kipsk._data._containers import is_frame
from kipsk._data._support import mean_within
from kipsk._data._ward import nearest_to_mean, ward
from kipsk._estimators._members import is_same_kernel
from kipsk._types import AnyArray, Estimator, Float64s, Floats, Given, Ints, MatrixLike
from kipsk._warn import warn

#: Rows and class labels of a support set.
Stage = tuple[MatrixLike, AnyArray]

#: Steps after which models are tried: the start, and powers of two.
STAGES = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

#: What is called what among the stages: the best of some draws of random rows, the centres of
#: Ward's clusters, and the rows nearest to these.
RANDOM, WARD, MEDOIDS = "random", "agglomerative", "medoids"

#: Draws of random rows.
N_DRAWS = 4

#: Kernels of such a run beside the distiller's own.
COMPANIONS = ("fc3", "rbf", "laplace")

#: Rows that models are tried on, at most.
MAX_TRIED_ROWS = 5000

#: Rows of a class that a set does not hold, below which the models are tried on those too.
FEWEST_TRIED_ROWS = 5

#: Rows of a class that Ward's clusters are made of, at most.
MAX_ROWS_OF_CLUSTERS = 2000

#: Rows of a cluster, at least, on average: the centre of one row is that row.
MIN_ROWS_PER_CLUSTER = 2

#: Part of the deviation of all rows by which a centre of k-means may be off its only row.
ROUNDING = 1e-3

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
    """Return random rows, as many of each class if they go so far, at most `MAX_TRIED_ROWS`."""
    per_class = max(1, MAX_TRIED_ROWS // len(np.unique(codes)))
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
    own: Mapping[int | str, NDArray[np.bool_]] | None = None,
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
    own : dict of int or str to ndarray of bool of shape (n,), or None
        Which rows of X a set holds, or those that it was learned from: a model that saw them gets
        them right. They do not count for that set, and those of the start do not for any, unless
        a class has few other rows. Sets that are not there hold none.

    Returns
    -------
    step : int or str
    accuracies : dict of int or str to float
        Balanced ones, means over the models.
    """
    codes = np.unique(y, return_inverse=True)[1]
    # Threads gain little on a few rows, and those of several fits at once spin for minutes.
    with threadpool_limits(1):
        right = {
            step: np.array([hits(model, *stage, X, y) for model in models], np.float64)
            for step, stage in stages.items()
        }
    start, none = next(iter(stages)), np.zeros(len(y), bool)
    own = own or {}
    weights = {step: _weights(codes, own.get(start, none) | own.get(step, none)) for step in stages}
    accuracies = {step: float(np.mean(hit @ weights[step])) for step, hit in right.items()}
    gains: dict[int | str, float] = {start: 0.0}
    for step, hit in right.items():
        differences = hit - right[start]
        of_rows = differences.mean(axis=0)
        mean = of_rows @ weights[step]
        error = np.sqrt(np.sum((weights[step] * (of_rows - mean)) ** 2))
        if mean > error and np.min(differences @ weights[step]) >= -MAX_LOSS:
            gains[step] = float(mean)
    return max(gains, key=lambda step: gains[step]), accuracies


def _weights(codes: Ints, own: NDArray[np.bool_]) -> Float64s:
    """Return the weights of rows in a balanced accuracy, 1 in all.

    Own rows have none, except those of a class that has few others: by chance these say anything.
    """
    n_classes = codes.max() + 1
    others = np.bincount(codes[~own], minlength=n_classes)
    own = own & (others >= FEWEST_TRIED_ROWS)[codes]
    counts = np.bincount(codes[~own], minlength=n_classes)
    weights = 1 / (n_classes * counts[codes])
    return np.where(own, 0.0, weights)


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
    if distiller.targets == "auto":  # other models learn from the labels as they are
        run.targets = "given"
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
        The stage, `RANDOM`, `WARD` or `MEDOIDS`.
    scores : dict of int or str to float
        As `best_stage` returns them, with the best draw of random rows for all of them.
    rows : tuple (X_s, y_s)
    """

    step: int | str
    scores: dict[int | str, float]
    rows: Stage


class Candidate(NamedTuple):
    """Rows that stand beside the stages.

    Attributes
    ----------
    X : ndarray of shape (n_s, n_features)
        In the units of the support.
    codes : ndarray of shape (n_s,)
        The number of each row's class.
    """

    X: Floats
    codes: Ints


def best_of(distiller: Estimator, X: MatrixLike, y: MatrixLike, downstream: Given) -> Choice:
    """Return the best of a fitted distiller's stages and other rows; warn if none was learned.

    Models are tried on some of the rows that the distiller was fitted on.
    """
    y = column_or_1d(y)
    codes: Ints = np.asarray(np.searchsorted(distiller.classes_, y))
    rng = check_random_state(distiller.random_state)
    rows, stages, models = rows_to_try(codes, rng), stages_of(distiller, X), models_of(downstream)
    start = next(iter(stages))
    counts = rows_of_classes(distiller, codes, stages[start][1])
    in_space = _in_space(distiller, X, rows)
    learned_from = rows_within(distiller.snapshots_[start][0], in_space)
    own: dict[int | str, NDArray[np.bool_]] = {step: learned_from for step in stages}
    for name, some in candidates(distiller, X, codes, counts, rng).items():
        is_own = rows_within(some.X, in_space)
        others = np.bincount(codes[rows][~(is_own | learned_from)], minlength=len(counts))
        if np.all(others >= FEWEST_TRIED_ROWS):
            stages[name] = distiller._resampled(X, some.X, np.eye(len(counts))[some.codes])
            own[name] = is_own
    step, scores = best_stage(
        stages, models, _as_models_see(distiller, X, rows, in_space), y[rows], own
    )
    result = stages[step]
    draws = {name: scores.pop(name) for name in stages if str(name).startswith(RANDOM)}
    if draws:
        scores[RANDOM] = draws.get(step, max(draws.values()))
    if step in draws:
        step = RANDOM
    if step == start or isinstance(step, str):
        _warn_of_none_learned(distiller, step, downstream)
    return Choice(step, scores, result)


def rows_of_classes(distiller: Estimator, codes: Ints, labels: AnyArray) -> Ints:
    """Return how many rows of each class a set has, or would have if its labels had stayed.

    Parameters
    ----------
    distiller : KIPDistiller
    codes : ndarray of shape (n,)
        The numbers of the classes of the training rows.
    labels : ndarray of shape (n_s,)
        Class labels of the set. Solved ones may be other classes than those of the rows.
    """
    n_classes = len(distiller.classes_)
    counts = np.bincount(np.searchsorted(distiller.classes_, labels), minlength=n_classes)
    if distiller.labels != "solved" and counts.all():
        return counts
    alike = max(1, round(len(labels) / n_classes))
    return np.minimum(alike, np.bincount(codes, minlength=n_classes))


def rows_within(X_s: Floats, X: Floats) -> NDArray[np.bool_]:
    """Return which rows of X are among others, but for the rounding of a centre of k-means.

    Of rows that are there twice it is one: the other one is a row that the set does not hold.
    """
    mean = X.mean(axis=0, dtype=np.float64)  # distances of rows far from zero would cancel
    nearest, distances = pairwise_distances_argmin_min(X_s - mean, X - mean)
    close = distances <= ROUNDING * np.sqrt(np.sum(np.var(X, axis=0, dtype=np.float64)))
    found = np.zeros(len(X), bool)
    found[nearest[close]] = True
    return found


def candidates(
    distiller: Estimator, X: MatrixLike, codes: Ints, counts: Ints, rng: np.random.RandomState
) -> dict[str, Candidate]:
    """Return sets that were not learned, with about as many rows of each class as `counts`."""
    found = wards(distiller, X, codes, counts, rng)
    for draw in range(N_DRAWS):
        some = random_rows(codes, counts, rng)
        if len(some):
            found[f"{RANDOM} {draw}"] = Candidate(_in_space(distiller, X, some), codes[some])
    return found


def wards(
    distiller: Estimator, X: MatrixLike, codes: Ints, counts: Ints, rng: np.random.RandomState
) -> dict[str, Candidate]:
    """Return the centres of Ward's clusters within classes, and the rows nearest to these.

    None at all if the user has chosen how to start, and for clusters of fewer than two rows.
    """
    if not isinstance(distiller.init, str) or distiller.init != "sample":
        return {}
    seen = np.minimum(np.bincount(codes, minlength=len(counts)), MAX_ROWS_OF_CLUSTERS)
    if np.any(MIN_ROWS_PER_CLUSTER * counts > seen):
        return {}
    centres, medoids = [], []
    for code, n in enumerate(counts):
        own = np.sort(rng.permutation(np.flatnonzero(codes == code))[:MAX_ROWS_OF_CLUSTERS])
        of_class = _in_space(distiller, X, own).astype(np.float64)
        for cluster in ward(of_class, int(n), rng):
            centres.append(mean_within(of_class[cluster]))
            medoids.append(own[cluster[nearest_to_mean(of_class[cluster])]])
    rows = np.array(medoids)
    return {
        WARD: Candidate(np.array(centres).astype(distiller.dtype), codes[rows]),
        MEDOIDS: Candidate(_in_space(distiller, X, rows), codes[rows]),
    }


def random_rows(codes: Ints, counts: Ints, rng: np.random.RandomState) -> Ints:
    """Return random rows, as many of each class as `counts`, but at most half of it.

    The other half is for the models to be tried on. There are none if a class has a single row, or
    is to have none.
    """
    there = np.bincount(codes, minlength=len(counts))
    wanted = np.minimum(counts, there // 2)
    if np.any((wanted == 0) & (there > 0)):
        return np.zeros(0, np.intp)
    members = [rng.permutation(np.flatnonzero(codes == code)) for code in range(len(counts))]
    return np.concatenate([rows[:n] for rows, n in zip(members, wanted, strict=True)])


def _in_space(distiller: Estimator, X: MatrixLike, rows: Ints) -> Floats:
    """Return some rows in the units of the support."""
    some = _safe_indexing(X, rows)
    return distiller._into_space(validate_data(distiller, some, dtype=distiller.dtype, reset=False))


def _as_models_see(distiller: Estimator, X: MatrixLike, rows: Ints, in_space: Floats) -> MatrixLike:
    """Return some rows as those of the stages are: with names if X has them."""
    some = _safe_indexing(X, rows)
    return some if is_frame(some) and not hasattr(distiller, "preprocess_") else in_space


def _warn_of_none_learned(distiller: Estimator, step: int | str, downstream: Given) -> None:
    """Warn that what is returned was not learned."""
    made: dict[int | str, str] = {
        RANDOM: "random rows of X",
        WARD: "the centres of Ward's clusters (CoresetSampler('agglomerative') makes such centres)",
        MEDOIDS: "rows of X, the nearest to the centres of Ward's clusters",
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
