"""The space in which rows are compared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.kernel_approximation import Nystroem
from sklearn.utils import check_array

from kipsk._checks import refuse
from kipsk._engine import map_rows
from kipsk._engine._sizes import block_size_for
from kipsk._types import AnyArray, Estimator, Given, MatrixLike
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel

# The number of explicit features that stand for a kernel. More of them cost more than they help to
# tell the rows of a class apart.
_N_COMPONENTS = 256


class Space(NamedTuple):
    """Rows in the space of `features`.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_other)
    transformer : transformer or None
        What was fitted for them.
    """

    rows: AnyArray
    transformer: Estimator = None


def space_of(
    owner: str,
    features: Given,
    given: MatrixLike,
    X: AnyArray,
    y: AnyArray,
    rng: np.random.RandomState,
) -> Space:
    """Return the rows in the space of `features`.

    Parameters
    ----------
    owner : str
        The estimator whose parameter `features` is.
    features : None, str, kernel object, transformer or callable
        As `CoresetSampler` has it.
    given : array-like of shape (n_samples, n_features)
        X as the user gave it.
    X, y : ndarrays
        The validated rows and labels.
    rng : RandomState

    Raises
    ------
    ValueError
        If `features` is none of these, or returns other than a finite row for each of X.
    """
    transformer = None
    if features is None:
        return Space(X)
    if isinstance(features, str | JaxKernel):
        return _of_kernel(features, X, rng)
    if hasattr(features, "transform"):
        transformer = clone(features)
        set_random_states(transformer, rng)
        result = transformer.fit(given, y).transform(given)
    elif callable(features):
        result = features(given)
    else:
        rule = "None, a kernel or its name, a transformer or a callable"
        raise refuse(owner, "features", rule, features)
    result = check_array(result, input_name="features(X)")
    if len(result) != len(y):
        raise ValueError(
            f"The 'features' must return a row for each of the {len(y)} rows of X. Got an "
            f"array of shape {result.shape} instead."
        )
    return Space(result, transformer)


def _of_kernel(features: str | JaxKernel, X: AnyArray, rng: np.random.RandomState) -> Space:
    """Return explicit features of a kernel, `_N_COMPONENTS` at most."""
    X = X.astype(np.float32, copy=False)
    kernel = get_kernel(features).resolve(X)
    n_components = min(_N_COMPONENTS, len(X))
    transformer = Nystroem(kernel, n_components=n_components, random_state=rng).fit(X)
    row_size = X.shape[1] + kernel.function().row_size(X.shape[1])
    block_size = block_size_for("auto", n_components, row_size, 8)
    return Space(map_rows(transformer.transform, X, block_size), transformer)


def set_random_states(estimator: Estimator, rng: np.random.RandomState) -> None:
    """Draw every `random_state` that is None, of an estimator and of the estimators inside it."""
    for key, value in sorted(estimator.get_params(deep=True).items()):
        if key.rpartition("__")[2] == "random_state" and value is None:
            estimator.set_params(**{key: rng.randint(2**31)})
