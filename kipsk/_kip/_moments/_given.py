"""Moments that a distiller is given, checked against its kernels and each other."""

from __future__ import annotations

from kipsk._checks import refuse
from kipsk._kip._moments._estimator import Moments
from kipsk._kip._moments._matching import check_same, described_transformer
from kipsk._storage._describe import describe, fingerprint
from kipsk._types import Estimator, Given
from kipsk.kernels._base import JaxKernel


def check_given(
    owner: str, moments: Given, kernels: list[JaxKernel], preprocess: Estimator | None
) -> list[Moments]:
    """Return the moments that a distiller was given, one for each of its kernels, checked."""
    given = list(moments) if isinstance(moments, list | tuple) else [moments]
    if len(given) != len(kernels) or not all(isinstance(one, Moments) for one in given):
        kinds = ", ".join(type(one).__name__ for one in given[:5])
        raise ValueError(
            f"{owner}.fit_moments needs {len(kernels)} Moments, one for each kernel. Got "
            f"{type(moments).__name__} of {len(given)} instead ({kinds}): add moments of one "
            "kernel, sum(moments), or make them of rows, Moments(kernel, ...).fit(X, y)."
        )
    for one, kernel in zip(given, kernels, strict=True):
        one.check_kernel(owner, kernel)
        if preprocess is not None and (
            described_transformer(preprocess) != one._description["preprocess"]
        ):
            rule = "None in fit_moments, or the fitted transformer of the moments"
            raise refuse(owner, "preprocess", rule, preprocess)
        check_like(given[0], one, "All moments")
    return given


def check_like(first: Moments, other: Moments, what: str) -> None:
    """Refuse moments that differ in more than their kernels."""
    kernel = {"kernel": other._description["kernel"]}
    check_same({**first._description, **kernel}, other._description, what)


def facts_of(moments: list[Moments]) -> dict[str, str]:
    """Return descriptions of moments, for a checkpoint."""
    sums = [[fingerprint(part) for part in one._sums] for one in moments]
    return {f"moments {i}": describe(found) for i, found in enumerate(sums)}
