"""Kernels that `Moments` can be of: with finite features, and with all parameters set."""

from __future__ import annotations

from kipsk._checks import refuse
from kipsk._kip._moments._rows import Rows
from kipsk._kip._objectives import MAX_BYTES
from kipsk._types import Estimator
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import of_images

# Rows that data-dependent parameters of a kernel are set from.
_RESOLVE_ROWS = 50_000


def given_kernel(moments: Estimator) -> JaxKernel:
    """Return the kernel object that the parameters name."""
    return of_images(moments.kernel, moments.image_shape)


def resolved_kernel(moments: Estimator, rows: Rows) -> JaxKernel:
    """Return the kernel with all parameters set; refuse one without finite features."""
    kernel = given_kernel(moments)
    reason = _error_without_rows(kernel)
    if reason is not None:
        if moments.epsilon is not None:
            rule = "resolved with public rows before private ones come: kernel.resolve(X_public)"
            raise ValueError(
                f"{refuse('Moments', 'kernel', rule, moments.kernel)} As it is: {reason}"
            ) from reason
        kernel = kernel.resolve(rows.seen(_RESOLVE_ROWS))
    _check_finite("Moments", kernel)
    p = kernel.function().row_size(rows.n_seen)
    if 12 * p**2 > MAX_BYTES:
        raise ValueError(
            f"The moments of {p} features would take {12 * p**2 / 2**30:.0f} GiB, more than "
            f"{MAX_BYTES / 2**30:.0f}: lower the kernel's width, n_networks or n_components."
        )
    return kernel


def warn_of_first_rows(moments: Estimator) -> None:
    """Warn if a kernel's parameters were taken from first rows that lack a class."""
    if moments.classes is None or _error_without_rows(given_kernel(moments)) is None:
        return
    lacking = moments.classes_[moments._sums.y <= 0].tolist()
    if lacking:
        warn(
            f"Moments.partial_fit took what {moments.kernel!r} leaves open from its first rows, "
            f"which have none of {len(lacking)} of {len(moments.classes_)} classes, such as "
            f"{lacking[:5]}: the kernel may see little of them. Shuffle the rows, or pass a kernel "
            "that was resolved with rows of all classes, kernel.resolve(X)."
        )


def kernel_without_rows(moments: Estimator) -> JaxKernel:
    """Return the kernel of moments that are loaded; refuse one that needs rows to be set."""
    kernel = given_kernel(moments)
    reason = _error_without_rows(kernel)
    if reason is not None:
        raise ValueError(
            f"The kernel {kernel!r} cannot be used without training rows: {reason} Parameters "
            "that depend on rows have their values in the 'kernel_' of the Moments that were "
            "saved: pass it."
        ) from reason
    return kernel


def _error_without_rows(kernel: JaxKernel) -> ValueError | None:
    """Return why a kernel cannot be used before rows came, from which parameters may be set."""
    try:
        kernel.function()
    except ValueError as error:
        return error
    return None


def _check_finite(owner: str, kernel: JaxKernel) -> None:
    """Refuse a kernel without finite features that stay the same."""
    if kernel.function().is_finite:
        return
    raise ValueError(
        f"The 'kernel' parameter of {owner} must have finite features that stay the same. Got "
        f"{kernel!r} instead: take Landmarks(kernel, n_components), which approximates any kernel, "
        "RandomFeatures(..., resample=False), Polynomial, FullyConnected(depth=0), or Invariant "
        "of one of these."
    )
