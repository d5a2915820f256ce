"""How much the rows of each class count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from kipsk._checks import refuse
from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Data
from kipsk._types import AnyArray, Float64s, Given, Ints

#: The class_weight of which all classes count alike, however many rows they have.
BALANCED = "balanced"


def check_class_weight(owner: str, class_weight: Given) -> None:
    """Raise ValueError unless it is None, "balanced", or a dict of positive numbers."""
    if class_weight is None or (isinstance(class_weight, str) and class_weight == BALANCED):
        return
    rule = 'None, "balanced" or a dict from class labels to finite numbers > 0'
    if not isinstance(class_weight, Mapping):
        raise refuse(owner, "class_weight", rule, class_weight)
    for value in class_weight.values():
        try:
            good = not isinstance(value, str) and 0 < float(value) < np.inf
        except (TypeError, ValueError):
            good = False
        if not good:
            raise refuse(owner, "class_weight", rule, class_weight)


def row_weights(owner: str, class_weight: Given, classes: AnyArray, codes: Ints) -> Float64s | None:
    """Return the weight of each row, as scikit-learn has it; None if all rows count alike.

    "balanced" weights are ``n / (n_classes * rows of the class)``, whose mean is 1.

    Parameters
    ----------
    owner : str
        The name of the estimator, for messages.
    class_weight : None, "balanced" or dict
        Checked. A class that is not in the dict has the weight 1.
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n,)
        The class of each row, as a number from 0.

    Raises
    ------
    ValueError
        If the dict has a class that y does not have.
    """
    if class_weight is None or not len(codes):
        return None
    if isinstance(class_weight, str):
        counts = np.bincount(codes, minlength=len(classes))
        of_class = len(codes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        known = classes.tolist()
        unknown = [label for label in class_weight if label not in known]
        if unknown:
            rule = f"None, 'balanced' or a dict whose keys are classes of y, {known}"
            raise refuse(owner, "class_weight", rule, class_weight)
        of_class = np.array([float(class_weight.get(label, 1)) for label in known])
    weights: Float64s = of_class[codes]
    return weights


def weighted(owner: str, class_weight: Given, data: Data) -> Data:
    """Return data of class labels with the weights of their rows, whose mean becomes 1."""
    if class_weight is None:
        return data
    classes = cast(ClassCoding, data.coding).classes
    weight = row_weights(owner, class_weight, classes, data.codes)
    if weight is None:
        return data
    return data._replace(weight=(weight / weight.mean()).astype(data.y.dtype))
