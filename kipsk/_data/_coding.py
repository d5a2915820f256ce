"""What y stands for: class labels or real numbers, as targets of kernel ridge regression.

Whatever a classifier and a regressor do differently with y is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from kipsk._data._labels import encode, one_hot
from kipsk._data._support import initial_support, resize_support
from kipsk._warn import warn

# One stratum, whose name no message shows.
_ALL_ROWS = np.array(["all"])


class Data(NamedTuple):
    """Validated training data.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        In the estimator's dtype.
    coding : Coding
        What the targets stand for.
    codes : ndarray of shape (n,)
        Strata, which batches and held-out rows have in proportion: class codes; 0 for numbers.
    y : ndarray of shape (n, n_outputs)
        Targets, in the estimator's dtype.
    """

    X: NDArray[Any]
    coding: Coding
    codes: NDArray[np.intp]
    y: NDArray[Any]

    def rows(self, which: NDArray[Any]) -> Data:
        """Return some of the rows, by a mask or indices."""
        return Data(self.X[which], self.coding, self.codes[which], self.y[which])

    def labels(self) -> NDArray[Any]:
        """Return y as it was given."""
        return self.coding.labels(self)


class Coding(ABC):
    """The way from y to targets and back.

    Attributes
    ----------
    size_name : str
        The parameter that says how many rows a support set has.
    score_name : str
        The score of predictions, of those in `kipsk._losses`.
    validation : dict
        What `validate_data` is told of y.
    """

    size_name: ClassVar[str]
    score_name: ClassVar[str]
    validation: ClassVar[dict[str, Any]]

    @classmethod
    @abstractmethod
    def encode(cls, owner: str, y: Any, dtype: Any) -> tuple[Self, NDArray[np.intp], NDArray[Any]]:
        """Return the coding of y, strata and targets; raise ValueError for y of another kind."""

    @classmethod
    @abstractmethod
    def of_fitted(cls, estimator: Any) -> Self:
        """Return the coding of a fitted estimator, from its attributes."""

    @classmethod
    @abstractmethod
    def of_file(cls, labels: NDArray[Any], arrays: Mapping[str, Any]) -> tuple[Self, NDArray[Any]]:
        """Return the coding and targets of a support set whose `arrays` were read from a file."""

    @abstractmethod
    def is_like(self, other: Any) -> bool:
        """Return whether a support set of one is one of the other."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Columns of the targets."""

    @property
    @abstractmethod
    def attributes(self) -> dict[str, NDArray[Any]]:
        """What is published on an estimator."""

    @property
    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is written to a file, beside the support set."""

    @property
    @abstractmethod
    def given_rule(self) -> str:
        """What y of a given support set has to be."""

    @abstractmethod
    def labels(self, data: Data) -> NDArray[Any]:
        """Return y as it was given."""

    @abstractmethod
    def published(self, y_s: NDArray[Any]) -> NDArray[Any]:
        """Return targets of a support set as ``y_s_``."""

    @abstractmethod
    def given(self, y_s: NDArray[Any], dtype: Any = np.float64) -> NDArray[Any]:
        """Return ``y_s_``, or y of the same kind, as targets; others as they are."""

    @abstractmethod
    def draw(
        self, data: Data, size: int, init: str, rng: np.random.RandomState
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp] | None]:
        """Return rows and targets to start from, and the rows' indices; see `initial_support`."""

    @abstractmethod
    def resize(
        self,
        X_s: NDArray[Any],
        y_s: NDArray[Any],
        data: Data,
        size: int,
        init: str,
        rng: np.random.RandomState,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a support set with rows taken away or added, as `draw` draws them."""


@dataclass(frozen=True)
class ClassCoding(Coding):
    """Class labels: targets are centred one-hot, strata are the classes.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted.
    """

    classes: NDArray[Any]
    size_name: ClassVar[str] = "ipc"
    score_name: ClassVar[str] = "accuracy"
    validation: ClassVar[dict[str, Any]] = {}

    def __str__(self) -> str:
        return f"classes {self.classes.tolist()}"

    @classmethod
    def encode(cls, owner: str, y: Any, dtype: Any) -> tuple[Self, NDArray[np.intp], NDArray[Any]]:
        """Return the coding of labels, their codes and their centred one-hot."""
        classes, codes = encode(owner, y)
        return cls(classes), codes, one_hot(codes, len(classes), dtype)

    @classmethod
    def of_fitted(cls, estimator: Any) -> Self:
        """Return the coding of a fitted classifier."""
        return cls(estimator.classes_)

    @classmethod
    def of_file(cls, labels: NDArray[Any], arrays: Mapping[str, Any]) -> tuple[Self, NDArray[Any]]:
        """Return the coding of a file: of its classes, or of 0, 1, and so on."""
        if "y_mean" in arrays:
            raise ValueError(
                "The file holds a support set of real targets, not of classes: load it into a "
                "KIPRegressor."
            )
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.ndim == 1:
            coding, _, targets = cls.encode("load_support", labels, np.float64)
            return coding, targets
        return cls(arrays.get("classes", np.arange(labels[0].size))), labels

    def is_like(self, other: Any) -> bool:
        """Return whether the classes are the same."""
        return np.array_equal(self.classes, other.classes)

    @property
    def n_outputs(self) -> int:
        """One for each class."""
        return self.classes.size

    @property
    def attributes(self) -> dict[str, NDArray[Any]]:
        """The classes."""
        return {"classes_": self.classes}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The classes, if they are of one plain type."""
        classes = np.array(self.classes.tolist())
        if classes.dtype.hasobject:
            raise ValueError(
                "Only classes of one plain type can be exported without a pickle. Got "
                f"{self.classes[:5]!r} instead: encode them, for instance with "
                "sklearn.preprocessing.LabelEncoder."
            )
        return {"classes": classes}

    @property
    def given_rule(self) -> str:
        """Soft or hard labels."""
        return f"{self.n_outputs} columns or of known class labels"

    def labels(self, data: Data) -> NDArray[Any]:
        """Return the class of each row."""
        return self.classes[data.codes]

    def published(self, y_s: NDArray[Any]) -> NDArray[Any]:
        """Return the targets: soft labels are published centred."""
        return y_s

    def given(self, y_s: NDArray[Any], dtype: Any = np.float64) -> NDArray[Any]:
        """Return the centred one-hot of hard labels, and others as they are."""
        if y_s.ndim == 1 and np.isin(y_s, self.classes).all():
            return one_hot(np.searchsorted(self.classes, y_s), self.n_outputs, dtype)
        return y_s

    def draw(
        self, data: Data, size: int, init: str, rng: np.random.RandomState
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp] | None]:
        """Return `size` rows of each class."""
        X_s, codes, indices = initial_support(data.X, data.codes, self.classes, size, init, rng)
        return X_s, one_hot(codes, self.n_outputs, data.y.dtype), indices

    def resize(
        self,
        X_s: NDArray[Any],
        y_s: NDArray[Any],
        data: Data,
        size: int,
        init: str,
        rng: np.random.RandomState,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a support set of `size` rows of each class."""
        X_s, y_s, _ = resize_support(
            X_s, y_s, y_s.argmax(axis=1), data.X, data.codes, self.classes, size, init, rng
        )
        return X_s, y_s


@dataclass(frozen=True)
class RealCoding(Coding):
    """Real numbers: targets are each output less its mean, over its deviation; one stratum.

    Attributes
    ----------
    mean, scale : ndarrays of shape (n_outputs,)
        The scale of a constant output is 1.
    is_1d : bool
        Whether y has one dimension.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    is_1d: bool
    size_name: ClassVar[str] = "n_support"
    score_name: ClassVar[str] = "R2"
    validation: ClassVar[dict[str, Any]] = {"multi_output": True, "y_numeric": True}

    def __str__(self) -> str:
        return "y of one dimension" if self.is_1d else f"y of {self.n_outputs} columns"

    @classmethod
    def encode(cls, owner: str, y: Any, dtype: Any) -> tuple[Self, NDArray[np.intp], NDArray[Any]]:
        """Return the coding of numbers, zeros and the standardised numbers."""
        if np.asarray(y).dtype.kind in "USmMV":
            raise ValueError(
                f"{owner} needs numbers in y. Got dtype {np.asarray(y).dtype} instead: "
                "KIPDistiller is for class labels."
            )
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        columns = y.reshape(len(y), -1)
        scaler = StandardScaler().fit(columns)
        coding = cls(scaler.mean_, scaler.scale_, y.ndim == 1)
        return coding, np.zeros(len(y), np.intp), coding.given(y, dtype)

    @classmethod
    def of_fitted(cls, estimator: Any) -> Self:
        """Return the coding of a fitted regressor."""
        return cls(estimator.y_mean_, estimator.y_scale_, estimator.y_s_.ndim == 1)

    @classmethod
    def of_file(cls, labels: NDArray[Any], arrays: Mapping[str, Any]) -> tuple[Self, NDArray[Any]]:
        """Return the coding of a file: its mean and scale, or those of the support itself."""
        if "classes" in arrays:
            raise ValueError(
                "The file holds a support set of classes, not of real targets: load it into a "
                "KIPDistiller or LabelSolver."
            )
        coding, _, targets = cls.encode("load_support", labels, np.float64)
        if "y_mean" in arrays and "y_scale" in arrays:
            coding = cls(arrays["y_mean"], arrays["y_scale"], labels.ndim == 1)
            targets = coding.given(labels)
        return coding, targets

    def is_like(self, other: Any) -> bool:
        """Return whether y has as many dimensions and columns."""
        return (self.n_outputs, self.is_1d) == (other.n_outputs, other.is_1d)

    @property
    def n_outputs(self) -> int:
        """Columns of y."""
        return self.mean.size

    @property
    def attributes(self) -> dict[str, NDArray[Any]]:
        """Mean and scale of y."""
        return {"y_mean_": self.mean, "y_scale_": self.scale}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Mean and scale of y."""
        return {"y_mean": self.mean, "y_scale": self.scale}

    @property
    def given_rule(self) -> str:
        """The units and shape of y."""
        return "shape (n_support,)" if self.is_1d else f"shape (n_support, {self.n_outputs})"

    def labels(self, data: Data) -> NDArray[Any]:
        """Return the numbers, as exact as the targets are."""
        return self.published(data.y)

    def published(self, y_s: NDArray[Any]) -> NDArray[Any]:
        """Return numbers in the units and of the dimensions of y."""
        y = y_s * self.scale + self.mean
        return y[:, 0] if self.is_1d else y

    def given(self, y_s: NDArray[Any], dtype: Any = np.float64) -> NDArray[Any]:
        """Return numbers in the units of y as targets; those of another shape as they are."""
        if y_s.dtype.kind not in "biuf":
            y_s = check_array(y_s, dtype=np.float64, ensure_2d=False, input_name="y of the support")
        columns = y_s[:, None] if y_s.ndim == 1 and self.is_1d else y_s
        if columns.ndim != 2 or columns.shape[1] != self.n_outputs:
            return y_s
        return ((columns - self.mean) / self.scale).astype(dtype)

    def draw(
        self, data: Data, size: int, init: str, rng: np.random.RandomState
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp] | None]:
        """Return `size` rows of all: targets of real rows are theirs, of noise the mean.

        Those of a centre of k-means are the mean of the rows that it is the nearest centre of.
        """
        n = len(data.X)
        if size > n:
            warn(f"Fewer rows than n_support={size}: all {n} are taken. Lower 'n_support'.")
            size = n
        X_s, _, indices = initial_support(data.X, data.codes, _ALL_ROWS, size, init, rng)
        if indices is not None:
            return X_s, data.y[indices], indices
        y_s = np.zeros((len(X_s), self.n_outputs), data.y.dtype)
        if init == "kmeans":
            nearest = pairwise_distances_argmin(data.X, X_s)
            np.add.at(y_s, nearest, data.y)
            y_s /= np.maximum(np.bincount(nearest, minlength=len(X_s)), 1)[:, None]
        return X_s, y_s, None

    def resize(
        self,
        X_s: NDArray[Any],
        y_s: NDArray[Any],
        data: Data,
        size: int,
        init: str,
        rng: np.random.RandomState,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the first `size` rows, or all and the last of `size` new ones."""
        n = len(X_s)
        if size <= n:
            return X_s[:size], y_s[:size]
        X_new, y_new, _ = self.draw(data, size, init, rng)
        return np.concatenate([X_s, X_new[n:]]), np.concatenate([y_s, y_new[n:]])
