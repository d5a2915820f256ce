"""Kernel Inducing Points: learn a support set by gradient descent."""

from __future__ import annotations

import warnings
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from kipsk import _optimize, _ridge
from kipsk._blocks import slices
from kipsk._calibration import best_temperature
from kipsk._checks import check_auto, check_fraction, check_integer, check_option, refuse
from kipsk._distiller import BaseDistiller, Data
from kipsk._label_solve import solve_labels_over
from kipsk._losses import Objective, Targets, mse
from kipsk._optimize import single_threaded_blas
from kipsk._support import initial_support
from kipsk._targets import balanced_batches, one_hot
from kipsk.kernels._base import PRNG, JaxKernel, KernelFunction, evaluate, prepare
from kipsk.kernels._registry import get_kernel

#: label_reg="auto". Without a ridge the solved labels over-fit their batch; chosen on held-out
#: training rows of CIFAR-10 (docs/results.md).
_LABEL_REG = 1e-4

_INITS = ("sample", "noise", "kmeans")

#: Start of log(s) in the loss "platt": learned from 0 the first hundred steps are slower, and it
#: ends between 1.5 and 2 on images.
_LOG_SCALE = 1.5


def _has_probabilities(distiller: KIPDistiller) -> bool:
    if distiller.loss == "platt":
        return True
    raise AttributeError(
        f"predict_proba needs loss='platt'. Got loss={distiller.loss!r} instead, whose predictions "
        "are no probabilities: see decision_function, or sklearn.calibration."
    )


class KIPDistiller(BaseDistiller):
    """Kernel Inducing Points: distil a training set into a few learned rows.

    Gradient descent on the support rows X_s, and on their labels y_s, so that kernel ridge
    regression on them predicts batches of training rows (arXiv 2011.00050 and 2107.13034):

        prediction = K_ts (K_ss + reg * trace(K_ss)/n_s * I)^-1 y_s
        loss = 1/2 mean |y_t - prediction|^2

    Parameters
    ----------
    kernel : str or kernel object, default="fc1"
        A name known to `kipsk.kernels.get_kernel` or a kernel object. With
        `kipsk.kernels.RandomFeatures` every step draws new networks.
    ipc : int, default=10
        Support rows per class; a class with fewer rows contributes all of them, with a warning.
    reg : float or "auto", default="auto"
        Relative ridge of the prediction. "auto" is the kernel's recommended value, published as
        ``reg_``.
    labels : {"learned", "fixed", "solved"}, default="learned"
        Learned with the rows; fixed at the initial classes; or solved in closed form on the batch
        at every step (differentiated through) and at the end on the whole training set.
    label_reg : float or "auto", default="auto"
        Relative ridge of solved labels; not used otherwise.
    init : {"sample", "noise", "kmeans"} or tuple (X, y), default="sample"
        Initial support: random training rows of each class, Gaussian noise with the features'
        means and deviations, the centres of k-means within each class, or arrays: X of shape
        (n_support, n_features) and y of class labels or of shape (n_support, n_classes).
    loss : {"mse", "platt"}, default="mse"
        "platt" is the cross-entropy of ``softmax(s * prediction)`` with a learned number s (Loo et
        al. 2022, arXiv 2210.12067); then there is `predict_proba`. Not for solved labels, which
        have a closed form for "mse" alone.
    validation_fraction : float, default=0.1
        Share of every class's rows, rounded down, that is kept out of the targets with
        ``loss="platt"``; the temperature of `predict_proba` is set on them. Without any such row it
        is the learned one.
    predict_kernel : str or kernel object, default=None
        The kernel of `predict`, such as ``"fc1_nngp"``, the exact one of
        ``RandomFeatures("fc1")``. None is `kernel`, or,
        where that is sampled anew at every step, a larger, fixed sample.
    max_iter : int, default=300
        Steps.
    learning_rate : float or "auto", default="auto"
        In units of the training features' root mean square deviation from their means, so raw
        0..255 pixels, standardised and whitened features train alike. "auto" is the kernel's
        recommended value: 0.08, or 0.05 for sampled networks.
    schedule : {"cosine", "constant"}, default="cosine"
        How the learning rate goes from there to the last step.
    batch_size : int or "auto", default="auto"
        Target rows of a step, at most; each batch holds the classes in the training set's
        proportions. "auto" is the kernel's recommended value: 5000, or 500 for sampled networks.
    optimizer : {"adam", "adabelief"} or optax.GradientTransformation, default="adam"
        A transformation is used as it is, with its own learning rate (again in units of the
        deviation); `learning_rate` and `schedule` are then not used. It must need gradients and
        parameters only (not a line search), and optax's objects do not pickle.
    block_size : int or "auto", default="auto"
        Rows of one block in `predict` and in the final solution of the labels.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the rows and of the steps' kernel between support and targets. The small
        matrices are in float64, `predict` in what the kernel recommends (`KernelRidgeNTK`).
    random_state : int, RandomState or None, default=None
        Draws the initial support, the batches, the rows held out and the networks of each step.
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
    kernel_ : kernel object
        The kernel with its data-dependent parameters set.
    reg_, learning_rate_, label_reg_, batch_size_ : float or int
        What "auto" stood for.
    temperature_ : float
        With ``loss="platt"``: probabilities are ``softmax(prediction / temperature_)``.
    loss_curve_ : ndarray of shape (n_iter_,)
        Loss on the batch before each step.
    n_iter_ : int
        Steps done.
    predictor_ : KernelRidgeNTK
        Fitted on (X_s_, y_s_); what `predict` uses.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Notes
    -----
    If a loss is not finite the run stops, the last good support is kept and a
    `ConvergenceWarning` tells what to change; it also comes if the loss ends higher than it started
    and no better than that of predicting nothing. A kernel matrix that is unusable at the start
    raises ValueError.

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
        kernel: str | JaxKernel = "fc1",
        ipc: int = 10,
        *,
        reg: float | str = "auto",
        labels: str = "learned",
        label_reg: float | str = "auto",
        init: str | tuple[ArrayLike, ArrayLike] = "sample",
        loss: str = "mse",
        validation_fraction: float = 0.1,
        predict_kernel: str | JaxKernel | None = None,
        max_iter: int = 300,
        learning_rate: float | str = "auto",
        schedule: str = "cosine",
        batch_size: int | str = "auto",
        optimizer: Any = "adam",
        block_size: int | str = "auto",
        dtype: str = "float32",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.ipc = ipc
        self.reg = reg
        self.labels = labels
        self.label_reg = label_reg
        self.init = init
        self.loss = loss
        self.validation_fraction = validation_fraction
        self.predict_kernel = predict_kernel
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.block_size = block_size
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Learn the support set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images as flattened rows.
        y : array-like of shape (n_samples,)
            Class labels of any type.

        Returns
        -------
        self
        """
        kernel, reg = self._kernel_and_reg()
        optimizer, rates = self._optimizer(kernel)
        data = self._validate(X, y)
        kernel = kernel.resolve(data.X)
        predict_kernel = kernel.for_prediction()
        if self.predict_kernel is not None:
            predict_kernel = get_kernel(self.predict_kernel).resolve(data.X)
        rng = check_random_state(self.random_state)
        data, held_out = self._hold_out(data, rng)
        X_s, y_s = self._initial_support(data, rng)
        scale = _deviation(data.X)
        with jax.enable_x64(True), single_threaded_blas:
            function = kernel.function()
            objective = Objective(
                function,
                reg,
                self.label_reg_,
                scale,
                y_s=None if self.labels == "learned" else jnp.asarray(y_s),
                solves_labels=self.labels == "solved",
                loss=self.loss,
                key=jax.random.key(rng.randint(2**31), impl=PRNG) if function.is_random else None,
            )
            _check_start(function, X_s, y_s, reg)
            if predict_kernel is not kernel:  # now, and not after the last step
                _check_start(predict_kernel.function(), X_s, y_s, reg)
            params = {"X": jnp.asarray(X_s / X_s.dtype.type(scale))}
            if self.labels == "learned":
                params["y"] = jnp.asarray(y_s)
            if self.loss == "platt":
                params["log_scale"] = jnp.asarray(_LOG_SCALE, X_s.dtype)
            batches = _batches(function, data, self.batch_size_, rng)
            learned = self._run(objective, optimizer, params, batches, rates, rng)
        X_s = learned["X"] * X_s.dtype.type(scale)
        y_s = learned.get("y", y_s)
        if self.loss == "platt":
            # Softmax does not see what all classes have in common; other models would.
            y_s = y_s - y_s.mean(axis=1, keepdims=True)
        if self.labels == "solved":
            y_s = solve_labels_over(
                predict_kernel.function(),
                X_s,
                data.X,
                data.y,
                reg,
                self.label_reg_,
                self.block_size,
                self.verbose,
            )
        self._publish(X_s, y_s, data.classes, kernel, reg, predict_kernel)
        self.__dict__.pop("temperature_", None)  # of an earlier fit
        if self.loss == "platt":
            self.temperature_ = float(np.exp(-learned["log_scale"]))
            if len(held_out.X):
                scores = self.predictor_.predict(held_out.X)
                self.temperature_ = best_temperature(scores, held_out.codes)
        return self

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of the classes, of shape (n_samples, n_classes).

        Only with ``loss="platt"``: ``softmax(prediction / temperature_)``.
        """
        check_is_fitted(
            self, "temperature_", msg="This %(name)s was not fitted with loss='platt': call fit."
        )
        return softmax(self._predict_targets(X) / self.temperature_, axis=1)

    def _optimizer(self, kernel: JaxKernel) -> tuple[Any, NDArray[np.floating]]:
        """Check the parameters of the run; return the optimiser and each step's size."""
        name = type(self).__name__
        check_option(name, "labels", self.labels, ("learned", "fixed", "solved"))
        check_option(name, "schedule", self.schedule, ("cosine", "constant"))
        if check_option(name, "loss", self.loss, ("mse", "platt")) == "platt":
            check_fraction(name, "validation_fraction", self.validation_fraction)
            if self.labels == "solved":
                raise refuse(name, "loss", '"mse" with labels="solved"', self.loss)
        self.batch_size_ = kernel.recommended_batch_size
        if self.batch_size != "auto":
            self.batch_size_ = check_integer(
                name, "batch_size", self.batch_size, minimum=1, also=' or "auto"'
            )
        check_integer(name, "ipc", self.ipc, minimum=1)
        if isinstance(self.init, str):
            check_option(name, "init", self.init, _INITS, also=" or a tuple (X, y) of arrays")
        max_iter = check_integer(name, "max_iter", self.max_iter, minimum=1)
        self.learning_rate_ = check_auto(
            name, "learning_rate", self.learning_rate, kernel.recommended_learning_rate
        )
        self.label_reg_ = check_auto(name, "label_reg", self.label_reg, _LABEL_REG, zero=True)
        if _optimize.is_transformation(self.optimizer):
            return self.optimizer, -np.ones(max_iter)  # optax's updates are there to be added
        also = " or an optax.GradientTransformation"
        check_option(name, "optimizer", self.optimizer, _optimize.OPTIMIZERS, also=also)
        return (
            _optimize.get_optimizer(self.optimizer),
            _optimize.learning_rates(self.schedule, self.learning_rate_, max_iter),
        )

    def _hold_out(self, data: Data, rng: np.random.RandomState) -> tuple[Data, Data]:
        """Return the rows to train on and, to calibrate on, `validation_fraction` of each class."""
        fraction = self.validation_fraction if self.loss == "platt" else 0.0
        held_out = np.zeros(len(data.X), bool)
        if fraction:
            for code in range(len(data.classes)):
                members = rng.permutation(np.flatnonzero(data.codes == code))
                held_out[members[: int(fraction * len(members))]] = True
        if not held_out.any():
            return data, data.rows(held_out)
        return data.rows(~held_out), data.rows(held_out)

    def _initial_support(
        self, data: Data, rng: np.random.RandomState
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows and centred labels to start from, in the estimator's dtype."""
        name = type(self).__name__
        n_classes = len(data.classes)
        if isinstance(self.init, str):
            X_s, codes, _ = initial_support(
                data.X, data.codes, data.classes, self.ipc, self.init, rng
            )
            return X_s, one_hot(codes, n_classes, self.dtype)
        try:
            X_init, y_init = self.init
        except (TypeError, ValueError):
            rule = f"one of {list(_INITS)} or a tuple (X, y) of arrays"
            raise refuse(name, "init", rule, self.init) from None
        X_s = check_array(X_init, dtype=self.dtype, input_name="init[0]", copy=True)
        y_s = np.asarray(y_init)
        if y_s.ndim == 1 and np.isin(y_s, data.classes).all():
            y_s = one_hot(np.searchsorted(data.classes, y_s), n_classes, self.dtype)
        if X_s.shape[1] != data.X.shape[1] or y_s.shape != (len(X_s), n_classes):
            raise ValueError(
                f"The 'init' parameter of {name} must hold X of shape (n_support, "
                f"{data.X.shape[1]}) and y of {n_classes} columns or of known class labels. Got X "
                f"of shape {X_s.shape} and y of shape {y_s.shape} instead."
            )
        return X_s, check_array(y_s, dtype=self.dtype, input_name="init[1]", copy=True)

    def _run(
        self,
        objective: Objective,
        optimizer: Any,
        params: dict[str, jax.Array],
        batches: list[Targets],
        rates: NDArray[np.floating],
        rng: np.random.RandomState,
    ) -> dict[str, NDArray[Any]]:
        """Descend; set ``loss_curve_`` and ``n_iter_``; return the last good parameters."""
        state = _optimize.initial_state(optimizer, params)
        is_slow = objective.function.pair_size(params["X"].shape[1]) > 1
        look_every = 1 if is_slow else _optimize.LOOK_EVERY
        losses: list[Any] = []
        with tqdm(total=len(rates), disable=not self.verbose, desc="KIP", unit="step") as bar:
            steps = _optimize.run(
                objective, optimizer, state, batches, rates, rng, one_a_call=is_slow
            )
            for call, (state, (loss, accuracy), n_steps) in enumerate(steps):
                losses.append(loss[:n_steps])
                bar.update(n_steps)
                if n_steps > 1 or call % look_every == 0:
                    if self.verbose:
                        last = max(0, n_steps - 1)
                        bar.set_postfix(loss=f"{loss[last]:.5f}", accuracy=f"{accuracy[last]:.3f}")
                    if state.failed:
                        break
        n_good, failed = int(state.n_steps), bool(state.failed)
        if not n_good:
            raise ValueError(
                "The loss of the initial support, or its gradient, is not finite. Scale the "
                "features (for instance with StandardScaler), or raise 'reg'"
                f"{', label_reg' if self.labels == 'solved' else ''} or 'batch_size'; check that "
                f"the kernel {self.kernel!r} is finite and differentiable on them."
            )
        self.n_iter_ = min(n_good, len(rates))
        self.loss_curve_ = np.concatenate(losses)[: self.n_iter_]
        first, last = self.loss_curve_[[0, -1]]
        y_t = batches[0].y_t
        # Clearly worse than no prediction at all; or as bad, where a learned scale went to zero.
        diverged = last > 1.1 * max(first, mse(0.0, y_t))
        if self.loss == "platt":
            diverged = last > max(first, 0.999 * np.log(y_t.shape[1]))
        if failed or diverged:
            what = f"diverged: its loss went from {first:.3g} to {last:.3g}"
            if failed:
                what = (
                    f"stopped after {self.n_iter_} of {len(rates)} steps: its loss was no longer "
                    "finite"
                )
            advice = "'max_iter' or use smaller steps"
            if isinstance(self.optimizer, str):
                advice = f"'learning_rate' (now {self.learning_rate_:.3g})"
            warnings.warn(
                f"{type(self).__name__} {what}. The last finite support is kept. Lower {advice}, "
                f"or raise 'reg' (now {float(objective.reg):.3g}).",
                ConvergenceWarning,
                stacklevel=3,
            )
        return jax.tree.map(np.asarray, state.good)


def _deviation(X: NDArray[Any]) -> float:
    """Return the root mean square of all entries about their features' means; 1 if they are."""
    mean = X.mean(axis=0, dtype=np.float64)
    # In blocks: no second copy of the data.
    squares = [np.sum(np.square(X[s] - mean)) for s in slices(len(X), 4096)]
    return float(np.sqrt(np.sum(squares) / X.size)) or 1.0


def _batches(
    function: KernelFunction, data: Data, batch_size: int, rng: np.random.RandomState
) -> list[Targets]:
    """Return the target batches on the device, with what the kernel needs of each row."""
    indices = balanced_batches(data.codes, batch_size, rng)
    # A single batch is all rows in their order: no copy.
    parts = [data] if len(indices) == 1 else (data.rows(rows) for rows in indices)
    return [
        Targets(
            # Networks that are drawn at each step see the rows only then.
            jnp.asarray(part.X) if function.is_random else prepare(function, jnp.asarray(part.X)),
            jnp.asarray(part.y),
        )
        for part in parts
    ]


def _check_start(
    function: KernelFunction, X_s: NDArray[Any], y_s: NDArray[Any], reg: float
) -> None:
    """Raise ValueError if the initial support's kernel matrix cannot be factored."""
    K_ss = np.asarray(evaluate(function, X_s.astype(np.float64)))
    _ridge.fit_alpha(K_ss, y_s.astype(np.float64), reg * np.trace(K_ss) / len(K_ss))
