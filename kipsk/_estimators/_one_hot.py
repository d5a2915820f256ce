"""What classifiers share that are regressions on centred one-hot labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import ClassifierMixin

from kipsk._data._labels import decision
from kipsk._types import AnyArray, Float64s, Floats, MatrixLike


class OneHotClassifierMixin(ClassifierMixin):
    """A classifier that is a regression on centred one-hot labels."""

    classes_: AnyArray

    if TYPE_CHECKING:  # subclasses define it

        def _predict_targets(self, X: MatrixLike) -> Float64s: ...

    def decision_function(self, X: MatrixLike) -> Floats:
        """Return the score of each class: the prediction of its centred one-hot label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        decisions : ndarray of shape (n_samples, n_classes), or (n_samples,) if binary
            Columns are in the order of ``classes_``. With two classes there is one number for each
            row, the score of the second class minus that of the first.
        """
        return decision(self._predict_targets(X))

    def predict(self, X: MatrixLike) -> AnyArray:
        """Return the class with the largest score for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Entries of ``classes_``.
        """
        winners = np.argmax(self._predict_targets(X), axis=1)
        return self.classes_[winners]
