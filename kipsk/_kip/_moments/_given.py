"""What `fit_moments` is given: moments, checked against kernels and each other, and parameters."""

from __future__ import annotations

from kipsk._checks import check_auto, refuse
from kipsk._kip._moments._estimator import Moments
from kipsk._kip._moments._matching import check_same, described_transformer
from kipsk._kip._settings import Settings
from kipsk._storage._describe import describe, fingerprint
from kipsk._types import Estimator, Given
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel

# The power of H in which fit_moments measures distances, unless something else is said.
_POWER = 0.5


def check_given(
    owner: str, moments: Given, kernels: list[JaxKernel], preprocess: Estimator | None
) -> list[Moments]:
    """Return the moments that a distiller was given, one for each of its kernels, checked."""
    given = list(moments) if isinstance(moments, list | tuple) else [moments]
    if len(given) != len(kernels) or not all(isinstance(one, Moments) for one in given):
        kinds = ", ".join(type(one).__name__ for one in given[:5])
        raise ValueError(
            f"{owner}.fit_moments needs {len(kernels)} Moments, one for each kernel. Got "
            f"{type(moments).__name__} of {len(given)} instead ({kinds}): add moments of one "
            "kernel, sum(moments), or make them of rows, Moments(kernel, ...).fit(X, y)."
        )
    for one, kernel in zip(given, kernels, strict=True):
        one.check_kernel(owner, kernel)
        if preprocess is not None and (
            described_transformer(preprocess) != one._description["preprocess"]
        ):
            rule = "None in fit_moments, or the fitted transformer of the moments"
            raise refuse(owner, "preprocess", rule, preprocess)
        check_like(given[0], one, "All moments")
    return given


def warn_of_empty_classes(owner: str, moments: Moments) -> None:
    """Warn of classes that no row had; private moments do not tell."""
    if moments.classes is None or moments._sums.noise:
        return
    empty = moments.classes_[moments._sums.y <= 0].tolist()
    if empty:
        warn(
            f"{owner}.fit_moments learns {len(empty)} of {len(moments.classes_)} classes from no "
            f"rows at all, such as {empty[:5]}: it will hardly predict them. Add moments of rows "
            "of these classes, or leave them out of the 'classes' of Moments."
        )


def check_like(first: Moments, other: Moments, what: str) -> None:
    """Refuse moments that differ in more than their kernels."""
    kernel = {"kernel": other._description["kernel"]}
    check_same({**first._description, **kernel}, other._description, what)


def facts_of(moments: list[Moments]) -> dict[str, str]:
    """Return descriptions of moments, for a checkpoint."""
    sums = [[fingerprint(part) for part in one._sums] for one in moments]
    return {f"moments {i}": describe(found) for i, found in enumerate(sums)}


def check_settings(settings: Settings, is_scored: bool) -> None:
    """Refuse what moments cannot give.

    `is_scored` says whether there are moments of held-out rows.
    """
    owner = settings.owner
    if settings.goal.loss != "mse":
        raise refuse(
            owner, "loss", '"mse" in fit_moments: no other follows from moments', settings.goal.loss
        )
    if settings.goal.targets == "smoothed":
        rule = '"auto" or "given" in fit_moments, whose \'ridge\' takes noise away'
        raise refuse(owner, "targets", rule, settings.goal.targets)
    if settings.goal.class_weight is not None:
        rule = "None in fit_moments: the weights of rows are in their moments (`sample_weight`)"
        raise refuse(settings.owner, "class_weight", rule, settings.goal.class_weight)
    if settings.rows.augmentation is not None:
        rule = "None in fit_moments: it is a parameter of the Moments"
        raise refuse(owner, "augment", rule, settings.rows.augmentation)
    if settings.looking.early_stopping and not is_scored:
        rule = "False in fit_moments without held_out moments to score on"
        raise refuse(owner, "early_stopping", rule, True)


def check_power(owner: str, power: Given, ridge: float | None) -> float:
    """Return the power of H that measures distances, where the ridge is None if it is found."""
    found: float = check_auto(owner, "power", power, 1.0 if ridge == 0 else _POWER, zero=True)
    if found > 1:
        raise refuse(owner, "power", 'a number from 0 to 1 or "auto"', power)
    if found < 1 and ridge == 0:
        rule = '1 or "auto" with ridge=0, since the best model may not be unique'
        raise refuse(owner, "power", rule, power)
    return found
