"""Exact kernels of infinitely wide convolutional networks."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass

from kipsk._checks import check_integer, check_option
from kipsk._types import Given
from kipsk.architectures import Architecture, Shape, convnet, get_architecture, myrtle
from kipsk.architectures._layers import AvgPool, Conv, Layer, checked_shape
from kipsk.kernels._base import JaxKernel, KernelFunction, in_float64
from kipsk.kernels._infinite._propagation import Propagation, Variances, check_exact
from kipsk.kernels._pairs import all_pairs, pairs_among

_KINDS = ("ntk", "nngp")

# How many covariances the pairs of one block have in all. On a CPU they have to stay in its caches;
# with pooling (True) arrays are used several times, and have to be smaller. A GPU has to be filled.
_TOGETHER_CPU = {True: 2**16, False: 2**19}
_TOGETHER = 2**26


class Images(NamedTuple):
    """Inputs, with everything in their kernels that depends on one input alone."""

    X: Array  # (n, n_features)
    variances: Variances  # one array for each activation, of shape (n, *places)
    values: Array  # (n,), the kernel of each input with itself


class _Heads(NamedTuple):
    """Inputs in the form that `_block` takes."""

    P: Array  # from `Propagation.heads`
    variances: Variances


@register_dataclass
@dataclass(frozen=True)
class ConvolutionalFunction(KernelFunction):
    """Covariances through an architecture, a few pairs of inputs at a time."""

    architecture: Architecture = field(metadata={"static": True})
    image_shape: Shape | None = field(metadata={"static": True})
    kind: str = field(metadata={"static": True})
    width: int = field(metadata={"static": True})
    owner: str = field(metadata={"static": True})

    @property
    def is_mirrored(self) -> bool:
        """Whether mirroring both images, left to right, leaves their kernel as it is.

        Strides and the windows of a pooling begin at the left, and the padding of an even filter
        has one pixel more on the right.
        """
        if not self.architecture.needs_images:
            return True
        if self.image_shape is None:
            return False
        shapes = self.architecture.shapes(self.image_shape, self.width)
        pairs = zip(self.architecture.layers, shapes[:-1], strict=True)
        return all(_is_mirrored(layer, shape) for layer, shape in pairs)

    def _propagation(self, n_features: int) -> Propagation:
        shape = self.architecture.input_shape(n_features, self.image_shape, owner=self.owner)
        self.architecture.shapes(shape, self.width)  # raises if a layer does not fit
        return Propagation(self.architecture, shape, self.kind, self.width)

    def prepare(self, X: Array) -> Images:
        propagation = self._propagation(X.shape[1])

        @jax.checkpoint
        def of_itself(x: Array) -> tuple[Variances, Array]:
            return propagation.variances(propagation.heads(x[None]))

        n_together = max(1, min(_pairs_together(propagation), len(X)))
        # No batch axis for single rows: XLA makes slower code of a batch of one.
        variances, values = jax.lax.map(
            of_itself, X, batch_size=n_together if n_together > 1 else None
        )
        return Images(X, variances, values)

    def cross(self, A: Images, B: Images) -> Array:
        propagation = self._propagation(A.X.shape[1])
        if not (len(A.X) and len(B.X)):
            return jnp.zeros((len(A.X), len(B.X)), A.X.dtype)
        n_together = _pairs_together(propagation)
        n_a = _evenly(len(A.X), math.isqrt(n_together))
        n_b = _evenly(len(B.X), n_together // n_a)
        heads = _heads(propagation, A), _heads(propagation, B)
        return all_pairs(partial(_block, propagation), (n_a, n_b), *heads)

    def exact(self, A: Images) -> Images:
        # From the pixels on: variances and covariances need the same rounding.
        return self.prepare(in_float64(A.X))

    def gram(self, A: Images) -> Array:
        if not len(A.X):
            return jnp.zeros((0, 0), A.X.dtype)
        A = self.exact(A)
        propagation = self._propagation(A.X.shape[1])
        size = _evenly(len(A.X), math.isqrt(_pairs_together(propagation)))
        K = pairs_among(partial(_block, propagation), size, _heads(propagation, A))
        return jnp.fill_diagonal(K, A.values, inplace=False)

    def diag(self, A: Images) -> Array:
        return A.values

    def row_size(self, n_features: int) -> int:
        propagation = self._propagation(n_features)
        # Patches; while they are made there are two copies.
        return 2 * jax.eval_shape(propagation.heads, jnp.zeros((1, n_features))).size

    def pair_size(self, n_features: int) -> int:
        return self._propagation(n_features).pair_size


def _is_mirrored(layer: Layer, shape: Shape) -> bool:
    """Return whether a layer makes mirror images of mirror images of this shape."""
    match layer:
        case Conv():
            return layer.strides == 1 and (layer.size % 2 == 1 or layer.padding == "VALID")
        case AvgPool():
            return shape[1] % layer.size == 0
        case _:
            return True


def _pairs_together(propagation: Propagation) -> int:
    is_cpu = jax.default_backend() == "cpu"
    covariances = _TOGETHER_CPU[propagation.n_pooled > 0] if is_cpu else _TOGETHER
    return max(1, covariances // propagation.pair_size)


def _evenly(n: int, most: int) -> int:
    """Return a tile size up to `most` that divides n rows with few missing in the last tile."""
    return -(-n // -(-n // most))


def _heads(propagation: Propagation, A: Images) -> _Heads:
    return _Heads(propagation.heads(A.X), A.variances)


def _block(propagation: Propagation, A: _Heads, B: _Heads) -> Array:
    """Return the kernel matrix of a few inputs with a few others."""
    return propagation.block(A.P, B.P, A.variances, B.variances)


class _ExactKernel(JaxKernel):
    """A kernel read off an architecture at infinite width."""

    #: A pair costs millions of operations, so a step takes a few hundred targets.
    recommended_batch_size = 500
    #: It takes half the time of float64, and pixels are not given more precisely.
    recommended_dtype = "float32"

    kind: str
    image_shape: Given
    width: int

    @abstractmethod
    def _architecture(self) -> Architecture:
        """Return the network; raises ValueError on bad parameters."""

    def function(self) -> ConvolutionalFunction:
        """Return the kernel as a pure JAX function."""
        owner = type(self).__name__
        architecture = self._architecture()
        check_exact(architecture, owner)
        shape = self.image_shape
        if shape is not None:
            shape = shape.tolist() if isinstance(shape, np.ndarray) else shape
            shape = checked_shape(owner, "image_shape", shape, n_dims=(3,))
        return ConvolutionalFunction(
            architecture=architecture,
            image_shape=shape,
            kind=check_option(owner, "kind", self.kind, _KINDS),
            width=check_integer(owner, "width", self.width, minimum=1),
            owner=owner,
        )


class Convolutional(_ExactKernel):
    r"""Exact kernel of an infinitely wide network of any architecture.

    The covariance between the pixels of one image and those of another goes through the layers.
    With T and T' the activation's duals (Gaussian expectations of it and of its derivative) and A
    the mean over the pixels of a filter::

        Conv, Dense     K <- w_std^2 A K + b_std^2        Theta <- K + w_std^2 A Theta
        Activation      Theta <- T'(K) Theta              K <- T(K)
        AvgPool ...     K <- means over windows           Theta likewise

    ``"nngp"`` is K at the end (Novak et al. 2019, arXiv 1810.05148), ``"ntk"`` is Theta (Arora et
    al. 2019, arXiv 1904.11955). With pooling the covariances of all pairs of pixels are needed: a
    pair of 32 x 32 images takes a CPU milliseconds, where it takes microseconds without pooling.

    Parameters
    ----------
    architecture : str or Architecture, default="convnet3"
        A name of `kipsk.architectures.get_architecture`, or an architecture.
    kind : {"ntk", "nngp"}, default="ntk"
        The neural tangent kernel of a network whose layers all learn, or that of one whose readout
        alone does (a Gaussian process).
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X; needed if the architecture looks at pixels.
    width : int, default=1024
        Used only with the standard parameterization, whose NTK depends on the networks' width.

    See Also
    --------
    RandomFeatures : The same architectures sampled, at a cost linear in the rows.

    Notes
    -----
    Nothing of a pair is kept but its kernel. The memory needed is that of a few pairs and of the
    patches of all rows, some ``18 H W C`` numbers a row. The gradient, in reverse mode only, goes
    through the pairs again. Of the symmetric matrix of a set with itself one triangle is computed,
    in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.kernels import Convolutional
    >>> X = np.random.default_rng(0).standard_normal((3, 64))
    >>> Convolutional("conv2", image_shape=(8, 8, 1))(X).shape
    (3, 3)
    """

    def __init__(
        self,
        architecture: Architecture | str = "convnet3",
        kind: str = "ntk",
        *,
        image_shape: tuple[int, int, int] | None = None,
        width: int = 1024,
    ) -> None:
        self.architecture = architecture
        self.kind = kind
        self.image_shape = image_shape
        self.width = width

    def _architecture(self) -> Architecture:
        return get_architecture(self.architecture, owner=type(self).__name__)


class ConvNet(_ExactKernel):
    """Exact kernel of ConvNets: convolution, activation and average pooling, several times.

    It is `Convolutional` of `kipsk.architectures.convnet`, whose parameters are its own, so that a
    grid search reaches them.

    Parameters
    ----------
    depth : int, default=3
        3 is ConvNet3 of the papers (arXiv 2107.13034).
    kind : {"ntk", "nngp"}, default="ntk"
        The neural tangent kernel of a network whose layers all learn, or that of one whose readout
        alone does (a Gaussian process).
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X. Must be given; ``2**depth`` pixels a side at least.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
        The nonlinearity; "gelu" is the exact one, not its tanh form.
    first_conv : bool, default=False
        Whether one more convolution and activation come first, as in the papers' ConvNet. The
        kernel then costs several times as much.
    global_pool : bool, default=False
        Whether the readout sees the mean over all pixels (GlobalAvgPool) instead of each (Flatten).
    w_std : float, default=sqrt(2)
        Standard deviation of the weights.
    b_std : float, default=0.1
        Standard deviation of the biases.
    parameterization : {"ntk", "standard"}, default="ntk"
        As in `kipsk.architectures.Architecture`.
    width : int, default=1024
        Used only with the standard parameterization, whose NTK depends on the networks' width.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.kernels import ConvNet
    >>> X = np.random.default_rng(0).standard_normal((3, 64))
    >>> ConvNet(1, image_shape=(8, 8, 1))(X, X[:2]).shape
    (3, 2)
    """

    def __init__(
        self,
        depth: int = 3,
        kind: str = "ntk",
        *,
        image_shape: tuple[int, int, int] | None = None,
        activation: str = "relu",
        first_conv: bool = False,
        global_pool: bool = False,
        w_std: float = 2**0.5,
        b_std: float = 0.1,
        parameterization: str = "ntk",
        width: int = 1024,
    ) -> None:
        self.depth = depth
        self.kind = kind
        self.image_shape = image_shape
        self.activation = activation
        self.first_conv = first_conv
        self.global_pool = global_pool
        self.w_std = w_std
        self.b_std = b_std
        self.parameterization = parameterization
        self.width = width

    def _architecture(self) -> Architecture:
        return convnet(
            self.depth,
            self.activation,
            first_conv=self.first_conv,
            global_pool=self.global_pool,
            w_std=self.w_std,
            b_std=self.b_std,
            parameterization=self.parameterization,
        )


class Myrtle(_ExactKernel):
    """Exact kernel of the Myrtle networks (Shankar et al. 2020, arXiv 2003.02237).

    It is `Convolutional` of `kipsk.architectures.myrtle`, whose parameters are its own. These
    networks have several convolutions at full resolution, so the kernel costs several times as much
    as a `ConvNet`.

    Parameters
    ----------
    depth : {5, 7, 10}, default=5
        Layers with weights, the readout among them.
    kind : {"ntk", "nngp"}, default="ntk"
        The neural tangent kernel of a network whose layers all learn, or that of one whose readout
        alone does (a Gaussian process).
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X. Must be given; each side needs at least 4 pixels.
    activation : {"relu", "erf", "gelu", "exp"}, default="relu"
        The nonlinearity; "gelu" is the exact one, not its tanh form.
    w_std : float, default=sqrt(2)
        Standard deviation of the weights.
    b_std : float, default=0.1
        Standard deviation of the biases.
    parameterization : {"ntk", "standard"}, default="ntk"
        As in `kipsk.architectures.Architecture`.
    width : int, default=1024
        Used only with the standard parameterization, whose NTK depends on the networks' width.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.kernels import Myrtle
    >>> X = np.random.default_rng(0).standard_normal((3, 64))
    >>> Myrtle(5, image_shape=(8, 8, 1))(X).shape
    (3, 3)
    """

    def __init__(
        self,
        depth: int = 5,
        kind: str = "ntk",
        *,
        image_shape: tuple[int, int, int] | None = None,
        activation: str = "relu",
        w_std: float = 2**0.5,
        b_std: float = 0.1,
        parameterization: str = "ntk",
        width: int = 1024,
    ) -> None:
        self.depth = depth
        self.kind = kind
        self.image_shape = image_shape
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.parameterization = parameterization
        self.width = width

    def _architecture(self) -> Architecture:
        return myrtle(
            self.depth,
            self.activation,
            w_std=self.w_std,
            b_std=self.b_std,
            parameterization=self.parameterization,
        )
