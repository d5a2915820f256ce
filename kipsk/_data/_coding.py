"""What y stands for: class labels or real numbers, as targets of kernel ridge regression.

Everything that a classifier and a regressor do differently with y is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from kipsk._data._labels import encode, one_hot
from kipsk._types import AnyArray, Float64s, Floats, Given, Ints
from kipsk._warn import warn


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
    """

    X: Floats
    coding: Coding
    codes: Ints
    y: Floats

    def rows(self, which: AnyArray) -> Data:
        """Return some of the rows, by a mask or by indices."""
        return Data(self.X[which], self.coding, self.codes[which], self.y[which])

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
        """Return whether a support set of this coding may serve as one of the other."""

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


@dataclass(frozen=True)
class ClassCoding(Coding):
    """Class labels: the targets are centred one-hot rows, the strata are the classes.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    """

    classes: AnyArray
    size_name: ClassVar[str] = "ipc"
    score_name: ClassVar[str] = "accuracy"
    validation: ClassVar[dict[str, bool]] = {}

    def __str__(self) -> str:
        return f"classes {self.classes.tolist()}"

    @classmethod
    def encode(cls, owner: str, y: Given, dtype: DTypeLike) -> tuple[Self, Ints, Floats]:
        """Return the coding of labels, their codes and their centred one-hot rows."""
        classes, codes = encode(owner, y)
        return cls(classes), codes, one_hot(codes, len(classes), dtype)

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Return the coding of a fitted classifier."""
        return cls(attributes["classes_"])

    @classmethod
    def of_file(cls, labels: AnyArray, arrays: Mapping[str, AnyArray]) -> tuple[Self, AnyArray]:
        """Return the coding of a file's labels, and their targets.

        Labels of one dimension are class labels: they belong to the stored classes, or, if there
        are none, the labels found are the classes. The columns of soft labels are the stored
        classes, or 0, 1, and so on.
        """
        if "y_mean" in arrays:
            raise ValueError(
                "The file holds a support set of real targets, not of classes: load it into a "
                "KIPRegressor."
            )
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.ndim != 1:
            return cls(arrays.get("classes", np.arange(labels[0].size))), labels
        if "classes" not in arrays:
            coding, _, targets = cls.encode("load_support", labels, np.float64)
            return coding, targets
        coding = cls(encode("load_support", arrays["classes"])[0])
        unknown = np.setdiff1d(labels, coding.classes)
        if len(unknown):
            raise ValueError(
                "The 'labels' of the file must be among its 'classes', "
                f"{coding.classes[:10].tolist()}. Got {unknown[:5].tolist()} too: correct either "
                "array of the file."
            )
        return coding, coding.given(labels)

    def is_like(self, other: Coding) -> bool:
        """Return whether the classes are the same."""
        return isinstance(other, ClassCoding) and np.array_equal(self.classes, other.classes)

    @property
    def n_outputs(self) -> int:
        """The number of classes."""
        return self.classes.size

    @property
    def n_strata(self) -> int:
        """The number of classes."""
        return self.classes.size

    @property
    def attributes(self) -> dict[str, AnyArray]:
        """The classes."""
        return {"classes_": self.classes}

    @property
    def arrays(self) -> dict[str, AnyArray]:
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
        """The shape of soft labels, or known class labels."""
        return f"{self.n_outputs} columns or of known class labels"

    def labels(self, data: Data) -> AnyArray:
        """Return the class of each row."""
        return self.classes[data.codes]

    def published(self, y_s: Floats) -> Floats:
        """Return the targets themselves: soft labels are published centred."""
        return y_s

    def given(self, y_s: AnyArray, dtype: DTypeLike = np.float64) -> AnyArray:
        """Return the centred one-hot rows of class labels, and any other array as it is."""
        if y_s.ndim == 1 and np.isin(y_s, self.classes).all():
            return one_hot(np.searchsorted(self.classes, y_s), self.n_outputs, dtype)
        return y_s

    def strata(self, y_s: Floats) -> Ints:
        """Return the class of the largest entry of each label."""
        return y_s.argmax(axis=1)

    def made_targets(self, data: Data, X_s: Floats, codes_s: Ints, init: str) -> Floats:
        """Return the centred one-hot rows of the classes that the rows were made for."""
        return one_hot(codes_s, self.n_outputs, data.y.dtype)

    def warn_of_scarce(self, counts: Ints, size: int) -> None:
        """Warn of the classes that have fewer rows than `ipc`, and of those that have none."""
        scarce = [
            f"{name!s} ({count})"
            for name, count in zip(self.classes, counts, strict=True)
            if count < size
        ]
        if not scarce:
            return
        advice = "Lower 'ipc' for classes of equal size."
        if not counts.all():
            advice = (
                "A class without any gets no support row, and is learned by the labels of the "
                "others: let the first call of partial_fit hold rows of every class, shuffled."
            )
        warn(
            f"Fewer rows than ipc={size} in {len(scarce)} of {len(self.classes)} classes, which "
            f"contribute all their rows: {', '.join(scarce[:10])}"
            f"{', ...' if len(scarce) > 10 else ''}. {advice}"
        )


@dataclass(frozen=True)
class RealCoding(Coding):
    """Real numbers: the targets are each output less its mean, over its deviation.

    All rows are one stratum.

    Attributes
    ----------
    mean, scale : ndarrays of shape (n_outputs,)
        Mean and deviation of each output. The scale of a constant output is 1.
    is_1d : bool
        Whether y has one dimension.
    """

    mean: Float64s
    scale: Float64s
    is_1d: bool
    size_name: ClassVar[str] = "n_support"
    score_name: ClassVar[str] = "R2"
    validation: ClassVar[dict[str, bool]] = {"multi_output": True, "y_numeric": True}

    def __str__(self) -> str:
        return "y of one dimension" if self.is_1d else f"y of {self.n_outputs} columns"

    @classmethod
    def encode(cls, owner: str, y: Given, dtype: DTypeLike) -> tuple[Self, Ints, Floats]:
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
    def of_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Return the coding of a fitted regressor."""
        is_1d = attributes["y_s_"].ndim == 1
        return cls(attributes["y_mean_"], attributes["y_scale_"], is_1d)

    @classmethod
    def of_file(cls, labels: AnyArray, arrays: Mapping[str, AnyArray]) -> tuple[Self, AnyArray]:
        """Return the coding of a file: its mean and scale, or those of the support set itself."""
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

    def is_like(self, other: Coding) -> bool:
        """Return whether y has as many dimensions and as many columns."""
        own = self.n_outputs, self.is_1d
        return isinstance(other, RealCoding) and own == (other.n_outputs, other.is_1d)

    @property
    def n_outputs(self) -> int:
        """The number of columns of y."""
        return self.mean.size

    @property
    def n_strata(self) -> int:
        """One: all rows are alike."""
        return 1

    @property
    def attributes(self) -> dict[str, AnyArray]:
        """Mean and scale of y."""
        return {"y_mean_": self.mean, "y_scale_": self.scale}

    @property
    def arrays(self) -> dict[str, AnyArray]:
        """Mean and scale of y."""
        return {"y_mean": self.mean, "y_scale": self.scale}

    @property
    def given_rule(self) -> str:
        """The shape of y."""
        return "shape (n_support,)" if self.is_1d else f"shape (n_support, {self.n_outputs})"

    def labels(self, data: Data) -> AnyArray:
        """Return the numbers, as exact as the targets are."""
        return self.published(data.y)

    def published(self, y_s: Floats) -> Floats:
        """Return numbers in the units of y and with its dimensions."""
        y = y_s * self.scale + self.mean
        return y[:, 0] if self.is_1d else y

    def given(self, y_s: AnyArray, dtype: DTypeLike = np.float64) -> AnyArray:
        """Return numbers in the units of y as targets, and those of another shape as they are."""
        if y_s.dtype.kind not in "biuf":
            y_s = check_array(y_s, dtype=np.float64, ensure_2d=False, input_name="y of the support")
        columns = y_s[:, None] if y_s.ndim == 1 and self.is_1d else y_s
        if columns.ndim != 2 or columns.shape[1] != self.n_outputs:
            return y_s
        return ((columns - self.mean) / self.scale).astype(dtype)

    def strata(self, y_s: Floats) -> Ints:
        """Return zeros: all rows are one stratum."""
        return np.zeros(len(y_s), np.intp)

    def made_targets(self, data: Data, X_s: Floats, codes_s: Ints, init: str) -> Floats:
        """Return the mean target of the rows that a centre of k-means is nearest to.

        The targets of noise are zero, the mean of y.
        """
        y_s = np.zeros((len(X_s), self.n_outputs), data.y.dtype)
        if init == "kmeans":
            nearest = pairwise_distances_argmin(data.X, X_s)
            np.add.at(y_s, nearest, data.y)
            y_s /= np.maximum(np.bincount(nearest, minlength=len(X_s)), 1)[:, None]
        return y_s

    def warn_of_scarce(self, counts: Ints, size: int) -> None:
        """Warn if there are fewer rows than `n_support`."""
        if counts[0] < size:
            warn(f"Fewer rows than n_support={size}: all {counts[0]} are taken. Lower 'n_support'.")
