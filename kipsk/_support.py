"""Initial support sets: which rows distillation starts from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

# k-means on more rows of one class than this moves the centres by less than their own noise.
_MAX_KMEANS_ROWS = 2000


def rows_per_class(
    codes: NDArray[np.integer], classes: NDArray[Any], ipc: int, rng: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Draw `ipc` different rows of each class; all of a class that has fewer, with a warning."""
    drawn, scarce = [], []
    for code, name in enumerate(classes):
        members = np.flatnonzero(codes == code)
        if len(members) < ipc:
            scarce.append(f"{name!s} ({len(members)})")
        drawn.append(rng.permutation(members)[:ipc])
    if scarce:
        warnings.warn(
            f"Fewer rows than ipc={ipc} in {len(scarce)} of {len(classes)} classes, which "
            f"contribute all their rows: {', '.join(scarce[:10])}"
            f"{', ...' if len(scarce) > 10 else ''}. Lower 'ipc' for classes of equal size.",
            UserWarning,
            stacklevel=5,
        )
    return drawn


def initial_support(
    X: NDArray[Any],
    codes: NDArray[np.integer],
    classes: NDArray[Any],
    ipc: int,
    init: str,
    rng: np.random.RandomState,
) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp] | None]:
    """Return a support set to start from, sorted by class.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    codes : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)
        Names, for the warning.
    ipc : int
        Rows per class.
    init : {"sample", "noise", "kmeans"}
        Real rows; Gaussian noise with each feature's mean and deviation; the centres of k-means
        within each class.

    Returns
    -------
    X_s : ndarray of shape (n_s, n_features)
    codes_s : ndarray of shape (n_s,)
    indices : ndarray of shape (n_s,) or None
        Rows of X, if X_s is made of real rows.
    """
    drawn = rows_per_class(codes, classes, ipc, rng)
    codes_s = np.repeat(np.arange(len(classes)), [len(rows) for rows in drawn])
    indices = np.concatenate(drawn)
    if init == "sample":
        return X[indices], codes_s, indices
    if init == "noise":
        noise = rng.standard_normal((len(indices), X.shape[1])).astype(X.dtype)
        return X.mean(axis=0) + X.std(axis=0) * noise, codes_s, None
    centres = []
    for code, rows in enumerate(drawn):
        members = np.flatnonzero(codes == code)
        if len(members) > _MAX_KMEANS_ROWS:
            members = rng.choice(members, _MAX_KMEANS_ROWS, replace=False)
        n_clusters = min(len(rows), len(np.unique(X[members], axis=0)))
        kmeans = KMeans(n_clusters, n_init=1, random_state=rng).fit(X[members])
        # Fewer distinct rows than centres: fill up with the drawn rows.
        centres.append(np.concatenate([kmeans.cluster_centers_, X[rows[n_clusters:]]]))
    return np.concatenate(centres).astype(X.dtype), codes_s, None
