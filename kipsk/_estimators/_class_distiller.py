"""Distillers of classes: what they share with scikit-learn's classifiers and with samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Coding
from kipsk._data._containers import labels_like, list_like, rows_like
from kipsk._data._labels import single_labels
from kipsk._data._support import Support
from kipsk._estimators._distiller import BaseDistiller
from kipsk._estimators._members import Member
from kipsk._estimators._one_hot import OneHotClassifierMixin
from kipsk._estimators._sampler import SamplerMixin, rows_of_classes
from kipsk._types import AnyArray, Float64s, Floats, MatrixLike
from kipsk.kernels._base import JaxKernel


class ClassDistiller(SamplerMixin, OneHotClassifierMixin, BaseDistiller):
    """A classifier that is a small support set, and a sampler in imbalanced-learn's sense."""

    _coding = ClassCoding

    def fit_resample(self, X: MatrixLike, y: MatrixLike) -> tuple[MatrixLike, MatrixLike]:
        """Fit and return the support set with hard labels, imbalanced-learn's protocol.

        The support is an excellent compressed *model* (of this estimator), not always a good
        training set for a model of another kind: the largest entry of a solved label throws away
        what the others say, and may be another class than the row's own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, images flattened.
        y : array-like of shape (n_samples,)
            Class labels of any type; or one-vs-all, of shape (n_samples, n_classes), as
            `sklearn.preprocessing.label_binarize` returns them.

        Returns
        -------
        X_s : ndarray of shape (n_support, n_features)
            A DataFrame with the columns of X if X is one, a list if it is one.
        y_hard : ndarray of shape (n_support,)
            The class of each label's largest entry; a Series of the same name and dtype if y is
            one, a list if it is one, one-vs-all if it is that.
        """
        X_s, labels = self._resampled(X, *self.fit_distill(X, single_labels(y)))
        return list_like(X, X_s), labels_like(y, labels)

    def get_feature_names_out(self, input_features: MatrixLike | None = None) -> AnyArray:
        """Return the names of the columns of the rows that `fit_resample` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            The names of the features of X. None stands for ``feature_names_in_``, or for "x0",
            "x1" and so on.

        Returns
        -------
        names : ndarray of str objects of shape (n_features_out,)
            Those of X, or what a `preprocess` makes of them.
        """
        names: AnyArray = super().get_feature_names_out(input_features)
        transformer = getattr(self, "preprocess_", None)
        return names if transformer is None else transformer.get_feature_names_out(names)

    def _fitted(
        self,
        support: Support,
        coding: Coding,
        members: Sequence[Member],
        predict_kernel: JaxKernel | None = None,
    ) -> dict[str, Any]:
        attributes = super()._fitted(support, coding, members, predict_kernel)
        classes = attributes["classes_"]
        labels = classes[np.argmax(attributes["y_s_"], axis=1)]
        return attributes | {"sampling_strategy_": rows_of_classes(classes, labels)}

    def _resampled(self, X: MatrixLike, X_s: Floats, y_s: Floats) -> tuple[MatrixLike, AnyArray]:
        """Return rows, as a DataFrame if X is one, and the class of each label's largest entry."""
        if not hasattr(self, "preprocess_"):
            X_s = rows_like(X, X_s)
        return X_s, self.classes_[np.argmax(y_s, axis=1)]

    def _score_of(self, predictions: Float64s, y: AnyArray) -> float:
        known = self.classes_.tolist()
        if not set(y.tolist()) & set(known):  # 1 and "1" are not equal
            raise ValueError(
                f"y must hold class labels of the kind that {type(self).__name__} was fitted on, "
                f"such as {known[0]!r}. Got {y.tolist()[0]!r} instead: give them as in fit."
            )
        return float(np.mean(self.classes_[predictions.argmax(axis=1)] == y))
