"""How each estimator is used on a case, and what its answers have to look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from kipsk import (
    KernelRidgeNTK,
    KernelRidgeNTKClassifier,
    KIPDistiller,
    KIPRegressor,
    LabelSolver,
    Moments,
    RegularizedZCA,
)
from kipsk.baselines import CoresetSampler
from kipsk.kernels import Landmarks
from kipsk.networks import FiniteNetworkClassifier

from ._oracle import check_finite

FEW_STEPS = {"max_iter": 3, "random_state": 0}


class Streamed(KIPDistiller):
    """A distiller that gets all rows by `partial_fit`."""

    def fit(self, X: Any, y: Any) -> Any:
        return self.partial_fit(X, y, classes=labels_of(y))


def labels_of(y: Any) -> list[Any]:
    """Return the different labels, in any order; none of what is no list of them."""
    return list(dict.fromkeys([] if np.ndim(y) == 0 else np.asarray(y).ravel().tolist()))


#: By name the estimators; each is made anew for each case.
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "KIPDistiller": lambda: KIPDistiller(ipc=1, **FEW_STEPS),
    "KIPDistiller, rbf": lambda: KIPDistiller("rbf", ipc=1, **FEW_STEPS),
    "KIPDistiller, solved": lambda: KIPDistiller(
        "laplace", ipc=1, labels="solved", dtype="float64", **FEW_STEPS
    ),
    "KIPDistiller, platt": lambda: KIPDistiller(
        ipc=1, loss="platt", preprocess=StandardScaler(), **FEW_STEPS
    ),
    "KIPDistiller, all rows": lambda: KIPDistiller(
        Landmarks("rbf", 8), ipc=1, batch_size="all", **FEW_STEPS
    ),
    "KIPDistiller, streamed": lambda: Streamed(ipc=1, batch_size=12, random_state=0),
    "LabelSolver": lambda: LabelSolver(ipc=2, random_state=0),
    "LabelSolver, rbf": lambda: LabelSolver("rbf", ipc=2, support="kmeans", random_state=0),
    "KernelRidgeNTKClassifier": lambda: KernelRidgeNTKClassifier(),
    "FiniteNetworkClassifier": lambda: FiniteNetworkClassifier(
        width=16, max_iter=200, random_state=0
    ),
}
REGRESSORS: dict[str, Callable[[], Any]] = {
    "KIPRegressor": lambda: KIPRegressor(n_support=6, max_iter=60, random_state=0),
    "KernelRidgeNTK": lambda: KernelRidgeNTK(reg=1e-3),
}
SAMPLERS: dict[str, Callable[[], Any]] = {
    f"CoresetSampler, {method}": lambda method=method: CoresetSampler(method, ipc=1, random_state=0)
    for method in (
        "random",
        "herding",
        "kernel_herding",
        "k_center",
        "k_means",
        "k_medoids",
        "agglomerative",
        "rp_cholesky",
    )
}
OTHERS: dict[str, Callable[[], Any]] = {
    "RegularizedZCA": lambda: RegularizedZCA(),
    "Moments": lambda: Moments(Landmarks("fc1", 8)),
}
ALL = {**CLASSIFIERS, **REGRESSORS, **SAMPLERS, **OTHERS}


def length(X: Any) -> int:
    return X.shape[0] if hasattr(X, "shape") else len(X)


def classify(model: Any, X: Any, y: Any) -> float:
    """Fit and predict; return the accuracy on the same rows."""
    labels = model.fit(X, y).predict(X)
    n, k = length(X), len(model.classes_)
    assert labels.shape == (n,)
    assert set(labels.tolist()) <= set(model.classes_.tolist())
    check_finite("decision_function", model.decision_function(X), (n,) if k == 2 else (n, k))
    if hasattr(model, "X_s_"):
        n_s = len(model.X_s_)
        check_finite("X_s_", model.X_s_, (n_s, model.n_features_in_))
        check_finite("y_s_", model.y_s_, (n_s, k))
    score = model.score(X, y)
    assert 0 <= score <= 1
    return float(score)


def regress(model: Any, X: Any, y: Any) -> float:
    """Fit and predict; return R2 on the same rows."""
    predictions = model.fit(X, y).predict(X)
    check_finite("predictions", predictions, np.shape(y))
    return float(model.score(X, y))


def sample(sampler: Any, X: Any, y: Any) -> None:
    """Take rows; what holds them is what held X and y."""
    X_s, y_s = sampler.fit_resample(X, y)
    assert length(X_s) == length(y_s) == sum(sampler.sampling_strategy_.values())
    if isinstance(X, list) or hasattr(X, "iloc"):
        assert type(X_s) is type(X)
    assert sparse.issparse(X_s) == sparse.issparse(X)
    if hasattr(y, "dtype"):
        assert y_s.dtype == y.dtype
    if sampler.method != "random":
        check_finite("X_s", np.asarray(X_s, float), (length(X_s), sampler.n_features_in_))


def whiten(zca: RegularizedZCA, X: Any) -> None:
    """Whiten rows, and take them back."""
    Z = zca.fit(X).transform(X)
    check_finite("transform", Z, (length(X), zca.n_features_in_))
    check_finite("inverse_transform", zca.inverse_transform(Z), Z.shape)


def collect(moments: Moments, X: Any, y: Any) -> None:
    """Collect moments in two chunks, and learn from them."""
    classes = labels_of(y)
    moments.set_params(classes=classes).fit(X, y)
    p = len(moments.kernel_.landmarks)
    check_finite("H_", moments.H_, (p, p))
    check_finite("C_", moments.C_, (p, len(classes)))
    assert moments.n_rows_ == length(X)
    distiller = KIPDistiller(moments.kernel_, ipc=1, **FEW_STEPS).fit_moments(moments)
    assert distiller.predict(X).shape == (length(X),)
