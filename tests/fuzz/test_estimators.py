"""Estimators on tables as users have them: an answer, or an error that says what to do.

Oracle: of every case, whatever it holds, that no input has changed, that outputs are finite and of
the right shape, and that an error is a check's. Where nothing has warned, the score is not far
below that of scikit-learn's SVC and ridge regression on the same rows.

The long run is

    KIPSK_FUZZ_CASES=600 pytest tests/fuzz -m slow -s

with so many cases for each group of estimators; KIPSK_FUZZ_SEED draws others.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.svm import SVC, SVR

from . import _oracle, _runs, _tables

CASES = int(os.environ.get("KIPSK_FUZZ_CASES", 600))
SEED = int(os.environ.get("KIPSK_FUZZ_SEED", 0))
# A case takes milliseconds when all is compiled. One that takes as long as this hangs.
LIMIT = 600
# How far a score may lie below scikit-learn's without a warning.
FAR = 0.4

counts: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def counted() -> Iterator[None]:
    yield
    print(f"\n{counts.total()} cases: {dict(counts)}")


@dataclass(frozen=True)
class Case:
    """A few words from which a table and its labels are made."""

    estimator: str
    layout: str
    seed: int
    change: str
    scale: int
    offset: float
    dtype: str
    container: str
    labels: str

    @property
    def is_learnable(self) -> bool:
        """Whether a few rows and a few steps have to be enough."""
        even = ["three classes", "two classes"]
        if self.estimator not in ("FiniteNetworkClassifier", "KIPRegressor"):
            even.append("one column")
        has_others = self.container in ("mixed", "numbers as categories")  # columns, of scale 1
        is_alike = not has_others or self.scale == self.offset == 0
        return self.layout in even and self.dtype in _tables.FLOATS and is_alike

    def made(self) -> tuple[Any, Any]:
        X = _tables.CHANGES[self.change](_tables.rows_of(self.layout, self.seed))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            X = (X * 10.0**self.scale + self.offset).astype(self.dtype)
            kind = _tables.TARGETS if self.estimator in _runs.REGRESSORS else _tables.LABELS
            codes = _tables.codes_of(self.layout)
            return _tables.CONTAINERS[self.container](X), kind[self.labels](codes)


def mostly(usual: Any, others: list[Any], share: int = 3) -> st.SearchStrategy[Any]:
    """Return a strategy of which the first alternative is as likely as `share` times the others."""
    return st.one_of(*[st.just(usual)] * share, st.sampled_from(others))


def usually(usual: list[Any], all_of_them: list[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy that takes four of five from what is usual."""
    return st.one_of(*[st.sampled_from(usual)] * 4, st.sampled_from(all_of_them))


@st.composite
def cases(draw: st.DrawFn, estimators: list[str], layouts: list[str]) -> Case:
    estimator = draw(st.sampled_from(estimators))
    kind = _tables.TARGETS if estimator in _runs.REGRESSORS else _tables.LABELS
    names = list(kind)
    good = names[: names.index("str" if "float" in kind else "mixed")]
    containers = list(_tables.CONTAINERS)
    tables = containers[: containers.index("1-D")]
    return Case(
        estimator,
        draw(mostly(layouts[0], layouts, 1)),
        draw(st.integers(0, 999)),
        draw(mostly("as they are", list(_tables.CHANGES), 1)),
        draw(mostly(0, list(range(-30, 31)), 1)),
        draw(mostly(0.0, [s * 10.0**e for e in range(13) for s in (1, -1)])),
        draw(mostly("float64", _tables.DTYPES, 1)),
        draw(usually(tables, containers)),
        draw(usually(good, names)),
    )


@contextmanager
def no_hang() -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"more than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(name: str, model: Any, X: Any, y: Any) -> float | None:
    """Use an estimator; return its score if it has one."""
    if name in _runs.CLASSIFIERS:
        return _runs.classify(model, X, y)
    if name in _runs.REGRESSORS:
        return _runs.regress(model, X, y)
    if name in _runs.SAMPLERS:
        return _runs.sample(model, X, y)
    return _runs.whiten(model, X) if name == "RegularizedZCA" else _runs.collect(model, X, y)


def score_of_others(name: str, X: Any, y: Any) -> float:
    """Return the best score of models of scikit-learn; -inf if they refuse the rows too."""
    models = {
        "KIPRegressor": (SVR(), Ridge()),
        "KernelRidgeNTK": (KernelRidge(alpha=1e-3), KernelRidge(alpha=1e-3, kernel="rbf")),
    }.get(name, (SVC(), RidgeClassifier()))
    if name in _runs.REGRESSORS and np.ptp(np.asarray(y, float)) == 0:
        return -np.inf
    scores = []
    for model in models:
        try:
            scores.append(model.fit(X, y).score(X, y))
        except (ValueError, TypeError, np.linalg.LinAlgError):
            continue
    return max(scores, default=-np.inf)


def check(case: Case) -> None:
    X, y = case.made()
    model = _runs.ALL[case.estimator]()
    before = _oracle.print_of(X), _oracle.print_of(y), _oracle.globals_now()
    parameters = _oracle.parameters_of(model)
    score, told = None, []
    try:
        with no_hang(), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            score = run(case.estimator, model, X, y)
        outcome = "warned" if told else "answered"
    except AssertionError:
        raise
    except Exception as error:
        outcome = "refused"
        _oracle.check_error(error)
    counts[outcome] += 1
    after = _oracle.print_of(X), _oracle.print_of(y), _oracle.globals_now()
    assert after == before, "an input or a setting was changed"
    if case.estimator != "Moments":
        assert _oracle.parameters_of(model) == parameters
    if score is not None and not told and case.is_learnable:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = score_of_others(case.estimator, X, y)
        assert score >= other - FAR or other < 0, f"{score:.2f}, where scikit-learn has {other:.2f}"


GROUPS = {
    "distillers": ["KIPDistiller", "KIPDistiller, rbf"],
    "other distillers": [f"KIPDistiller, {way}" for way in ("solved", "platt", "all rows")],
    "streams": ["KIPDistiller, streamed"],
    "label solver": ["LabelSolver", "LabelSolver, rbf"],
    "ridge": ["KernelRidgeNTKClassifier", "KernelRidgeNTK"],
    "regressor": ["KIPRegressor"],
    "network": ["FiniteNetworkClassifier"],
    "samplers": list(_runs.SAMPLERS),
    "whitening": ["RegularizedZCA"],
    "moments": ["Moments"],
}
# One of each kind: each takes seconds to compile.
SHORT = [
    "KIPDistiller",
    "LabelSolver",
    "KernelRidgeNTKClassifier",
    "KernelRidgeNTK",
    "KIPRegressor",
    "FiniteNetworkClassifier",
    "RegularizedZCA",
    "CoresetSampler, herding",
    "CoresetSampler, k_means",
    "CoresetSampler, random",
]
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=50, derandomize=True, **QUIET)
@given(cases(SHORT, _tables.SHORT_LAYOUTS))
def test_some_cases(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_many_cases(group):
    @seed(SEED)
    @settings(max_examples=CASES, **QUIET)
    @given(cases(GROUPS[group], _tables.LONG_LAYOUTS))
    def every(case):
        check(case)

    every()
    print(f"\n{group}: {counts.total()} cases so far")
