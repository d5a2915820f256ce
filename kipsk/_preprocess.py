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
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kipsk._checks import refuse
from kipsk._zca import RegularizedZCA

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


def check_traceable(owner: str, function: Any, n_features: int, dtype: Any) -> None:
    """Raise ValueError for a function that JAX cannot compile."""
    rows = jax.ShapeDtypeStruct((2, n_features), dtype)
    try:
        jax.eval_shape(function, rows)
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            f"The 'preprocess' parameter of {owner} must be made of functions that JAX can "
            f"compile, as it runs after 'augment'. Got one that is not ({type(error).__name__}): "
            "write it with jax.numpy in place of numpy."
        ) from error
