"""How a message shows the value that it refuses; what rows, labels and predictions have to be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csr_matrix

from kipsk._checks import check_labels, check_predictions, check_present, check_rows, refuse
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


@pytest.mark.parametrize("sparse", [csr_matrix, coo_array])
def test_sparse_rows(sparse):
    with pytest.raises(TypeError, match=rf"X must be .* Got {sparse.__name__} .* X.toarray\(\)"):
        check_rows("X", sparse(np.eye(3)))


@pytest.mark.parametrize("rows", [[["a", "b"]], np.array([[1, "a"]], object), [[1j, 0]]])
def test_rows_that_are_no_numbers(rows):
    with pytest.raises(ValueError, match=r"Y must hold real numbers. Got .* encode its values"):
        check_rows("Y", rows)


def test_rows_of_objects_that_are_numbers():
    np.testing.assert_array_equal(check_rows("X", np.array([[1, 2.5]], object)), [[1, 2.5]])


MISSING = {
    "None": ["a", None, "b"],
    "array": np.array(["a", None, "b"], object),
    "nan": np.array(["a", np.nan, "b"], object),
    "Series": pd.Series(["a", None, "b"]),
    "string": pd.Series(["a", pd.NA, "b"], dtype="string"),
    "category": pd.Series(["a", None, "b"], dtype="category"),
    "NaT": np.array(["a", pd.NaT, "b"], object),
    "column": pd.DataFrame({"y": ["a", None, "b"]}),
}


@pytest.mark.parametrize("check", [check_present, check_labels])
@pytest.mark.parametrize("y", MISSING.values(), ids=MISSING)
def test_missing_labels(y, check):
    message = "in every row. Got (None|nan|<NA>|NaT) in row 1, and 1 of 3 values .* leave these"
    with pytest.raises(ValueError, match=message):
        check(y)


def test_missing_entry_of_a_matrix():
    with pytest.raises(ValueError, match="Got None in row 2, and 2 of 6 values"):
        check_present(np.array([[1, 2], [3, 4], [None, None]], object))


@pytest.mark.parametrize(
    ("y", "types", "advice"),
    [
        (np.array([0, 1, 1], object), "int", r"numpy.array\(list\(y\)\)"),
        (pd.Series([0, 1.5, True], dtype=object), "bool and float and int", "numpy.array"),
        (np.array([0, "1", 1], object), "int and str", r"numpy.asarray\(y\).astype\(str\)"),
        (np.array([pd.Timestamp(0), "b"], object), "Timestamp and str", "numpy.asarray"),
    ],
)
def test_labels_of_objects(y, types, advice):
    """The advice helps, too."""
    with pytest.raises(ValueError, match=f"Python objects of type {types} instead: pass {advice}"):
        check_labels(y)
    check_present(y)
    check_labels(np.asarray(y).astype(str) if "str" in types else np.array(list(y)))


@pytest.mark.parametrize(
    "y",
    [
        ["a", "b"],
        [0, 1],
        np.array(["a", "b"], object),
        np.array([0.0, np.nan]),  # scikit-learn says so
        pd.Series([1, 2], dtype="Int64"),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series(["a", "b"], dtype="string"),
        pd.DataFrame({"y": [1, 2]}, dtype="Int64"),
        [[1, 2], [3]],
        None,
        3,
        csr_matrix(np.eye(2)),
    ],
    ids=lambda y: str(type(y)),
)
def test_other_labels_are_left_to_scikit_learn(y):
    check_labels(y)
