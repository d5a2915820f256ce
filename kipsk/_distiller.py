"""What all distillers share: data in, a support set out, and the predictor that it is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from kipsk._checks import check_integer, check_not_images, check_option, check_positive
from kipsk._kernel_ridge import KernelRidgeNTK
from kipsk._targets import decision, one_hot
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel


class Data(NamedTuple):
    """Validated training data: rows, class codes, centred one-hot targets."""

    X: NDArray[Any]  # (n, n_features), in the estimator's dtype
    codes: NDArray[np.intp]  # (n,)
    y: NDArray[Any]  # (n, n_classes), in the estimator's dtype


class BaseDistiller(ClassifierMixin, BaseEstimator):
    """A classifier that is a small support set.

    Subclasses have the parameters ``kernel``, ``reg``, ``block_size`` and ``dtype`` and call, in
    `fit`, `_validate`, `_resolve` and `_publish`.
    """

    kernel: str | JaxKernel
    reg: float | str
    block_size: int | str
    dtype: str
    classes_: NDArray[Any]
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
        return self.X_s_, self.y_s_

    def fit_resample(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Fit and return the support set with hard labels, imbalanced-learn's protocol.

        The support is an excellent compressed *model* (of this estimator), not always a good
        training set for a model of another kind: the largest entry of a learned label throws away
        what the others say, and rows trained for long leave the range of the data. On digits with
        10 rows per class, kernel ridge regression on the set scored .983, but an SVC trained on it
        .661 with learned labels and .857 with fixed ones; k-means centres gave .904. For other
        models prefer ``labels="fixed"``, ``init="kmeans"`` and few steps (5 to 50), and compare
        with a random subset on held-out rows.

        Returns
        -------
        X_s : ndarray of shape (n_support, n_features)
        y_hard : ndarray of shape (n_support,)
            The class of each label's largest entry.
        """
        X_s, y_s = self.fit_distill(X, y)
        return X_s, self.classes_[np.argmax(y_s, axis=1)]

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return outputs of shape (n_samples, n_classes), or (n_samples,) if binary."""
        return decision(self._outputs(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of the largest output of kernel ridge regression on the support."""
        winners = np.argmax(self._outputs(X), axis=1)
        return self.classes_[winners]

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        check_not_images("X", X)
        X = validate_data(self, X, dtype=self.dtype, reset=False)
        return self.predictor_.predict(X)

    def _validate(self, X: Any, y: Any) -> Data:
        """Check the data and the parameters that all distillers have."""
        name = type(self).__name__
        check_option(name, "dtype", self.dtype, ("float32", "float64"))
        if self.block_size != "auto":
            check_integer(name, "block_size", self.block_size, minimum=1, also=' or "auto"')
        check_not_images("X", X)
        X, y = validate_data(self, X, y, dtype=self.dtype)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{name} needs at least 2 classes in y. Got 1 class instead: {self.classes_[0]!r}."
            )
        return Data(X, codes, one_hot(codes, len(self.classes_), X.dtype))

    def _resolve(self, X: NDArray[Any]) -> tuple[JaxKernel, float]:
        """Return the kernel fitted to the data and the relative ridge."""
        kernel = get_kernel(self.kernel).resolve(X)
        if isinstance(self.reg, str):
            check_option(type(self).__name__, "reg", self.reg, ("auto",), also=" or a number")
            return kernel, kernel.recommended_reg
        name = type(self).__name__
        return kernel, check_positive(name, "reg", self.reg, zero=True, also=' or "auto"')

    def _publish(self, X_s: NDArray[Any], y_s: NDArray[Any], kernel: JaxKernel, reg: float) -> None:
        """Store the support set and the predictor that it is, as numpy and plain objects."""
        self.X_s_ = np.asarray(X_s, dtype=self.dtype)
        self.y_s_ = np.asarray(y_s, dtype=np.float64)
        self.kernel_ = kernel
        self.reg_ = reg
        self.predictor_ = KernelRidgeNTK(kernel, reg=reg, block_size=self.block_size).fit(
            self.X_s_, self.y_s_
        )
