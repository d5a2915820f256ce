"""Class labels as targets: centred one-hot rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from kipsk._checks import check_labels
from kipsk._data._coding import Coding, Data
from kipsk._data._labels import encode, one_hot, refuse_matrix
from kipsk._types import AnyArray, Floats, Given, Ints
from kipsk._warn import warn


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

    @staticmethod
    def check(y: Given) -> None:
        """Refuse several columns, missing labels, and objects other than strings."""
        refuse_matrix(y)
        check_labels(y)

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
            return cls._of_columns(labels, arrays.get("classes"))
        if "classes" not in arrays:
            coding, _, targets = cls.encode("load_support", labels, np.float64)
            return coding, targets
        coding = cls(encode("load_support", arrays["classes"])[0])
        codes, unknown = codes_of(labels, coding.classes)
        if len(unknown):
            raise ValueError(
                "The 'labels' of the file must be among its 'classes', "
                f"{coding.classes[:10].tolist()}. Got {unknown[:5].tolist()} too: correct either "
                "array of the file."
            )
        return coding, one_hot(codes, coding.n_outputs)

    @classmethod
    def _of_columns(cls, labels: AnyArray, classes: AnyArray | None) -> tuple[Self, AnyArray]:
        """Return the coding of soft labels, and their columns as the sorted classes have them."""
        n = labels.shape[1] if labels.ndim == 2 else -1
        if classes is None:
            classes = np.arange(max(n, 0))
        found, order = np.unique(classes, return_index=True)
        if n < 2 or not classes.shape == found.shape == (n,) or classes.dtype.kind == "c":
            raise ValueError(
                "The 'labels' of the file must have one column for each of at least 2 different "
                f"'classes'. Got labels of shape {labels.shape} and {len(found)} different classes "
                f"in an array of shape {classes.shape}: correct either array of the file."
            )
        return cls(found), labels[:, order]

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
        if y_s.ndim != 1:
            return y_s
        codes, unknown = codes_of(y_s, self.classes)
        return y_s if len(unknown) else one_hot(codes, self.n_outputs, dtype)

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


def codes_of(y: AnyArray, classes: AnyArray) -> tuple[Ints, AnyArray]:
    """Return the code of each label, and the labels that are not among the sorted classes.

    No string is the label of a number: numpy, which takes both for strings, would find "10" among
    the classes 9 and 10, and in another order.

    Parameters
    ----------
    y : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)
        Sorted.

    Returns
    -------
    codes : ndarray of shape (n,)
        Of no meaning where a label is unknown.
    unknown : ndarray
        Sorted, each once.
    """
    if len(y) and _is_text(y) != _is_text(classes):
        return np.zeros(len(y), np.intp), np.unique(y)
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    return codes, np.unique(y[classes[codes] != y])


def known_codes(y: AnyArray, classes: AnyArray, those: str) -> Ints:
    """Return the code of each label; refuse labels that are not among the sorted classes.

    Parameters
    ----------
    y : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)
        Sorted.
    those : str
        Where the classes come from, for the message.
    """
    codes, unknown = codes_of(y, classes)
    if not len(unknown):
        return codes
    advice = "Name all of them there."
    if _is_text(y) != _is_text(classes):
        advice = (
            f"These are such as {classes[:5].tolist()}, and no string is equal to a number: give "
            "strings for both, or numbers."
        )
    raise ValueError(f"y holds labels that are not among {those}: {unknown[:5].tolist()}. {advice}")


def _is_text(labels: AnyArray) -> bool:
    """Return whether labels, which are of one type, are strings."""
    return labels.dtype.kind in "UST" or (
        labels.dtype == object and len(labels) > 0 and isinstance(labels[0], str)
    )
