"""Dataset distillation with kernel ridge regression, as scikit-learn estimators.

The names below load their module when they are first used, so that ``import kipsk`` costs
milliseconds and touches neither scikit-learn nor JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._estimators._kernel_ridge import KernelRidgeNTK, KernelRidgeNTKClassifier
    from ._estimators._label_solver import LabelSolver
    from ._estimators._zca import RegularizedZCA
    from ._kip._distiller import KIPDistiller
    from ._kip._moments import Moments
    from ._kip._regressor import KIPRegressor

__version__ = "0.1.0.dev0"

__all__ = [
    "KIPDistiller",
    "KIPRegressor",
    "KernelRidgeNTK",
    "KernelRidgeNTKClassifier",
    "LabelSolver",
    "Moments",
    "RegularizedZCA",
    "__version__",
]

_HOME = {
    "KIPDistiller": "._kip._distiller",
    "KIPRegressor": "._kip._regressor",
    "KernelRidgeNTK": "._estimators._kernel_ridge",
    "KernelRidgeNTKClassifier": "._estimators._kernel_ridge",
    "LabelSolver": "._estimators._label_solver",
    "Moments": "._kip._moments",
    "RegularizedZCA": "._estimators._zca",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562) and keep it for the next access."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
