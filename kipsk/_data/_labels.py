"""Class labels to centred one-hot targets and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets

from kipsk._checks import refuse
from kipsk._types import AnyArray, Float64s, Floats, Ints, MatrixLike


def one_hot(codes: Ints, n_classes: int, dtype: DTypeLike = np.float64) -> Floats:
    """Return one-hot rows minus ``1 / n_classes``, of shape (n, n_classes)."""
    targets = np.full((len(codes), n_classes), -1 / n_classes, dtype=dtype)
    targets[np.arange(len(codes)), codes] += 1
    return targets


def encode(owner: str, y: MatrixLike) -> tuple[AnyArray, Ints]:
    """Return the sorted classes and the code of each label; refuse y with fewer than two."""
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        got = f"1 class instead: {classes[0]!s}" if len(classes) else "no labels instead"
        raise ValueError(f"{owner} needs at least 2 classes in y. Got {got}.")
    return classes, codes


def single_labels(y: MatrixLike) -> MatrixLike:
    """Return the column of the 1 in each row of one-vs-all labels; any other y as it is.

    One-vs-all labels, as scikit-learn's `label_binarize` returns them, are a matrix of a column for
    each class.
    """
    shape = _shape(y)
    if len(shape) != 2 or shape[1] < 2 or issparse(y):
        return y
    values = np.asarray(y)
    is_one = values == 1
    is_binary = values.dtype.kind in "biuf" and bool(np.all(is_one | (values == 0)))
    return is_one.argmax(axis=1) if is_binary and (is_one.sum(axis=1) == 1).all() else y


def refuse_matrix(y: MatrixLike) -> None:
    """Refuse a matrix of labels: soft ones, several outputs."""
    shape = _shape(y)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(  # in the words that imbalanced-learn's checks of estimators ask for
            "y should be a 1d array of class labels, one a row. Multilabel and multioutput targets "
            f"are not supported. Got an array of shape {tuple(shape)} instead: of soft labels pass "
            "classes[numpy.argmax(y, axis=1)]."
        )


def _shape(y: MatrixLike) -> tuple[int, ...]:
    """Return the shape of an array, a DataFrame or a list; () of anything else."""
    if isinstance(y, list | tuple):
        return np.shape(y)
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return shape


def is_target_matrix(y: MatrixLike, classes: ArrayLike | None) -> bool:
    """Return whether y is a matrix with a column for each of the `classes`, not labels.

    A matrix without `classes` is refused. Anything that is neither an array nor a list is left to
    scikit-learn's own validation.
    """
    shape = _shape(y)
    if classes is None and len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"y should be a 1d array of class labels. Got an array of shape {shape} instead: "
            "for soft labels pass the class of each column, classes=distiller.classes_."
        )
    return classes is not None and len(shape) == 2


def class_targets(
    owner: str, y: MatrixLike, classes: ArrayLike | None, is_matrix: bool
) -> tuple[AnyArray, Float64s]:
    """Return the classes and, for each row, y itself if it is a matrix, or its centred one-hot."""
    if not is_matrix:
        found, codes = encode(owner, y)
        return found, np.asarray(one_hot(codes, len(found)), np.float64)
    given = np.asarray(classes)
    if given.ndim != 1 or len(np.unique(given)) < max(2, len(given)):
        rule = "an array of at least 2 different class labels, one for each column of y"
        raise refuse(owner, "classes", rule, classes)
    targets = np.asarray(y, dtype=np.float64)
    if targets.shape[1] != len(given):
        raise ValueError(
            f"y must have one column for each of the {len(given)} 'classes'. "
            f"Got y of shape {targets.shape} instead."
        )
    return given, targets


def decision(scores: Floats) -> Floats:
    """Return scikit-learn's decision values: 1-D, positive for the second class, if binary."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
