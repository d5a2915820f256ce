"""What y stands for: the contract of a coding, and validated data.

Everything that a classifier and a regressor do differently with y is in a coding: class labels in
`_classes`, real numbers in `_numbers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from kipsk._types import AnyArray, Floats, Given, Ints


class Data(NamedTuple):
    """Validated training data.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        The rows, in the estimator's dtype.
    coding : Coding
        What the targets stand for.
    codes : ndarray of shape (n,)
        The stratum of each row: its class, or 0 if y holds numbers. Batches and held-out rows have
        the strata in the proportions of all rows.
    y : ndarray of shape (n, n_outputs)
        The targets, in the estimator's dtype.
    weight : ndarray of shape (n,) or None
        How much each row counts, 1 on average over all rows; None is 1.
    """

    X: Floats
    coding: Coding
    codes: Ints
    y: Floats
    weight: Floats | None = None

    def rows(self, which: AnyArray) -> Data:
        """Return some of the rows, by a mask or by indices."""
        weight = None if self.weight is None else self.weight[which]
        return Data(self.X[which], self.coding, self.codes[which], self.y[which], weight)

    def labels(self) -> AnyArray:
        """Return y as it was given."""
        return self.coding.labels(self)


class Coding(ABC):
    """The way from y to targets and back.

    Attributes
    ----------
    size_name : str
        The parameter that says how many rows a support set has.
    score_name : str
        The score of predictions, one of those in `kipsk._distil._objective`.
    validation : dict
        What scikit-learn's `validate_data` is told of y.
    """

    size_name: ClassVar[str]
    score_name: ClassVar[str]
    validation: ClassVar[dict[str, bool]]

    @staticmethod
    @abstractmethod
    def check(y: Given) -> None:
        """Refuse y as it was given, before scikit-learn's validation, whose words say less."""

    @classmethod
    @abstractmethod
    def encode(cls, owner: str, y: Given, dtype: DTypeLike) -> tuple[Self, Ints, Floats]:
        """Return the coding of y, the strata and the targets; refuse y of the other kind."""

    @classmethod
    @abstractmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Return the coding that a fitted estimator's attributes describe, by their names."""

    @classmethod
    @abstractmethod
    def of_file(cls, labels: AnyArray, arrays: Mapping[str, AnyArray]) -> tuple[Self, AnyArray]:
        """Return the coding and the targets of a support set that was read from a file."""

    @abstractmethod
    def is_like(self, other: Coding) -> bool:
        """Return whether a support set of this coding may continue a fit whose y has the other."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """The number of columns of the targets."""

    @property
    @abstractmethod
    def n_strata(self) -> int:
        """The number of strata."""

    @property
    @abstractmethod
    def attributes(self) -> dict[str, AnyArray]:
        """The fitted attributes that describe this coding, by their names."""

    @property
    @abstractmethod
    def arrays(self) -> dict[str, AnyArray]:
        """The arrays that describe this coding in a file."""

    @property
    @abstractmethod
    def given_rule(self) -> str:
        """What y of a given support set has to be, in words."""

    @abstractmethod
    def labels(self, data: Data) -> AnyArray:
        """Return y as it was given."""

    @abstractmethod
    def published(self, y_s: Floats) -> Floats:
        """Return targets of a support set as an estimator publishes them, ``y_s_``."""

    @abstractmethod
    def given(self, y_s: AnyArray, dtype: DTypeLike = np.float64) -> AnyArray:
        """Return ``y_s_``, or y of the same kind, as targets; return any other array as it is."""

    @abstractmethod
    def strata(self, y_s: Floats) -> Ints:
        """Return the stratum of each row of a support set."""

    @abstractmethod
    def made_targets(self, data: Data, X_s: Floats, codes_s: Ints, init: str) -> Floats:
        """Return the targets of rows that `init` made and that are not rows of the data."""

    @abstractmethod
    def warn_of_scarce(self, counts: Ints, size: int) -> None:
        """Warn if a stratum has fewer rows than a support set takes of each."""
