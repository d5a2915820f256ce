"""What all distillers share: data in, a support set out, and the predictor that it is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from kipsk._checks import check_auto, check_integer, check_not_images, check_option
from kipsk._kernel_ridge import KernelRidgeNTK, OneHotClassifierMixin
from kipsk._targets import encode, one_hot
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel


class Data(NamedTuple):
    """Validated training data: rows, class codes, centred one-hot targets."""

    X: NDArray[Any]  # (n, n_features), in the estimator's dtype
    classes: NDArray[Any]  # (n_classes,), sorted
    codes: NDArray[np.intp]  # (n,)
    y: NDArray[Any]  # (n, n_classes), in the estimator's dtype

    def rows(self, which: NDArray[Any]) -> Data:
        """Return some of the rows, by a mask or indices."""
        return Data(self.X[which], self.classes, self.codes[which], self.y[which])


class BaseDistiller(OneHotClassifierMixin, BaseEstimator):
    """A classifier that is a small support set.

    Subclasses have the parameters ``kernel``, ``reg``, ``block_size``, ``dtype`` and ``verbose``
    and call, in `fit`, `_kernel_and_reg`, `_validate` and `_publish`.
    """

    kernel: str | JaxKernel
    reg: float | str
    block_size: int | str
    dtype: str
    verbose: int
    X_s_: NDArray[Any]
    y_s_: NDArray[np.float64]

    @abstractmethod
    def fit(self, X: Any, y: Any) -> Self:
        """Learn the support set."""

    def fit_distill(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Fit and return the support set with its soft labels.

        Returns
        -------
        X_s : ndarray of shape (n_support, n_features)
        y_s : ndarray of shape (n_support, n_classes)
            Centred: real class labels would be one-hot minus ``1 / n_classes``. They train
            `KernelRidgeNTK` and other regressors.
        """
        self.fit(X, y)
        return self.X_s_.copy(), self.y_s_.copy()

    def fit_resample(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Fit and return the support set with hard labels, imbalanced-learn's protocol.

        The support is an excellent compressed *model* (of this estimator), not always a good
        training set for a model of another kind: the largest entry of a learned label throws away
        what the others say (and may be another class than the row started from, so classes need
        not be balanced), and rows trained for long leave the range of the data. An SVC trained on
        it can do worse than on a random subset of the size. For other models prefer
        ``init="kmeans"``, ``max_iter`` of 5 to 50, ``reg=1e-3`` and ``labels="fixed"``, and compare
        with a random subset on held-out rows; docs/results.md has a table.

        Returns
        -------
        X_s : ndarray of shape (n_support, n_features)
            A DataFrame with the columns of X if X is one.
        y_hard : ndarray of shape (n_support,)
            The class of each label's largest entry.
        """
        X_s, y_s = self.fit_distill(X, y)
        if hasattr(X, "iloc"):
            X_s = type(X)(X_s, columns=X.columns)
        return X_s, self.classes_[np.argmax(y_s, axis=1)]

    def _predict_targets(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "predictor_")
        check_not_images("X", X)
        X = validate_data(self, X, dtype=self.dtype, reset=False)
        return self.predictor_.predict(X)

    def _kernel_and_reg(self) -> tuple[JaxKernel, float]:
        """Check the parameters that all distillers have; return the kernel and relative ridge."""
        name = type(self).__name__
        check_option(name, "dtype", self.dtype, ("float32", "float64"))
        if self.block_size != "auto":
            check_integer(name, "block_size", self.block_size, minimum=1, also=' or "auto"')
        kernel = get_kernel(self.kernel)
        return kernel, check_auto(name, "reg", self.reg, kernel.recommended_reg, zero=True)

    def _validate(self, X: Any, y: Any) -> Data:
        """Check the data."""
        check_not_images("X", X)
        X, y = validate_data(self, X, y, dtype=self.dtype)
        classes, codes = encode(type(self).__name__, y)
        return Data(X, classes, codes, one_hot(codes, len(classes), X.dtype))

    def _publish(
        self,
        X_s: NDArray[Any],
        y_s: NDArray[Any],
        classes: NDArray[Any],
        kernel: JaxKernel,
        reg: float,
        predict_kernel: JaxKernel | None = None,
    ) -> None:
        """Store the support set and the predictor that it is, as numpy and plain objects."""
        self.X_s_ = np.array(X_s, dtype=self.dtype)
        self.y_s_ = np.array(y_s, dtype=np.float64)
        self.classes_ = classes
        self.kernel_ = kernel
        self.reg_ = reg
        predictor = KernelRidgeNTK(
            predict_kernel or kernel,
            reg=reg,
            block_size=self.block_size,
            dtype="auto" if self.dtype == "float32" else self.dtype,
            verbose=self.verbose,
        )
        self.predictor_ = predictor.fit(self.X_s_, self.y_s_)
