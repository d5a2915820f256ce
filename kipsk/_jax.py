"""JAX as kipsk computes with it, whatever the user's settings of JAX are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import jax


@contextmanager
def own_settings(x64: bool = True) -> Iterator[None]:
    """Compute with kipsk's settings of JAX in this thread; the user's hold again afterwards.

    Settings that check (`jax_debug_nans`) or that trade accuracy for speed
    (`jax_default_matmul_precision`) stay the user's.

    Parameters
    ----------
    x64 : bool, default=True
        Whether there are arrays of float64.
    """
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(x64))
        # Random numbers: a fitted model stores the seed of its networks, and draws them again.
        stack.enter_context(jax.default_prng_impl("threefry2x32"))
        stack.enter_context(jax.threefry_partitionable(True))
        # Formulas that mix dtypes or ranks are errors in the strict modes.
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        yield
