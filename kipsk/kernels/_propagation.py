"""The infinitely wide reading of an architecture: its NNGP kernel and NTK.

A network whose layers are infinitely wide is a Gaussian process, so two numbers a layer and pixel
pair are all of it: the covariance of the features, and the inner product of their derivatives
(Jacot et al. 2018, arXiv 1806.07572; convolutions: Novak et al. 2019, arXiv 1810.05148, and Arora
et al. 2019, arXiv 1904.11955). `Propagation` follows them through the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import Array

from kipsk.architectures import (
    Activation,
    Architecture,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    Normalize,
    Shape,
)
from kipsk.kernels._covariance import (
    EVERY,
    FLAT,
    SAME,
    Covariance,
    Weights,
    filter_mean,
    matmul,
    patches,
    pool,
    pooled_activation,
    same_places,
    window_major,
)
from kipsk.kernels._duals import DUALS
from kipsk.networks._network import apply_layer

# Windows up to this size go through `pooled_activation`, which writes out size^2 products.
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
        Of the network whose NTK it is; the standard parameterisation depends on it.
    """

    architecture: Architecture
    input_shape: Shape
    kind: str
    width: int

    @cached_property
    def n_linear(self) -> int:
        """Number of layers before the first weights: means and reshapes of the raw input."""
        weights = [isinstance(layer, Conv | Dense) for layer in self.architecture.layers]
        return weights.index(True)

    @property
    def first(self) -> Layer:
        """The first layer with weights."""
        return self.architecture.layers[self.n_linear]

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
        """Number of layers of `rest` up to the last one that mixes places."""
        return max(
            (n + 1 for n, layer in enumerate(self.rest) if isinstance(layer, AvgPool | GlobalAvgPool)),
            default=0,
        )  # fmt: skip

    @cached_property
    def fused(self) -> int:
        """Window of the pooling behind the first convolution and activation; 0 if there is none."""
        if not (self.n_pooled and isinstance(self.first, Conv)):
            return 0
        match self.rest[:2]:
            case (Activation(), AvgPool(size=size)) if size <= _MAX_FUSED:
                return size
        return 0

    @property
    def needs_pairs(self) -> bool:
        """Whether a pair of inputs is a covariance between all their pixels."""
        return self.n_pooled > 0

    @property
    def pair_size(self) -> int:
        """How many numbers the first covariance of two inputs is, the largest one."""
        if isinstance(self.first, Dense):
            return 1
        height, breadth, _ = self.shapes[self.n_linear + 1]
        return (height * breadth) ** (2 if self.needs_pairs else 1)

    def heads(self, X: Array) -> Array:
        """Return what every place of the first weights' output sees, of (n, n_features) rows."""
        x = X.reshape(len(X), *self.input_shape)
        for number, layer in enumerate(self.architecture.layers[: self.n_linear]):
            x = apply_layer(self.architecture, number, layer, {}, x)
        if isinstance(self.first, Dense):
            return x
        P = patches(x, self.first)
        if self.fused:
            return window_major(P, self.fused)
        return P.reshape(len(P), -1, P.shape[-1])

    def weights(self, number: int) -> Weights:
        """Return the weights of layer `number`."""
        w2, b2 = self.architecture.w_std**2, self.architecture.b_std**2
        if self.architecture.parameterization == "ntk":
            return Weights(w2, b2, None)
        layer, shape = self.architecture.layers[number], self.shapes[number]
        size = layer.size**2 if isinstance(layer, Conv) else 1
        return Weights(w2, b2, size * shape[-1])

    def variances(self, P: Array) -> tuple[Variances, Array]:
        """Return the variances of one input at each activation, and its kernel with itself."""
        recorded: list[Array] = []

        def of_itself(number: int, nngp: Array, places: int) -> tuple[Array, Array]:
            own = same_places(nngp) if places == EVERY else nngp
            recorded.append(own)
            return _of_pair(own, own, places)

        if self.fused:
            # Not the diagonal of a covariance, which is never whole.
            w = self.weights(self.n_linear)
            own = w(jnp.mean(P * P, axis=-1), None, wants_ntk=False).nngp
            recorded.append(own)
            value = self._follow(P, P, of_itself, (own, own))
        else:
            value = self._follow(P, P, of_itself)
        return tuple(recorded), value

    def pair(self, P: Array, Q: Array, a: Variances, b: Variances) -> Array:
        """Return the kernel of two inputs: their `heads` and `variances`."""

        def given(number: int, nngp: Array, places: int) -> tuple[Array, Array]:
            return _of_pair(a[number], b[number], places)

        return self._follow(P, Q, given, (a[0], b[0]) if self.fused else None)

    def block(self, P: Array, Q: Array, a: Variances, b: Variances) -> Array:
        """Return the kernel matrix of two sets; for architectures without pooling."""

        def given(number: int, nngp: Array, places: int) -> tuple[Array, Array]:
            # Places in front, pairs behind.
            return jnp.moveaxis(a[number], 0, -1)[..., None], jnp.moveaxis(b[number], 0, -1)[..., None, :]

        return self._follow(P, Q, given)

    def _follow(
        self,
        P: Array,
        Q: Array,
        variances: Callable[[int, Array, int], tuple[Array, Array]],
        fused: tuple[Array, Array] | None = None,
    ) -> Array:
        """Follow the covariance from the first weights to the readout."""
        wants_ntk = self.kind == "ntk"
        n_activations = 0
        start = 0
        if fused is not None:
            dual = DUALS[self.rest[0].name]
            cov = pooled_activation(
                P, Q, *fused, self.weights(self.n_linear), dual, wants_ntk=wants_ntk
            )
            height, breadth, _ = self.shapes[self.n_linear + 3]
            cov = jax.tree.map(lambda K: K.reshape(height, breadth, height, breadth), cov)
            start, n_activations, places = 2, 1, EVERY
        else:
            means, places = self._means(P, Q)
            cov = self.weights(self.n_linear)(means, None, wants_ntk=wants_ntk)
        for n in range(start, len(self.rest)):
            if n == self.n_pooled and places == EVERY:
                cov, places = jax.tree.map(same_places, cov), SAME
            layer = self.rest[n]
            match layer:
                case Activation():
                    a, b = variances(n_activations, cov.nngp, places)
                    nngp, slope = DUALS[layer.name].pair(cov.nngp, a, b)
                    cov = Covariance(nngp, None if cov.ntk is None else cov.ntk * slope)
                    n_activations += 1
                case Conv():
                    means = [K if K is None else filter_mean(K, layer, places) for K in cov]
                    cov = self.weights(self.n_linear + 1 + n)(*means, wants_ntk=wants_ntk)
                case Dense():
                    cov = self.weights(self.n_linear + 1 + n)(*cov, wants_ntk=wants_ntk)
                case AvgPool():
                    cov = jax.tree.map(lambda K, size=layer.size: pool(K, size), cov)
                case GlobalAvgPool() | Flatten():
                    # Pixels become features, whose mean is taken; Flatten pairs equal places.
                    if places:
                        axes = tuple(range(places))
                        cov = jax.tree.map(lambda K, axes=axes: K.mean(axis=axes), cov)
                    places = FLAT
        return cov.nngp if cov.ntk is None else cov.ntk

    def _means(self, P: Array, Q: Array) -> tuple[Array, int]:
        """Return the means of products of what the first weights see."""
        if isinstance(self.first, Dense):
            return matmul(P, jnp.swapaxes(Q, -1, -2) if Q.ndim > 1 else Q) / P.shape[-1], FLAT
        height, breadth, _ = self.shapes[self.n_linear + 1]
        if self.needs_pairs:
            K = matmul(P, Q.T) / P.shape[-1]
            return K.reshape(height, breadth, height, breadth), EVERY
        if P.ndim == 2:
            K = jnp.sum(P * Q, axis=-1)
        else:
            K = jnp.einsum("apf,bpf->pab", P, Q, precision=jax.lax.Precision.HIGHEST)
        return K.reshape(height, breadth, *K.shape[1:]) / P.shape[-1], SAME


def _of_pair(a: Array, b: Array, places: int) -> tuple[Array, Array]:
    """Return the variances of two inputs so that they broadcast over a covariance."""
    if places == EVERY:
        return a[:, :, None, None], b
    return a, b


def check_exact(architecture: Architecture, owner: str) -> None:
    """Raise ValueError for a layer that makes the outputs no Gaussian process in closed form."""
    is_gaussian = False
    for number, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv | Dense):
            is_gaussian = True
        is_closed = not isinstance(layer, Normalize)
        if isinstance(layer, Activation):
            is_closed, is_gaussian = is_gaussian, False
        if not is_closed:
            why = "has no exact kernel"
            if isinstance(layer, Activation):
                why = "has an exact kernel only behind Conv or Dense"
            raise ValueError(
                f"The 'architecture' parameter of {owner} must have layers with an exact "
                f"kernel. Got layer {number}, {layer}, which {why}: leave it out, or use "
                "kipsk.kernels.RandomFeatures, which samples any architecture."
            )
