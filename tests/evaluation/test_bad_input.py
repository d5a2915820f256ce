"""What `compare` refuses, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk.evaluation import compare

from ._stubs import NN, Model, Sample


@pytest.mark.parametrize(
    "change, message",
    [
        ({"reducers": {}}, "'reducers' parameter of compare must be a dict of names"),
        ({"reducers": [None]}, "'reducers' parameter of compare must be a dict of names"),
        ({"reducers": {1: None}}, "'reducers' parameter of compare must be a dict of names"),
        ({"reducers": {"a\nb": None}}, "strings of one line"),
        ({"reducers": {"": None}}, "strings of one line"),
        ({"reducers": {"a": Sample}}, r"reducers\['a'\].*None or an estimator with fit_resample"),
        ({"reducers": {"a": NN}}, r"reducers\['a'\].*transformers go into 'preprocess'"),
        (
            {"reducers": {"a": make_pipeline(StandardScaler(), KIPDistiller())}},
            r"reducers\['a'\].*transformers go into 'preprocess'",
        ),
        (
            {"reducers": {"a": make_imblearn_pipeline(StandardScaler(), Sample())}},
            r"reducers\['a'\].*transformers go into 'preprocess'",
        ),
        ({"models": {"m": StandardScaler()}}, r"models\['m'\].*must be a classifier"),
        ({"models": {"m": DummyClassifier}}, r"models\['m'\].*must be a classifier"),
        ({"models": NN}, "'models' parameter of compare must be a dict"),
        ({"seeds": 3}, "'seeds'.*different integers >= 0, in a list. Got 3"),
        ({"seeds": []}, "'seeds'.*different integers >= 0, in a list"),
        ({"seeds": [0, 0]}, "'seeds'.*different integers >= 0, in a list"),
        ({"seeds": [-1]}, "'seeds'.*an integer >= 0 or a list of these. Got -1"),
        ({"ipc": 0}, "'ipc'.*an integer >= 1 or a list of these. Got 0"),
        ({"ipc": "auto"}, "'ipc'.*an integer >= 1 or a list of these. Got 'auto'"),
        ({"ipc": [2, 2]}, "'ipc'.*different integers >= 1"),
        ({"ipc": 1, "reducers": {"all": None}}, "None, as no reducer has a parameter 'ipc'"),
        ({"preprocess": NN}, "'preprocess'.*None or a transformer"),
        ({"test": np.ones((2, 4))[:, :1], "cv": None}, r"'test'.*a tuple \(X_test, y_test\)"),
        ({"test": (np.ones((2, 4)), [0, 1]), "cv": 3}, "'cv'.*None with 'test'"),
        ({"test": (np.ones((2, 3)), [0, 1])}, r"X_test must have as many features as X, 4"),
        ({"X": np.ones((90, 2, 2))}, r"pass X\.reshape\(len\(X\), -1\)"),
        ({"y": np.linspace(0, 1, 90)}, "Unknown label type"),
    ],
)
def test_bad_input(change, message, blobs):
    given = {"reducers": {"a": Sample()}, "models": {"m": Model()}, "X": blobs[0], "y": blobs[1]}
    with pytest.raises(ValueError, match=message):
        compare(**{**given, **change})
