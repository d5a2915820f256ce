"""scikit-learn's callbacks, where there are any: `sklearn.callback` is experimental, since 1.9.

Everything that touches their interface is in this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an older scikit-learn, or one that has renamed them

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's; has no `set_callbacks`."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "FitTasks", "with_callbacks"]


class FitTasks:
    """A fit and its steps, as tasks that callbacks are told of.

    Parameters
    ----------
    estimator : estimator
        An estimator in its `fit`, which is decorated with `with_callbacks`.
    n_steps : int
        The steps of the run.
    X, y : arrays
        The training data that scorers see.

    Attributes
    ----------
    are_watched : bool
        Whether any callback is set. Without one, nothing below does anything.
    """

    def __init__(self, estimator: Any, n_steps: int, X: Any, y: Any) -> None:
        self._context: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self._context = estimator._init_callback_context(max_subtasks=n_steps)
        # scikit-learn sets this only where there is a callback to call.
        self.are_watched = bool(getattr(estimator, "_skl_callbacks", None))
        self._data = {"estimator": estimator, "X": X, "y": y}
        if self.are_watched:
            self._context.call_on_fit_task_begin(**self._data)

    def after_step(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Tell of a step; return whether a callback wants the run to end.

        Parameters
        ----------
        attributes : callable
            Returns the fitted attributes that an estimator needs to predict.
        """
        step = self._context.subcontext(task_name="step")
        step.call_on_fit_task_begin(**self._data)
        return bool(step.call_on_fit_task_end(**self._data, reconstruction_attributes=attributes))

    def end(self) -> None:
        """Tell of the end of the fit."""
        if self.are_watched:
            self._context.call_on_fit_task_end(**self._data)
