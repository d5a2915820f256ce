"""Warnings point at the user's line that led to them. Oracle: lines with a mark, "the line"."""

from __future__ import annotations

import contextlib
import linecache
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kipsk
from kipsk import KIPDistiller, KIPRegressor
from kipsk._storage._checkpoint import Checkpoint
from kipsk._warn import warn
from kipsk.baselines import CoresetSampler
from kipsk.networks import FiniteNetworkClassifier

# Rows of a class are fewer than ipc: a warning from deep inside, and nothing that takes long.
X = np.random.RandomState(0).randn(24, 2).astype(np.float32)
y = np.arange(24) % 2
SCARCE = {"kernel": "rbf", "ipc": 20, "max_iter": 1, "random_state": 0}


@contextlib.contextmanager
def pointing_here(message="Fewer rows"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    own = [one for one in caught if message in str(one.message)]
    assert own, f"no warning says {message!r}: {[str(one.message) for one in caught]}"
    for one in own:
        line = linecache.getline(one.filename, one.lineno)
        assert "# the line" in line, f"{one.filename}:{one.lineno}: {line}"


def test_fit():
    with pointing_here():
        KIPDistiller(**SCARCE).fit(X, y)  # the line


def test_fit_of_a_regressor():
    regressor = KIPRegressor(kernel="rbf", n_support=30, max_iter=1)
    with pointing_here("n_support=30"):
        regressor.fit(X, X[:, 0])  # the line


def test_fit_resample():
    with pointing_here():
        KIPDistiller(**SCARCE, downstream="last").fit_resample(X, y)  # the line
    with pointing_here():
        CoresetSampler(ipc=20).fit_resample(X, y)  # the line


def test_partial_fit():
    with pointing_here():
        KIPDistiller(**SCARCE).partial_fit(X, y, classes=[0, 1])  # the line


def test_inside_a_pipeline():
    with pointing_here():
        make_pipeline(StandardScaler(), KIPDistiller(**SCARCE)).fit(X, y)  # the line


def test_inside_a_pipeline_of_imbalanced_learn():
    pipeline = make_imblearn_pipeline(CoresetSampler(ipc=20), LogisticRegression())
    with pointing_here():
        pipeline.fit(X, y)  # the line


def test_inside_cross_validation():
    with pointing_here():
        cross_validate(KIPDistiller(**SCARCE), X, y, cv=2)  # the line


def test_inside_a_search():
    with pointing_here():
        GridSearchCV(KIPDistiller(**SCARCE), {"reg": [1e-3, 1e-2]}, cv=2).fit(X, y)  # the line


def test_with_callbacks():
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")
    from sklearn.callback import ScoringMonitor

    distiller = KIPDistiller(**SCARCE).set_callbacks(ScoringMonitor(scoring="accuracy"))
    with pointing_here():
        distiller.fit(X, y)  # the line


def test_load_support(tmp_path):
    distiller = KIPDistiller(kernel="rbf", ipc=2, max_iter=1, preprocess=StandardScaler())
    distiller.fit(X, y).export_support(tmp_path / "support.npz")
    with pointing_here("in the units after"):
        KIPDistiller(kernel="rbf").load_support(tmp_path / "support.npz")  # the line


def test_a_run_that_diverges():
    distiller = KIPDistiller("fc1", ipc=2, learning_rate=1e38, max_iter=1)
    with pointing_here("no longer finite"):
        distiller.fit(X, y)  # the line


def test_a_network_that_diverges():
    network = FiniteNetworkClassifier("fc1", width=8, learning_rate=1e30, max_iter=9)
    with pointing_here("no longer finite"):
        network.fit(X, y)  # the line


def test_a_checkpoint_that_cannot_be_written(tmp_path):
    checkpoint = Checkpoint(tmp_path / "no such folder" / "run.npz", {})
    with pointing_here("could not be written"):
        checkpoint.save({})  # the line


def test_in_a_subclass_of_the_users():
    class Own(KIPDistiller):
        def fit(self, X, y):
            return super().fit(X, y)  # the line

    with pointing_here():
        make_pipeline(Own(**SCARCE)).fit(X, y)


@pytest.mark.parametrize("between", ["kipsk._kip._base", "sklearn.pipeline", "joblib.parallel"])
def test_frames_of_the_libraries_are_passed_over(between):
    through = _module(between, "def through():\n    warn('a message')\n")
    with pointing_here("a message"):
        through()  # the line


def test_without_a_line_of_the_users():
    """In a thread of a worker of joblib nothing is the user's: what called kipsk is named."""
    inside = _module("kipsk._kip", "def inside():\n    return warn('a message')\n")
    outside = _module("sklearn.pipeline", "def outside():\n    return inside()\n", inside=inside)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=outside)
        thread.start()
        thread.join()
    assert [one.filename for one in caught] == ["<sklearn.pipeline>"]


def test_each_line_of_the_users_is_told_once():
    """What Python's filter "default" does, which keeps its notes in the module pointed at."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            warn("a message")
        warn("a message")
    assert len(caught) == 2


def test_no_other_place_warns():
    """A number of frames in the code is right for one way to call it only."""
    folder = Path(kipsk.__file__).parent
    texts = {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in folder.rglob("*.py")
    }
    assert [name for name, text in texts.items() if "stacklevel" in text] == ["_warn.py"]
    assert [name for name, text in texts.items() if "warnings.warn(" in text] == ["_warn.py"]


def _module(name, source, **known):
    """Return the last function of a source, as if it stood in another module."""
    scope = {"__name__": name, "warn": warn, **known}
    exec(compile(source, f"<{name}>", "exec"), scope)
    return list(scope.values())[-1]
