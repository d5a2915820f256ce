"""Kernels sampled by finite random networks: ``K = Phi Phi^T``, at a cost linear in the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from numpy.typing import ArrayLike

from kipsk._checks import check_any_rows, check_finite_rows, check_integer, check_option, refuse
from kipsk._jax import own_settings
from kipsk._types import AnyArray, PyTree
from kipsk.architectures import Architecture, Conv, Dense, Shape, get_architecture
from kipsk.architectures._frozen import GROUP_BYTES, frozen_features, in_groups
from kipsk.architectures._function import Params, apply, init, through, with_filters
from kipsk.architectures._layers import check_n_dims, output_shape
from kipsk.kernels._base import (
    PRNG,
    FeatureFunction,
    JaxKernel,
    not_known_yet,
    with_constant,
)
from kipsk.kernels._patches import MAX_IMAGES, patch_filters

_KINDS = ("nngp", "ntk")
_FILTERS = ("normal", "patches")
_DTYPES = ("float32", "bfloat16")

MAX_SEED = 2**32 - 1

# How many networks are compiled side by side, at most.
_TOGETHER = 8

# Channels, over all networks, of the fixed sample that makes predictions. All figures in the
# documentation were measured with this number.
_CHANNELS_TO_PREDICT = 1024


def side_by_side(features: Callable[[PyTree], Array], networks: PyTree, n_networks: int) -> Array:
    """Return the features of several networks, a few of which are compiled together.

    Parameters
    ----------
    features : callable
        From some networks to their features side by side, (n, n_some * n_features).
    networks : pytree of Array
        Each has a first axis of networks.
    n_networks : int
    """
    together = max(n for n in range(1, _TOGETHER + 1) if n_networks % n == 0)
    if together == n_networks:
        return features(networks)
    # A loop, because the time to compile grows with the number of networks written out.
    each = jax.tree.map(lambda leaf: leaf.reshape(-1, together, *leaf.shape[1:]), networks)
    parts = jax.lax.map(features, each)
    return jnp.moveaxis(parts, 0, 1).reshape(parts.shape[1], -1)


@register_dataclass
@dataclass(frozen=True)
class RandomFeaturesFunction(FeatureFunction):
    """``Phi Phi^T`` with Phi from the last hidden layer of random networks, and b_std."""

    key: Array  # the raw numbers of a key, which are an array like any other
    architecture: Architecture = field(metadata={"static": True})
    image_shape: Shape | None = field(metadata={"static": True})
    n_networks: int = field(metadata={"static": True})
    width: int = field(metadata={"static": True})
    kind: str = field(metadata={"static": True})
    is_random: bool = field(metadata={"static": True})
    dtype: str = field(default="float32", metadata={"static": True})
    filters: Array | AnyArray | None = (
        None  # (size, size, channels, n_networks * width) of the first layer
    )

    def draw(self, key: Array) -> RandomFeaturesFunction:
        return replace(self, key=jax.random.key_data(key)) if self.is_random else self

    def at(self, step: Array | int) -> RandomFeaturesFunction:
        return self.draw(jax.random.fold_in(jax.random.wrap_key_data(self.key, impl=PRNG), step))

    def prepare(self, X: Array) -> Array:
        """Return Phi, of shape (n, n_networks * n_features), in float32.

        Features of random networks err by far more than float32 does, and by more than `dtype`. One
        more is the readout's bias, b_std, if there is any.
        """
        Phi, b_std = self._of_networks(X), self.architecture.b_std
        return with_constant(Phi, b_std) if b_std else Phi

    def _of_networks(self, X: Array) -> Array:
        shape = self.architecture.input_shape(X.shape[1], self.image_shape, owner="RandomFeatures")
        self.architecture.shapes(shape, self.width)  # raises if a layer does not fit
        x = X.astype(self.dtype).reshape(len(X), *shape)
        keys = jax.random.split(jax.random.wrap_key_data(self.key, impl=PRNG), self.n_networks)
        filters = None
        if self.filters is not None:
            own = jnp.asarray(self.filters)
            filters = jnp.moveaxis(own.reshape(*own.shape[:-1], self.n_networks, self.width), -2, 0)
        return side_by_side(
            lambda part: self._features(part[0], part[1], x), (keys, filters), self.n_networks
        )

    def _features(self, keys: Array, filters: Array | None, x: Array) -> Array:
        """Return the scaled features of one network for each key, side by side."""
        architecture, width = self.architecture, self.width
        shape = x.shape[1:]
        networks = [init(architecture, key, width, shape) for key in keys]
        if filters is not None:
            pairs = zip(networks, filters, strict=True)
            networks = [with_filters(architecture, *pair) for pair in pairs]
        (n_features,) = architecture.shapes(shape, width)[-2]
        scale = architecture.w_std / math.sqrt(n_features * self.n_networks)
        if self.kind == "nngp":
            phi = frozen_features(architecture, networks, width, x)
            return scale * phi.astype(jnp.float32)
        tangents = [init(architecture, jax.random.fold_in(key, 1), width, shape) for key in keys]
        pairs = zip(networks, tangents, strict=True)
        phi = jnp.concatenate([self._with_tangent(*pair, x) for pair in pairs], axis=1)
        return scale * phi.astype(jnp.float32)

    def _with_tangent(self, params: Params, tangent: Params, x: Array) -> Array:
        """Return one network's features and their derivative in one direction, side by side.

        The NTK is the sum of <df/dtheta, df'/dtheta> over all parameters. For a readout with
        weights N(0, scale^2) and hidden features h, the hidden layers' part of it is the mean of
        scale^2 <dh/dtheta v, dh'/dtheta v> over directions v ~ N(0, 1). The readout's own part is
        the NNGP kernel.
        """

        def both(x: Array) -> Array:
            hidden = partial(apply, self.architecture, x=x, readout=False)
            return jnp.concatenate(jax.jvp(hidden, (params,), (tangent,)), axis=1)

        sizes = self.architecture.shapes(x.shape[1:], self.width)
        # Large groups of rows, hence few turns of the loop: XLA's own gradient of a convolution is
        # slow inside of a loop on a CPU.
        return in_groups(both, x, 2 * max(map(math.prod, sizes)), GROUP_BYTES)

    def row_size(self, n_features: int) -> int:
        shape = self.architecture.input_shape(n_features, self.image_shape, owner="RandomFeatures")
        (n_hidden,) = self.architecture.shapes(shape, self.width)[-2]
        n_hidden *= 1 + (self.kind == "ntk")
        return self.n_networks * n_hidden + bool(self.architecture.b_std)


class RandomFeatures(JaxKernel):
    r"""Kernel of an architecture, estimated by networks of finite width.

    With h the last hidden layer of a random network, ``n_h`` numbers wide::

        K(x, x') = w_std^2 <h(x), h(x')> / n_h + b_std^2,

    the mean over ``n_networks`` networks, is an unbiased estimate of a kernel that tends to the
    infinite network's NNGP kernel (Novak et al. 2019, arXiv 1810.05148), with an error of order
    ``1 / sqrt(width * n_networks)``. Its cost is linear in the number of rows, whereas the exact
    kernel of a network that pools costs milliseconds for every pair of images. In `KIPDistiller`
    every step draws new networks (Loo et al. 2022, arXiv 2210.12067), so that the distilled rows
    cannot fit the errors of any one sample.

    Parameters
    ----------
    architecture : str or Architecture, default="convnet3"
        A name of `kipsk.architectures.get_architecture`, or an architecture.
    n_networks : int, default=4
        Number of networks, whose features are put side by side. Several narrow networks are better
        than one wide network (:doc:`/results`).
    width : int, default=32
        Channels of every convolution, units of every hidden Dense layer.
    filters : {"normal", "patches"} or ndarray, default="normal"
        The first layer's filters. "normal" draws them as all other weights. "patches" takes random
        whitened patches of the training images, scaled so that outputs have deviation 1, without
        a bias. They see more of photographs (:doc:`/million`), and are stored with the kernel.
        It needs ``resample=False``, an architecture that begins with `Conv`, and ``kind="nngp"``.
        An array of shape (size, size, channels, n_networks * width) is taken as it is.
    kind : {"nngp", "ntk"}, default="nngp"
        "nngp" estimates the kernel of a network whose readout alone learns. "ntk" estimates the
        neural tangent kernel: it adds the hidden layers' part, from the features' derivative in
        one random direction for each network, and takes several times as long.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X; needed if the architecture looks at pixels.
    resample : bool, default=True
        Draw new networks at every step of `KIPDistiller`, which then predicts with a fixed sample
        of at least ``1024 / width`` networks, a multiple of 8. False uses one fixed sample for
        the steps and for predictions.
    random_state : int, default=0
        Seed of the fixed networks. The networks of `KIPDistiller`'s steps are drawn with the
        distiller's own seed if `resample` is True.
    dtype : {"float32", "bfloat16"}, default="float32"
        Precision of the networks. "bfloat16" makes steps on a GPU faster (:doc:`/gpu`).
        `KIPDistiller` predicts in float32 if its steps draw new networks.

    Notes
    -----
    Features are computed in float32. Their rounding error is far below the error of the sample, but
    a ridge much smaller than the recommended one magnifies it. They are float32 for rows of float64
    too: ``Moments(dtype="float64")`` changes nothing for this kernel.

    Outside of a distiller this is one fixed kernel: in scikit-learn's SVC, KernelRidge or Nystroem
    the same networks are drawn in `fit` and in `predict`. The kernel's entries are of order one and
    differ little, so an SVC needs a large `C`, such as 100.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> from kipsk.datasets import load_images
    >>> from kipsk.kernels import RandomFeatures
    >>> digits = load_images("digits")
    >>> kernel = RandomFeatures("convnet2", image_shape=digits.image_shape)
    >>> svc = SVC(kernel=kernel, C=100).fit(digits.X_train[:500], digits.y_train[:500])
    >>> bool(svc.score(digits.X_test, digits.y_test) > 0.9)
    True
    """

    recommended_reg = 5e-3
    recommended_learning_rate = 0.05
    recommended_batch_size = 500

    def __init__(
        self,
        architecture: Architecture | str = "convnet3",
        n_networks: int = 4,
        width: int = 32,
        *,
        filters: str | AnyArray = "normal",
        kind: str = "nngp",
        image_shape: tuple[int, int, int] | None = None,
        resample: bool = True,
        random_state: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.architecture = architecture
        self.n_networks = n_networks
        self.width = width
        self.filters = filters
        self.kind = kind
        self.image_shape = image_shape
        self.resample = resample
        self.random_state = random_state
        self.dtype = dtype

    def function(self) -> RandomFeaturesFunction:
        """Return the kernel as a pure JAX function."""
        owner = type(self).__name__
        architecture = get_architecture(self.architecture, owner=owner)
        kind = check_option(owner, "kind", self.kind, _KINDS)
        if kind == "ntk" and architecture.parameterization != "ntk":
            raise refuse(
                owner, "kind", '"nngp" for an architecture in the standard parameterization', kind
            )
        if not isinstance(self.resample, bool):
            raise refuse(owner, "resample", "True or False", self.resample)
        seed = check_integer(owner, "random_state", self.random_state, minimum=0)
        if seed > MAX_SEED:  # higher bits would be lost wherever JAX is not told to use float64
            raise refuse(owner, "random_state", f"an integer <= {MAX_SEED}", seed)
        shape = self.image_shape
        return RandomFeaturesFunction(
            jax.random.key_data(jax.random.key(seed, impl=PRNG)),
            architecture=architecture,
            image_shape=tuple(shape) if isinstance(shape, list | np.ndarray) else shape,
            n_networks=check_integer(owner, "n_networks", self.n_networks, minimum=1),
            width=check_integer(owner, "width", self.width, minimum=1),
            kind=kind,
            is_random=self.resample,
            dtype=check_option(owner, "dtype", self.dtype, _DTYPES),
            filters=self._filters(architecture),
        )

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return the kernel with filters from the rows of X, if it takes them from data.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Training images as rows.

        Returns
        -------
        kernel : RandomFeatures
        """
        if not self._takes_patches:
            return self
        architecture = get_architecture(self.architecture, owner="RandomFeatures")
        number, first = self._first_layer(architecture)
        X = check_any_rows("X", X)
        shape = architecture.input_shape(X.shape[1], self.image_shape, owner="RandomFeatures")
        before = architecture.layers[:number]
        seen = shape  # by the first filters
        for i, layer in enumerate(before):
            seen = output_shape(i, layer, seen, units=0)  # none of them has units
        check_n_dims(number, first, len(seen))
        if first.size > min(seen[:2]):
            rule = f"an architecture whose first filters fit into images of {seen[0]} x {seen[1]}"
            rule += ", to which the layers before them bring the rows" if before else ""
            raise refuse("RandomFeatures", "architecture", rule, self.architecture)
        n_networks = check_integer("RandomFeatures", "n_networks", self.n_networks, minimum=1)
        width = check_integer("RandomFeatures", "width", self.width, minimum=1)
        seed = check_integer("RandomFeatures", "random_state", self.random_state, minimum=0)
        rng = np.random.RandomState(seed)
        images = X[np.sort(rng.permutation(len(X))[:MAX_IMAGES])]
        check_finite_rows("X", images)
        images = images.reshape(-1, *shape)
        if before:
            with own_settings():  # the same filters whether the user has float64 in JAX or not
                images = np.asarray(through(before, images))
        filters = patch_filters(images, first, n_networks * width, rng)
        kernel = type(self)(**{**self.get_params(), "filters": filters})
        kernel.function()
        return kernel

    def _precision(self, dtype: str) -> str:
        """Return float32, which features are in whatever the rows are."""
        return "float32"

    @property
    def stored_bytes(self) -> int:
        if self._takes_patches:
            raise not_known_yet("RandomFeatures", "filters", "patches")
        return super().stored_bytes

    @property
    def _takes_patches(self) -> bool:
        return isinstance(self.filters, str) and self.filters == "patches"

    def _first_layer(self, architecture: Architecture) -> tuple[int, Conv]:
        """Return the number of the layer that filters from data are for, and the layer."""
        layers = architecture.layers
        number = next(i for i, layer in enumerate(layers) if isinstance(layer, Conv | Dense))
        first = layers[number]
        if not isinstance(first, Conv):
            rule = "one that begins with Conv, for filters from data"
            raise refuse("RandomFeatures", "architecture", rule, self.architecture)
        if self.resample:
            rule = "False with filters from data, which are one fixed set"
            raise refuse("RandomFeatures", "resample", rule, self.resample)
        if self.kind != "nngp":
            raise refuse("RandomFeatures", "kind", '"nngp" with filters from data', self.kind)
        return number, first

    def _filters(self, architecture: Architecture) -> AnyArray | None:
        """Return the filters of the first layer, if they are not drawn with the other weights."""
        if isinstance(self.filters, str):
            name = check_option(
                "RandomFeatures", "filters", self.filters, _FILTERS, also=" or an array"
            )
            if name == "normal":
                return None
            self._first_layer(architecture)
            raise ValueError(
                "RandomFeatures with filters='patches' takes them from training images, of which "
                "there are none: call kernel.resolve(X), or use the 'kernel_' of a fitted "
                "estimator."
            )
        _, first = self._first_layer(architecture)
        shape = first.size, first.size, self.n_networks * self.width
        filters = np.asarray(self.filters)
        if filters.ndim != 4 or (*filters.shape[:2], filters.shape[3]) != shape:
            rule = f"of shape ({shape[0]}, {shape[1]}, channels, {shape[2]})"
            raise refuse("RandomFeatures", "filters", rule, filters)
        return filters.astype(np.float32)

    def for_prediction(self) -> Self:
        """Return the kernel with a fixed sample of networks, a larger one if `resample` is True."""
        self.function()  # raises on bad parameters
        if not self.resample:
            return self
        n_networks = max(self.n_networks, math.ceil(_CHANNELS_TO_PREDICT / self.width))
        if n_networks > _TOGETHER:
            n_networks = _TOGETHER * math.ceil(n_networks / _TOGETHER)
        changes = {"n_networks": n_networks, "resample": False, "dtype": "float32"}
        params = {**self.get_params(), **changes}
        return type(self)(**params)
