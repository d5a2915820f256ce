"""`compare`: its parameters are checked, its jobs are run, and their rows become a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import FitFailedWarning
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets

from kipsk._bar import tqdm
from kipsk._checks import check_integer, check_labels, check_not_images, refuse
from kipsk._types import AnyArray, Estimator, Given, MatrixLike
from kipsk._warn import warn
from kipsk.evaluation._jobs import (
    FINGERPRINTED,
    Cell,
    Row,
    fingerprints,
    has_ipc,
    jobs_of,
    splits_by_seed,
)
from kipsk.evaluation._results_file import ResultsFile
from kipsk.evaluation._run import run
from kipsk.evaluation._table import Table, as_table, with_speed_ups


def compare(
    reducers: Mapping[str, Estimator],
    models: Mapping[str, Estimator],
    X: ArrayLike,
    y: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    cv: Given = None,
    ipc: int | Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    preprocess: Estimator = None,
    n_jobs: int | None = None,
    path: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> Table:
    """Return the test accuracy of every model trained on every reduced set.

    Each reducer is fitted once for every seed, split and `ipc`, and every model is trained on what
    it returns. A distiller is fitted twice if some models take soft labels and others do not.

    Parameters
    ----------
    reducers : dict of str to estimator or None
        Estimators with ``fit_resample(X, y)``, such as distillers, samplers of imbalanced-learn or
        your own. None stands for all rows. Transformers belong in `preprocess`, or in a parameter
        of the reducer (``KIPDistiller(preprocess=...)``: test rows then go through its
        ``preprocess_``). A Pipeline with transformers is refused: scikit-learn's has no
        ``fit_resample``, and imbalanced-learn's returns rows in other units than those of the test
        rows. A Pipeline of samplers alone is accepted.
    models : dict of str to classifier
        A model with a parameter ``classes`` (`KernelRidgeNTKClassifier`, `FiniteNetworkClassifier`,
        or a Pipeline that ends with one of them) is trained on the rows and soft labels of
        ``fit_distill`` if the reducer has this method, as distillers do. Every other model is
        trained on the rows and class labels of ``fit_resample``.
    X : array-like of shape (n_samples, n_features)
        Numbers; NaN is allowed. X becomes an array, so `preprocess` sees no column names, and
        categories have to be encoded before.
    y : array-like of shape (n_samples,)
        Class labels of any type.
    test : tuple (X_test, y_test), default=None
        A test set of its own. All rows of X are then for training.
    cv : int, splitter or iterable, default=None
        How X is split if there is no `test`. None keeps a fifth of the rows of each class for
        testing, a new draw for each seed. An integer is the number of stratified folds, which are
        shuffled with the seed. A splitter of scikit-learn, or pairs of row numbers (train, test),
        are used as they are, except that a splitter whose ``random_state`` is None gets the seed.
    ipc : int or sequence of int, default=None
        Values for the parameter ``ipc``. Each reducer that has this parameter is fitted with each
        of the values. None leaves the reducers as they are.
    seeds : sequence of int, default=(0, 1, 2)
        Each seed becomes the ``random_state`` of the reducers, the models, `preprocess` and the
        estimators inside them, wherever there is such a parameter; their own values are not used.
    preprocess : transformer, default=None
        Fitted on the training rows of each split before they are reduced. Test rows go through it
        too.
    n_jobs : int, default=None
        Number of processes, which joblib's default backend starts (its "multiprocessing" backend
        hangs with JAX). Times are longer where processes share cores.
    path : str or path-like, default=None
        A CSV file. Each row is appended as soon as it is known; with several processes, that is
        when all models have been trained on its set. A run that finds the file computes only the
        rows that it lacks and those that had failed. The file may also hold rows of other
        reducers, models, seeds and splits, so a comparison can grow.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    results : DataFrame, or dict of str to list if pandas is not installed
        A row for each seed, split, reducer, `ipc` and model, in this order, with the columns

        - ``reducer``, ``model``: their names.
        - ``ipc``: the parameter of the reducer; missing if the reducer has no such parameter.
        - ``seed``, ``split``: the seed, and the number of the split, counted from 0.
        - ``n_rows``: the number of rows that the model was trained on.
        - ``labels``: "soft" or "hard".
        - ``accuracy``: the share of test rows that are classified correctly, from 0 to 1.
        - ``reduce_seconds``: wall time of making the set; 0 for all rows. The first fit in a
          process includes the time that JAX takes to compile.
        - ``fit_seconds``: wall time of the model's `fit`.
        - ``error``: the exception that was raised, or the empty string.
        - ``full_fit_seconds``: ``fit_seconds`` of the same model on all rows of the split; NaN
          unless one of the reducers is None.
        - ``speed_up``: ``full_fit_seconds / fit_seconds``.
        - ``speed_up_with_reduction``: ``full_fit_seconds / (reduce_seconds + fit_seconds)``.

    Raises
    ------
    ValueError
        If a parameter breaks its rule, or if the file at `path` belongs to other data, or to other
        parameters of a reducer or model with the same name.

    Warns
    -----
    FitFailedWarning
        If a reducer or a model raises an exception, or a model predicts something else than class
        labels of y. Its rows then have NaN as ``accuracy`` and the message as ``error``.

    See Also
    --------
    summary : Means, standard deviations and ranks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from kipsk import KIPDistiller
    >>> from kipsk.evaluation import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> reducers = {"all rows": None, "KIP": KIPDistiller(["rbf", "laplace"], max_iter=20)}
    >>> models = {"1-NN": KNeighborsClassifier(1)}
    >>> results = compare(reducers, models, X, y, ipc=2, seeds=[0])
    >>> list(results["reducer"]), [int(n) for n in results["n_rows"]]
    (['all rows', 'KIP'], [120, 6])
    >>> bool(results["accuracy"][1] > 0.8)
    True
    """
    _check_reducers(reducers)
    _check_models(models)
    _check_numbers("seeds", seeds, 0)
    if preprocess is not None and not _is_estimator(preprocess, "fit", "transform"):
        raise refuse("compare", "preprocess", "None or a transformer", preprocess)
    ipcs = _checked_ipcs(ipc, reducers)
    X, y, n_train = _data(X, y, test, cv)
    splits = splits_by_seed(X, y, n_train, cv)
    jobs = list(jobs_of(reducers, models, splits, ipcs=ipcs, seeds=seeds, preprocess=preprocess))
    cells = [cell for job in jobs for cell in job.models]
    file, prints = None, {}
    done: dict[Cell, Row] = {}
    if path is not None:
        file, prints = ResultsFile(path), fingerprints(jobs, X, y)
        done = _rows_done(file, prints)
    left = [job for job in (job.without(done) for job in jobs) if job.models]
    with tqdm(total=len(cells), initial=len(done), disable=not verbose, unit="fit") as bar:
        for row in run(left, X, y, n_jobs):
            cell = Cell.of(row)
            done[cell] = row
            if file is not None:
                file.append({**row, "fingerprint": prints[cell]})
            bar.update()
            if row["error"]:
                error = row["error"].rstrip(".")
                warn(f"{cell}: {error}. The accuracy is NaN.", FitFailedWarning)
    full = {name for name, reducer in reducers.items() if reducer is None}
    rows = with_speed_ups([done[cell] for cell in cells], full)
    return as_table(rows, integers=("ipc", "n_rows"))


def _check_named(name: str, given: Given, what: str) -> None:
    good = isinstance(given, Mapping) and given
    if not good or not all(isinstance(n, str) and len(n.splitlines()) == 1 for n in given):
        raise refuse("compare", name, f"a dict of names, strings of one line, to {what}", given)


def _is_estimator(value: object, *methods: str) -> bool:
    has_all = all(hasattr(value, method) for method in (*methods, "get_params"))
    return has_all and not isinstance(value, type)


def _check_reducers(reducers: Given) -> None:
    _check_named("reducers", reducers, "reducers")
    for name, reducer in reducers.items():
        transforms = any(hasattr(step, "transform") for _, step in getattr(reducer, "steps", ()))
        if reducer is not None and (transforms or not _is_estimator(reducer, "fit_resample")):
            rule = (
                "None or an estimator with fit_resample; transformers go into 'preprocess' of "
                "compare, or of KIPDistiller"
            )
            raise refuse("compare", f"reducers[{name!r}]", rule, reducer)


def _check_models(models: Given) -> None:
    _check_named("models", models, "classifiers")
    for name, model in models.items():
        if not _is_estimator(model, "fit", "predict"):
            raise refuse("compare", f"models[{name!r}]", "a classifier", model)


def _check_numbers(name: str, values: Given, minimum: int) -> None:
    rule = f"different integers >= {minimum}, in a list"
    if not isinstance(values, Sequence | np.ndarray | range) or isinstance(values, str):
        raise refuse("compare", name, rule, values)
    for value in values:
        check_integer("compare", name, value, minimum=minimum, also=" or a list of these")
    if not len(values) or len(set(values)) < len(values):
        raise refuse("compare", name, rule, values)


def _data(
    X: MatrixLike, y: MatrixLike, test: Given, cv: Given
) -> tuple[AnyArray, AnyArray, int | None]:
    """Return all rows and labels, those of `test` at the end, and the number of rows before them.

    The number is None if there is no `test`.
    """
    X, y = _rows("X", X, y)
    if test is None:
        return X, y, None
    if cv is not None:
        raise refuse("compare", "cv", "None with 'test', which is the split", cv)
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise refuse("compare", "test", "a tuple (X_test, y_test)", test)
    X_test, y_test = _rows("X_test", *test)
    if X_test.shape[1] != X.shape[1]:
        raise ValueError(
            f"X_test must have as many features as X, {X.shape[1]}. Got an array of shape "
            f"{X_test.shape} instead."
        )
    return np.concatenate([X, X_test]), np.concatenate([y, y_test]), len(X)


def _rows(name: str, X: MatrixLike, y: MatrixLike) -> tuple[AnyArray, AnyArray]:
    check_not_images(name, X)
    check_labels(y)
    # `preprocess` may fill missing values in, and some models accept them.
    X, y = check_X_y(X, y, ensure_all_finite="allow-nan")
    check_classification_targets(y)
    return X, y


def _checked_ipcs(ipc: Given, reducers: Mapping[str, Estimator]) -> list[int | None]:
    if ipc is None:
        return [None]
    ipcs = [ipc] if np.ndim(ipc) == 0 else list(ipc)
    _check_numbers("ipc", ipcs, 1)
    if not any(map(has_ipc, reducers.values())):
        raise refuse("compare", "ipc", "None, as no reducer has a parameter 'ipc'", ipc)
    return [int(one) for one in ipcs]


def _rows_done(file: ResultsFile, prints: Mapping[Cell, str]) -> dict[Cell, Row]:
    """Return the rows of a file that need not be computed again, by their cells.

    Raises
    ------
    ValueError
        If a row was computed from something else than its cell names now.
    """
    data = next(iter(prints.values())).split()[0]
    done: dict[Cell, Row] = {}
    for row in file.read():
        cell, then = Cell.of(row), row.pop("fingerprint").split()
        now = prints[cell].split() if cell in prints else [data]
        if [part.partition("=")[0] for part in then] != FINGERPRINTED:
            raise ValueError(
                f"The file {file.path!r} has no results of a comparison: for {cell} it does not "
                "say what was compared. Delete it to start anew, or choose another 'path'."
            )
        other = [new.partition("=")[0] for old, new in zip(then, now, strict=False) if old != new]
        if other:
            raise ValueError(
                f"The file {file.path!r} belongs to another comparison: for {cell} it had another "
                f"{' and another '.join(other)}. Compare what it was made with to go on, delete "
                "it to start anew, or choose another 'path'."
            )
        if cell in prints and not row["error"]:
            done[cell] = row
    return done
