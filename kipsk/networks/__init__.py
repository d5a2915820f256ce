"""Networks of finite width: parameters, function and features of an `Architecture`.

These are plain functions of plain lists of parameters, which can be jitted, mapped and
differentiated:

>>> import jax
>>> from kipsk.architectures import convnet
>>> from kipsk.networks import apply, features, init
>>> network = convnet(depth=2)
>>> params = init(network, jax.random.key(0), width=16, input_shape=(8, 8, 3), n_outputs=10)
>>> images = jax.numpy.ones((5, 8, 8, 3))
>>> apply(network, params, images).shape, features(network, params, images).shape
((5, 10), (5, 64))

`FiniteNetworkClassifier` is a scikit-learn estimator that trains them, and `papers_protocol` makes
one with the settings of later papers. They are loaded when they are first used, because the
functions need nothing but JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from kipsk.architectures._function import Params, apply, features, init

if TYPE_CHECKING:
    from kipsk.networks._classifier import FiniteNetworkClassifier
    from kipsk.networks._preset import papers_protocol

__all__ = ["FiniteNetworkClassifier", "Params", "apply", "features", "init", "papers_protocol"]

# Where the names stand that need scikit-learn.
_LATER = {"FiniteNetworkClassifier": "_classifier", "papers_protocol": "_preset"}


def __getattr__(name: str) -> object:
    """Load a name from its module (PEP 562) and keep it for the next access."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
