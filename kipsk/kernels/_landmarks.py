"""Nystroem features: any kernel as seen from some rows, its landmarks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import register_dataclass
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from sklearn.cluster import kmeans_plusplus

from kipsk._checks import (
    check_any_rows,
    check_finite_rows,
    check_integer,
    check_option,
    refuse,
)
from kipsk._closed_form import _cholesky
from kipsk._closed_form._centre import centre_of
from kipsk._closed_form._products import matmul
from kipsk._jax import own_settings
from kipsk._types import AnyArray, Float64s, Floats, Given
from kipsk.kernels._base import (
    FeatureFunction,
    JaxKernel,
    KernelFunction,
    evaluate,
    not_known_yet,
)
from kipsk.kernels._choice import rp_cholesky
from kipsk.kernels._registry import get_kernel

_WAYS = ("rpcholesky", "kmeans++", "random")
# Rows that landmarks are chosen among, for each landmark.
_CANDIDATES = 8
# Added to the diagonal of K_mm, in units of its mean: where its eigenvalues are smaller, features
# would be the rounding of float32 products.
_JITTER = 1e-6


@register_dataclass
@dataclass(frozen=True)
class LandmarksFunction(FeatureFunction):
    """``K(x, Z) K(Z, Z)^-1 K(Z, x')`` with the landmarks Z.

    Attributes
    ----------
    base : KernelFunction
        K.
    landmarks : ndarray of shape (n_landmarks, n_features)
        Z.
    whitening : ndarray of shape (n_landmarks, n_landmarks)
        ``L^-T``, where ``K(Z, Z) = L L^T``.
    """

    base: KernelFunction
    landmarks: AnyArray
    whitening: AnyArray

    def prepare(self, X: Array) -> Array:
        _check_width(X.shape[1], self.landmarks)
        landmarks = self.base.prepare(jnp.asarray(self.landmarks, X.dtype))
        K = self.base.cross(self.base.prepare(X), landmarks)
        return matmul(K, jnp.asarray(self.whitening, K.dtype)).astype(X.dtype)

    def row_size(self, n_features: int) -> int:
        return len(self.landmarks)

    def is_slow(self, n_features: int) -> bool:
        return self.base.is_slow(n_features)


class Landmarks(JaxKernel):
    """Any kernel, approximated by finite features: the Nystroem method.

    With landmarks Z, some of the training rows::

        phi(x) = L^-1 K(Z, x)   with   L L^T = K(Z, Z)        K'(x, x') = <phi(x), phi(x')>

    K' equals K wherever one of the two rows is a landmark (Williams & Seeger 2001, "Using the
    Nystroem method to speed up kernel machines"). A kernel of finite features can be distilled by
    moments, at a cost that does not depend on the number of training rows: see `kipsk.Moments`.

    Parameters
    ----------
    kernel : str or kernel object, default="fc1"
        The kernel K; not one that draws networks anew at every step.
    n_components : int, default=1000
        The number of landmarks.
    landmarks : {"rpcholesky", "kmeans++", "random"} or array-like, default="rpcholesky"
        How `resolve` chooses them: by randomly pivoted Cholesky, which draws each with a chance
        proportional to what those before leave of K(x, x) (Chen, Epperly, Tropp & Webber 2022,
        arXiv 2207.06503); by k-means++, far from each other in the space of the features; or
        uniformly. An array of shape (n_landmarks, n_features) is taken as it is.
    random_state : int, default=0
        Seed of the choice.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.kernels import RBF, Landmarks
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> kernel = Landmarks(RBF(1.0), n_components=80).resolve(X)
    >>> bool(abs(kernel(X) - RBF(1.0)(X)).max() < 0.001)
    True
    """

    # What it was computed from, and the whitening.
    _whitening: tuple[object, Float64s] | None = None
    _is_resolved: bool = False

    def __init__(
        self,
        kernel: str | JaxKernel = "fc1",
        n_components: int = 1000,
        *,
        landmarks: str | ArrayLike = "rpcholesky",
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.n_components = n_components
        self.landmarks = landmarks
        self.random_state = random_state

    @property
    def recommended_reg(self) -> float:  # type: ignore[override]
        return get_kernel(self.kernel).recommended_reg

    @property
    def recommended_learning_rate(self) -> float:  # type: ignore[override]
        return get_kernel(self.kernel).recommended_learning_rate

    @property
    def recommended_batch_size(self) -> int:  # type: ignore[override]
        return get_kernel(self.kernel).recommended_batch_size

    @property
    def recommended_dtype(self) -> str:  # type: ignore[override]
        return get_kernel(self.kernel).recommended_dtype

    @property
    def stored_bytes(self) -> int:
        if isinstance(self.landmarks, str):
            raise not_known_yet("Landmarks", "landmarks", self.landmarks)
        return np.asarray(self.landmarks).nbytes + get_kernel(self.kernel).stored_bytes

    def _doubt(self, X: Floats) -> str | None:
        """Return that of the kernel inside."""
        return get_kernel(self.kernel)._doubt(X)

    def resolve(self, X: ArrayLike) -> JaxKernel:
        """Return the kernel with the landmarks that it chose among the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_x, n_features)
            Training rows. Landmarks are chosen among eight times as many of them, drawn at random.

        Returns
        -------
        kernel : Landmarks
            With arrays as `landmarks`, and with fewer of them than `n_components` if X has fewer
            different rows.
        """
        if self._is_resolved and not isinstance(self.landmarks, str):
            return self
        X = check_any_rows("X", X)
        if not isinstance(self.landmarks, str):
            _check_width(X.shape[1], _checked_landmarks(self.landmarks))
        base = get_kernel(self.kernel).resolve(X)
        landmarks = self.landmarks
        if isinstance(landmarks, str):
            landmarks = self._chosen(base, X)
            if not len(landmarks):
                raise ValueError(
                    "Landmarks found no row of X whose kernel with itself is above zero: scale "
                    "the features, or give the kernel a bias."
                )
        params = {**self.get_params(), "kernel": base, "landmarks": landmarks}
        kernel = type(self)(**params)
        kernel._is_resolved = True
        kernel.function()
        return kernel

    def __repr__(self) -> str:
        """Return the constructor call, with the shape of chosen landmarks for their rows."""
        chosen = self.landmarks
        shown = repr(chosen) if isinstance(chosen, str) else f"<{np.shape(chosen)} rows>"
        return (
            f"Landmarks(kernel={self.kernel!r}, n_components={self.n_components}, "
            f"landmarks={shown}, random_state={self.random_state})"
        )

    def set_params(self, **params: Given) -> Self:
        """Set parameters; what followed from those before is forgotten.

        Parameters
        ----------
        **params
            Constructor parameters.

        Returns
        -------
        self : Landmarks
        """
        self._whitening, self._is_resolved = None, False
        return super().set_params(**params)  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: not the square matrix that follows from the landmarks."""
        return {name: value for name, value in vars(self).items() if name != "_whitening"}

    def _chosen(self, base: JaxKernel, X: AnyArray) -> AnyArray:
        """Return the landmarks among the rows of X."""
        also = " or an array of shape (n_landmarks, n_features)"
        way = check_option("Landmarks", "landmarks", self.landmarks, _WAYS, also=also)
        n = check_integer("Landmarks", "n_components", self.n_components, minimum=1)
        seed = check_integer("Landmarks", "random_state", self.random_state, minimum=0)
        rng = np.random.RandomState(seed)
        candidates = X[np.sort(rng.permutation(len(X))[: _CANDIDATES * n])]
        check_finite_rows("X", candidates)
        n = min(n, len(candidates))
        match way:
            case "random":
                chosen = rng.permutation(len(candidates))[:n]
            case "kmeans++":
                centre = centre_of(candidates)  # k-means++ expands squared distances
                rows = candidates if centre is None else candidates - centre.astype(X.dtype)
                chosen = kmeans_plusplus(rows, n, random_state=rng)[1]
            case _:
                chosen = rp_cholesky(_checked(base.function()), candidates, n, rng)
        return candidates[np.sort(np.asarray(chosen, np.intp))]

    def function(self) -> LandmarksFunction:
        """Return the kernel as a pure JAX function.

        Raises
        ------
        ValueError
            If the landmarks are still to be chosen: call `resolve` first.
        """
        if isinstance(self.landmarks, str):
            raise ValueError(
                f"The 'landmarks' parameter of Landmarks is {self.landmarks!r}, which depends on "
                "data: call resolve(X) first."
            )
        landmarks = _checked_landmarks(self.landmarks)
        base = _checked(get_kernel(self.kernel).function())
        # It is kept, because it takes n_landmarks^3 operations, and only for what it was computed
        # from: the kernel inside and the landmarks can be changed without `set_params`.
        origin = _description(base, landmarks)
        if self._whitening is None or self._whitening[0] != origin:
            self._whitening = origin, _whitening(base, landmarks)
        return LandmarksFunction(base, landmarks, self._whitening[1])


def _checked_landmarks(landmarks: ArrayLike) -> AnyArray:
    array = np.asarray(landmarks)
    if array.ndim != 2 or not len(array):
        rule = f"one of {list(_WAYS)} or an array of shape (n_landmarks, n_features)"
        raise refuse("Landmarks", "landmarks", rule, landmarks)
    return array


def _check_width(n_features: int, landmarks: AnyArray) -> None:
    """Refuse rows that do not have as many features as the landmarks."""
    if n_features != landmarks.shape[1]:
        raise ValueError(
            f"The rows that Landmarks is given must have {landmarks.shape[1]} features, as its "
            f"landmarks do. Got rows of {n_features} features instead: pass rows like the "
            "landmarks, or Landmarks whose 'landmarks' are rows like these."
        )


def _description(base: KernelFunction, landmarks: AnyArray) -> tuple[object, str]:
    """Return what is equal for equal kernels and landmarks, and small."""
    leaves, structure = jax.tree.flatten((base, landmarks))
    digest = hashlib.blake2b(digest_size=16)
    for leaf in map(np.asarray, leaves):
        digest.update(f"{leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return structure, digest.hexdigest()


def _checked(base: KernelFunction) -> KernelFunction:
    if base.is_random:
        rule = "a kernel that stays the same, such as RandomFeatures(..., resample=False)"
        raise refuse("Landmarks", "kernel", rule, base)
    return base


def _whitening(base: KernelFunction, landmarks: AnyArray) -> Float64s:
    """Return ``L^-T`` of ``K(Z, Z) = L L^T``, in float64."""
    with own_settings():
        K = np.array(evaluate(base, landmarks.astype(np.float64)), np.float64)
    if not (np.isfinite(K).all() and np.trace(K) > 0):
        raise ValueError(
            "The kernel between the landmarks of Landmarks must be finite, and not zero for all of "
            f"them. Got a matrix whose trace is {np.trace(K):.3g}: scale the features, give the "
            "kernel a bias, or choose other landmarks."
        )
    K.flat[:: len(K) + 1] += _JITTER * np.trace(K) / len(K)
    try:
        L = _cholesky.factor(K)
    except np.linalg.LinAlgError:
        raise ValueError(
            "The 'kernel' parameter of Landmarks must be positive semi-definite. Got one whose "
            f"matrix between the {len(K)} landmarks has eigenvalues below -{_JITTER:g} of its mean "
            f"diagonal entry, {base!r}: use another kernel, or other parameters of it."
        ) from None
    return solve_triangular(L, np.eye(len(K)), lower=True, check_finite=False).T
