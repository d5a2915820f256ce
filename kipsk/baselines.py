"""Small sets of real rows or centres: the baselines that distillation must beat."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.kernel_approximation import Nystroem
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import validate_data

from kipsk._checks import check_integer, check_labels, check_not_images, check_option, refuse
from kipsk._data._classes import ClassCoding
from kipsk._data._containers import is_frame, labels_like, rows_like, taken
from kipsk._data._coresets import farthest_first, forgetting_events, medoids, most_forgotten
from kipsk._data._labels import encode
from kipsk._data._support import centres_of, herd, rows_per_stratum
from kipsk._engine import map_rows
from kipsk._engine._sizes import block_size_for
from kipsk._types import AnyArray, Estimator, Float64s, Given, Ints, MatrixLike
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._registry import get_kernel
from kipsk.networks._classifier import FiniteNetworkClassifier

__all__ = ["CoresetSampler"]

_METHODS = ("random", "herding", "k_center", "k_means", "k_medoids", "forgetting")

# The number of explicit features that stand for a kernel. More of them cost more than they help to
# tell the rows of a class apart.
_N_COMPONENTS = 256
# How the network is trained if none is given.
_EPOCHS, _BATCH = 20, 100


class CoresetSampler(BaseEstimator):
    """Choose a few real rows of each class, or the centres of clusters.

    These are the baselines of dataset distillation, as a sampler in the sense of imbalanced-learn
    (which need not be installed): `fit_resample` returns equally many rows of each class, with
    their class labels.

    Parameters
    ----------
    method : str, default="random"
        How the rows of each class are chosen:

        - "random": rows at random;
        - "herding": rows whose running mean follows the class mean (Welling 2009; Rebuffi et al.
          2017, arXiv 1611.07725);
        - "k_center": first the row nearest to the class mean, then always the row farthest from
          the rows chosen so far (Gonzalez 1985; for coresets Sener & Savarese 2018, arXiv
          1708.00489);
        - "k_means": the centres of k-means, which are no real rows;
        - "k_medoids": rows that keep the sum of the distances from each row to the nearest chosen
          one small, found by alternating (Park & Jun 2009) from a k-means++ start;
        - "forgetting": the rows that a network forgets most often while it is trained, that is,
          classifies correctly after one epoch and wrongly after the next; rows that it never
          learns come first (Toneva et al. 2019, arXiv 1812.05159). They are the hardest rows: good
          to keep when few rows are left out, and much worse than random ones when few are kept.
    ipc : int, default=10
        Rows per class. A class with fewer rows contributes all of them, with a warning.
    features : None, str, kernel object, transformer or callable, default=None
        The space in which rows are compared. The rows that are returned are rows of X in any case
        (with "k_means", the means of the rows of X in each cluster). None compares the rows of X
        themselves. A kernel of `kipsk.kernels`, or its name, stands for 256 explicit features
        (`sklearn.kernel_approximation.Nystroem`), which cost 256 kernel entries a row. A
        transformer is cloned and fitted on X, y. A callable takes X and returns an array
        (n_samples, n_other). Transformers and callables get X as it was given. "random" compares
        no rows and ignores this parameter.
    network : FiniteNetworkClassifier, default=None
        The network that "forgetting" clones and trains on all rows, in the space of `features`. An
        epoch is ``ceil(n_samples / batch_size)`` steps, and its `max_iter` must be at least two
        epochs. None stands for
        ``FiniteNetworkClassifier("fc1", loss="cross_entropy", optimizer="adam", l2=0)`` with 20
        epochs in batches of 100 rows.
    random_state : int, RandomState or None, default=None
        The seed of all draws, also of those that `features` and `network` make where their own
        ``random_state`` is None.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_selected,)
        The numbers of the chosen rows of X, sorted by class, and within a class in the order of
        choice ("k_medoids" has no such order). Absent after "k_means".
    forgetting_events_ : ndarray of shape (n_samples,)
        How often each row was forgotten, inf if it was never learned; only after "forgetting".
    features_ : transformer
        The fitted transformer, or the fitted ``Nystroem`` of a kernel; only if `features` is one
        of these.
    network_ : FiniteNetworkClassifier
        The fitted network; only after "forgetting".
    classes_ : ndarray of shape (n_classes,)
        The classes of y, sorted.
    n_features_in_ : int
        The number of features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The names of the features, if all of them are strings.

    See Also
    --------
    kipsk.KIPDistiller : Learns rows and labels instead.
    kipsk.LabelSolver : Keeps real rows and solves for their labels.
    kipsk.evaluation.compare : Compares sets of several kinds and sizes by what many models learn.

    Notes
    -----
    "herding" and "k_center" draw no random numbers unless a transformer in `features` does.
    "k_means" and the sums of distances of "k_medoids" are computed from 2000 random rows of a class
    that is larger.

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
        features: Given = None,
        network: FiniteNetworkClassifier | None = None,
        random_state: Given = None,
    ) -> None:
        self.method = method
        self.ipc = ipc
        self.features = features
        self.network = network
        self.random_state = random_state

    def fit(self, X: MatrixLike, y: MatrixLike) -> Self:
        """Choose rows as `fit_resample` does; the fitted attributes say which.

        imbalanced-learn's Pipeline wants this method of its last step, also for `fit_resample`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to choose from.
        y : array-like of shape (n_samples,)
            Class labels of any type.

        Returns
        -------
        self
            The fitted sampler.
        """
        self.fit_resample(X, y)
        return self

    def fit_resample(self, X: MatrixLike, y: MatrixLike) -> tuple[MatrixLike, MatrixLike]:
        """Choose rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to choose from. Images are flattened. "random" does not look at them, nor does
            any method but "k_means" where `features` is a transformer or a callable: they may then
            have missing values and strings, or be sparse.
        y : array-like of shape (n_samples,)
            Class labels of any type.

        Returns
        -------
        X_s : ndarray of shape (n_selected, n_features)
            The chosen rows or centres, sorted by class. If X is a DataFrame or sparse, so is X_s.
            Rows of a DataFrame keep their index and dtypes, except that centres have a new index.
        y_s : ndarray of shape (n_selected,)
            Their labels; a Series of the same dtype if y is one.

        Raises
        ------
        ValueError
            If y holds soft labels, or if a parameter breaks its rule.
        """
        name = type(self).__name__
        check_option(name, "method", self.method, _METHODS)
        ipc = check_integer(name, "ipc", self.ipc, minimum=1)
        _refuse_soft_labels(name, y)
        check_not_images("X", X)
        check_labels(y)
        given = X
        X, labels = self._checked(X, y)
        for attribute in ("sample_indices_", "forgetting_events_", "features_", "network_"):
            self.__dict__.pop(attribute, None)  # of an earlier fit
        self.classes_, codes = encode(name, labels)
        rng = check_random_state(self.random_state)
        drawn = rows_per_stratum(codes, ClassCoding(self.classes_), ipc, rng)
        if self.method == "k_means":
            F = self._features(given, X, labels, rng)
            X_s = self._centres(F, X, codes, drawn, rng)
            y_s = np.repeat(self.classes_, [len(rows) for rows in drawn])
            return rows_like(given, X_s), labels_like(y, y_s)
        if self.method != "random":
            F = self._features(given, X, labels, rng)
            drawn = self._chosen(F, codes, drawn, rng)
        self.sample_indices_ = np.concatenate(drawn)
        return taken(given, self.sample_indices_), taken(y, self.sample_indices_)

    def _checked(self, X: MatrixLike, y: MatrixLike) -> tuple[MatrixLike, AnyArray]:
        """Return X as finite numbers where any are computed with, and as it is where none are."""
        is_own_space = self.features is None or isinstance(self.features, str | JaxKernel)
        if self.method == "k_means" or (self.method != "random" and is_own_space):
            X, y = validate_data(self, X, y)
            return X, y
        if not is_frame(X):
            X = check_array(X, dtype=None, accept_sparse="csr", ensure_all_finite=False)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        validate_data(self, X, skip_check_array=True)  # takes over the names of the features
        return X, y

    def _features(
        self, given: MatrixLike, X: AnyArray, y: AnyArray, rng: np.random.RandomState
    ) -> AnyArray:
        """Return the rows (n, n_other) in the space of `features`; set ``features_``."""
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
        if len(result) != len(y):
            raise ValueError(
                f"The 'features' must return a row for each of the {len(y)} rows of X. Got an "
                f"array of shape {result.shape} instead."
            )
        return result

    def _centres(
        self,
        F: AnyArray,
        X: AnyArray,
        codes: Ints,
        drawn: list[Ints],
        rng: np.random.RandomState,
    ) -> AnyArray:
        """Return the centres of each class, as many as rows of the class are `drawn`."""
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
        F: AnyArray,
        codes: Ints,
        drawn: list[Ints],
        rng: np.random.RandomState,
    ) -> list[Ints]:
        """Return the numbers of the chosen rows of each class, as many as rows are `drawn`."""
        if self.method == "forgetting":
            self.forgetting_events_ = self._forgetting_events(F, self.classes_[codes], rng)
        chosen = []
        for code, rows in enumerate(drawn):
            members = np.flatnonzero(codes == code)
            if self.method == "forgetting":
                which = most_forgotten(self.forgetting_events_[members], len(rows), rng)
            else:
                own = F[members].astype(np.float64)  # of one class only, to bound the memory
                which = _select(self.method, own - own.mean(axis=0), len(rows), rng)
            chosen.append(members[which])
        return chosen

    def _forgetting_events(self, F: AnyArray, y: AnyArray, rng: np.random.RandomState) -> Float64s:
        """Return how often a network forgets each row; set ``network_``."""
        owner = type(self).__name__
        network = _default_network(len(F)) if self.network is None else self.network
        if not isinstance(network, FiniteNetworkClassifier):
            raise refuse(owner, "network", "None or a FiniteNetworkClassifier", network)
        self.network_ = clone(network)
        _set_random_states(self.network_, rng)
        correct: list[AnyArray] = []
        self.network_.fit(F, y, on_epoch=lambda network: correct.append(network.predict(F) == y))
        if len(correct) < 2:
            raise ValueError(
                f"The 'network' of {owner} must train for at least 2 epochs. Got "
                f"max_iter={self.network_.max_iter} instead, {len(correct)} epochs of the "
                f"{len(F)} rows: raise its max_iter or its batch_size."
            )
        return forgetting_events(np.array(correct))


def _default_network(n: int) -> FiniteNetworkClassifier:
    """Return the network that "forgetting" trains on n rows if none is given."""
    batch_size = min(_BATCH, n)
    return FiniteNetworkClassifier(
        "fc1",
        loss="cross_entropy",
        optimizer="adam",
        l2=0.0,
        max_iter=_EPOCHS * math.ceil(n / batch_size),
        batch_size=batch_size,
    )


def _select(method: str, rows: Float64s, n: int, rng: np.random.RandomState) -> list[int]:
    """Return the positions of n rows of one class, which are centred on their mean."""
    if method == "k_medoids":
        return medoids(rows, n, rng)
    return herd(rows, n) if method == "herding" else farthest_first(rows, n)


def _set_random_states(estimator: Estimator, rng: np.random.RandomState) -> None:
    """Draw every `random_state` that is None, of an estimator and of the estimators inside it."""
    for key, value in sorted(estimator.get_params(deep=True).items()):
        if key.rpartition("__")[2] == "random_state" and value is None:
            estimator.set_params(**{key: rng.randint(2**31)})


def _refuse_soft_labels(owner: str, y: MatrixLike) -> None:
    is_sequence = isinstance(y, list | tuple)
    shape: tuple[int, ...] = np.shape(y) if is_sequence else getattr(y, "shape", ())
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{owner} chooses rows of each class, which needs class labels: y of shape "
            f"(n_samples,). Got soft labels of shape {tuple(shape)} instead: pass "
            "classes[np.argmax(y, axis=1)]."
        )
