"""Kernels that a support set was made for: as they were given, and as they became."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

from kipsk._types import Given
from kipsk.kernels._base import JaxKernel


class Member(NamedTuple):
    """A kernel that a support set was made for.

    Attributes
    ----------
    given : str or JaxKernel
        As the user gave it.
    kernel : JaxKernel
        With its data-dependent parameters set.
    reg : float
        The relative ridge that it was used with.
    """

    given: Given
    kernel: JaxKernel
    reg: float


def copied(value: Given) -> Given:
    """Return a copy of a kernel, which a later change of its parameters does not reach."""
    if not isinstance(value, JaxKernel):
        return value
    # Functions are compared by identity: parameters that are no kernels stay the objects they are.
    return copy.deepcopy(value, {id(own): own for own in _parameters(value)})


def _parameters(kernel: JaxKernel) -> Iterator[Given]:
    """Yield the parameters of a kernel and of kernels inside of it, but no kernels."""
    for own in kernel.get_params().values():
        if isinstance(own, JaxKernel):
            yield from _parameters(own)
        else:
            yield own


def is_same_kernel(one: Given, other: Given) -> bool:
    """Return whether two names or kernel objects mean the same kernel."""
    return type(one) is type(other) and bool(one == other)
