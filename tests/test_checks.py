"""How a message shows the value that it refuses; what predictions have to be."""

from __future__ import annotations

import numpy as np
import pytest

from kipsk._checks import check_predictions, refuse
from kipsk.augment import Flip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        ("five", "'five'"),
        (np.zeros((30, 2)), "an array of shape (30, 2) and dtype float64"),
        (Flip(0.25), "Flip(p=0.25)"),
        (Flip, "the class Flip"),  # and not the file that it is written in
    ],
)
def test_refused_values(value, shown):
    message = str(refuse("KIPDistiller", "augment", "a rule", value))
    assert (
        message == f"The 'augment' parameter of KIPDistiller must be a rule. Got {shown} instead."
    )


NAMES = np.array(["ant", "bee", "ant"])
CODES = np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        (NAMES, np.array(["ant", "ant", "bee"])),
        (NAMES, np.array([["ant"], ["ant"], ["bee"]], object)),
        (NAMES.astype(object), ["ant", "ant", "bee"]),
        (CODES, np.array([[0], [0], [1]])),
        (CODES, [0.0, 0.0, 1.0]),
        (CODES, [False, False, True]),
        (CODES == 1, [0, 0, 1]),
    ],
)
def test_predictions_of_any_type_and_a_column(labels, predictions):
    """Oracle: the first two are the first label and the third is the second."""
    hits = check_predictions("The model", predictions, 3, labels) == labels
    np.testing.assert_array_equal(hits, [True, False, False])


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (NAMES, CODES, "class labels of y, such as 'ant'. Got 0 instead: wrap"),
        (CODES, ["0", "1", "0"], "class labels of y, such as 0. Got '0' instead"),
        (CODES, [0.1, 0.9, 0.2], "class labels of y, such as 0. Got 0.1 instead"),
        (CODES, [0, np.nan, 0], "Got nan instead"),
        (CODES, np.eye(3)[:, :2], r"one class label a row, 3 in all. Got .* shape \(3, 2\)"),
        (CODES, np.zeros((1, 3)), r"Got .* shape \(1, 3\)"),
        (CODES, [0, 1], r"Got .* shape \(2,\)"),
    ],
)
def test_predictions_that_are_no_labels(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        check_predictions("The model", predictions, 3, labels)
