"""Small subsets of real rows, and centres: what distillation must beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.kernel_approximation import Nystroem
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import validate_data

from kipsk._checks import check_integer, check_not_images, check_option, refuse
from kipsk._data._coding import ClassCoding
from kipsk._data._coresets import farthest_first, forgetting_events, medoids, most_forgotten
from kipsk._data._labels import encode
from kipsk._data._support import centres_of, herd, rows_per_stratum
from kipsk._engine import map_rows
from kipsk._engine._sizes import block_size_for
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel
from kipsk.networks._classifier import FiniteNetworkClassifier

__all__ = ["CoresetSampler"]

_METHODS = ("random", "herding", "k_center", "k_means", "k_medoids", "forgetting")

# Explicit features of a kernel: more tell rows of one class apart by less than they cost.
_N_COMPONENTS = 256
# The network of network=None.
_EPOCHS, _BATCH = 20, 100


class CoresetSampler(BaseEstimator):
    """Choose a few real rows of each class, or the centres of clusters.

    The baselines of dataset distillation, as an imbalanced-learn sampler (which needs no
    imbalanced-learn): `fit_resample` returns rows with hard labels, as many of each class.

    Parameters
    ----------
    method : str, default="random"
        Within each class:

        - "random": rows at random;
        - "herding": rows whose running mean follows the class mean (Welling 2009; Rebuffi et al.
          2017, arXiv 1611.07725);
        - "k_center": the row nearest to the class mean, then always the row farthest from those
          chosen (Gonzalez 1985; for coresets Sener & Savarese 2018, arXiv 1708.00489);
        - "k_means": the centres of k-means, which are no real rows;
        - "k_medoids": rows of a small sum of distances of all others to the nearest of them, by
          alternating (Park & Jun 2009) from a k-means++ start;
        - "forgetting": the rows that a network most often forgets in training, right after one
          epoch and wrong after the next, rows never learned first (Toneva et al. 2019, arXiv
          1812.05159). They are the hardest rows: good to keep when few are left out, and much
          worse than random ones when few are kept.
    ipc : int, default=10
        Rows per class; a class with fewer contributes all its rows, with a warning.
    features : None, str, kernel object, transformer or callable, default=None
        The space in which rows are compared; what is returned are rows of X all the same
        ("k_means": means of the rows of X in each cluster). None is X itself. A kernel of
        `kipsk.kernels`, or its name, stands for 256 explicit features
        (`sklearn.kernel_approximation.Nystroem`), which cost 256 kernel entries a row. A
        transformer is cloned and fitted on X, y. A callable takes X and returns an array
        (n_samples, n_other). Transformers and callables get X as it was given. "random" does not
        look at features.
    network : FiniteNetworkClassifier, default=None
        What "forgetting" trains on all rows, in the space of `features`; cloned. Its `max_iter`
        must be some epochs of ``ceil(n_samples / batch_size)`` steps. None is
        ``FiniteNetworkClassifier("fc1", loss="cross_entropy", optimizer="adam", l2=0)`` with 20
        epochs in batches of 100 rows.
    random_state : int, RandomState or None, default=None
        Draws rows, and seeds `features` and `network` where their own is None.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_selected,)
        The rows of X that were chosen, sorted by class, in each class in the order of choice (of
        "k_medoids" in no order). Not there after "k_means".
    forgetting_events_ : ndarray of shape (n_samples,)
        After "forgetting": how often each row was forgotten, inf if it never was learned.
    features_ : transformer
        The fitted transformer, of a kernel the fitted ``Nystroem``; not there without either.
    network_ : FiniteNetworkClassifier
        After "forgetting", fitted.
    classes_ : ndarray of shape (n_classes,)
        The classes of y, sorted.
    n_features_in_ : int
        Features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.

    See Also
    --------
    kipsk.KIPDistiller : Learns rows and labels instead.
    kipsk.LabelSolver : Keeps real rows and solves for their labels.
    kipsk.evaluation.compare : Sets of several kinds and sizes under many models.

    Notes
    -----
    "herding" and "k_center" draw no random number without a random transformer. "k_means" and the
    sums of distances of "k_medoids" take a random 2000 rows of a larger class.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from kipsk.baselines import CoresetSampler
    >>> X, y = load_digits(return_X_y=True)
    >>> X_s, y_s = CoresetSampler("k_center", ipc=2).fit_resample(X, y)
    >>> X_s.shape, y_s[:4]
    ((20, 64), array([0, 0, 1, 1]))
    """

    def __init__(
        self,
        method: str = "random",
        ipc: int = 10,
        *,
        features: Any = None,
        network: FiniteNetworkClassifier | None = None,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.ipc = ipc
        self.features = features
        self.network = network
        self.random_state = random_state

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Choose rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to choose from, images flattened.
        y : array-like of shape (n_samples,)
            Class labels of any type.

        Returns
        -------
        X_s : ndarray of shape (n_selected, n_features)
            Sorted by class. Of a DataFrame its rows, with their index; after "k_means" new ones.
        y_s : ndarray of shape (n_selected,)
            Their labels; a Series if y is one.

        Raises
        ------
        ValueError
            If y holds soft labels, and on bad parameters.
        """
        name = type(self).__name__
        check_option(name, "method", self.method, _METHODS)
        ipc = check_integer(name, "ipc", self.ipc, minimum=1)
        _refuse_soft_labels(name, y)
        check_not_images("X", X)
        given = X
        X, labels = validate_data(self, X, y)
        for attribute in ("sample_indices_", "forgetting_events_", "features_", "network_"):
            self.__dict__.pop(attribute, None)  # of an earlier fit
        self.classes_, codes = encode(name, labels)
        rng = check_random_state(self.random_state)
        drawn = rows_per_stratum(codes, ClassCoding(self.classes_), ipc, rng)
        y_s = np.repeat(self.classes_, [len(rows) for rows in drawn])
        if self.method == "k_means":
            X_s = self._centres(self._features(given, X, labels, rng), X, codes, drawn, rng)
            if hasattr(given, "iloc"):
                X_s = type(given)(X_s, columns=given.columns)
            if hasattr(y, "iloc"):  # a Series or a column, whatever its dtype: first rows' labels
                firsts = np.repeat([rows[0] for rows in drawn], list(map(len, drawn)))
                return X_s, y.iloc[firsts].reset_index(drop=True)
            return X_s, y_s
        if self.method != "random":
            F = self._features(given, X, labels, rng)
            drawn = self._chosen(F, codes, drawn, rng)
        self.sample_indices_ = np.concatenate(drawn)
        X_s, y_s = (
            data.iloc[self.sample_indices_]
            if hasattr(data, "iloc")
            else array[self.sample_indices_]
            for data, array in ((given, X), (y, labels))
        )
        return X_s, y_s

    def _features(
        self, given: Any, X: NDArray[Any], y: NDArray[Any], rng: np.random.RandomState
    ) -> NDArray[Any]:
        """Return the rows (n, n_other) that are compared; set ``features_``."""
        features = self.features
        if features is None:
            return X
        if isinstance(features, str | JaxKernel):
            X = X.astype(np.float32, copy=False)
            kernel = get_kernel(features).resolve(X)
            n_components = min(_N_COMPONENTS, len(X))
            transformer = Nystroem(kernel, n_components=n_components, random_state=rng)
            self.features_ = transformer.fit(X)
            row_size = X.shape[1] + kernel.function().row_size(X.shape[1])
            return map_rows(
                self.features_.transform, X, block_size_for("auto", n_components, row_size, 8)
            )
        if hasattr(features, "transform"):
            self.features_ = clone(features)
            _set_random_states(self.features_, rng)
            result = self.features_.fit(given, y).transform(given)
        elif callable(features):
            result = features(given)
        else:
            rule = "None, a kernel or its name, a transformer or a callable"
            raise refuse(type(self).__name__, "features", rule, features)
        result = check_array(result, input_name="features(X)")
        if len(result) != len(X):
            raise ValueError(
                f"The 'features' must return a row for each of the {len(X)} rows of X. Got an "
                f"array of shape {result.shape} instead."
            )
        return result

    def _centres(
        self,
        F: NDArray[Any],
        X: NDArray[Any],
        codes: NDArray[np.intp],
        drawn: list[NDArray[np.intp]],
        rng: np.random.RandomState,
    ) -> NDArray[Any]:
        dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
        centres = []
        for code, spare in enumerate(drawn):
            members = np.flatnonzero(codes == code)
            features = None if F is X else F[members].astype(np.float64)
            own, spare_rows = X[members].astype(np.float64), X[spare].astype(np.float64)
            centres.append(centres_of(own, spare_rows, rng, features))
        return np.concatenate(centres).astype(dtype)

    def _chosen(
        self,
        F: NDArray[Any],
        codes: NDArray[np.intp],
        drawn: list[NDArray[np.intp]],
        rng: np.random.RandomState,
    ) -> list[NDArray[np.intp]]:
        """Return the rows of each class, as many as are `drawn`."""
        if self.method == "forgetting":
            self.forgetting_events_ = self._forgetting_events(F, self.classes_[codes], rng)
        chosen = []
        for code, rows in enumerate(drawn):
            members = np.flatnonzero(codes == code)
            if self.method == "forgetting":
                which = most_forgotten(self.forgetting_events_[members], len(rows), rng)
            else:
                own = F[members].astype(np.float64)  # one class at a time: memory
                which = _select(self.method, own - own.mean(axis=0), len(rows), rng)
            chosen.append(members[which])
        return chosen

    def _forgetting_events(
        self, F: NDArray[Any], y: NDArray[Any], rng: np.random.RandomState
    ) -> NDArray[np.float64]:
        """Return how often a network forgets each row; set ``network_``."""
        owner = type(self).__name__
        network = self.network
        if network is None:
            batch_size = min(_BATCH, len(F))
            max_iter = _EPOCHS * math.ceil(len(F) / batch_size)
            network = FiniteNetworkClassifier(
                "fc1",
                loss="cross_entropy",
                optimizer="adam",
                l2=0.0,
                max_iter=max_iter,
                batch_size=batch_size,
            )
        elif not isinstance(network, FiniteNetworkClassifier):
            raise refuse(owner, "network", "None or a FiniteNetworkClassifier", network)
        self.network_ = clone(network)
        _set_random_states(self.network_, rng)
        correct: list[NDArray[np.bool_]] = []
        self.network_.fit(F, y, on_epoch=lambda network: correct.append(network.predict(F) == y))
        if len(correct) < 2:
            raise ValueError(
                f"The 'network' of {owner} must train for at least 2 epochs. Got "
                f"max_iter={self.network_.max_iter} instead, {len(correct)} epochs of the "
                f"{len(F)} rows: raise its max_iter or its batch_size."
            )
        return forgetting_events(np.array(correct))


def _select(
    method: str, rows: NDArray[np.float64], n: int, rng: np.random.RandomState
) -> list[int]:
    if method == "k_medoids":
        return medoids(rows, n, rng)
    return herd(rows, n) if method == "herding" else farthest_first(rows, n)


def _set_random_states(estimator: Any, rng: np.random.RandomState) -> None:
    """Draw the `random_state` of an estimator, and of those inside it, where it is None."""
    for key, value in sorted(estimator.get_params(deep=True).items()):
        if key.rpartition("__")[2] == "random_state" and value is None:
            estimator.set_params(**{key: rng.randint(2**31)})


def _refuse_soft_labels(owner: str, y: Any) -> None:
    is_sequence = isinstance(y, list | tuple)
    shape: tuple[int, ...] = np.shape(y) if is_sequence else getattr(y, "shape", ())
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{owner} chooses rows of each class, which needs class labels: y of shape "
            f"(n_samples,). Got soft labels of shape {tuple(shape)} instead: pass "
            "classes[np.argmax(y, axis=1)]."
        )
