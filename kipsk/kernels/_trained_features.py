"""Kernels of finite networks that are trained on the support set while it is distilled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from numpy.typing import ArrayLike

from kipsk._checks import (
    check_finite_rows,
    check_integer,
    check_numbers,
    check_positive,
    check_rows,
    refuse,
)
from kipsk._jax import own_settings
from kipsk._types import AnyArray, Floats
from kipsk.architectures import Architecture, Conv, Dense, get_architecture
from kipsk.kernels import _pool
from kipsk.kernels._base import PRNG, FeatureFunction, JaxKernel, with_constant
from kipsk.kernels._pool import Kind, Learner
from kipsk.kernels._random_features import MAX_SEED, side_by_side

# Steps of a network's life, at most: a kernel may come from a file, and is trained when it is read.
_MAX_AGE = 10_000


@register_dataclass
@dataclass(frozen=True)
class NetworksFunction(FeatureFunction):
    """``Phi Phi^T`` with Phi from the last hidden layer of given networks, and b_std."""

    weights: Array | AnyArray  # (n_networks, n_numbers)
    kind: Kind = field(metadata={"static": True})
    n_networks: int = field(metadata={"static": True})

    def prepare(self, X: Array) -> Array:
        """Return Phi, of shape (n, n_networks * n_features), in float32."""
        kind, X = self.kind, X.astype(jnp.float32)
        weights = jnp.asarray(self.weights, jnp.float32)
        Phi = side_by_side(lambda some: kind.features(some, X), weights, self.n_networks)
        w_std, b_std = kind.architecture.w_std, kind.architecture.b_std
        Phi = (w_std / math.sqrt(Phi.shape[1])) * Phi
        return with_constant(Phi, b_std) if b_std else Phi

    def row_size(self, n_features: int) -> int:
        return self.n_networks * self.kind.n_hidden(n_features) + bool(self.kind.architecture.b_std)

    def is_slow(self, n_features: int) -> bool:
        return True


@register_dataclass
@dataclass(frozen=True)
class PoolFunction(FeatureFunction):
    """The kernel of one network of a pool at each step, which trains it afterwards."""

    key: Array
    learning_rate: Array | AnyArray
    kind: Kind = field(metadata={"static": True})
    n_networks: int = field(metadata={"static": True})
    n_steps: int = field(metadata={"static": True})
    max_age: int = field(metadata={"static": True})
    pool: Learner | None = None  # None before `begun`: a network is then drawn for what is asked

    is_random = True
    is_trained = True

    def draw(self, key: Array) -> PoolFunction:
        return replace(self, key=jax.random.key_data(key))

    def begun(self, n_features: int, n_outputs: int) -> PoolFunction:
        key = jax.random.fold_in(self._key, 0)
        pool = _pool.begun(self.kind, key, self.n_networks, self.max_age, n_features, n_outputs)
        return replace(self, pool=pool)

    def at(self, step: Array | int) -> FeatureFunction:
        if self.pool is None:
            return self
        return self._networks(self.pool.weights[step % self.n_networks][None], 1)

    def fixed(self) -> FeatureFunction:
        """Return the kernel of all networks as they are."""
        return self if self.pool is None else self._networks(self.pool.weights, self.n_networks)

    def advance(self, X_s: Array, y_s: Array, step: Array | int) -> PoolFunction:
        if self.pool is None:
            raise ValueError("A pool of networks has to be begun before it is trained.")
        pool = _pool.advanced(
            self.kind,
            self.pool,
            step % self.n_networks,
            (X_s, y_s),
            jax.random.fold_in(jax.random.fold_in(self._key, 1), step),
            rate=self.learning_rate,
            n_steps=self.n_steps,
            max_age=self.max_age,
        )
        return replace(self, pool=pool)

    def prepare(self, X: Array) -> Array:
        function = self
        if self.pool is None:  # one network tells whether rows fit
            function = replace(self, n_networks=1).begun(X.shape[1], 1)
        return function.fixed().prepare(X)

    def row_size(self, n_features: int) -> int:
        return self._networks(jnp.zeros((1, 0)), 1).row_size(n_features)

    @property
    def _key(self) -> Array:
        return jax.random.wrap_key_data(self.key, impl=PRNG)

    def _networks(self, weights: Array, n_networks: int) -> NetworksFunction:
        return NetworksFunction(weights, self.kind, n_networks)


class TrainedFeatures(JaxKernel):
    r"""Kernel of finite networks that are trained on the support set while it is distilled.

    `KIPDistiller` keeps a pool of networks of different ages. Each step takes the next one. With h
    its last hidden layer, ``n_h`` numbers wide, the kernel of the step is::

        K(x, x') = w_std^2 <h(x), h(x')> / n_h + b_std^2

    Then this network takes a few steps of Adam on the present support and its labels, whose squared
    error is that of its readout, and a network that is older than `max_age` is drawn anew (Zhou,
    Nezhadarya & Ba 2022, "Dataset distillation using neural feature regression"). So the support is
    made for features that training on it leads to, where `RandomFeatures` has those at the start.

    A predictor has a fixed sample of such networks, which are trained on its rows and targets:
    `KernelRidgeNTK` and `KernelRidgeNTKClassifier` do so in `fit`, and the fitted distillers by
    them.

    Parameters
    ----------
    architecture : str or Architecture, default="convnet3"
        A name of `kipsk.architectures.get_architecture`, or an architecture with a `Conv` or
        `Dense` before the last layer.
    n_networks : int, default=10
        Networks of the pool, and of a predictor.
    width : int, default=32
        Channels of every convolution, units of every hidden Dense layer.
    max_age : int, default=100
        Steps that a network is trained at most. Networks of a predictor are trained for
        ``max_age / n_networks``, twice that, and so on up to `max_age` steps.
    n_steps : int, default=1
        Steps that a network is trained after each of its uses.
    learning_rate : float, default=3e-3
        Adam's, for the networks.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X; needed if the architecture looks at pixels.
    random_state : int, default=0
        Seed of the networks of predictors. Those of the steps are drawn with the distiller's own.
    networks : ndarray of shape (n_networks, n_numbers), default=None
        The parameters of trained networks, from `train`. With them it is one fixed kernel, for
        whatever takes one.

    Notes
    -----
    The training of a predictor takes ``(n_networks + 1) / 2 * max_age`` steps on its rows, and the
    same rows, targets and `random_state` give the same networks. Weights of rows are not seen by
    it, as long as they are not zero.

    A kernel that has not seen targets is of no use for an SVC: `train` it on rows first.

    See Also
    --------
    RandomFeatures : The same networks, never trained.
    Invariant : Around this kernel, trains them on mirror images of the support, too.

    Examples
    --------
    >>> from kipsk import KIPDistiller
    >>> from kipsk.datasets import load_images
    >>> from kipsk.kernels import TrainedFeatures
    >>> digits = load_images("digits")
    >>> kernel = TrainedFeatures("fc1", 4, max_age=20)
    >>> distiller = KIPDistiller(kernel, ipc=1, max_iter=100, batch_size=200, random_state=0)
    >>> distiller = distiller.fit(digits.X_train, digits.y_train)
    >>> bool(distiller.score(digits.X_test, digits.y_test) > 0.5)
    True
    """

    recommended_reg = 5e-3
    recommended_learning_rate = 0.05
    recommended_batch_size = 500

    def __init__(
        self,
        architecture: Architecture | str = "convnet3",
        n_networks: int = 10,
        width: int = 32,
        *,
        max_age: int = 100,
        n_steps: int = 1,
        learning_rate: float = 3e-3,
        image_shape: tuple[int, int, int] | None = None,
        random_state: int = 0,
        networks: AnyArray | None = None,
    ) -> None:
        self.architecture = architecture
        self.n_networks = n_networks
        self.width = width
        self.max_age = max_age
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.image_shape = image_shape
        self.random_state = random_state
        self.networks = networks

    def train(self, X: ArrayLike, y: ArrayLike) -> TrainedFeatures:
        """Return this kernel with networks that are trained on rows and their targets.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Rows, such as a distilled set.
        y : array-like of shape (n, n_outputs)
            Their targets, numbers. Of class labels one column for each class, such as the soft
            labels of a distilled set.

        Returns
        -------
        kernel : TrainedFeatures
            A kernel that has `networks` already returns itself.

        Raises
        ------
        ValueError
            If X and y are no finite matrices with as many rows, or if the training diverges.
        """
        function = self._step_function()
        if isinstance(function, NetworksFunction):
            return self
        X, Y = check_rows("X", X), check_numbers("y", np.asarray(y))
        check_finite_rows("X", X)
        if Y.ndim != 2 or len(Y) != len(X):
            raise ValueError(
                f"y must have the shape ({len(X)}, n_outputs), a row for each row of X. Got shape "
                f"{Y.shape} instead: of class labels give one column for each class."
            )
        kind, rate, n = function.kind, function.learning_rate, function.n_networks
        rows = X.astype(np.float32), Y.astype(np.float32)
        found = []
        with own_settings():
            keys = jax.random.split(jax.random.fold_in(function._key, 2), n)
            for number, key in enumerate(keys):
                learner = _pool.compiled_fresh(kind, key, X.shape[1], Y.shape[1])
                for _ in range((number + 1) * function.max_age // n):
                    learner = _pool.compiled_trained(kind, learner, *rows, rate)
                found.append(np.asarray(learner.weights))
        networks = np.stack(found)
        if not np.isfinite(networks).all():
            raise ValueError(
                "The networks of TrainedFeatures diverged in their training on "
                f"{len(X)} rows: lower its 'learning_rate' (now {self.learning_rate})."
            )
        return type(self)(**{**self.get_params(), "networks": networks})

    def function(self) -> NetworksFunction:
        """Return the kernel of `networks` as a pure JAX function."""
        function = self._step_function()
        if isinstance(function, NetworksFunction):
            return function
        raise ValueError(
            "TrainedFeatures has no networks yet: they are trained on rows and their targets. Call "
            "kernel.train(X, y), or use it in KIPDistiller, KIPRegressor (with labels that are "
            "learned or fixed) or KernelRidgeNTK, which train them; without training take "
            "RandomFeatures."
        )

    def _step_function(self) -> NetworksFunction | PoolFunction:  # type: ignore[override]
        owner = type(self).__name__
        architecture = get_architecture(self.architecture, owner=owner)
        if not any(isinstance(layer, Conv | Dense) for layer in architecture.layers[:-1]):
            rule = "one with a Conv or Dense before its last layer, whose features can be trained"
            raise refuse(owner, "architecture", rule, self.architecture)
        shape = self.image_shape
        kind = Kind(
            architecture,
            check_integer(owner, "width", self.width, minimum=1),
            tuple(shape) if isinstance(shape, list | np.ndarray) else shape,
        )
        n_networks = check_integer(owner, "n_networks", self.n_networks, minimum=1)
        max_age = check_integer(owner, "max_age", self.max_age, minimum=1)
        n_steps = check_integer(owner, "n_steps", self.n_steps, minimum=1)
        if max_age > _MAX_AGE:
            raise refuse(owner, "max_age", f"an integer <= {_MAX_AGE}", max_age)
        if n_steps > max_age:
            raise refuse(owner, "n_steps", f"an integer <= max_age={max_age}", n_steps)
        rate = check_positive(owner, "learning_rate", self.learning_rate)
        seed = check_integer(owner, "random_state", self.random_state, minimum=0)
        if seed > MAX_SEED:
            raise refuse(owner, "random_state", f"an integer <= {MAX_SEED}", seed)
        if self.networks is None:
            key = jax.random.key_data(jax.random.key(seed, impl=PRNG))
            return PoolFunction(key, np.array(rate, np.float32), kind, n_networks, n_steps, max_age)
        networks = np.asarray(self.networks)
        if networks.dtype.kind != "f" or networks.ndim != 2 or len(networks) != n_networks:
            rule = f"None or an array of shape ({n_networks}, n_numbers) from train"
            raise refuse(owner, "networks", rule, self.networks)
        return NetworksFunction(networks, kind, n_networks)

    def _trained(self, X: Floats, Y: Floats) -> JaxKernel:
        return self.train(X, Y)

    def _precision(self, dtype: str) -> str:
        """Return float32, which features are in whatever the rows are."""
        return "float32"
