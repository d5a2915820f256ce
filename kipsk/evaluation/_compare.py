"""`compare`: its parameters, checked, and the rows of its table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import FitFailedWarning
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets
from tqdm.auto import tqdm

from kipsk._checks import check_integer, check_not_images, refuse
from kipsk._warn import warn
from kipsk.evaluation._jobs import Cell, Row, fingerprints, has_ipc, jobs_of, run
from kipsk.evaluation._results_file import ResultsFile
from kipsk.evaluation._table import _table, _with_speed_ups


def compare(
    reducers: Mapping[str, Any],
    models: Mapping[str, Any],
    X: ArrayLike,
    y: ArrayLike,
    *,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    cv: Any = None,
    ipc: int | Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    preprocess: Any = None,
    n_jobs: int | None = None,
    path: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> Any:
    """Return the test accuracy of every model trained on every reduced set.

    Each reducer is fitted once for every seed, split and `ipc`, and all models are trained on what
    it returns; a distiller twice, if some models take soft labels and some do not.

    Parameters
    ----------
    reducers : dict of str to object
        Estimators with ``fit_resample(X, y)``: distillers, samplers of imbalanced-learn, your own;
        or None, for all rows. Transformers go into `preprocess`, or into a parameter of the reducer
        (``KIPDistiller(preprocess=...)``: test rows then go through its ``preprocess_``). A
        Pipeline with transformers is refused: scikit-learn's has no ``fit_resample``, and the rows
        that imbalanced-learn's returns are in other units than the test rows. One of samplers
        alone will do.
    models : dict of str to classifier
        A model with a parameter ``classes`` (`KernelRidgeNTKClassifier`, `FiniteNetworkClassifier`,
        also as the last step of a Pipeline) is trained on the rows and soft labels that
        ``fit_distill`` returns, of reducers that have it, as distillers do. All others are trained
        on the rows and class labels of ``fit_resample``.
    X : array-like of shape (n_samples, n_features)
        Numbers, NaN included; made an array, so `preprocess` sees no column names. Categories are
        encoded before.
    y : array-like of shape (n_samples,)
        Class labels of any type.
    test : tuple (X_test, y_test), default=None
        A test set of its own; all of X is then for training.
    cv : int, splitter or iterable, default=None
        Without `test`: None keeps a fifth of the rows of each class for testing, others for each
        seed. An integer is so many stratified folds, shuffled with the seed. A splitter of
        scikit-learn, or pairs of row numbers (train, test), are used as they are; where a
        splitter's ``random_state`` is None it is the seed.
    ipc : int or sequence of int, default=None
        Value of the parameter ``ipc`` of all reducers that have it, each of them in turn. None
        leaves it as it is.
    seeds : sequence of int, default=(0, 1, 2)
        Each is the ``random_state`` of reducers, models, `preprocess` and what is inside of them,
        where there is one, in place of their own.
    preprocess : transformer, default=None
        Fitted on the training rows of each split before they are reduced; test rows go through it.
    n_jobs : int, default=None
        Processes, by joblib's default backend. The "multiprocessing" backend hangs with JAX. Times
        are longer where processes share cores.
    path : str or path-like, default=None
        A CSV file. Each row is appended as soon as it is there (with several processes, when all
        models have been trained on its set), and a run that finds the file computes what is missing
        in it, and again what had failed. It may hold rows of other reducers, models, seeds and
        splits, so a comparison can grow.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    results : DataFrame, or dict of str to list if pandas is not installed
        A row for each seed, split, reducer, `ipc` and model, in this order, and the columns

        - ``reducer``, ``model``: names.
        - ``ipc``: the parameter of the reducer; missing if it has none.
        - ``seed``, ``split``: the number of the split counts from 0.
        - ``n_rows``: rows that the model was trained on.
        - ``labels``: "soft" or "hard".
        - ``accuracy``: share of the test rows that are classified right, 0 to 1.
        - ``reduce_seconds``: wall time of making the set; 0 for all rows. A first fit in a process
          has JAX's compilation in it.
        - ``fit_seconds``: wall time of the model's `fit`.
        - ``error``: what was raised, or the empty string.
        - ``full_fit_seconds``: ``fit_seconds`` of this model on all rows of the split; NaN unless
          None is one of the reducers.
        - ``speed_up``: ``full_fit_seconds / fit_seconds``.
        - ``speed_up_with_reduction``: ``full_fit_seconds / (reduce_seconds + fit_seconds)``.

    Raises
    ------
    ValueError
        For parameters that break a rule, and for a file that belongs to other data or to other
        parameters of what has the same name.

    Warns
    -----
    FitFailedWarning
        If a reducer or model raises. Its rows have NaN as accuracy, and the message.

    See Also
    --------
    summary : Means, deviations and ranks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from kipsk import KIPDistiller
    >>> from kipsk.evaluation import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> reducers = {"all rows": None, "KIP": KIPDistiller(max_iter=20)}
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
    X, y, n = _data(X, y, test, cv)
    jobs = list(jobs_of(reducers, models, X, y, n, cv, ipcs, seeds, preprocess))
    cells = [cell for job in jobs for cell in job.models]
    file, prints = None, {}
    done: dict[Cell, Row] = {}
    if path is not None:
        file, prints = ResultsFile(path), fingerprints(jobs, X, y)
        done = _rows_there(file, prints)
    left = [job for job in (job.without(done) for job in jobs) if job.models]
    with tqdm(total=len(cells), initial=len(done), disable=not verbose, unit="fit") as bar:
        for row in run(left, X, y, n_jobs):
            cell = Cell.of(row)
            done[cell] = row
            if file is not None:
                file.append({**row, "fingerprint": prints[cell]})
            bar.update()
            if row["error"]:
                warn(f"{cell}: {row['error']}. The accuracy is NaN.", FitFailedWarning)
    full = {name for name, reducer in reducers.items() if reducer is None}
    return _table(_with_speed_ups([done[cell] for cell in cells], full), ("ipc", "n_rows"))


def _check_named(name: str, given: Any, what: str) -> None:
    good = isinstance(given, Mapping) and given
    if not good or not all(isinstance(n, str) and len(n.splitlines()) == 1 for n in given):
        raise refuse("compare", name, f"a dict of names, strings of one line, to {what}", given)


def _is_estimator(value: Any, *methods: str) -> bool:
    has_all = all(hasattr(value, method) for method in (*methods, "get_params"))
    return has_all and not isinstance(value, type)


def _check_reducers(reducers: Any) -> None:
    _check_named("reducers", reducers, "reducers")
    for name, reducer in reducers.items():
        transforms = any(hasattr(step, "transform") for _, step in getattr(reducer, "steps", ()))
        if reducer is not None and (transforms or not _is_estimator(reducer, "fit_resample")):
            rule = (
                "None or an estimator with fit_resample; transformers go into 'preprocess' of "
                "compare, or of KIPDistiller"
            )
            raise refuse("compare", f"reducers[{name!r}]", rule, reducer)


def _check_models(models: Any) -> None:
    _check_named("models", models, "classifiers")
    for name, model in models.items():
        if not _is_estimator(model, "fit", "predict"):
            raise refuse("compare", f"models[{name!r}]", "a classifier", model)


def _check_numbers(name: str, values: Any, minimum: int) -> None:
    rule = f"different integers >= {minimum}, in a list"
    if not isinstance(values, Sequence | np.ndarray | range) or isinstance(values, str):
        raise refuse("compare", name, rule, values)
    for value in values:
        check_integer("compare", name, value, minimum=minimum, also=" or a list of these")
    if not len(values) or len(set(values)) < len(values):
        raise refuse("compare", name, rule, values)


def _data(X: Any, y: Any, test: Any, cv: Any) -> tuple[NDArray[Any], NDArray[Any], int | None]:
    """Return all rows, those of `test` at the end, and the number of the first of these."""
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


def _rows(name: str, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    check_not_images(name, X)
    # Missing values are for `preprocess` to fill in, or for models that take them.
    X, y = check_X_y(X, y, ensure_all_finite="allow-nan")
    check_classification_targets(y)
    return X, y


def _checked_ipcs(ipc: Any, reducers: Mapping[str, Any]) -> list[int | None]:
    if ipc is None:
        return [None]
    ipcs = [ipc] if np.ndim(ipc) == 0 else list(ipc)
    _check_numbers("ipc", ipcs, 1)
    if not any(map(has_ipc, reducers.values())):
        raise refuse("compare", "ipc", "None, as no reducer has a parameter 'ipc'", ipc)
    return [int(one) for one in ipcs]


def _rows_there(file: ResultsFile, prints: Mapping[Cell, str]) -> dict[Cell, Row]:
    """Return the rows of a file that need not be computed again, by their cells."""
    data = next(iter(prints.values())).split()[0]
    done: dict[Cell, Row] = {}
    for row in file.read():
        cell, there = Cell.of(row), row.pop("fingerprint").split()
        now = prints[cell].split() if cell in prints else [data]
        other = [new.partition("=")[0] for old, new in zip(there, now, strict=False) if old != new]
        if other:
            raise ValueError(
                f"The file {file.path!r} belongs to another comparison: for {cell} it had another "
                f"{' and another '.join(other)}. Compare what it was made with to go on, delete "
                "it to start anew, or choose another 'path'."
            )
        if cell in prints and not row["error"]:
            done[cell] = row
    return done
