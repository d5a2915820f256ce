"""One pass of `Moments` over rows: what is done to them, and their sums."""

from __future__ import annotations

import jax
import numpy as np
from sklearn.utils import check_random_state

from kipsk._checks import check_integer, refuse
from kipsk._distil._moments import Sums, sums_over
from kipsk._distil._targets import Change
from kipsk._jax import own_settings
from kipsk._kip._moments._privacy import bounded, released
from kipsk._kip._moments._rows import Rows, UnitVectors
from kipsk._kip._objectives import way_of
from kipsk._kip._preprocess import as_function, check_function
from kipsk._types import Estimator, Float64s, Floats
from kipsk.augment import _apply
from kipsk.augment._augmentations import get_augmentation, mixes_rows
from kipsk.kernels._base import PRNG, JaxKernel


def summed(
    moments: Estimator,
    kernel: JaxKernel,
    rows: Rows,
    targets: Floats | UnitVectors,
    weight: Float64s,
    is_weighted: bool,
) -> Sums:
    """Return the sums over rows, with noise if the moments are private.

    Parameters
    ----------
    moments : Moments
        Its parameters, and how many rows it has seen.
    kernel : JaxKernel
        Of finite features.
    rows : Rows
    targets : array of shape (n, n_outputs)
    weight : ndarray of shape (n,)
    is_weighted : bool
        Whether the user gave the weights.
    """
    rng = check_random_state(moments.random_state)
    change = _change(moments, rows, targets, rng)
    way, n_draws = way_of(kernel.function(), change, _draws(moments))
    if moments.epsilon is not None:
        way = bounded(moments, way, is_weighted)
    sums = sums_over(
        way,
        rows,
        targets,
        weight,
        block_size=_block_size(moments),
        n_draws=n_draws,
        progress="moments" if moments.verbose else None,
    )
    _check_sums(kernel, sums, moments.dtype)
    return sums if moments.epsilon is None else released(moments, sums)


def _block_size(moments: Estimator) -> int | str:
    size = moments.block_size
    if isinstance(size, str) and size == "auto":
        return "auto"
    return check_integer("Moments", "block_size", size, minimum=1, also=' or "auto"')


def _draws(moments: Estimator) -> int:
    return check_integer("Moments", "n_draws", moments.n_draws, minimum=1)


def _change(
    moments: Estimator, rows: Rows, targets: Floats | UnitVectors, rng: np.random.RandomState
) -> Change | None:
    """Return what is done to raw rows, if there is an augmentation."""
    augmentation = get_augmentation("Moments", moments.augment)
    if augmentation is None:
        return None
    shape = None if moments.image_shape is None else tuple(int(n) for n in moments.image_shape)
    with own_settings():
        X, y = rows.raw(64), targets[:64]
        _apply.check("Moments", augmentation, X, y, shape)
        if mixes_rows(augmentation, X, y, shape):
            rule = (
                "an augmentation that leaves each row the target of its own (one that mixes "
                "rows, such as MixUp, would mix neighbours alone in a pass over rows in their "
                "order: give it to KIPDistiller, whose `fit` draws batches of rows)"
            )
            raise refuse("Moments", "augment", rule, moments.augment)
        function = None
        if moments.preprocess is not None:
            function = as_function("Moments", moments.preprocess, moments.dtype)
            check_function("Moments", function, X, rows.transformed(X))
        key = jax.random.key(int(rng.randint(2**31)), impl=PRNG)
        # Each call draws its own, whatever the seed.
        n_rows = int(moments._sums.n_rows) if hasattr(moments, "_sums") else 0
        key = jax.random.fold_in(key, n_rows)
    return Change(key, function, augmentation, shape)


def _check_sums(kernel: JaxKernel, sums: Sums, dtype: str) -> None:
    """Refuse features that are too large to be squared and summed."""
    if np.isfinite(np.diag(sums.H)).all() and np.isfinite(sums.C).all():
        return
    raise ValueError(
        f"X must have rows whose features under {kernel!r} have finite squares in "
        f"{dtype}. Got sums that are not finite instead: standardise the rows, for "
        "instance with preprocess=StandardScaler().fit(X), or set dtype='float64'."
    )
