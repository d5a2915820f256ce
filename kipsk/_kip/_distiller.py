"""Kernel Inducing Points: learn a support set by gradient descent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from kipsk._closed_form._temperature import best_temperature
from kipsk._data._containers import labels_like, list_like
from kipsk._data._labels import single_labels
from kipsk._distil._history import Params
from kipsk._estimators._class_distiller import ClassDistiller
from kipsk._estimators._sampler import rows_of_classes
from kipsk._kip._base import BaseKIP
from kipsk._kip._result import Run
from kipsk._kip._stages import best_of, check_downstream, run_for_others
from kipsk._kip._stream import streamed
from kipsk._types import Float64s, Given, MatrixLike
from kipsk.kernels._base import JaxKernel


def _has_probabilities(distiller: KIPDistiller) -> bool:
    if distiller.loss == "platt":
        return True
    raise AttributeError(
        f"predict_proba needs loss='platt'. Got loss={distiller.loss!r} instead, whose predictions "
        "are no probabilities: see decision_function, or sklearn.calibration."
    )


def _can_stream(distiller: KIPDistiller) -> bool:
    if distiller.labels != "solved":
        return True
    raise AttributeError(
        "partial_fit needs labels='learned' or 'fixed'. Got labels='solved' instead, which are "
        "those of all rows at once: see fit."
    )


class KIPDistiller(ClassDistiller, BaseKIP):
    """Kernel Inducing Points: distil a training set into a few learned rows.

    Gradient descent on the support rows X_s, and on their labels y_s, so that kernel ridge
    regression on them predicts batches of training rows (arXiv 2011.00050 and 2107.13034)::

        prediction = K_ts (K_ss + reg * trace(K_ss)/n_s * I)^-1 y_s
        loss = 1/2 mean |y_t - prediction|^2

    Parameters
    ----------
    kernel : str or kernel object, or a list of them, default="fc1"
        A name known to `kipsk.kernels.get_kernel` or a kernel object. With
        `kipsk.kernels.RandomFeatures` every step draws new networks, and
        `kipsk.kernels.TrainedFeatures` trains them. A list is a family: every step draws one of
        them, so that the rows suit all. ``reg="auto"`` is each one's own, other "auto" values are
        the first one's.
    ipc : int, default=10
        Support rows per class; a class with fewer rows contributes all of them, with a warning.
    kernel_weights : array-like of shape (n_kernels,), default=None
        How often each kernel of a family is drawn; None is equally often.
    image_shape : tuple (H, W, C), default=None
        The images whose pixels are a row of X: for `augment`, and for a kernel that needs it and
        has none.
    reg : float or "auto", default="auto"
        Relative ridge of the prediction. "auto" is the kernel's recommended value, 1e-6, or 5e-3
        for sampled networks; published as ``reg_``.
    labels : {"learned", "fixed", "solved"}, default="learned"
        Learned with the rows; fixed at the initial classes; or solved in closed form on the batch
        at every step (differentiated through; the loss is the leave-one-out error) and at the end
        on the whole training set.
    targets : {"auto", "given", "smoothed"}, default="auto"
        What the steps compare predictions with. "given" are the class labels. "smoothed" are what
        kernel ridge regression on all rows predicts for them, with the ridge of the smallest
        leave-one-out error, of at most 10000 rows: so the support does not learn the noise of few
        labels. If no larger ridge is better than that of ``reg="auto"``, they stay. "auto" is
        "smoothed" for at most 3000 rows and a kernel that is neither a convolutional one nor
        sampled anew, with ``loss="mse"``; it is "given" in `partial_fit`, `fit_moments` and
        `fit_resample`. Of a family the first such kernel smooths. `loss_curve_`, and what `verbose`
        shows, are of these targets.
    label_reg : float or "auto", default="auto"
        Relative ridge of solved labels; not used otherwise. "auto" learns it with the rows, by the
        leave-one-out error on the batch, and chooses it at the end by generalised cross-validation.
    init : {"sample", "noise", "kmeans", "herding"} or tuple (X, y), default="sample"
        Initial support: random training rows of each class, Gaussian noise with the data's mean
        and covariance, the centres of k-means within each class, real rows whose mean follows
        their class's, or arrays: X of shape (n_support, n_features) and y of class labels or of
        shape (n_support, n_classes), of any number of rows (`ipc` is then not used) and in the
        units after `preprocess`.
    loss : {"mse", "platt"}, default="mse"
        "platt" is the cross-entropy of ``softmax(s * prediction)`` with a learned number s (Loo et
        al. 2022, arXiv 2210.12067); then there is `predict_proba`. Not for solved labels, which
        have a closed form for "mse" alone.
    class_weight : None, "balanced" or dict, default=None
        How much the training rows of each class count: alike, so that frequent classes outweigh
        rare ones; "balanced", so that all classes count alike; or a weight for each class label (1
        for those that are not named). The scores of `early_stopping` are weighted alike. In
        `partial_fit`, which never sees how many rows a class has, None or a dict; None in
        `fit_moments`.
    augment : str, callable, or list of these, default=None
        Random change of the targets, drawn anew at every step: "flip", "flip_shift", objects of
        `kipsk.augment`, or any function ``(key, images) -> images`` that JAX can trace.
    preprocess : transformer, default=None
        Fitted on X in `fit`, such as ``RegularizedZCA(reg=0.1)``; applied to X before the kernel
        sees it, and, with `augment`, after the augmentation, which then works on raw pixels. `X_s_`
        is in the transformed units.
    corruption : float, default=0
        Share of the entries of X_s, each drawn at random, that stay at noise with the data's mean
        and covariance (with arrays as `init`, at their values). At least 0 and below 1.
    factor : int, default=1
        Above 1 each stored image is a mosaic of ``factor**2`` smaller ones, which the kernel sees
        enlarged (Kim et al. 2022, arXiv 2205.14959): more support rows, with less detail, for the
        storage of `ipc` images per class. `X_s_` then has ``factor**2 * ipc`` rows per class, each
        with a label of its own, and `mosaics_` is what to store. For images, whose sides it has to
        divide.
    predict_kernel : str or kernel object, default=None
        The kernel of `predict`, such as ``"fc1_nngp"``, the exact one of
        ``RandomFeatures("fc1")``. None is `kernel` (of a family the first) or,
        where that is sampled anew at every step, a larger, fixed sample.
    max_iter : int, default=300
        Steps.
    learning_rate : float or "auto", default="auto"
        In units of the training features' root mean square deviation from their means, so raw
        0..255 pixels, standardised and whitened features train alike. "auto" is the kernel's
        recommended value: 0.08, or 0.05 for sampled networks.
    schedule : {"cosine", "linear", "constant"} or callable, default="cosine"
        How the learning rate goes from there to the last step: down to zero, or not, or a function
        of the step whose result it is multiplied with, such as
        ``optax.warmup_cosine_decay_schedule(0, 1, 50, 300)``.
    batch_size : int, "all" or "auto", default="auto"
        Target rows of a step, at most; each batch holds the classes in the training set's
        proportions. "auto" is the kernel's recommended value: 5000, or 500 for sampled networks and
        exact convolutional kernels. "all" is all rows at every step: by their moments, from one
        pass, where the kernel has finite features that stay the same and `loss` is "mse"
        (:doc:`/million`), else in blocks. In that pass mirror images of `augment` are counted
        exactly, beside the images, and any other augmentation is drawn four times for each row.
    optimizer : {"adam", "adabelief"} or optax.GradientTransformation, default="adam"
        A transformation is used as it is, with its own learning rate (again in units of the
        deviation); `learning_rate` and `schedule` are then not used. It must need gradients and
        parameters only (not a line search), and optax's objects do not pickle.
    early_stopping : bool, default=False
        Score the support on held-out rows every ``n_iter_no_change // 5`` steps, end the run when
        that has not helped for long, and keep the support of the best score, of equal ones the
        first.
    validation_fraction : float, default=0.1
        Share of every class's rows, rounded down, that is kept out of the targets with
        `early_stopping`, and with ``loss="platt"`` to set the temperature of `predict_proba` on.
        Without any such row that is the learned one.
    n_iter_no_change : int, default=100
        Steps without a better score before an early stop.
    snapshots : "log" or sequence of int, default=None
        Steps after which the support is kept in ``snapshots_``. "log" is 0, 1, 2, 4, 6, 8, 12, ...,
        695, 1000 and every 500 from there, and `max_iter`.
    downstream : "auto", "last" or classifier, default="auto"
        What `fit_resample` returns a training set for; see there. `fit` does not use it.
    warm_start : bool, default=False
        Start from the support of the last fit, with rows added (as `init` draws them) or taken
        away if `ipc` has changed.
    checkpoint_path : str or path-like, default=None
        A file to save the run in; a fit that finds it there goes on from it, and ends as if it had
        never been interrupted. It stays after the last step, from where a fit then ends at once.
        One file is for one fit: not for cross-validation, whose fits have other data. A larger
        `max_iter` goes on from it if the schedule is "constant" or a function, without
        `early_stopping` and ``snapshots="log"``.
    checkpoint_interval : int, default=100
        Steps between two saves.
    block_size : int or "auto", default="auto"
        Rows of one block in `predict` and in the final solution of the labels, and targets of one
        in a step with an exact convolutional kernel.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the rows and of the steps' kernel between support and targets. The small
        matrices are in float64, `predict` in what the kernel recommends (`KernelRidgeNTK`).
    random_state : int, RandomState or None, default=None
        Draws the initial support, the batches, the rows held out, what stays frozen, and the
        kernels, networks and augmentation of each step.
    verbose : int, default=0
        1 shows a progress bar with loss and accuracy on the batch, and one of `predict`.

    Attributes
    ----------
    X_s_ : ndarray of shape (n_support, n_features)
        Learned rows, sorted by the class each started from.
    y_s_ : ndarray of shape (n_support, n_classes)
        Their labels, centred: a real label would be one-hot minus ``1 / n_classes``. The largest
        entry of a learned or solved label may be another class than the row started from.
    classes_ : ndarray of shape (n_classes,)
        The classes of the columns of `y_s_`, sorted.
    kernel_ : kernel object
        The kernel, of a family the first, with its data-dependent parameters set.
    kernels_ : list of kernel objects
        All of a family.
    reg_, learning_rate_, label_reg_, batch_size_ : float, int or str
        What "auto" stood for; ``label_reg_`` only with solved labels. ``batch_size_`` may be "all".
    ridge_ : float
        After `fit_moments`: what its `ridge` stood for.
    preprocess_ : transformer
        With `preprocess`: the fitted copy.
    frozen_ : ndarray of bool of shape (n_support, n_features)
        With `corruption`: the entries of `X_s_` that stayed.
    mosaics_ : ndarray of shape (n_support / factor**2, n_features)
        With `factor`: the images that `X_s_` are parts of, enlarged.
    temperature_ : float
        With ``loss="platt"``: probabilities are ``softmax(prediction / temperature_)``.
    loss_curve_ : ndarray of shape (`n_iter_`,)
        Loss on the batch before each step; with ``batch_size="all"`` on all rows, after
        `fit_moments` with its ridge.
    n_iter_ : int
        Steps done.
    validation_steps_, validation_scores_ : ndarrays of shape (n_scores,)
        With `early_stopping`: after how many steps, and the accuracy on the held-out rows (after
        `fit_moments` R2). For sampled networks it is that of one small sample.
    best_iter_ : int
        With `early_stopping`: after how many steps the published support was reached.
    snapshots_ : dict of int to tuple (X_s, y_s)
        With `snapshots`, and after `fit_resample`: the support after so many steps.
    stage_ : int, "agglomerative", "medoids" or "random"
        After `fit_resample`, unless ``downstream="last"``: the step of what it returned, or
        "agglomerative" for centres of Ward's clusters, "medoids" for the rows of X nearest to
        these, or "random" for random rows of X.
    stage_scores_ : dict of int or str to float
        Likewise: by step, and of these three (of random rows the best draw), the mean balanced
        accuracy of the models that `fit_resample` tried, on rows it learned from, so higher than on
        new ones.
    sampling_strategy_ : dict
        How many rows of each class the support has, by the largest entries of `y_s_`; after
        `fit_resample` how many it returned.
    predictor_ : KernelRidgeNTK
        Fitted on `X_s_` and `y_s_`; what `predict` uses.
    n_features_in_ : int
        Features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if all are strings.

    See Also
    --------
    KIPRegressor : The same for real targets.
    Moments : What a training set is to a kernel of finite features, for `fit_moments`.
    LabelSolver : Keeps real rows and solves for their labels.
    KernelRidgeNTKClassifier : The same prediction from all rows.
    kipsk.baselines.CoresetSampler : Real rows and centres, to compare with.
    kipsk.networks.FiniteNetworkClassifier : A network to train on the learned set.

    Notes
    -----
    If a loss is not finite the run stops, the last good support is kept and a
    `sklearn.exceptions.ConvergenceWarning` tells what to change; it also comes if the loss ends
    higher than it started and no better than that of predicting nothing. Ctrl-C
    (`KeyboardInterrupt`) ends the run with the support reached so far, and the same kind of
    warning; within a search of scikit-learn, or `kipsk.evaluation.compare`, it ends the search.

    With scikit-learn 1.9 or later ``set_callbacks(ProgressBar(), ScoringMonitor(scoring=...))``
    works, with a task for each step.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from kipsk import KIPDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = KIPDistiller(ipc=1, max_iter=100, random_state=0).fit(X, y)
    >>> distiller.X_s_.shape, bool(distiller.score(X, y) > 0.9)
    ((10, 64), True)
    """

    def __init__(
        self,
        kernel: str | JaxKernel | Sequence[str | JaxKernel] = "fc1",
        ipc: int = 10,
        *,
        kernel_weights: ArrayLike | None = None,
        image_shape: tuple[int, int, int] | None = None,
        reg: float | str = "auto",
        labels: str = "learned",
        targets: str = "auto",
        label_reg: float | str = "auto",
        init: str | tuple[ArrayLike, ArrayLike] = "sample",
        loss: str = "mse",
        class_weight: str | Mapping[Any, float] | None = None,
        augment: Given = None,
        preprocess: Given = None,
        corruption: float = 0.0,
        factor: int = 1,
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
        downstream: Given = "auto",
        warm_start: bool = False,
        checkpoint_path: str | os.PathLike[str] | None = None,
        checkpoint_interval: int = 100,
        block_size: int | str = "auto",
        dtype: str = "float32",
        random_state: Given = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.ipc = ipc
        self.kernel_weights = kernel_weights
        self.image_shape = image_shape
        self.reg = reg
        self.labels = labels
        self.targets = targets
        self.label_reg = label_reg
        self.init = init
        self.loss = loss
        self.class_weight = class_weight
        self.augment = augment
        self.preprocess = preprocess
        self.corruption = corruption
        self.factor = factor
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
        self.downstream = downstream
        self.warm_start = warm_start
        self.checkpoint_path = checkpoint_path
        self.checkpoint_interval = checkpoint_interval
        self.block_size = block_size
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit_resample(self, X: MatrixLike, y: MatrixLike) -> tuple[MatrixLike, MatrixLike]:
        """Fit and return a support set with class labels, a training set for other models.

        The support that is best for kernel ridge regression is no good training set for a model of
        another kind: its rows leave the range of the data and its class labels drop what the soft
        ones say. On digits, 10 rows per class, an SVC learns less from it than from random rows.
        So this is another run than that of `fit`: from k-means centres (unless `init` says
        something else than "sample"), with fixed labels (unless `labels` says something else than
        "learned"), and under `kernel`, "fc3", "rbf" and "laplace" in turn (unless `kernel` is a
        family already): what suits four kernels suits more models than what suits one. Of its
        stages, after 0, 2, 4, 8, ... and all steps, the one is returned that trains other models
        best, by balanced accuracy on up to 5000 of the rows it learned from. With `downstream`

        - "auto" the models are an SVC, a logistic regression, a forest, gradient boosting and the
          nearest neighbour: their mean counts, and none of them may lose more than one point;
        - a classifier is the one model, and a clone of it is trained on each stage;
        - "last" no model is tried, and the result is that of `fit` with class labels.

        Beside the stages stand four draws of random rows of X and, with ``init="sample"`` and
        classes of at least twice `ipc` rows, the centres of Ward's clusters within each class and
        the rows nearest to these. The start stays unless another one of all these is better by more
        than one standard error of the difference, on rows that are not among its own. So the result
        is never knowingly worse than its start, and a warning says if it was not learned.
        :doc:`/results` has what was measured.

        The estimator itself is fitted by the same run, and predicts with what this led to.
        ``stage_`` and ``stage_scores_`` say which stage was taken, ``snapshots_`` has all of them.
        `warm_start` is not for this run, and a checkpoint of `fit` is none of it: give it a path of
        its own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, images flattened.
        y : array-like of shape (n_samples,)
            Class labels of any type; or one-vs-all, of shape (n_samples, n_classes), as
            `sklearn.preprocessing.label_binarize` returns them.

        Returns
        -------
        X_s : ndarray of shape (n_support, n_features)
            A DataFrame with the columns of X if X is one, a list if it is one; an array instead of
            a DataFrame if there is a `preprocess`, whose units these rows have.
        y_hard : ndarray of shape (n_support,)
            The class of each label's largest entry; a Series of the same name and dtype if y is
            one, a list if it is one, one-vs-all if it is that.

        Raises
        ------
        ValueError
            As `fit`; and if `downstream` is none of these, or cannot be trained on so few rows.
        """
        downstream = check_downstream(type(self).__name__, self.downstream)
        if isinstance(downstream, str) and downstream == "last":
            return super().fit_resample(X, y)
        given, y = y, single_labels(y)
        run = run_for_others(self)
        run.fit(X, y)
        # The estimator becomes all that the run learned, with parameters of its own and nothing of
        # an earlier fit.
        self.__dict__ = vars(run) | self.get_params(deep=False)
        self._members = self._members[: len(self._kernels())]
        best = best_of(self, X, y, downstream)
        self.stage_, self.stage_scores_ = best.step, best.scores
        X_s, labels = best.rows
        self.sampling_strategy_ = rows_of_classes(self.classes_, labels)
        return list_like(X, X_s), labels_like(given, labels)

    @available_if(_can_stream)
    def partial_fit(self, X: MatrixLike, y: MatrixLike, classes: ArrayLike | None = None) -> Self:
        """Take one step on every batch of X: one pass over data that need not fit in memory.

        The first call draws the initial support, and fits `preprocess` and whatever else depends
        on the data, on ten batches of its rows, which should hold every class. From then on one
        batch is in memory at a time, and the next one: X may be a memory-mapped array larger than
        it, or an array of h5py or zarr. The learning rate is constant, unless `schedule` is a
        function. Labels are learned or fixed. After `fit` it goes on from the support of the fit.
        Ctrl-C ends the pass and keeps what it reached.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of one pass, read a batch at a time.
        y : array-like of shape (n_samples,)
            Their class labels.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever come. Needed in the first call, unless `fit` has seen them.

        Returns
        -------
        self
            The estimator, which predicts with what the pass led to.

        Raises
        ------
        ValueError
            As `fit`; without `classes` in the first call; for labels that are not among them, and
            parameters that are not what they were then; and with `early_stopping`,
            `checkpoint_path` or `snapshots`, which are for `fit`.
        """
        passed = streamed(self, X, y, classes)
        self.__dict__.update(passed.names)
        self._publish_run(passed.run, passed.params)
        self.n_iter_, self.loss_curve_ = passed.n_iter, passed.losses
        self._stream = passed.stream
        passed.tell()
        return self

    @available_if(_has_probabilities)
    def predict_proba(self, X: MatrixLike) -> Float64s:
        """Return the probabilities of the classes, ``softmax(prediction / temperature_)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.

        Raises
        ------
        AttributeError
            If `loss` is not "platt".
        """
        check_is_fitted(
            self, "temperature_", msg="This %(name)s was not fitted with loss='platt': call fit."
        )
        return softmax(self._predict_targets(X) / self.temperature_, axis=1)

    def _attributes(self, run: Run, params: Params) -> dict[str, Any]:
        attributes = super()._attributes(run, params)
        if self.loss == "platt":
            temperature = float(np.exp(-params["log_scale"]))
            held_out = run.held_out
            if len(held_out.X):
                scores = attributes["predictor_"].predict(held_out.X)
                temperature = best_temperature(scores, held_out.codes)
            attributes["temperature_"] = temperature
        return attributes
