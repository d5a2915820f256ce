"""A door to neural-tangents (optional extra) that also opens on current JAX.

The last release, 0.6.5, does not import with jax >= 0.6: two of its modules use names that JAX
has removed, and one of these also loads TensorFlow. Neither is needed for kernels or networks.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

# `experimental` imports TensorFlow; `_src.empirical` uses jax.core.Jaxpr, gone since jax 0.6.
_BROKEN = ("neural_tangents.experimental", "neural_tangents._src.empirical")


class _Placeholder(ModuleType):
    """Stands in for a module that cannot be imported; any public name of it is None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def load_stax() -> ModuleType:
    """Import and return ``neural_tangents.stax`` without TensorFlow.

    Raises
    ------
    ImportError
        If neural-tangents is not installed; the message names the extra.

    Notes
    -----
    If neural-tangents was not imported before, ``neural_tangents.experimental`` and its empirical
    kernels stay unavailable in this process.
    """
    if "neural_tangents" not in sys.modules:
        for name in _BROKEN:
            sys.modules.setdefault(name, _Placeholder(name))
    try:
        return importlib.import_module("neural_tangents.stax")
    except ImportError as error:
        for name in _BROKEN:
            if isinstance(sys.modules.get(name), _Placeholder):
                del sys.modules[name]
        raise ImportError(
            "This needs neural-tangents, which is not installed or cannot be imported: "
            'pip install "kipsk[neural-tangents]".'
        ) from error
