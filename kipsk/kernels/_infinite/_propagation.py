"""The infinitely wide reading of an architecture: its NNGP kernel and NTK.

A network whose layers are infinitely wide is a Gaussian process. Two numbers for each layer and
each pair of pixels describe it in full: the covariance of the features, and the inner product of
their derivatives (Jacot et al. 2018, arXiv 1806.07572; for convolutions Novak et al. 2019, arXiv
1810.05148, and Arora et al. 2019, arXiv 1904.11955). `Propagation` follows them through the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import assert_never

import jax
import jax.numpy as jnp
from jax import Array

from kipsk._closed_form._products import matmul
from kipsk.architectures import (
    Activation,
    AdaptiveAvgPool,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GaussianPool,
    GlobalAvgPool,
    Layer,
    Normalize,
    Shape,
    TwoSided,
)
from kipsk.architectures._function import apply_layer
from kipsk.architectures._layers import FINITE_LAYERS
from kipsk.kernels._duals import DUALS
from kipsk.kernels._infinite._activations import activation, pooled_activation
from kipsk.kernels._infinite._covariance import (
    EVERY,
    FLAT,
    SAME,
    Covariance,
    Weights,
    apart,
    by_window,
    filter_mean,
    patches,
    pool,
    products,
    same_places,
)

# The largest pooling window that `pooled_activation` takes: it writes out size^2 products.
_MAX_FUSED = 3

#: The variances of one input at each activation, in the order of the layers.
Variances = tuple[Array, ...]


@dataclass(frozen=True)
class Propagation:
    """An architecture at infinite width, for inputs of one shape.

    Attributes
    ----------
    architecture : Architecture
    input_shape : tuple of int
        (H, W, C) of images, or (n_features,).
    kind : {"nngp", "ntk"}
    width : int
        Width of the network whose NTK this is. Only the standard parameterisation depends on it.
    """

    architecture: Architecture
    input_shape: Shape
    kind: str
    width: int

    @cached_property
    def n_linear(self) -> int:
        """Number of layers before the first weights; they average or reshape the raw input."""
        weights = [isinstance(layer, Conv | Dense) for layer in self.architecture.layers]
        return weights.index(True)

    @property
    def first(self) -> Conv | Dense:
        """The first layer with weights."""
        return next(x for x in self.architecture.layers if isinstance(x, Conv | Dense))

    @cached_property
    def rest(self) -> tuple[Layer, ...]:
        """The layers after the first weights."""
        return self.architecture.layers[self.n_linear + 1 :]

    @cached_property
    def shapes(self) -> list[Shape]:
        """The shape of one input before each layer and after the last."""
        return self.architecture.shapes(self.input_shape, self.width)

    @cached_property
    def n_pooled(self) -> int:
        """Number of layers of `rest` up to and with the last one that mixes places."""
        mixing = [isinstance(layer, AvgPool | GlobalAvgPool) for layer in self.rest]
        return max((n + 1 for n, mixes in enumerate(mixing) if mixes), default=0)

    @cached_property
    def fused(self) -> int:
        """Window of the pooling that `pooled_activation` computes; 0 if there is none.

        It does so where the first convolution is followed by an activation and by pooling.
        """
        if not (self.n_pooled and isinstance(self.first, Conv)):
            return 0
        match self.rest[:2]:
            case (Activation(), AvgPool(size=size)) if size <= _MAX_FUSED:
                return size
        return 0

    @property
    def pair_size(self) -> int:
        """How many numbers the covariance of two inputs has where it is largest.

        That is after the first weights.
        """
        if isinstance(self.first, Dense):
            return 1
        height, breadth, _ = self.shapes[self.n_linear + 1]
        return (height * breadth) ** (2 if self.n_pooled else 1)

    def heads(self, X: Array) -> Array:
        """Return the numbers that the first weights see at each place of their output.

        Parameters
        ----------
        X : Array of shape (n, n_features)

        Returns
        -------
        heads : Array
            Patches of shape (n, H, W, n_filter), in the order of `by_window` if pooling is
            `fused`; features of shape (n, n_filter) if the first weights are those of Dense.
        """
        x = X.reshape(len(X), *self.input_shape)
        for number, layer in enumerate(self.architecture.layers[: self.n_linear]):
            x = apply_layer(self.architecture, number, layer, {}, x)
        if isinstance(self.first, Dense):
            return x
        P = patches(x, self.first)
        return by_window(P, self.fused) if self.fused else P

    def weights(self, number: int) -> Weights:
        """Return the weights of layer `number`."""
        w2, b2 = self.architecture.w_std**2, self.architecture.b_std**2
        if self.architecture.parameterization == "ntk":
            return Weights(w2, b2, None)
        layer, shape = self.architecture.layers[number], self.shapes[number]
        size = layer.size**2 if isinstance(layer, Conv) else 1
        return Weights(w2, b2, size * shape[-1])

    def variances(self, P: Array) -> tuple[Variances, Array]:
        """Return the variances of one input at each activation, and its kernel with itself.

        P are the `heads` of one input, of shape (1, ...). The results have no axis of inputs.
        """
        recorded: list[Array] = []

        def of_itself(nngp: Array, places: int) -> tuple[Array, Array]:
            own = same_places(nngp) if places == EVERY else nngp
            recorded.append(own[..., 0, 0])
            return own, own

        first = None
        if self.fused:  # that covariance is never whole, so no diagonal can be taken from it
            w = self.weights(self.n_linear)
            own = w(jnp.mean(P * P, axis=-1), None, wants_ntk=False).nngp
            recorded.append(own[0])
            first = own, own
        value = self._follow(P, P, of_itself, first)
        return tuple(recorded), value[0, 0]

    def block(self, P: Array, Q: Array, a: Variances, b: Variances) -> Array:
        """Return the kernel matrix of two sets of inputs, of shape (n_a, n_b).

        Parameters
        ----------
        P, Q : Array of shape (n_a, ...), (n_b, ...)
            The `heads` of both sets.
        a, b : Variances
            The variances of both sets, arrays of shape (n_a, *places) and (n_b, *places).
        """
        given = iter(zip(a, b, strict=True))
        first = next(given) if self.fused else None

        def behind(nngp: Array, places: int) -> tuple[Array, Array]:
            of_a, of_b = next(given)
            return jnp.moveaxis(of_a, 0, -1)[..., None], jnp.moveaxis(of_b, 0, -1)[..., None, :]

        return self._follow(P, Q, behind, first)

    def _follow(
        self,
        P: Array,
        Q: Array,
        variances: Callable[[Array, int], tuple[Array, Array]],
        first: tuple[Array, Array] | None,
    ) -> Array:
        """Follow the covariance from the first weights to the readout.

        ``variances(covariance, places)`` returns the variances of both inputs at the next
        activation. `first` are the variances at the first activation where it is `fused`.
        """
        wants_ntk = self.kind == "ntk"
        if first is not None:
            cov, places, start = self._pooled(P, Q, *first), EVERY, 2
        else:
            means, places = self._means(P, Q)
            cov = self.weights(self.n_linear)(means, None, wants_ntk=wants_ntk)
            start = 0
        for n in range(start, len(self.rest)):
            if n == self.n_pooled and places == EVERY:
                cov, places = jax.tree.map(same_places, cov), SAME
            layer = self.rest[n]
            match layer:
                case Activation():
                    a, b = variances(cov.nngp, places)
                    if places == EVERY:
                        a, b = a[:, :, None, None], b[None, None]
                    cov = activation(DUALS[layer.name], cov, a, b)
                case Conv():
                    cov = jax.tree.map(partial(filter_mean, layer=layer, places=places), cov)
                    cov = self.weights(self.n_linear + 1 + n)(*cov, wants_ntk=wants_ntk)
                case Dense():
                    cov = self.weights(self.n_linear + 1 + n)(*cov, wants_ntk=wants_ntk)
                case AvgPool():
                    cov = apart(partial(jax.tree.map, partial(pool, size=layer.size)), cov)
                case GlobalAvgPool() | Flatten():
                    # Pixels become features, and a covariance is a mean over features. Flatten
                    # pairs equal places, GlobalAvgPool all places.
                    cov = jax.tree.map(partial(jnp.mean, axis=tuple(range(places))), cov)
                    places = FLAT
                case Normalize() | TwoSided() | AdaptiveAvgPool() | GaussianPool():
                    raise ValueError(f"{layer} has no exact kernel: see check_exact.")
                case _:
                    assert_never(layer)
        return cov.nngp if cov.ntk is None else cov.ntk

    def _means(self, P: Array, Q: Array) -> tuple[Array, int]:
        """Return the mean products of what the first weights see, and EVERY, SAME or FLAT."""
        if isinstance(self.first, Dense):
            return matmul(P, Q.T) / P.shape[-1], FLAT
        places = EVERY if self.n_pooled else SAME
        return products(P, Q, places), places

    def _pooled(self, P: Array, Q: Array, a: Array, b: Array) -> Covariance:
        """Return the covariance behind the first convolution, activation and pooling."""
        (height, breadth, _), n_a, n_b = self.shapes[self.n_linear + 3], len(P), len(Q)
        P, Q, a, b = (  # the places in a window in front, the windows of all inputs behind
            jnp.moveaxis(x, 1, 0).reshape(x.shape[1], -1, *x.shape[3:]) for x in (P, Q, a, b)
        )
        dual = DUALS[self.rest[0].name]  # type: ignore[union-attr]
        weights, wants_ntk = self.weights(self.n_linear), self.kind == "ntk"
        cov = pooled_activation(P, Q, a, b, weights, dual, wants_ntk=wants_ntk)
        shape = (n_a, height, breadth, n_b, height, breadth)
        return jax.tree.map(lambda K: K.reshape(shape).transpose(1, 2, 4, 5, 0, 3), cov)


def check_exact(architecture: Architecture, owner: str) -> None:
    """Raise ValueError if a layer's outputs have no covariance in closed form."""
    is_gaussian = False
    for number, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv | Dense):
            is_gaussian = True
        if isinstance(layer, Flatten) and architecture.needs_images:
            is_gaussian = False  # pixels become features, and their variances differ
        is_closed = not isinstance(layer, FINITE_LAYERS)
        if isinstance(layer, Conv) and layer.contrast is not None:
            is_closed = False
        if isinstance(layer, Activation):
            is_closed, is_gaussian = is_gaussian, False
        if not is_closed:
            why = "has no exact kernel"
            if isinstance(layer, Activation):
                why = "has an exact kernel only behind Conv or Dense, and before Flatten"
            raise ValueError(
                f"The 'architecture' parameter of {owner} must have layers with an exact "
                f"kernel. Got layer {number}, {layer}, which {why}: leave it out, or use "
                "kipsk.kernels.RandomFeatures, which samples any architecture."
            )
