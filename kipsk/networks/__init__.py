"""Networks of finite width: parameters, function and features of an `Architecture`.

Plain functions on plain lists of parameters, to be jitted, mapped and differentiated:

>>> import jax
>>> from kipsk.architectures import convnet
>>> from kipsk.networks import apply, features, init
>>> network = convnet(depth=2)
>>> params = init(network, jax.random.key(0), width=16, input_shape=(8, 8, 3), n_outputs=10)
>>> images = jax.numpy.ones((5, 8, 8, 3))
>>> apply(network, params, images).shape, features(network, params, images).shape
((5, 10), (5, 64))
"""

from kipsk.networks._network import Params, apply, features, init

__all__ = ["Params", "apply", "features", "init"]
