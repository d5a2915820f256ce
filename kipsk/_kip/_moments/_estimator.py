"""The public object for what all rows are to a kernel of finite features."""

from __future__ import annotations

import copy
import os
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from kipsk._closed_form._quadratic import Quadratic
from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Coding
from kipsk._data._numbers import RealCoding
from kipsk._distil._all_rows import positive_part
from kipsk._distil._moments import Sums
from kipsk._kip._moments import _file
from kipsk._kip._moments._kernel import (
    given_kernel,
    kernel_without_rows,
    resolved_kernel,
    warn_of_first_rows,
)
from kipsk._kip._moments._matching import check_left, check_noise, check_same, description_of
from kipsk._kip._moments._pass import summed
from kipsk._kip._moments._rows import Rows, classes_of, targets_of, weights
from kipsk._kip._objectives import DRAWS
from kipsk._storage._describe import describe
from kipsk._types import Float64s, Given, MatrixLike
from kipsk.kernels._base import JaxKernel


class Moments(BaseEstimator):
    r"""Second moments of a training set in a kernel's features: all that distillation needs of it.

    For a kernel of finite features, ``K(x, x') = <phi(x), phi(x')>``, the squared error over all
    rows of any support set follows from::

        H = E[phi phi^T]   (p, p)        C = E[phi y^T]   (p, n_outputs)        E[y^2]

    These are sums over rows. They are collected in one pass, from arrays, memory-mapped files,
    chunks or several owners of data, added, and taken apart again; `KIPDistiller.fit_moments` then
    needs no row at all, and its steps cost the same for a thousand rows and for a billion.

    Parameters
    ----------
    kernel : str or kernel object
        A kernel of finite features: `kipsk.kernels.RandomFeatures` with ``resample=False``,
        `kipsk.kernels.Landmarks` of any kernel, `kipsk.kernels.Polynomial`, a linear one
        (``FullyConnected(depth=0)``), or `kipsk.kernels.Invariant` of these.
    classes : array-like of shape (n_classes,), default=None
        All class labels that will ever come. With None y holds real numbers.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X: for `augment`, and for a kernel that needs it.
    augment : str, callable, or list of these, default=None
        Changes of the rows that count as rows. Mirror images ("flip") are counted exactly, beside
        the images; of any other augmentation `n_draws` are drawn for each row. Those that mix
        the targets of rows, such as `kipsk.augment.MixUp`, are refused: a pass could mix neighbours
        alone, which often are of one class.
    n_draws : int, default=4
        How many times a random augmentation is drawn for each row.
    preprocess : transformer, default=None
        A fitted transformer that rows go through before the kernel sees them, after `augment`. It
        is used as it is, not fitted: all owners of data need the same.
    epsilon : float, default=None
        With a number, each call of `fit` or `partial_fit` adds the noise that makes what is kept of
        its rows (epsilon, delta)-differentially private: see Notes. For class labels only.
    delta : float, default=1e-5
        The delta of the guarantee, which should be well below one over the number of rows.
    max_norm : float, default=1.0
        With `epsilon`: features that are longer are shortened to this norm. The noise is
        proportional to its square. It must be chosen without looking at private rows.
    block_size : int or "auto", default="auto"
        Rows of one block of the pass, at most.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the features. Sums are in float64.
    random_state : int, RandomState or None, default=None
        Draws the augmentation. The noise of `epsilon` is the operating system's: if it were drawn
        from a seed, the difference of two results would be without it.
    verbose : int, default=0
        1 shows a progress bar of the pass.

    Attributes
    ----------
    kernel_ : kernel object
        The kernel with its data-dependent parameters set, from the first rows that came. Others
        whose moments are to be added have to use this object: ``Moments(first.kernel_, ...)``.
    classes_ : ndarray of shape (n_classes,)
        The sorted classes; not for real targets.
    n_rows_ : float
        The number of rows of weight above zero; with `epsilon` the noisy one. Weights do not change
        it, and it is what generalised cross-validation counts in `KIPDistiller.fit_moments`.
    H_ : ndarray of shape (p, p)
        ``E[phi phi^T]`` over all rows, in float64.
    C_ : ndarray of shape (p, n_outputs)
        ``E[phi y^T]``; of class labels y is the row of the class among the unit vectors.
    n_features_in_ : int
        Features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.

    See Also
    --------
    KIPDistiller.fit_moments : Learns a support set from moments.
    kipsk.kernels.Landmarks : Finite features of any kernel.

    Notes
    -----
    Memory is ``8 p^2`` bytes and one block. The products of a block are in float32, sums over
    blocks in float64 and in the order of the blocks, so that a cluster (see :doc:`/cluster`) gives
    the same bits as one process.

    `KIPDistiller.fit_moments` calls no callbacks: they look at rows.

    Privacy: of the rows of one call the noisy H, C and class counts are kept and nothing else. They
    are the analytic Gaussian mechanism (Balle & Wang 2018, arXiv 1805.06530) of sums that one row
    changes by at most ``sqrt(3) max_norm^2`` in the Euclidean norm, so that for any two data sets
    of which one has a row more, and any set S of results, ``P(S) <= exp(epsilon) P'(S) + delta``.
    What follows, such as distilling, does not weaken that. H is used as the nearest positive
    semi-definite matrix. A row that is given in two calls has the sum of the epsilons and deltas.
    `preprocess`, the kernel's landmarks and `max_norm` are not covered: take them from public data.
    The noise is of a pseudo-random generator in double precision, which the operating system seeds,
    without protection against attacks on its low-order bits.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from kipsk import KIPDistiller, Moments
    >>> from kipsk.kernels import Landmarks
    >>> X, y = load_digits(return_X_y=True)
    >>> kernel = Landmarks("fc1", 200).resolve(X)
    >>> one = Moments(kernel, classes=range(10)).fit(X[:1000], y[:1000])
    >>> other = Moments(kernel, classes=range(10)).fit(X[1000:], y[1000:])
    >>> distiller = KIPDistiller(kernel, ipc=1, init="noise", random_state=0)
    >>> bool(distiller.fit_moments(one + other).score(X, y) > 0.9)
    True
    """

    _sums: Sums
    _is_1d: bool
    _description: dict[str, str]
    kernel_: JaxKernel

    def __init__(
        self,
        kernel: str | JaxKernel,
        *,
        classes: ArrayLike | None = None,
        image_shape: tuple[int, int, int] | None = None,
        augment: Given = None,
        n_draws: int = DRAWS,
        preprocess: Given = None,
        epsilon: float | None = None,
        delta: float = 1e-5,
        max_norm: float = 1.0,
        block_size: int | str = "auto",
        dtype: str = "float32",
        random_state: Given = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.classes = classes
        self.image_shape = image_shape
        self.augment = augment
        self.n_draws = n_draws
        self.preprocess = preprocess
        self.epsilon = epsilon
        self.delta = delta
        self.max_norm = max_norm
        self.block_size = block_size
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None) -> Self:
        """Collect the moments of these rows alone; see `partial_fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, images flattened.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or real numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            The weight of each row, at least 0.

        Returns
        -------
        self
        """
        return self._become(self._emptied()._with_rows(X, y, sample_weight))

    def partial_fit(
        self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Add the moments of more rows, in one pass and in memory of one block.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, images flattened. They are read a block at a time: X may be a memory-mapped array
            larger than the memory, or an array of h5py or zarr.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or real numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            The weight of each row, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter breaks its rule, if the kernel has no finite features, if H would not fit
            in memory, or for rows and labels that are not like those before. The moments then stay
            as they were.
        """
        is_first = not hasattr(self, "_sums")
        self._become(copy.copy(self)._with_rows(X, y, sample_weight))
        if is_first:
            warn_of_first_rows(self)
        return self

    def _with_rows(self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None) -> Self:
        is_first = not hasattr(self, "_sums")
        rows = Rows(self, X, is_first)
        targets, is_1d = targets_of(self, y)
        check_consistent_length(X, targets)
        weight = weights(sample_weight, len(targets))
        kernel = resolved_kernel(self, rows) if is_first else self.kernel_
        description = description_of(self, kernel, targets.shape[1])
        if not is_first:
            check_same(self._description, description, "Rows that are added")
            check_noise(bool(self._sums.noise), self.epsilon is not None)
        sums = summed(self, kernel, rows, targets, weight, sample_weight is not None)
        self._sums = sums if is_first else self._sums.plus(sums)
        self.kernel_, self._is_1d, self._description = kernel, is_1d, description
        if self.classes is not None:
            self.classes_ = classes_of(self)
        return self

    def __radd__(self, other: object) -> Moments:
        """Return these moments for ``0 + moments``, with which `sum` begins."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the rows of both."""
        return self._with(other, +1)

    def __sub__(self, other: Moments) -> Moments:
        """Return the moments of these rows without those of the other, which are among them."""
        return self._with(other, -1)

    @property
    def n_rows_(self) -> float:
        """The number of rows."""
        check_is_fitted(self, "_sums")
        return self._sums.n_rows

    @property
    def H_(self) -> Float64s:
        """``E[phi phi^T]`` over all rows."""
        check_is_fitted(self, "_sums")
        return self._sums.H / self._sums.weight

    @property
    def C_(self) -> Float64s:
        """``E[phi y^T]`` over all rows."""
        check_is_fitted(self, "_sums")
        return self._sums.C / self._sums.weight

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the moments to an .npz file, without pickles; `load` reads it.

        Parameters
        ----------
        path : str or path-like
            The file, which is replaced if there is one.
        """
        check_is_fitted(self, "_sums")
        _file.write(self, path)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Become the moments that were saved, of this object's kernel, `preprocess` and classes.

        Parameters
        ----------
        path : str or path-like
            A file that `save` wrote.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the file is damaged, or its moments are of another kernel, `preprocess` or classes.
            This object then stays as it was.
        """
        return self._become(self._emptied()._with_file(path))

    def _with_file(self, path: str | os.PathLike[str]) -> Self:
        stored = _file.read(path)
        kernel = kernel_without_rows(self)
        self.n_features_in_ = stored.n_features
        if stored.feature_names is not None:
            self.feature_names_in_ = stored.feature_names.astype(object)
        description = description_of(self, kernel, stored.sums.C.shape[1])
        check_same(description, stored.facts, f"The file {os.fspath(path)!r}")
        self._sums, self.kernel_, self._is_1d = stored.sums, kernel, stored.is_1d
        self._description = description
        if stored.classes is not None:
            self.classes_ = stored.classes
        return self

    def check_kernel(self, owner: str, kernel: JaxKernel) -> None:
        """Refuse a kernel that is not the one of these moments, as it was given or as it became.

        Parameters
        ----------
        owner : str
            The estimator that is to learn from the moments, for the message.
        kernel : JaxKernel
            Its kernel, resolved or not.

        Raises
        ------
        ValueError
            If it is another one.
        """
        check_is_fitted(self)
        if describe(kernel) not in (describe(self.kernel_), describe(given_kernel(self))):
            raise ValueError(
                f"{owner} and its moments must have the same kernel. Got {self.kernel_!r} of the "
                f"moments instead of {kernel!r}: pass kernel=moments.kernel_."
            )

    def coding(self) -> Coding:
        """Return what the targets stand for.

        Returns
        -------
        coding : Coding
            Of class labels, or of numbers with their means and deviations.
        """
        check_is_fitted(self, "_sums")
        if self.classes is not None:
            return ClassCoding(self.classes_)
        sums = self._sums
        mean = sums.y / sums.weight
        variance = np.maximum(sums.y_squares / sums.weight - mean**2, 0)
        is_constant = variance <= 1e-14 * np.maximum(mean**2, 1e-300)
        return RealCoding(mean, np.where(is_constant, 1.0, np.sqrt(variance)), self._is_1d)

    def features_seen(self) -> tuple[Float64s, Float64s]:
        """Return mean and deviation of each feature as the kernel sees it; NaN if private.

        Returns
        -------
        mean, deviation : ndarrays of shape (n_features,)
            In the units after `preprocess`.
        """
        sums = self._sums
        mean = sums.x / sums.weight
        return mean, np.sqrt(np.maximum(sums.x_squares / sums.weight - mean**2, 0))

    def quadratic(self, coding: Coding | None = None) -> Quadratic:
        """Return the error of all rows as a step needs it, in float64.

        Parameters
        ----------
        coding : Coding or None
            What the targets stand for; None is what they stand for in these rows.

        Returns
        -------
        quadratic : Quadratic
        """
        coding = self.coding() if coding is None else coding
        if isinstance(coding, RealCoding):
            found = self._sums.quadratic(coding.mean, coding.scale)
        else:
            k = coding.n_outputs
            found = self._sums.quadratic(np.full(k, 1 / k), np.ones(k))
        return positive_part(found) if self._sums.noise else found

    def least_ridge(self) -> float:
        """Return the relative ridge that is as large as the noise of H; 0 without noise.

        Returns
        -------
        ridge : float
            In units of ``trace(H) / p``.
        """
        sums = self._sums
        return float(np.sqrt(sums.noise * len(sums.H)) * len(sums.H) / max(np.trace(sums.H), 1e-12))

    def _with(self, other: Moments, sign: int) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        for one in (self, other):
            check_is_fitted(one, "_sums")
        check_same(self._description, other._description, "The second moments")
        check_noise(bool(self._sums.noise), bool(other._sums.noise))
        result = copy.copy(self)
        result._sums = self._sums.plus(other._sums, sign)
        if sign < 0:
            check_left(result._sums, self._sums, other._sums)
        return result

    def _emptied(self) -> Self:
        """Return a copy without the moments."""
        return copy.copy(self)._forget()

    def _forget(self) -> Self:
        for name in [name for name in vars(self) if name.endswith("_") or name == "_sums"]:
            delattr(self, name)
        return self

    def _become(self, other: Self) -> Self:
        """Take over all that a copy has; what fails before leaves this object as it was."""
        self.__dict__ = dict(vars(other))
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_sums")
