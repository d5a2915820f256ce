"""A network of finite width as a scikit-learn classifier, chiefly to train on distilled sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from kipsk._checks import check_labels, check_not_images, check_present, refuse
from kipsk._data._labels import class_targets, is_target_matrix
from kipsk._descent._schedule import is_transformation, learning_rates
from kipsk._estimators._one_hot import OneHotClassifierMixin
from kipsk._jax import own_settings
from kipsk._types import AnyArray, Float64s, Floats, Given, MatrixLike
from kipsk.architectures import Architecture
from kipsk.architectures._function import Params
from kipsk.augment import Augmentation
from kipsk.augment._apply import check as check_augmentation
from kipsk.networks import _training
from kipsk.networks._ensemble import loss_of_nothing, mean_losses, train_each, what_went_wrong
from kipsk.networks._parameters import check_parameters, fitted_to, problem_of
from kipsk.networks._prediction import outputs_of_each, together
from kipsk.networks._rates import ADAM_RATES, sgd_rate
from kipsk.networks._training import Data, Problem, Schedule
from kipsk.networks._warnings import warn_of_failures, warn_of_features


def _has_probabilities(estimator: FiniteNetworkClassifier) -> bool:
    if estimator.loss != "cross_entropy":
        raise AttributeError(
            "predict_proba needs loss='cross_entropy', which makes outputs probabilities. Got "
            f"loss={estimator.loss!r} instead: set the loss, or use decision_function."
        )
    return True


class FiniteNetworkClassifier(OneHotClassifierMixin, BaseEstimator):
    """A network of finite width, trained by gradient descent.

    The network has the architecture whose infinite-width kernel distils data. Its accuracy after
    training on a distilled set is the transfer accuracy of arXiv 2107.13034. The estimator is made
    for hundreds of rows, and takes larger sets in batches.

    Let f be the network, or the network minus its initial function (see `centering`). Training
    minimises, over n rows and C classes, ::

        loss + l2 / 2 * (sum of squares of weights and biases)

        loss = 1 / (2 n C) * sum_i |f(x_i) - y_i|^2                "mse"
        loss = -1 / n * sum_i sum_c p_ic log softmax(f(x_i))_c     "cross_entropy"

    Parameters
    ----------
    architecture : str or Architecture, default="fc1"
        A name known to `kipsk.architectures.get_architecture`, such as "fc2", "convnet3" or
        "myrtle5", or an `Architecture`. Names stand for the "ntk" parameterisation.
    width : int, default=256
        Channels of every convolution, units of every Dense layer but the last.
    image_shape : tuple (H, W, C), default=None
        The shape of the images whose pixels are a row of X. Convolutional architectures need it,
        and so does `augment` if it changes images.
    loss : {"mse", "cross_entropy"}, default="mse"
        Squared error to one-hot labels minus ``1 / n_classes``, or cross-entropy. The squared error
        takes soft labels y as they are. Cross-entropy makes them probabilities, see `temperature`.
        To train on the class of each label's largest entry instead, pass these classes as y.
    optimizer : {"sgd", "adam"} or optax.GradientTransformation, default="sgd"
        "sgd" has `momentum`. A transformation is used as it is, with its own learning rate, and
        `learning_rate` and `schedule` are not used. It must need gradients and parameters alone (a
        line search needs more). Estimators with an object of optax cannot be pickled.
    learning_rate : float or "auto", default="auto"
        The learning rate of the first step, for the parameters as they are. With "sgd", "auto" is
        a quarter of ``2 (1 + momentum) / L``, the largest rate at which descent on the linearised
        network is stable. If a step takes part of the rows, it is at most ``2 (1 - momentum) / L``.
        L is the largest eigenvalue of the Gauss-Newton matrix (that of the empirical neural tangent
        kernel, scaled as the loss is) of the first network at its start, on one batch. With "adam",
        "auto" is 1e-2 for "ntk" parameters and 1e-3 for "standard" ones.
    momentum : float, default=0.9
        The momentum of "sgd", in [0, 1).
    schedule : {"cosine", "step", "constant"}, default="cosine"
        How the learning rate changes: down to zero along a cosine, to a tenth in the middle of the
        run, or not at all.
    l2 : float, default=1e-3
        The factor of half the sum of squares of the weights and biases as the network applies them.
        With "standard" parameters these are the parameters. With "ntk" ones they are the parameters
        times ``w_std / sqrt(fan_in)`` or ``b_std``, so that `l2` means the same for both. Weights
        and biases are pulled to zero, not to their start.
    max_iter : int, default=1000
        The number of steps.
    batch_size : int or "auto", default="auto"
        The number of rows of a step. "auto" is all rows if there are at most 500, else 100, and
        fewer if a network's activations on them would take more than 2 GiB.
    augment : None, str, Augmentation, callable or list, default=None
        Random changes to the rows of a step, drawn anew at every step: an object of
        `kipsk.augment`, such as ``Flip() >> Shift()`` or, for tables too, ``MixUp()``; a function
        ``(key, images) -> images`` of JAX arrays; or a list of these, which are applied one after
        the other. "flip" is ``Flip()``, which mirrors half of the images left to right.
        "flip_shift" is ``Flip() >> Shift()``, which also moves each image by up to an eighth of its
        sides and fills the empty pixels with zeros. Images have shape (n, H, W, C); if
        `image_shape` is None they are rows (n, n_features). Augmentations that mix targets mix soft
        labels or, with cross-entropy, probabilities.
    average : float, default=0
        If above 0, the factor of the past, below 1, in a moving average of the parameters over the
        steps, which predicts in place of the last ones: 0.99 averages about the last hundred.
    centering : bool, default=False
        Whether to train the network minus its initial function. This removes the noise of random
        outputs at the start. Use it with ``l2=0`` or a small `l2`: the function that is subtracted
        does not shrink with the parameters, so the network would have to learn it again.
    label_scale : float, default=1.0
        The factor that targets of "mse" are multiplied by; `decision_function` divides by it. With
        more than 1 the network moves further from its start.
    temperature : float, default=None
        For "cross_entropy": the probabilities of labels y are ``softmax(y / temperature)``. A small
        one makes them nearly hard. With None they are ``y + 1 / n_classes``, negative numbers set
        to zero, divided by their sum.
    n_ensembles : int, default=1
        How many networks are drawn and trained independently. Their outputs are averaged; with
        cross-entropy, their probabilities.
    classes : array-like of shape (n_classes,), default=None
        The class of each column of a target matrix. It is needed if `fit` gets such a matrix, for
        instance the soft labels of a distilled set.
    random_state : int, RandomState or None, default=None
        Seed of the networks, the batches and the augmentations.
    verbose : int, default=0
        Whether to show a progress bar with the loss: 1 for yes, 0 for no.

    Attributes
    ----------
    params_ : list of list of dict
        For each network and each of its layers the "weight" and "bias" as float32 arrays, in the
        shapes that `kipsk.networks.init` documents.
    initial_params_ : list or None
        The parameters at the start, in the same form, if `centering` is True; else None.
    architecture_ : Architecture
        The architecture that `architecture` stands for.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted, or in the order of `classes` if that is given.
    learning_rate_ : float or None
        The rate of the first step; None if `optimizer` is a transformation.
    loss_curve_ : ndarray of shape (`n_iter_`,)
        The objective on the batch of each step before that step, averaged over the networks.
    n_iter_ : int
        The number of steps of the network that took most.
    n_features_in_ : int
        The number of features of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        The names of the features, if all are strings.

    See Also
    --------
    kipsk.KernelRidgeNTKClassifier : The limit of infinite width.
    kipsk.KIPDistiller : Learns the rows and soft labels to train it on.
    kipsk.architectures : The architectures that have names, and their layers.
    sklearn.neural_network.MLPClassifier : Fully connected networks, for large sets.

    Notes
    -----
    Rows are used as they are given. Put ``StandardScaler`` or `RegularizedZCA` before the network
    in a Pipeline, the same one that stood before the distiller.

    If a loss is not finite, the network stops there and keeps its last good parameters, and a
    `sklearn.exceptions.ConvergenceWarning` says what to lower. The same warning is given if the
    last loss is higher than both the first one and the loss of predicting nothing.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from kipsk.networks import FiniteNetworkClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> network = FiniteNetworkClassifier("fc1", width=32, max_iter=200, random_state=0)
    >>> bool(make_pipeline(StandardScaler(), network).fit(X, y).score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        architecture: str | Architecture = "fc1",
        width: int = 256,
        *,
        image_shape: tuple[int, ...] | None = None,
        loss: str = "mse",
        optimizer: Given = "sgd",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        schedule: str = "cosine",
        l2: float = 1e-3,
        max_iter: int = 1000,
        batch_size: int | str = "auto",
        augment: str | Augmentation | Callable[..., Array] | Sequence[Given] | None = None,
        average: float = 0.0,
        centering: bool = False,
        label_scale: float = 1.0,
        temperature: float | None = None,
        n_ensembles: int = 1,
        classes: ArrayLike | None = None,
        random_state: Given = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.width = width
        self.image_shape = image_shape
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.schedule = schedule
        self.l2 = l2
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.augment = augment
        self.average = average
        self.centering = centering
        self.label_scale = label_scale
        self.temperature = temperature
        self.n_ensembles = n_ensembles
        self.classes = classes
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: MatrixLike,
        y: MatrixLike,
        *,
        on_epoch: Callable[[FiniteNetworkClassifier], object] | None = None,
    ) -> Self:
        """Draw and train the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images as flattened rows.
        y : array-like of shape (n_samples,), or (n_samples, n_classes) with `classes` given
            Class labels of any type, or soft labels that are centred like those of a distilled set.
        on_epoch : callable, default=None
            Called with this estimator after every epoch, which is ``ceil(n_samples / batch_size)``
            steps. The estimator can then predict with the parameters it has so far, which does not
            change the run. Needs ``n_ensembles=1``.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data break a rule, or the loss of the untrained network is not
            finite; the message says what to change.
        """
        params = self.get_params(deep=False)
        architecture = check_parameters(type(self).__name__, params)
        self._check_on_epoch(on_epoch)
        check_not_images("X", X)
        is_matrix = is_target_matrix(y, self.classes)
        (check_present if is_matrix else check_labels)(y)
        X, y = validate_data(self, X, y, dtype=np.float32, multi_output=is_matrix)
        classes, targets = class_targets(type(self).__name__, y, self.classes, is_matrix)
        problem = problem_of(type(self).__name__, params, architecture, X.shape[1])
        batch_size: Given = self.batch_size
        if batch_size == "auto":
            sizes = _training.row_sizes(problem, self.width, len(classes))
            batch_size = _training.auto_batch_size(len(X), sizes)
        rng = check_random_state(self.random_state)
        # In float32 whatever the user's settings of JAX are, which could change dtypes and bits.
        with own_settings(False):
            data = Data(jax.numpy.asarray(X), jax.numpy.asarray(fitted_to(params, targets)))
            if problem.augment is not None:
                check_augmentation(type(self).__name__, problem.augment, *data, problem.image_shape)
            drawn = [self._draw(problem, len(classes), rng) for _ in range(self.n_ensembles)]
            rates = self._rates(problem, drawn[0], data, batch_size, rng)
            publish = partial(self._publish, architecture, classes, drawn)

            def look(params: Params) -> None:
                publish([jax.tree.map(np.asarray, params)])
                on_epoch(self)  # type: ignore[misc]

            schedule = Schedule(rates, self.l2, batch_size, self.centering)
            trained = train_each(
                problem,
                data,
                drawn,
                schedule,
                rng,
                verbose=bool(self.verbose),
                look=on_epoch and look,
            )
        name, failure = type(self).__name__, what_went_wrong(trained, problem, data, self.max_iter)
        warn_of_failures(name, failure, self.learning_rate_)
        publish([one.params for one in trained])
        self.loss_curve_ = mean_losses(trained)
        self.n_iter_ = len(self.loss_curve_)
        warn_of_features(name, X, self.loss_curve_, loss_of_nothing(problem, data))
        return self

    def _publish(
        self,
        architecture: Architecture,
        classes: AnyArray,
        drawn: list[Params],
        params: list[Params],
    ) -> None:
        """Store the attributes that predictions need."""
        self.params_ = params
        self.initial_params_ = jax.tree.map(np.asarray, drawn) if self.centering else None
        self.architecture_ = architecture
        self.classes_ = classes

    @available_if(_has_probabilities)
    def predict_proba(self, X: MatrixLike) -> Float64s:
        """Return the probabilities of the classes.

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
            If `loss` is not "cross_entropy".
        """
        return np.exp(self._predict_targets(X))

    def _predict_targets(self, X: MatrixLike) -> Float64s:
        """Return the mean outputs in units of the labels; log probabilities with cross-entropy."""
        check_is_fitted(self, "params_")
        check_not_images("X", X)
        # In float64 the outputs for a row do not depend on the rows beside it. Convolutions stay in
        # float32, because XLA has no fast float64 convolution on a CPU.
        is_double = not self.architecture_.needs_images
        X = validate_data(self, X, dtype=np.float64 if is_double else np.float32, reset=False)
        input_shape = self.architecture_.input_shape(X.shape[1], self.image_shape)
        problem = Problem(self.architecture_, input_shape, self.loss)
        sizes = _training.row_sizes(problem, self.width, len(self.classes_))
        initials = self.initial_params_ or [None] * len(self.params_)
        with own_settings(is_double):
            f = outputs_of_each(problem, self.params_, initials, X, max(sizes))
        return together(f, self.loss, self.label_scale)

    def _check_on_epoch(self, on_epoch: Given) -> None:
        if on_epoch is not None and self.n_ensembles != 1:
            raise refuse(type(self).__name__, "n_ensembles", "1 with 'on_epoch'", self.n_ensembles)
        if on_epoch is not None and not callable(on_epoch):
            raise refuse(type(self).__name__, "on_epoch", "None or a function", on_epoch)

    def _draw(self, problem: Problem, n_classes: int, rng: np.random.RandomState) -> Params:
        key = jax.random.key(rng.randint(2**31))
        return _training.draw(
            problem.architecture, key, int(self.width), problem.input_shape, n_classes
        )

    def _rates(
        self,
        problem: Problem,
        params: Params,
        data: Data,
        batch_size: int,
        rng: np.random.RandomState,
    ) -> Floats:
        """Return the rate of every step, and set ``learning_rate_``."""
        self.learning_rate_: float | None = None
        if is_transformation(self.optimizer):
            return -np.ones(self.max_iter)  # optax's updates have to be added, not subtracted
        if self.learning_rate != "auto":
            self.learning_rate_ = float(self.learning_rate)
        elif self.optimizer == "adam":
            self.learning_rate_ = ADAM_RATES[problem.architecture.parameterization]
        else:
            is_full_batch = batch_size >= len(data.X)
            if not is_full_batch:  # a random batch, because a distilled set is sorted by class
                rows = rng.permutation(len(data.X))[:batch_size]
                data = Data(data.X[rows], data.y[rows])
            start = self._draw(problem, data.y.shape[1], rng)
            self.learning_rate_ = sgd_rate(
                problem, params, start, data, self.l2, self.momentum, is_full_batch
            )
        return learning_rates(self.schedule, self.learning_rate_, self.max_iter)
