"""The sampler: it wires sizes, a space and a method together."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import validate_data

from kipsk._checks import check_integer, check_labels, check_not_images, check_option, check_rows
from kipsk._data._containers import (
    is_frame,
    labels_like,
    list_like,
    rows_like,
    taken,
    with_dense_columns,
)
from kipsk._data._coresets import most_forgotten
from kipsk._data._labels import encode, refuse_matrix, single_labels
from kipsk._data._support import rows_of_strata
from kipsk._estimators._sampler import SamplerEstimatorTags, SamplerMixin
from kipsk._types import AnyArray, Given, Ints, MatrixLike
from kipsk.baselines import _choice
from kipsk.baselines._features import space_of
from kipsk.baselines._forgetting import forgotten_by
from kipsk.baselines._sizes import class_sizes
from kipsk.kernels._base import JaxKernel, KernelFunction
from kipsk.kernels._registry import get_kernel
from kipsk.networks._classifier import FiniteNetworkClassifier

# What a fit leaves behind with some parameters only.
_NOT_ALWAYS = ("sample_indices_", "forgetting_events_", "features_", "network_", "kernel_")


class CoresetSampler(SamplerMixin, BaseEstimator):
    """Choose a few real rows of each class, or the centres of clusters.

    These are the baselines of dataset distillation, as a sampler in the sense of imbalanced-learn
    (which need not be installed): `fit_resample` returns rows with their class labels, equally many
    of each class unless `sampling_strategy` says something else.

    Parameters
    ----------
    method : str, default="random"
        How the rows of each class are chosen:

        - "random": rows at random;
        - "herding": rows whose running mean follows the class mean (Welling 2009; Rebuffi et al.
          2017, arXiv 1611.07725), in the space of `features`;
        - "kernel_herding": the same in the infinite space of a `kernel`, without features (Chen,
          Welling & Smola 2010, "Super-samples from kernel herding");
        - "k_center": first the row nearest to the class mean, then always the row farthest from
          the rows chosen so far (Gonzalez 1985; for coresets Sener & Savarese 2018, arXiv
          1708.00489);
        - "k_means": the centres of k-means, which are no real rows;
        - "k_medoids": rows that keep the sum of the distances from each row to the nearest chosen
          one small, found by alternating (Park & Jun 2009) from a k-means++ start;
        - "agglomerative": the centres of Ward's clusters, which are no real rows;
        - "agglomerative_medoids": the row nearest to the centre of each of Ward's clusters;
        - "rp_cholesky": the pivots of a randomly pivoted Cholesky factorisation of the class's
          kernel matrix, rows that the kernel tells apart (Chen, Epperly, Tropp & Webber 2022, arXiv
          2207.06503);
        - "forgetting": the rows that a network forgets most often while it is trained, that is,
          classifies correctly after one epoch and wrongly after the next; rows that it never
          learns come first (Toneva et al. 2019, arXiv 1812.05159). They are the hardest rows: good
          to keep when few rows are left out, and much worse than random ones when few are kept.
    ipc : int, default=10
        Rows per class. A class with fewer rows contributes all of them, with a warning.
    sampling_strategy : None, str, float, dict or callable, default=None
        How many rows of each class, if not `ipc` of each:

        - None: `ipc` rows of each class;
        - "stratified": `ipc` rows per class on average, in proportion to the rows that the classes
          have, and one of each class at least.

        All others are those of imbalanced-learn's under-samplers, and `ipc` is ignored. A class
        that they do not name keeps all its rows, as they are:

        - "all", "not minority", "not majority" or "majority": each of these classes gets as many
          rows as the smallest class has; "auto" is "not minority";
        - a float, for two classes: the smaller class keeps its rows, and the larger one is made
          smaller until this is the ratio of the two;
        - a dict of class to number of rows, or a function of y that returns one.
    features : None, str, kernel object, transformer or callable, default=None
        The space in which rows are compared. The rows that are returned are rows of X in any case
        (with "k_means" and "agglomerative", the means of the rows of X in each cluster). None
        compares the rows of X themselves. A kernel of `kipsk.kernels`, or its name, stands for 256
        explicit features (`sklearn.kernel_approximation.Nystroem`), which cost 256 kernel entries a
        row. A transformer is cloned and fitted on X, y. A callable takes X and returns an array
        (n_samples, n_other). Transformers and callables get X as it was given. "random" compares
        no rows and ignores this parameter.
    kernel : str or kernel object, default="rbf"
        The kernel of "kernel_herding" and "rp_cholesky", of `kipsk.kernels`. It sees the rows in
        the space of `features`.
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
    sampling_strategy_ : dict
        How many rows of each class were chosen.
    sample_indices_ : ndarray of shape (n_selected,)
        The numbers of the chosen rows of X, sorted by class, and within a class in the order of
        choice ("k_medoids" and "agglomerative_medoids" have no such order; a class of which all
        rows are chosen keeps that of X, but not with "random" and "forgetting"). Absent after
        "k_means" and "agglomerative".
    forgetting_events_ : ndarray of shape (n_samples,)
        How often each row was forgotten, inf if it was never learned; only after "forgetting".
    features_ : transformer
        The fitted transformer, or the fitted ``Nystroem`` of a kernel; only if `features` is one
        of these.
    kernel_ : kernel object
        `kernel` with its data-dependent parameters set; only after "kernel_herding" and
        "rp_cholesky".
    network_ : FiniteNetworkClassifier
        The fitted network; only after "forgetting".
    classes_ : ndarray of shape (n_classes,)
        The classes of y, sorted; of one-vs-all labels the numbers of columns.
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
    "herding" and "k_center" draw no random numbers unless a transformer in `features` does, and
    "kernel_herding" and the two agglomerative methods only of classes of more than 2000 rows.

    No method takes memory for a matrix of all pairs of rows. Of a class of more than 2000 rows
    "k_means" sees a random 2000, or ten for each centre if these are more; the agglomerative
    methods see 2000, or two for each cluster if these are more, but 10000 at most, which is then
    the largest number of clusters; and the sums of distances of "k_medoids" and the mean of
    "kernel_herding" are over a random 2000. "rp_cholesky" takes as many numbers as the class has
    rows, times the rows that are chosen of it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from kipsk.baselines import CoresetSampler
    >>> X, y = load_digits(return_X_y=True)
    >>> X_s, y_s = CoresetSampler("k_center", ipc=2).fit_resample(X, y)
    >>> X_s.shape, y_s[:4]
    ((20, 64), array([0, 0, 1, 1]))

    All rows of a rare class, and as many centres of the other one:

    >>> sampler = CoresetSampler("agglomerative", sampling_strategy="auto")
    >>> X_s, y_s = sampler.fit_resample(X, y == 3)
    >>> sampler.sampling_strategy_
    {False: 183, True: 183}
    """

    def __init__(
        self,
        method: str = "random",
        ipc: int = 10,
        *,
        sampling_strategy: Given = None,
        features: Given = None,
        kernel: str | JaxKernel = "rbf",
        network: FiniteNetworkClassifier | None = None,
        random_state: Given = None,
    ) -> None:
        self.method = method
        self.ipc = ipc
        self.sampling_strategy = sampling_strategy
        self.features = features
        self.kernel = kernel
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
            any method of real rows where `features` is a transformer or a callable: they may then
            have missing values and strings, or be sparse.
        y : array-like of shape (n_samples,)
            Class labels of any type; or one-vs-all, of shape (n_samples, n_classes), as
            `sklearn.preprocessing.label_binarize` returns them.

        Returns
        -------
        X_s : ndarray of shape (n_selected, n_features)
            The chosen rows or centres, sorted by class. If X is a DataFrame, sparse or a list, so
            is X_s. Rows of a DataFrame keep their index and dtypes, except that centres have a new
            index.
        y_s : ndarray of shape (n_selected,)
            Their labels; a Series of the same dtype if y is one, a list if it is one, one-vs-all if
            it is that.

        Raises
        ------
        ValueError
            If y holds soft labels, if a parameter breaks its rule, or if `sampling_strategy` asks
            for more rows than a class has.
        """
        name = type(self).__name__
        check_option(name, "method", self.method, _choice.METHODS)
        ipc = check_integer(name, "ipc", self.ipc, minimum=1)
        single = single_labels(y)
        refuse_matrix(single)
        check_not_images("X", X)
        check_labels(single)
        given = X
        X, labels = self._checked(X, single)
        for attribute in _NOT_ALWAYS:
            self.__dict__.pop(attribute, None)  # of an earlier fit
        self.classes_, codes = encode(name, labels)
        sizes = class_sizes(name, self.sampling_strategy, ipc, self.classes_, codes, labels)
        self.sampling_strategy_ = dict(zip(self.classes_.tolist(), sizes.tolist(), strict=True))
        rng = check_random_state(self.random_state)
        drawn = rows_of_strata(codes, sizes, rng)
        F = X if self.method == "random" else self._in_space(given, X, labels, rng)
        if not self._has_sample_indices:
            X_s = self._centres(F, X, codes, drawn, rng)
            y_s = np.repeat(self.classes_, sizes)
            return list_like(given, rows_like(given, X_s)), labels_like(y, y_s)
        if self.method != "random":
            drawn = self._chosen(F, codes, drawn, rng)
        self.sample_indices_ = np.concatenate(drawn)
        if issparse(X):
            given = X  # in a format that rows can be taken of
        return taken(given, self.sample_indices_), taken(y, self.sample_indices_)

    @property
    def _has_sample_indices(self) -> bool:
        return self.method not in _choice.CENTRES

    def _looks_at_rows(self) -> bool:
        """Return whether numbers are computed of the rows of X themselves."""
        is_own_space = self.features is None or isinstance(self.features, str | JaxKernel)
        return not self._has_sample_indices or (self.method != "random" and is_own_space)

    def __sklearn_tags__(self) -> SamplerEstimatorTags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "sampler"
        tags.target_tags.required = True
        takes_anything = self.method == "random"
        tags.input_tags.sparse = takes_anything
        tags.input_tags.string = takes_anything
        tags.input_tags.allow_nan = takes_anything
        return tags

    def _checked(self, X: MatrixLike, y: MatrixLike) -> tuple[MatrixLike, AnyArray]:
        """Return X as finite numbers where any are computed with, and as it is where none are."""
        if self._looks_at_rows():
            X, y = validate_data(self, with_dense_columns(X), y)
            return check_rows("X", X), y  # scikit-learn lets text in columns of categories through
        if not is_frame(X):
            X = check_array(X, dtype=None, accept_sparse=["csr", "csc"], ensure_all_finite=False)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        validate_data(self, X, skip_check_array=True)  # takes over the names of the features
        return X, y

    def _in_space(
        self, given: MatrixLike, X: AnyArray, y: AnyArray, rng: np.random.RandomState
    ) -> AnyArray:
        """Return the rows (n_samples, n_other) in the space of `features`; set ``features_``."""
        space = space_of(type(self).__name__, self.features, given, X, y, rng)
        if space.transformer is not None:
            self.features_ = space.transformer
        return space.rows

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
            own = X[members].astype(np.float64)
            if len(spare) < len(members):
                features = None if F is X else F[members].astype(np.float64)
                own = _choice.centres(self.method, own, X[spare].astype(np.float64), rng, features)
            centres.append(own)
        return np.concatenate(centres).astype(dtype)

    def _chosen(
        self,
        F: AnyArray,
        codes: Ints,
        drawn: list[Ints],
        rng: np.random.RandomState,
    ) -> list[Ints]:
        """Return the numbers of the chosen rows of each class, as many as rows are `drawn`."""
        kernel = self._kernel_for(F)
        if self.method == "forgetting":
            owner, y = type(self).__name__, self.classes_[codes]
            self.forgetting_events_, self.network_ = forgotten_by(owner, self.network, F, y, rng)
        chosen = []
        for code, spare in enumerate(drawn):
            members = np.flatnonzero(codes == code)
            which: Any = slice(None)  # all rows
            if self.method == "forgetting":
                which = most_forgotten(self.forgetting_events_[members], len(spare), rng)
            elif len(spare) < len(members):
                own = F[members].astype(np.float64)  # of one class only, to bound the memory
                spare = np.searchsorted(members, spare)
                which = _choice.chosen(self.method, own, spare, rng, kernel)
            chosen.append(members[which])
        return chosen

    def _kernel_for(self, F: AnyArray) -> KernelFunction | None:
        """Return the kernel if the method has one; set ``kernel_``."""
        if self.method not in _choice.BY_KERNEL:
            return None
        F = F if F.dtype.kind == "f" else F.astype(np.float32)
        # Sampled networks would be drawn anew for each class.
        self.kernel_ = get_kernel(self.kernel).resolve(F).for_prediction()
        return self.kernel_.function()
