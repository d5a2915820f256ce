"""The public object for what all rows are to a kernel of finite features."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from typing import Self

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from kipsk._checks import check_integer, check_labels, check_positive, refuse
from kipsk._closed_form._privacy import noise_deviation, noisy_sums
from kipsk._closed_form._quadratic import Quadratic
from kipsk._data._classes import ClassCoding, known_codes
from kipsk._data._coding import Coding
from kipsk._data._labels import encode
from kipsk._data._numbers import RealCoding
from kipsk._distil._all_rows import positive_part
from kipsk._distil._moments import Sums, Way, sums_over
from kipsk._distil._targets import Change
from kipsk._jax import own_settings
from kipsk._kip._matching import check_left, check_noise, check_same, described_transformer
from kipsk._kip._objectives import DRAWS, MAX_BYTES, as_it_is, way_of
from kipsk._kip._preprocess import as_function, check_function
from kipsk._kip._rows import Rows, UnitVectors, weights
from kipsk._storage._describe import describe
from kipsk._storage._files import DAMAGED, write_atomically
from kipsk._types import AnyArray, Float64s, Floats, Given, MatrixLike
from kipsk.augment import _apply
from kipsk.augment._augmentations import get_augmentation, mixes_rows, without_flip
from kipsk.kernels._base import PRNG, JaxKernel
from kipsk.kernels._registry import of_images

_FORMAT = "kipsk moments 1"
# Rows that data-dependent parameters of a kernel are set from.
_RESOLVE_ROWS = 50_000


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
        return self._become(copy.copy(self)._with_rows(X, y, sample_weight))

    def _with_rows(self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None) -> Self:
        is_first = not hasattr(self, "_sums")
        rows = Rows(self, X, is_first)
        targets, is_1d = self._targets(y)
        check_consistent_length(X, targets)
        weight = weights(sample_weight, len(targets))
        kernel = self._resolved(rows) if is_first else self.kernel_
        description = self._described(kernel, targets.shape[1])
        if not is_first:
            check_same(self._description, description, "Rows that are added")
            check_noise(bool(self._sums.noise), self.epsilon is not None)
        rng = check_random_state(self.random_state)
        change = self._change(rows, targets, rng)
        way, n_draws = way_of(kernel.function(), change, self._draws())
        if self.epsilon is not None:
            way = self._private(way, sample_weight)
        sums = sums_over(
            way,
            rows,
            targets,
            weight,
            block_size=self._block_size(),
            n_draws=n_draws,
            progress="moments" if self.verbose else None,
        )
        self._check_sums(kernel, sums)
        if self.epsilon is not None:
            sums = self._noisy(sums)
        self._sums = sums if is_first else self._sums.plus(sums)
        self.kernel_, self._is_1d, self._description = kernel, is_1d, description
        if self.classes is not None:
            self.classes_ = self._classes()
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
        facts = {
            "format": _FORMAT,
            "is_1d": self._is_1d,
            "n_features_in": self.n_features_in_,
            **self._description,
        }
        arrays: dict[str, AnyArray] = {
            f"sum {k}": np.asarray(v) for k, v in self._sums._asdict().items()
        }
        arrays["facts"] = np.array(json.dumps(facts))
        if self.classes is not None:
            arrays["classes"] = self.classes_
        if hasattr(self, "feature_names_in_"):
            arrays["feature_names"] = self.feature_names_in_.astype(str)
        write_atomically(path, arrays)

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
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = dict(json.loads(str(arrays["facts"])))
            if facts["format"] != _FORMAT:
                raise ValueError(f"its format is {facts['format']!r}")
            stored = {name: arrays[f"sum {name}"] for name in Sums._fields}
        except DAMAGED as error:
            raise ValueError(
                f"The file {os.fspath(path)!r} is damaged or holds no moments "
                f"({type(error).__name__}: {error}). It must be what Moments.save wrote."
            ) from error
        kernel = self._kernel()
        reason = _error_without_rows(kernel)
        if reason is not None:
            raise ValueError(
                f"The kernel {kernel!r} cannot be used without training rows: {reason} Parameters "
                "that depend on rows have their values in the 'kernel_' of the Moments that were "
                "saved: pass it."
            ) from reason
        self.n_features_in_ = int(facts["n_features_in"])
        if "feature_names" in arrays:
            self.feature_names_in_ = arrays["feature_names"].astype(object)
        description = self._described(kernel, stored["C"].shape[1])
        check_same(description, facts, f"The file {os.fspath(path)!r}")
        scalars = {name: float(stored[name]) for name in ("n_rows", "weight", "noise")}
        self._sums = Sums(**{**stored, **scalars})
        self.kernel_, self._is_1d = kernel, bool(facts["is_1d"])
        self._description = description
        if "classes" in arrays:
            self.classes_ = arrays["classes"]
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
        if describe(kernel) not in (describe(self.kernel_), describe(self._kernel())):
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

    def _targets(self, y: MatrixLike) -> tuple[Floats | UnitVectors, bool]:
        """Return the targets of each row, and whether y has one dimension."""
        if self.classes is None:
            y = np.asarray(y)
            if y.dtype.kind in "USmMVO":
                rule = f"the class labels that y holds, whose dtype is {y.dtype}"
                raise refuse("Moments", "classes", rule, None)
            if self.epsilon is not None:
                raise refuse("Moments", "epsilon", "None without 'classes'", self.epsilon)
            y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
            return y.reshape(len(y), -1), y.ndim == 1
        check_labels(y)
        classes, y = self._classes(), column_or_1d(y, warn=True)
        return UnitVectors(known_codes(y, classes, "'classes'"), len(classes)), True

    def _classes(self) -> AnyArray:
        return encode("Moments", np.asarray(list(self.classes)))[0]  # type: ignore[arg-type]

    def _kernel(self) -> JaxKernel:
        return of_images(self.kernel, self.image_shape)

    def _resolved(self, rows: Rows) -> JaxKernel:
        """Return the kernel with all parameters set; refuse one without finite features."""
        kernel = self._kernel()
        reason = _error_without_rows(kernel)
        if reason is not None:
            if self.epsilon is not None:
                rule = (
                    "resolved with public rows before private ones come: kernel.resolve(X_public)"
                )
                raise ValueError(
                    f"{refuse('Moments', 'kernel', rule, self.kernel)} As it is: {reason}"
                ) from reason
            kernel = kernel.resolve(rows.seen(_RESOLVE_ROWS))
        check_finite("Moments", kernel)
        p = kernel.function().row_size(rows.n_seen)
        if 12 * p**2 > MAX_BYTES:
            raise ValueError(
                f"The moments of {p} features would take {12 * p**2 / 2**30:.0f} GiB, more than "
                f"{MAX_BYTES / 2**30:.0f}: lower the kernel's width, n_networks or n_components."
            )
        return kernel

    def _block_size(self) -> int | str:
        if isinstance(self.block_size, str) and self.block_size == "auto":
            return "auto"
        return check_integer("Moments", "block_size", self.block_size, minimum=1, also=' or "auto"')

    def _draws(self) -> int:
        return check_integer("Moments", "n_draws", self.n_draws, minimum=1)

    def _change(
        self, rows: Rows, targets: Floats | UnitVectors, rng: np.random.RandomState
    ) -> Change | None:
        """Return what is done to raw rows, if there is an augmentation."""
        augmentation = get_augmentation("Moments", self.augment)
        if augmentation is None:
            return None
        shape = None if self.image_shape is None else tuple(int(n) for n in self.image_shape)
        with own_settings():
            X, y = rows.raw(64), targets[:64]
            _apply.check("Moments", augmentation, X, y, shape)
            if mixes_rows(augmentation, X, y, shape):
                rule = (
                    "an augmentation that leaves each row the target of its own (one that mixes "
                    "rows, such as MixUp, would mix neighbours alone in a pass over rows in their "
                    "order: give it to KIPDistiller, whose `fit` draws batches of rows)"
                )
                raise refuse("Moments", "augment", rule, self.augment)
            function = None
            if self.preprocess is not None:
                function = as_function("Moments", self.preprocess, self.dtype)
                check_function("Moments", function, X, rows.transformed(X))
            key = jax.random.key(int(rng.randint(2**31)), impl=PRNG)
            # Each call draws its own, whatever the seed.
            key = jax.random.fold_in(key, int(self._sums.n_rows) if hasattr(self, "_sums") else 0)
        return Change(key, function, augmentation, shape)

    def _private(self, way: Way, sample_weight: ArrayLike | None) -> Way:
        """Return the way to features of bounded norm."""
        check_positive("Moments", "epsilon", self.epsilon)
        if not 0 < check_positive("Moments", "delta", self.delta) < 1:
            raise refuse("Moments", "delta", "a number > 0 and < 1", self.delta)
        if sample_weight is not None:
            raise ValueError("Moments with epsilon take no sample_weight: a row could weigh more.")
        if way.change is not None and without_flip(way.change.augmentation)[1] is not as_it_is:
            rule = 'None or "flip" with epsilon: others may mix rows'
            raise refuse("Moments", "augment", rule, self.augment)
        return replace(way, max_norm=check_positive("Moments", "max_norm", self.max_norm))

    def _check_sums(self, kernel: JaxKernel, sums: Sums) -> None:
        """Refuse features that are too large to be squared and summed."""
        if np.isfinite(np.diag(sums.H)).all() and np.isfinite(sums.C).all():
            return
        raise ValueError(
            f"X must have rows whose features under {kernel!r} have finite squares in "
            f"{self.dtype}. Got sums that are not finite instead: standardise the rows, for "
            "instance with preprocess=StandardScaler().fit(X), or set dtype='float64'."
        )

    def _noisy(self, sums: Sums) -> Sums:
        """Return the release of private sums: what it does not have is not known."""
        epsilon = check_positive("Moments", "epsilon", self.epsilon)
        H, C, y = noisy_sums(
            sums.H, sums.C, sums.y, epsilon, self.delta, self.max_norm, _noise_generator()
        )
        n = max(float(y.sum()), 1.0)
        unknown = np.full_like(sums.x, np.nan)
        noise = noise_deviation(epsilon, self.delta, np.sqrt(3) * self.max_norm**2) ** 2
        return Sums(n, n, H, C, C.sum(axis=1), y, y, unknown, unknown, noise)

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

    def _described(self, kernel: JaxKernel, n_outputs: int) -> dict[str, str]:
        """Return what moments have to have in common to be added."""
        names = getattr(self, "feature_names_in_", None)
        classes = "None" if self.classes is None else str(self._classes().tolist())
        return {
            "kernel": describe(kernel),
            "preprocess": described_transformer(self.preprocess),
            "classes": classes,
            "number of outputs": str(n_outputs),
            "columns": f"{self.n_features_in_} {'' if names is None else names.tolist()}",
        }

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


def _noise_generator() -> np.random.Generator:
    """Return a generator that the operating system seeds.

    The noise of two calls must not be the same: it would cancel in their difference.
    """
    return np.random.default_rng()


def _error_without_rows(kernel: JaxKernel) -> ValueError | None:
    """Return why a kernel cannot be used before rows came, from which parameters may be set."""
    try:
        kernel.function()
    except ValueError as error:
        return error
    return None


def check_finite(owner: str, kernel: JaxKernel) -> None:
    """Refuse a kernel without finite features that stay the same."""
    if kernel.function().is_finite:
        return
    raise ValueError(
        f"The 'kernel' parameter of {owner} must have finite features that stay the same. Got "
        f"{kernel!r} instead: take Landmarks(kernel, n_components), which approximates any kernel, "
        "RandomFeatures(..., resample=False), Polynomial, FullyConnected(depth=0), or Invariant "
        "of one of these."
    )
