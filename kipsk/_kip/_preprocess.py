"""Fitted scikit-learn transformers as JAX functions, for what happens inside of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kipsk._checks import refuse
from kipsk._estimators._zca import RegularizedZCA

_matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


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
            # What rounding leaves of a constant row is no direction.
            noise = 10 * jnp.finfo(X.dtype).eps * X.shape[1] ** 0.5 * jnp.abs(mean)
            X = jnp.where(norm > noise, X / jnp.where(norm > noise, norm, 1), 0)
        return _matmul(X, self.W)


@register_dataclass
@dataclass(frozen=True)
class Applied:
    """A function with keyword arguments; those that are no arrays have to be known to trace it."""

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
    """One after the other."""

    parts: tuple[Any, ...]

    def __call__(self, X: Array) -> Array:
        """Return rows."""
        for part in self.parts:
            X = part(X)
        return X


def as_function(owner: str, transformer: Any, dtype: Any) -> Any:
    """Return the JAX function, a pytree, of a fitted transformer.

    Parameters
    ----------
    owner : str
        The estimator whose parameter 'preprocess' it is.
    transformer : RegularizedZCA, StandardScaler, FunctionTransformer, or Pipeline of these
        Fitted. The function of a FunctionTransformer has to be one that JAX can trace.
    dtype : dtype
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
def _apply(function: Any, X: Array) -> Array:
    return function(X)


def check_function(
    owner: str, function: Any, rows: NDArray[Any], transformed: NDArray[Any]
) -> None:
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
