"""Kernel ridge regression with infinite-width kernels: a regressor and a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax.tree_util import Partial
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from kipsk._checks import (
    check_integer,
    check_labels,
    check_not_images,
    check_numbers,
    check_option,
    check_positive,
    check_present,
    refuse,
)
from kipsk._closed_form import _ridge
from kipsk._data._labels import class_targets, is_target_matrix
from kipsk._data._weights import check_class_weight, row_weights
from kipsk._engine import current, map_rows
from kipsk._engine._sizes import block_bytes, block_size_for
from kipsk._estimators._one_hot import OneHotClassifierMixin
from kipsk._estimators._ridge_choice import searched_regs, solved
from kipsk._estimators._rounding import (
    warn_of_alike,
    warn_of_heavy_rows,
    warn_of_kernel,
    warn_of_ridge,
)
from kipsk._jax import own_settings
from kipsk._types import AnyArray, Float64s, Ints, MatrixLike
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel, KernelFunction, evaluate
from kipsk.kernels._registry import get_kernel

_PRECOMPUTED_REG = 1e-6
_DTYPES = (np.float64, np.float32)  # every other dtype becomes float64
_REG_ALSO = ', "auto" or a sequence of such numbers'


class Asker(NamedTuple):
    """The estimator that a fit is part of.

    Attributes
    ----------
    name : str
        As warnings name it.
    dtype : {"float32", "float64"} or None
        Of the rows that it learned from; None if it warns of these rows at another place.
    """

    name: str
    dtype: str | None


QUIET = Asker("", None)


@jax.jit
def _predict(function: KernelFunction, X_s: jax.Array, alpha: jax.Array, X: jax.Array) -> jax.Array:
    """Return the predictions for rows X, with the kernel in the precision of X_s."""
    X = X.astype(X_s.dtype)
    K_st = function.cross(function.prepare(X_s), function.prepare(X))
    return _ridge.predict(K_st.astype(X.dtype), alpha)


class _BaseKernelRidge(BaseEstimator):
    """What the regressor and the classifier share: the closed form and its predictions."""

    def __init__(
        self,
        kernel: str | JaxKernel = "fc1",
        *,
        reg: float | str | Sequence[float] = "auto",
        block_size: int | str = "auto",
        dtype: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.reg = reg
        self.block_size = block_size
        self.dtype = dtype
        self.verbose = verbose

    def _fit_targets(
        self,
        X: AnyArray,
        Y: Float64s,
        sample_weight: ArrayLike | None,
        may_be_learned: bool,
        asker: Asker | None = None,
    ) -> None:
        """Fit validated rows (or a precomputed kernel matrix) and targets (n, n_outputs).

        `may_be_learned` tells whether the targets may be the soft labels of a distilled set.
        """
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        used = np.flatnonzero(weight)
        if not len(used):
            raise ValueError("sample_weight must have a positive entry. Got only zeros instead.")
        K = self._gram(X, Y, used)
        self._warn_of_rows(X, K, asker)
        # Weighted least squares is least squares on rows that are scaled by sqrt(weight). The
        # ridge is relative to the weighted mean of the diagonal, so that a row of weight 2 counts
        # as a row that is given twice.
        mean = np.average(np.diag(K), weights=weight)
        root = np.sqrt(weight[used])
        if sample_weight is not None:
            K = K[np.ix_(used, used)] * np.outer(root, root)
        regs, is_auto = self._regs(may_be_learned), isinstance(self.reg, str)
        self.__dict__.pop("loo_errors_", None)  # of an earlier fit
        found = solved(K, Y[used] * root[:, None], mean, root, regs, is_auto)
        self.reg_ = found.reg
        if found.errors is not None:
            self.loo_errors_ = found.errors
        if sample_weight is None and asker is None:
            self._warn_of_mean(Y, self.reg_ * mean * found.alpha)
            if found.errors is None and not is_auto and isinstance(self.kernel_, JaxKernel):
                # The user chose the ridge, and not the rows.
                warn_of_ridge(type(self).__name__, K, self.reg_)
        self.X_fit_ = X
        self.dual_coef_ = np.zeros_like(Y)
        self.dual_coef_[used] = root[:, None] * found.alpha

    def _warn_of_rows(self, X: AnyArray, K: Float64s, asker: Asker | None) -> None:
        """Warn of rows that the kernel does not tell apart, or of which one outweighs all."""
        if not isinstance(self.kernel_, JaxKernel) or np.array_equal(X.min(axis=0), X.max(axis=0)):
            return
        name, dtype = asker or (type(self).__name__, "float64")
        if dtype is not None:
            warn_of_alike(name, self.kernel_, K, dtype)
        if asker is None:  # others have looked at their rows themselves
            warn_of_kernel(name, self.kernel_, X)
            warn_of_heavy_rows(name, K)

    def _warn_of_mean(self, Y: Float64s, residuals: Float64s) -> None:
        """Warn if targets are predicted worse on their own rows than their mean would do it."""
        errors, variances = np.mean(residuals**2, axis=0), np.var(Y, axis=0)
        worst = int(np.argmax(errors - variances))
        # A constant target has the variance of its rounding.
        if errors[worst] > 2 * variances[worst] > 1e-24 * np.mean(Y[:, worst] ** 2):
            warn(
                f"{type(self).__name__} has no intercept, and the ridge of reg={self.reg_:.3g} "
                f"takes {errors[worst] ** 0.5:.3g} from the mean {Y[:, worst].mean():.3g} of y, "
                f"whose deviation is {variances[worst] ** 0.5:.3g}: fit on y - y.mean(), for "
                "instance in a TransformedTargetRegressor with StandardScaler, or lower 'reg'."
            )

    def _gram(self, X: AnyArray, Y: Float64s, used: Ints) -> Float64s:
        """Return the kernel matrix of the rows; set ``kernel_`` from those of positive weight."""
        if self._is_precomputed():
            self.kernel_: JaxKernel | str = "precomputed"
            K = X.astype(np.float64, copy=False)
        else:
            self.kernel_ = get_kernel(self.kernel).resolve(X[used])._trained(X[used], Y[used])
            with own_settings():
                K = np.asarray(evaluate(self.kernel_.function(), X.astype(np.float64)))
        _ridge.check_finite_gram(K, "K_ss")
        return K

    def _regs(self, may_be_learned: bool) -> Float64s:
        """Return the relative ridges among which the best is taken."""
        name = type(self).__name__
        if isinstance(self.reg, str):
            check_option(name, "reg", self.reg, ("auto",), also=", a number or a sequence of them")
            kernel = self.kernel_
            own = kernel.recommended_reg if isinstance(kernel, JaxKernel) else _PRECOMPUTED_REG
            # Learned rows do not predict each other, so leaving one out tells nothing of others.
            return np.array([own] if may_be_learned else searched_regs(own))
        grid = [self.reg] if np.ndim(self.reg) == 0 else list(self.reg)  # type: ignore[arg-type]
        values = [check_positive(name, "reg", reg, zero=True, also=_REG_ALSO) for reg in grid]
        if not values:
            raise ValueError(
                f"The 'reg' parameter of {name} must not be empty. Got {self.reg!r} instead: pass "
                'a number, "auto" or a sequence of numbers.'
            )
        return np.array(values)

    def _predict_targets(self, X: MatrixLike) -> Float64s:
        """Return the predictions for rows, or for their kernel with the training rows."""
        check_is_fitted(self, "dual_coef_")
        check_not_images("X", X)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        if isinstance(self.kernel_, str):
            return np.asarray(X.astype(np.float64) @ self.dual_coef_)
        auto = getattr(self.kernel_, "recommended_dtype", "float64")
        dtype = np.dtype(auto if self.dtype == "auto" else self.dtype)
        function, X_fit = self.kernel_.function(), self.X_fit_.astype(dtype, copy=False)
        row_size = X.shape[1] + function.row_size(X.shape[1])
        size = block_size_for(
            self.block_size,
            len(self.X_fit_),
            row_size,
            dtype.itemsize,
            function.pair_size(X.shape[1]),
        )
        with own_settings():
            predictions = map_rows(
                Partial(_predict, function, X_fit, self.dual_coef_),
                X,
                size,
                engine=current(function.is_slow(X.shape[1])),
                task_bytes=block_bytes(size, len(X_fit), row_size, dtype.itemsize),
                progress="predict" if self.verbose else None,
            )
        # Predictions are in float32 only if the user asked for it.
        return predictions.astype(np.float64, copy=False) if self.dtype == "auto" else predictions

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_option(name, "dtype", self.dtype, ("auto", "float32", "float64"))
        if self.block_size != "auto":
            check_integer(name, "block_size", self.block_size, minimum=1, also=' or "auto"')

    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _check_square(self, X: AnyArray) -> None:
        if self._is_precomputed() and X.shape[0] != X.shape[1]:
            raise ValueError(
                f"A precomputed kernel must be a square matrix in fit. Got shape {X.shape} instead."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._is_precomputed()
        return tags


class KernelRidgeNTK(MultiOutputMixin, RegressorMixin, _BaseKernelRidge):
    r"""Kernel ridge regression with a kernel of `kipsk.kernels`.

    Fits ``alpha = (K_ss + reg * trace(K_ss) / n * I)^-1 y`` and predicts ``K_ts alpha``. There is
    no intercept: centre y if its mean is far from zero.

    Parameters
    ----------
    kernel : str or kernel object, default="fc1"
        A name known to `kipsk.kernels.get_kernel`, a kernel object, or "precomputed": X is then
        the kernel matrix, (n, n) in `fit` and (n_test, n) in `predict`.
    reg : float, "auto" or sequence of float, default="auto"
        The relative ridge: the matrix is regularised by ``reg`` times its mean diagonal entry.
        Of a sequence, the value with the smallest leave-one-out error is taken; one
        eigendecomposition serves all values. "auto" does so with what the kernel recommends (1e-6,
        or 5e-3 for sampled networks) and 1e-4, 1e-3, ..., 1, on at most 2000 of the rows, drawn
        from a fixed seed. A row that is there twice is predicted by its copy, so the ridge becomes
        too small: give copies as `sample_weight`. Where y has several columns, which may be the
        soft labels of learned rows, "auto" is what the kernel recommends. For rows that were
        learned, pass the ridge that they were learned with, ``distiller.reg_``.
    block_size : int or "auto", default="auto"
        The number of rows that are predicted at a time. "auto" bounds the memory.
    dtype : {"auto", "float64", "float32"}, default="auto"
        The precision of the kernel in `predict`; the fit is always in float64. "auto" is what the
        kernel recommends: float32 for exact convolutional kernels, else float64. With a small
        ridge ``dual_coef_`` is large and of both signs, so that float32 leaves about three digits
        of a prediction, in half the time or less.
    verbose : int, default=0
        1 shows a progress bar in `predict`.

    Attributes
    ----------
    dual_coef_ : ndarray of shape (n, n_outputs) or (n,)
        The dual coefficients alpha.
    X_fit_ : ndarray of shape (n, n_features)
        The training rows, or their kernel matrix if `kernel` is "precomputed".
    kernel_ : kernel object
        The kernel with its data-dependent parameters set.
    reg_ : float
        The relative ridge that was used.
    loo_errors_ : ndarray of shape (n_regs,)
        The mean squared leave-one-out error of each ridge, in the order of `reg`, or from the
        smallest of "auto" on; only where there is a choice.
    n_features_in_ : int
        The number of features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The names of the features, if all of them are strings.

    See Also
    --------
    KernelRidgeNTKClassifier : The same for class labels.
    KIPRegressor : Learns a few rows that predict as well as all rows.
    kipsk.kernels.get_kernel : Lists the kernels that have names.
    sklearn.kernel_ridge.KernelRidge : Takes the same kernel objects; its ``alpha`` is absolute.

    Notes
    -----
    A fit takes the memory of about five float64 matrices of n x n.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from kipsk import KernelRidgeNTK
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = KernelRidgeNTK(reg=[1e-3, 1e-2, 1e-1]).fit(X, y - y.mean())
    >>> bool(model.score(X, y - y.mean()) > 0.5)
    True
    """

    def fit(self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None) -> Self:
        """Solve for the dual coefficients.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or (n, n) if the kernel is precomputed
            The training rows, or their kernel matrix.
        y : array-like of shape (n,) or (n, n_outputs)
            Any real targets, and so also the soft labels of a distilled set.
        sample_weight : array-like of shape (n,), default=None
            The weight of each row. A row of weight 2 counts as a row that is given twice, with two
            exceptions: a leave-one-out error ("auto" or a sequence as `reg`) leaves out both, and
            ``length_scale="auto"`` counts the row once.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data break a rule, or if the kernel matrix is not finite or, with
            the ridge added, not positive definite. The message says which parameter to raise.
        """
        return self._fit(X, y, sample_weight)

    def _fit(
        self,
        X: MatrixLike,
        y: MatrixLike,
        sample_weight: ArrayLike | None = None,
        asker: Asker | None = None,
    ) -> Self:
        """Fit, as part of the fit of another estimator if there is an `asker`."""
        self._check_parameters()
        check_not_images("X", X)
        check_present(y)
        X, y = validate_data(self, X, y, dtype=_DTYPES, multi_output=True, y_numeric=True)
        self._check_square(X)
        targets = check_numbers("y", y)
        columns = targets.reshape(len(X), -1)
        several = columns.shape[1] > 1
        self._fit_targets(X, columns, sample_weight, may_be_learned=several, asker=asker)
        if targets.ndim == 1:
            self.dual_coef_ = self.dual_coef_[:, 0]
        return self

    def predict(self, X: MatrixLike) -> Float64s:
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or (n_samples, n) if precomputed
            Rows as in `fit`, or their kernel with the rows of `fit`.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In float64; in float32 with ``dtype="float32"``.
        """
        return self._predict_targets(X)


class KernelRidgeNTKClassifier(OneHotClassifierMixin, _BaseKernelRidge):
    """Kernel ridge regression on centred one-hot labels, as a classifier.

    This is `KernelRidgeNTK` on ``one_hot(y) - 1 / n_classes``. The predicted class is that of the
    largest output.

    Parameters
    ----------
    kernel : str or kernel object, default="fc1"
        As in `KernelRidgeNTK`.
    reg : float, "auto" or sequence of float, default="auto"
        As in `KernelRidgeNTK`.
    block_size : int or "auto", default="auto"
        As in `KernelRidgeNTK`.
    dtype : {"auto", "float64", "float32"}, default="auto"
        As in `KernelRidgeNTK`.
    classes : array-like of shape (n_classes,), default=None
        The class of each column of y, which is needed if `fit` gets a matrix of targets, such as
        the soft labels of a distilled set.
    class_weight : None, "balanced" or dict, default=None
        How much the training rows of each class count: alike, so that frequent classes outweigh
        rare ones; "balanced", so that all classes count alike; or a weight for each class label (1
        for those that are not named). It multiplies `sample_weight`, and is not for a matrix of
        targets.
    verbose : int, default=0
        As in `KernelRidgeNTK`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes: sorted, or in the order of `classes` if that is given.
    dual_coef_ : ndarray of shape (n, n_classes)
        As in `KernelRidgeNTK`.
    X_fit_, kernel_, reg_, loo_errors_, n_features_in_, feature_names_in_
        As in `KernelRidgeNTK`.

    See Also
    --------
    KernelRidgeNTK : The same for real targets.
    KIPDistiller : Learns a few rows that predict as well as all rows.
    kipsk.networks.FiniteNetworkClassifier : The network whose limit of infinite width this is.

    Notes
    -----
    The errors and the memory are those of `KernelRidgeNTK`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from kipsk import KernelRidgeNTKClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(KernelRidgeNTKClassifier(reg=1e-3).fit(X, y).score(X, y) > 0.95)
    True
    """

    def __init__(
        self,
        kernel: str | JaxKernel = "fc1",
        *,
        reg: float | str | Sequence[float] = "auto",
        block_size: int | str = "auto",
        dtype: str = "auto",
        classes: ArrayLike | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(kernel, reg=reg, block_size=block_size, dtype=dtype, verbose=verbose)
        self.classes = classes
        self.class_weight = class_weight

    def fit(self, X: MatrixLike, y: MatrixLike, sample_weight: ArrayLike | None = None) -> Self:
        """Solve for the dual coefficients.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or (n, n) if the kernel is precomputed
            The training rows, or their kernel matrix.
        y : array-like of shape (n,), or (n, n_classes) with `classes` given
            Class labels of any type, or a matrix of real targets.
        sample_weight : array-like of shape (n,), default=None
            As in `KernelRidgeNTK`.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            For the reasons that `KernelRidgeNTK` has, if y holds one class only, or if y is a
            matrix and `classes` is None.
        """
        self._check_parameters()
        check_not_images("X", X)
        check_class_weight(type(self).__name__, self.class_weight)
        is_matrix = is_target_matrix(y, self.classes)
        if is_matrix and self.class_weight is not None:
            rule = "None with a matrix of targets, whose rows have no class: give `sample_weight`"
            raise refuse(type(self).__name__, "class_weight", rule, self.class_weight)
        (check_present if is_matrix else check_labels)(y)
        X, y = validate_data(self, X, y, dtype=_DTYPES, multi_output=is_matrix)
        self._check_square(X)
        classes, targets = class_targets(type(self).__name__, y, self.classes, is_matrix)
        if self.class_weight is not None:
            codes = targets.argmax(axis=1)
            own = row_weights(type(self).__name__, self.class_weight, classes, codes)
            given = _check_sample_weight(sample_weight, X, dtype=np.float64)
            sample_weight = given * own
        self._fit_targets(X, targets, sample_weight, may_be_learned=is_matrix)
        self.classes_ = classes
        return self
