"""Kernel Inducing Points for real targets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score

from kipsk._checks import refuse
from kipsk._data._numbers import RealCoding
from kipsk._kip._base import BaseKIP
from kipsk._kip._settings import Settings
from kipsk._types import AnyArray, Float64s, Floats, Given, MatrixLike
from kipsk.kernels._base import JaxKernel


class KIPRegressor(MultiOutputMixin, RegressorMixin, BaseKIP):
    """Kernel Inducing Points for real targets: distil a training set into a few learned rows.

    As `KIPDistiller`, with each output of y, less its mean and over its deviation, in place of
    class labels: the support is learned so that kernel ridge regression on it predicts batches of
    training rows.

    The set is for this estimator and other kernel models. There is no `fit_resample` that would
    choose rows for models of other kinds: these, such as boosting, may learn less from the set than
    from as many random rows.

    Parameters
    ----------
    kernel : str or kernel object, or a list of them, default="fc1"
        As in `KIPDistiller`; a list is a family.
    n_support : int, default=100
        Support rows; all rows, with a warning, if there are fewer.
    kernel_weights : array-like of shape (n_kernels,), default=None
        How often each kernel of a family is drawn; None is equally often.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X.
    reg : float or "auto", default="auto"
        Relative ridge of the prediction. "auto" is, of 1e-6, 1e-4, 1e-3, ..., 1, the one of the
        smallest leave-one-out error of kernel ridge regression on (at most 1000) training rows, so
        that noise is not learned; 1e-6 for exact convolutional kernels and 5e-3 for sampled
        networks. Published as ``reg_``. In `fit_moments`, which sees no rows, "auto" is the
        kernel's own, 1e-6 or 5e-3.
    labels : {"learned", "fixed", "solved"}, default="learned"
        Targets of the support: learned with the rows; fixed where they start; or solved in closed
        form.
    targets : {"auto", "given", "smoothed"}, default="auto"
        What the steps compare predictions with. "given" is y. "smoothed" is what kernel ridge
        regression on all rows predicts for them, with the ridge of the smallest leave-one-out error
        as for `reg`, of at most 10000 rows: so the support does not learn the noise of y. "auto" is
        "smoothed" for at most 3000 rows, whose noise a support can learn by heart, and a kernel
        that is neither a convolutional one nor sampled anew; it is "given" in `partial_fit` and
        `fit_moments`. Of a family the first such kernel smooths. `loss_curve_` is of these targets.
    label_reg : float or "auto", default="auto"
        Relative ridge of solved labels.
    init : {"sample", "noise", "kmeans", "herding"} or tuple (X, y), default="sample"
        Initial support: random training rows; Gaussian noise with the data's mean and covariance,
        whose targets start at the mean of y; the centres of k-means (of 2000 rows, at most), each
        with the mean y of the rows around it; real rows whose mean follows that of all; or arrays,
        y in its own units (`n_support` is then not used) and X in those after `preprocess`.
    augment : str, callable, or list of these, default=None
        As in `KIPDistiller`.
    preprocess : transformer, default=None
        As in `KIPDistiller`.
    corruption : float, default=0
        As in `KIPDistiller`.
    predict_kernel : str or kernel object, default=None
        As in `KIPDistiller`.
    max_iter : int, default=300
        Steps.
    learning_rate : float or "auto", default="auto"
        As in `KIPDistiller`.
    schedule : {"cosine", "linear", "constant"} or callable, default="cosine"
        As in `KIPDistiller`.
    batch_size : int, "all" or "auto", default="auto"
        Target rows of a step, at most: a random part of all. "all" as in `KIPDistiller`.
    optimizer : {"adam", "adabelief"} or optax.GradientTransformation, default="adam"
        As in `KIPDistiller`.
    early_stopping : bool, default=False
        Score the support on held-out rows by R2 every ``n_iter_no_change // 5`` steps, end the run
        when that has not helped for long, and keep the support of the best score.
    validation_fraction : float, default=0.1
        Share of the rows, rounded down, that is kept out of the targets with `early_stopping`.
    n_iter_no_change : int, default=100
        Steps without a better score before an early stop.
    snapshots : "log" or sequence of int, default=None
        Steps after which the support is kept in ``snapshots_``.
    warm_start : bool, default=False
        Start from the support of the last fit, with rows added (as `init` draws them) or taken
        away if `n_support` has changed.
    checkpoint_path : str or path-like, default=None
        As in `KIPDistiller`.
    checkpoint_interval : int, default=100
        Steps between two saves.
    block_size : int or "auto", default="auto"
        As in `KIPDistiller`.
    dtype : {"float32", "float64"}, default="float32"
        As in `KIPDistiller`.
    random_state : int, RandomState or None, default=None
        As in `KIPDistiller`.
    verbose : int, default=0
        1 shows a progress bar with loss and R2 on the batch, and one of `predict`.

    Attributes
    ----------
    X_s_ : ndarray of shape (n_support, n_features)
        Learned rows.
    y_s_ : ndarray of shape (n_support,) or (n_support, n_outputs)
        Their targets, in the units of y and of its dimensions.
    y_mean_, y_scale_ : ndarrays of shape (n_outputs,)
        Mean and deviation of y; the deviation of a constant output is 1.
    kernel_, kernels_, reg_, learning_rate_, label_reg_, ridge_, batch_size_, preprocess_, frozen_
        As in `KIPDistiller`.
    loss_curve_ : ndarray of shape (`n_iter_`,)
        As in `KIPDistiller`, of targets in units of their deviation.
    n_iter_ : int
        Steps done.
    validation_steps_, validation_scores_ : ndarrays of shape (n_scores,)
        With `early_stopping`: after how many steps, and R2 on the held-out rows.
    best_iter_, snapshots_
        As in `KIPDistiller`.
    predictor_ : KernelRidgeNTK
        Fitted on `X_s_` and ``(y_s_ - y_mean_) / y_scale_``; what `predict` uses.
    n_features_in_ : int
        Features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.

    See Also
    --------
    KIPDistiller : The same for class labels.
    Moments : What a training set is to a kernel of finite features, for `fit_moments`.
    KernelRidgeNTK : The same prediction from all rows.

    Notes
    -----
    Warnings and errors of a run are those of `KIPDistiller`.

    On a few hundred noisy rows learned rows fit the noise of y, unless it is taken away before: see
    `targets`. On thousands of rows ``labels="solved"`` or ``kernel="rbf"`` may be better than the
    defaults (:doc:`/results` has figures).

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from kipsk import KIPRegressor
    >>> X, y = make_friedman1(2000, random_state=0)
    >>> regressor = KIPRegressor(n_support=10, max_iter=100, random_state=0).fit(X, y)
    >>> regressor.X_s_.shape, regressor.y_s_.shape, bool(regressor.score(X, y) > 0.8)
    ((10, 10), (10,), True)
    """

    reg_: float

    _coding = RealCoding
    _regs_suit_noise = True

    def __init__(
        self,
        kernel: str | JaxKernel | Sequence[str | JaxKernel] = "fc1",
        n_support: int = 100,
        *,
        kernel_weights: ArrayLike | None = None,
        image_shape: tuple[int, int, int] | None = None,
        reg: float | str = "auto",
        labels: str = "learned",
        targets: str = "auto",
        label_reg: float | str = "auto",
        init: str | tuple[ArrayLike, ArrayLike] = "sample",
        augment: Given = None,
        preprocess: Given = None,
        corruption: float = 0.0,
        predict_kernel: str | JaxKernel | None = None,
        max_iter: int = 300,
        learning_rate: float | str = "auto",
        schedule: str | Callable[[int], Any] = "cosine",
        batch_size: int | str = "auto",
        optimizer: Given = "adam",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 100,
        snapshots: str | Sequence[int] | None = None,
        warm_start: bool = False,
        checkpoint_path: str | os.PathLike[str] | None = None,
        checkpoint_interval: int = 100,
        block_size: int | str = "auto",
        dtype: str = "float32",
        random_state: Given = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.n_support = n_support
        self.kernel_weights = kernel_weights
        self.image_shape = image_shape
        self.reg = reg
        self.labels = labels
        self.targets = targets
        self.label_reg = label_reg
        self.init = init
        self.augment = augment
        self.preprocess = preprocess
        self.corruption = corruption
        self.predict_kernel = predict_kernel
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.snapshots = snapshots
        self.warm_start = warm_start
        self.checkpoint_path = checkpoint_path
        self.checkpoint_interval = checkpoint_interval
        self.block_size = block_size
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def predict(self, X: MatrixLike) -> Floats:
        """Return predictions in the units of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        predictions : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Of as many dimensions as y.
        """
        targets = self._predict_targets(X)
        return self._coding.of_attributes(vars(self)).published(targets)

    def _score_of(self, predictions: Float64s, y: AnyArray) -> float:
        published = self._coding.of_attributes(vars(self)).published(predictions)
        return float(r2_score(y, published))

    def _auto_reg(self, kernel: JaxKernel) -> float:
        # Noise asks for as much of any kernel; a sampled one for more.
        return max(self.reg_, kernel.recommended_reg)

    def _settings(self) -> Settings:
        settings = super()._settings()
        if self.labels == "fixed" and isinstance(self.init, str) and self.init == "noise":
            rule = '"learned" or "solved" with init=\'noise\', whose targets are all the mean of y'
            raise refuse(type(self).__name__, "labels", rule, self.labels)
        return settings
