"""The parameter `preprocess`: fitted on X, and as a JAX function for augmented rows in a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import check_array

from kipsk._checks import refuse
from kipsk._closed_form._products import matmul
from kipsk._data._coding import Data
from kipsk._estimators._zca import RegularizedZCA
from kipsk._kip._settings import Settings
from kipsk._types import Estimator, Floats, PyTree


def fitted(settings: Settings, data: Data) -> tuple[Data, Estimator | None]:
    """Return the data in the units that the kernel sees, and the fitted copy of `preprocess`."""
    if settings.rows.preprocess is None:
        return data, None
    transformer = clone(settings.rows.preprocess).fit(data.X, data.labels())
    return data._replace(X=transformed(transformer, data.X, settings.rows.dtype)), transformer


def transformed(transformer: Estimator | None, X: Floats, dtype: str) -> Floats:
    """Return rows as a fitted transformer makes them; as they are if there is none."""
    if transformer is None or not len(X):
        return X
    return check_array(transformer.transform(X), dtype=dtype, input_name="X")


def in_steps(
    settings: Settings, transformer: Estimator | None, rows: Floats | None, X: Floats | None
) -> PyTree:
    """Return the fitted `preprocess` as a function of augmented rows; None if it is not needed.

    Raises ValueError for a transformer that does not turn `rows` into `X` in JAX, if these are
    given.
    """
    if settings.rows.augmentation is None or transformer is None:
        return None
    function = as_function(settings.owner, transformer, settings.rows.dtype)
    if rows is not None and X is not None:
        check_function(settings.owner, function, rows[:64], X[:64])
    return function


@register_dataclass
@dataclass(frozen=True)
class Standardisation:
    """``(x - mean) / scale``."""

    mean: Array
    scale: Array
    name: str = field(default="standardisation", metadata={"static": True})

    def __call__(self, X: Array) -> Array:
        """Return rows of the same shape."""
        return (X - self.mean) / self.scale


@register_dataclass
@dataclass(frozen=True)
class Whitening:
    """``LayerNorm(x) W``, as `RegularizedZCA`."""

    W: Array
    layer_norm: bool = field(metadata={"static": True})

    def __call__(self, X: Array) -> Array:
        """Return rows of the same shape."""
        if self.layer_norm:
            mean = jnp.mean(X, axis=1, keepdims=True)
            X = X - mean
            norm = jnp.linalg.norm(X, axis=1, keepdims=True)
            # A constant row is zero but for rounding, which must not be normalised.
            noise = 10 * jnp.finfo(X.dtype).eps * X.shape[1] ** 0.5 * jnp.abs(mean)
            X = jnp.where(norm > noise, X / jnp.where(norm > noise, norm, 1), 0)
        return matmul(X, self.W)


@register_dataclass
@dataclass(frozen=True)
class Applied:
    """A function with keyword arguments: arrays, and others that are fixed when it is compiled."""

    arrays: dict[str, Array]
    others: tuple[tuple[str, Any], ...] = field(metadata={"static": True})
    function: Any = field(metadata={"static": True})

    def __call__(self, X: Array) -> Array:
        """Return rows."""
        return self.function(X, **self.arrays, **dict(self.others))


def _identity(X: Array) -> Array:
    return X


@register_dataclass
@dataclass(frozen=True)
class Chain:
    """Functions that are applied one after the other."""

    parts: tuple[Any, ...]

    def __call__(self, X: Array) -> Array:
        """Return rows."""
        for part in self.parts:
            X = part(X)
        return X


def as_function(owner: str, transformer: Estimator, dtype: str) -> PyTree:
    """Return the JAX function, a pytree, of a fitted transformer.

    Parameters
    ----------
    owner : str
        The estimator whose parameter 'preprocess' it is.
    transformer : RegularizedZCA, StandardScaler, FunctionTransformer, or Pipeline of these
        Fitted. The function of a FunctionTransformer has to be one that JAX can trace.
    dtype : str
        Of the rows.

    Raises
    ------
    ValueError
        For any other transformer.
    """
    match transformer:
        case RegularizedZCA():
            return Whitening(jnp.asarray(transformer.whitening_, dtype), transformer.layer_norm)
        case StandardScaler():
            d = transformer.n_features_in_
            mean = np.zeros(d) if transformer.mean_ is None else transformer.mean_
            scale = np.ones(d) if transformer.scale_ is None else transformer.scale_
            mean = mean if transformer.with_mean else np.zeros(d)
            return Standardisation(jnp.asarray(mean, dtype), jnp.asarray(scale, dtype))
        case FunctionTransformer():
            arguments = transformer.kw_args or {}
            names = [k for k, v in arguments.items() if isinstance(v, np.ndarray | Array)]
            arrays = {k: jnp.asarray(arguments[k]) for k in names}
            others = tuple((k, v) for k, v in arguments.items() if k not in names)
            return Applied(arrays, others, transformer.func or _identity)
        case Pipeline():
            steps = [step for _, step in transformer.steps if step not in (None, "passthrough")]
            return Chain(tuple(as_function(owner, step, dtype) for step in steps))
    raise refuse(
        owner,
        "preprocess",
        "RegularizedZCA, StandardScaler, FunctionTransformer or a Pipeline of these, as it has to "
        "run in JAX after 'augment'; without 'augment' any transformer will do",
        transformer,
    )


@jax.jit
def _apply(function: PyTree, X: Array) -> Array:
    return function(X)


def check_function(owner: str, function: PyTree, rows: Floats, transformed: Floats) -> None:
    """Raise ValueError for a function that is not, in JAX, what the transformer does to some rows.

    Parameters
    ----------
    owner : str
    function : callable
        As `as_function` returns it.
    rows, transformed : ndarrays of shapes (n, n_features) and (n, n_transformed)
    """
    rule = f"The 'preprocess' parameter of {owner} runs in JAX after 'augment' and must"
    try:
        result = np.asarray(_apply(function, jnp.asarray(rows)))
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            f"{rule} be made of functions that JAX can compile. Got one that is not "
            f"({type(error).__name__}): write it with jax.numpy in place of numpy."
        ) from error
    scale = np.abs(transformed).max(initial=0.0)
    same_shape = result.shape == transformed.shape
    gap = np.abs(result - transformed).max(initial=0.0) if same_shape else np.inf
    if not gap <= 1e-2 * scale:
        raise ValueError(
            f"{rule} do there what its `transform` does. Got rows of shape {result.shape} that "
            f"differ from it by {gap:.3g}, of numbers up to {scale:.3g}: a subclass with a "
            "`transform` of its own does not run in JAX; use a FunctionTransformer of a jax.numpy "
            "function."
        )
