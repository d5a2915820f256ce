"""A classifier whose outputs regress centred one-hot labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from kipsk._data._labels import decision


class OneHotClassifierMixin(ClassifierMixin):
    """A classifier whose outputs regress centred one-hot labels."""

    classes_: NDArray[Any]

    if TYPE_CHECKING:

        def _predict_targets(self, X: Any) -> NDArray[np.float64]: ...

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return how much speaks for each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        decisions : ndarray of shape (n_samples, n_classes), or (n_samples,) if binary
            In the order of ``classes_``. Binary ones are differences, positive for the second
            class.
        """
        return decision(self._predict_targets(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of the largest output for each row.

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
