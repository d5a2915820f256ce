"""Label Solve: the labels of a support set in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state

from kipsk._checks import check_auto, check_integer, check_option, refuse
from kipsk._closed_form._quadratic import Quadratic
from kipsk._data._classes import ClassCoding
from kipsk._data._coding import Coding, Data
from kipsk._data._support import Support, draw
from kipsk._data._weights import check_class_weight, weighted
from kipsk._distil._all_rows import solved_labels
from kipsk._distil._label_solve import solve_labels_over
from kipsk._distil._moments import features
from kipsk._estimators._class_distiller import ClassDistiller
from kipsk._estimators._members import Member
from kipsk._estimators._rounding import warn_of_kernel, warn_of_outliers
from kipsk._jax import own_settings
from kipsk._types import Estimator, Floats, Given, Ints, MatrixLike
from kipsk.kernels._base import JaxKernel


class AllRows(Protocol):
    """What is read of `Moments`, which belong to a room above this one."""

    kernel_: JaxKernel
    n_features_in_: int
    preprocess: Estimator | None

    def check_kernel(self, owner: str, kernel: JaxKernel) -> None:
        """Refuse a kernel that is not theirs."""

    def coding(self) -> Coding:
        """Return what the targets stand for."""

    def quadratic(self) -> Quadratic:
        """Return the error of all rows."""


class LabelSolver(ClassDistiller):
    """Label Solve: keep real rows, solve for the labels that make them predict best.

    Minimises KIP's loss over the labels alone, over the whole training set. The loss is quadratic
    in them, so there is no iteration:

    .. code-block:: text

        y_s = (K_ts (K_ss + reg * trace(K_ss)/n_s * I)^-1)^+ y_t

    from normal equations summed over blocks of targets (arXiv 2107.13034, eq. 5).

    Parameters
    ----------
    kernel : str or kernel object, default="fc1"
        A name known to `kipsk.kernels.get_kernel` or a kernel object.
    ipc : int, default=10
        Support rows per class; a class with fewer contributes all its rows, with a warning.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X, for a kernel that needs it and has none.
    support : {"sample", "kmeans"} or array-like of int, default="sample"
        Random rows of each class, the centres of k-means within each class, or the indices of
        rows of X (`ipc` is then not used).
    reg : float or "auto", default="auto"
        Relative ridge of the prediction. "auto" is the kernel's recommended value, 1e-6, or 5e-3
        for sampled networks.
    label_reg : float or "auto", default=0
        Relative ridge of the labels; 0 is the exact minimiser (the smallest one, if several),
        "auto" the one of the smallest generalised cross-validation error.
    class_weight : None, "balanced" or dict, default=None
        How much the training rows of each class count: alike, so that frequent classes outweigh
        rare ones; "balanced", so that all classes count alike; or a weight for each class label (1
        for those that are not named). None in `fit_moments`.
    block_size : int or "auto", default="auto"
        Targets of one block. "auto" bounds the memory.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the rows and of the kernel between support and targets. Sums and solves are
        in float64, `predict` in what the kernel recommends (`KernelRidgeNTK`).
    random_state : int, RandomState or None, default=None
        Draws the support.
    verbose : int, default=0
        1 shows a progress bar of the targets, and of `predict`.

    Attributes
    ----------
    X_s_ : ndarray of shape (n_support, n_features)
        Rows of X, or centres, sorted by class if they were drawn.
    y_s_ : ndarray of shape (n_support, n_classes)
        Soft labels, centred: a real one would be one-hot minus ``1 / n_classes``.
    support_indices_ : ndarray of shape (n_support,) or None
        Rows of X that are the support; None for "kmeans".
    classes_ : ndarray of shape (n_classes,)
        The classes of the columns of `y_s_`, sorted.
    kernel_ : kernel object
        The kernel with its data-dependent parameters set.
    reg_, label_reg_ : float
        What "auto" stood for.
    sampling_strategy_ : dict
        How many rows of each class the support has, by the largest entries of `y_s_`.
    predictor_ : KernelRidgeNTK
        Fitted on `X_s_` and `y_s_`; what `predict` uses.
    n_features_in_ : int
        Features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.

    See Also
    --------
    KIPDistiller : Learns the rows as well; ``labels="solved"`` with labels as these.
    KernelRidgeNTKClassifier : The same prediction from rows with their own labels.
    kipsk.baselines.CoresetSampler : Other real rows, with their own labels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from kipsk import LabelSolver
    >>> X, y = load_digits(return_X_y=True)
    >>> solver = LabelSolver(ipc=1, random_state=0).fit(X, y)
    >>> solver.X_s_.shape, solver.y_s_.shape
    ((10, 64), (10, 10))
    """

    def __init__(
        self,
        kernel: str | JaxKernel = "fc1",
        ipc: int = 10,
        *,
        image_shape: tuple[int, int, int] | None = None,
        support: str | ArrayLike = "sample",
        reg: float | str = "auto",
        label_reg: float | str = 0.0,
        class_weight: str | Mapping[Any, float] | None = None,
        block_size: int | str = "auto",
        dtype: str = "float32",
        random_state: Given = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.ipc = ipc
        self.image_shape = image_shape
        self.support = support
        self.reg = reg
        self.label_reg = label_reg
        self.class_weight = class_weight
        self.block_size = block_size
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: MatrixLike, y: MatrixLike) -> Self:
        """Choose the support and solve for its labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, images flattened.
        y : array-like of shape (n_samples,)
            Class labels of any type.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data break a rule, or the kernel matrix of the support cannot be
            factored; the message says what to change.
        """
        label_reg = check_auto("LabelSolver", "label_reg", self.label_reg, None, zero=True)
        kernel, reg = self._kernel_and_reg()
        check_class_weight("LabelSolver", self.class_weight)
        data = weighted("LabelSolver", self.class_weight, self._validate(X, y))
        given, kernel = kernel, kernel.resolve(data.X)
        warn_of_kernel("LabelSolver", kernel, data.X)
        # To a stationary kernel of a given scale a row far from all others is no other's.
        if not (kernel.is_stationary() and kernel is given):
            warn_of_outliers("LabelSolver", data.X)
        X_s, indices = self._support(data)
        y_s, found_reg = solve_labels_over(
            kernel.function(),
            X_s,
            data.X,
            data.y,
            reg,
            label_reg,
            self.block_size,
            self.verbose,
            data.weight,
        )
        members = [Member(self.kernel, kernel, reg)]
        self._publish(self._fitted(Support(X_s, y_s), data.coding, members))
        self.support_indices_, self.label_reg_ = indices, found_reg
        return self

    def fit_moments(self, moments: AllRows, X_s: MatrixLike) -> Self:
        """Solve for the labels of given rows, from the moments of a training set.

        Parameters
        ----------
        moments : Moments
            Of class labels, under this estimator's kernel: ``LabelSolver(moments.kernel_)``.
        X_s : array-like of shape (n_support, n_features)
            The rows to label; `support` and `ipc` are not used.

        Returns
        -------
        self
            The fitted estimator, with ``support_indices_`` None.

        Raises
        ------
        ValueError
            For moments of another kernel, of real targets or with a `preprocess`, which
            `KIPDistiller` has and this estimator has not; for rows of another width.
        """
        label_reg = check_auto("LabelSolver", "label_reg", self.label_reg, None, zero=True)
        kernel, reg = self._kernel_and_reg()
        if self.class_weight is not None:
            rule = "None in fit_moments: the weights of rows are in their moments (`sample_weight`)"
            raise refuse("LabelSolver", "class_weight", rule, self.class_weight)
        moments.check_kernel("LabelSolver", kernel)
        if moments.preprocess is not None:
            raise ValueError(
                "LabelSolver has no 'preprocess', so its moments must have none. Got "
                f'{moments.preprocess!r} instead: use KIPDistiller(labels="solved"), which takes '
                "it over."
            )
        coding = moments.coding()
        if not isinstance(coding, ClassCoding):
            raise ValueError(
                f"LabelSolver cannot solve for labels from moments of {coding}: give Moments of "
                "class labels ('classes')."
            )
        X = check_array(X_s, dtype=self.dtype, input_name="X_s")
        if X.shape[1] != moments.n_features_in_:
            raise ValueError(
                f"X_s must have the {moments.n_features_in_} features of the moments. Got "
                f"{X.shape[1]} instead."
            )
        function = moments.kernel_.function()
        with own_settings():
            Phi_s = features(function, X)
            y_s, found_reg = solved_labels(moments.quadratic(), Phi_s, reg, label_reg)
        members = [Member(self.kernel, moments.kernel_, reg)]
        self._take_names(moments)
        self._publish(self._fitted(Support(X, y_s), coding, members))
        self.support_indices_, self.label_reg_ = None, found_reg
        return self

    def _support(self, data: Data) -> tuple[Floats, Ints | None]:
        if isinstance(self.support, str):
            check_option(
                "LabelSolver", "support", self.support, ("sample", "kmeans"), also=" or indices"
            )
            ipc = check_integer("LabelSolver", "ipc", self.ipc, minimum=1)
            rng = check_random_state(self.random_state)
            support = draw(data, ipc, self.support, rng)
            return support.X, support.indices
        indices = np.asarray(self.support)
        n = len(data.X)
        if (
            indices.ndim != 1
            or not len(indices)
            or not np.issubdtype(indices.dtype, np.integer)
            or indices.min() < 0
            or indices.max() >= n
        ):
            rule = f"'sample', 'kmeans' or a non-empty 1-D array of row numbers from 0 to {n - 1}"
            raise refuse("LabelSolver", "support", rule, self.support)
        return data.X[indices], indices
