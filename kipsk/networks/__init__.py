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

`FiniteNetworkClassifier` is a scikit-learn estimator that trains them. It is loaded when it is
first used, because the functions need nothing but JAX.
"""

from typing import TYPE_CHECKING

from kipsk.architectures._function import Params, apply, features, init

if TYPE_CHECKING:
    from kipsk.networks._classifier import FiniteNetworkClassifier

__all__ = ["FiniteNetworkClassifier", "Params", "apply", "features", "init"]


def __getattr__(name: str) -> type:
    """Load the estimator from its module (PEP 562) and keep it for the next access."""
    if name != "FiniteNetworkClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kipsk.networks._classifier import FiniteNetworkClassifier

    globals()[name] = FiniteNetworkClassifier
    return FiniteNetworkClassifier


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
