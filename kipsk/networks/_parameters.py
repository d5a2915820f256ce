"""What the parameters of a network's estimator stand for, checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kipsk._checks import check_integer, check_option, check_positive, refuse
from kipsk._descent._schedule import is_transformation
from kipsk._types import Float64s, Floats, Given
from kipsk.architectures import Architecture, get_architecture
from kipsk.augment._augmentations import get_augmentation
from kipsk.networks import _training
from kipsk.networks._averaging import averaging
from kipsk.networks._training import Problem

#: Names of schedules.
SCHEDULES = ("cosine", "step", "constant")


def check_parameters(name: str, params: Mapping[str, Given]) -> Architecture:
    """Check all parameters as far as that needs no data; return the architecture.

    Parameters
    ----------
    name : str
        The estimator's, which messages begin with.
    params : mapping
        Its parameters.

    Raises
    ------
    ValueError
        If one breaks its rule.
    """
    architecture = get_architecture(params["architecture"], owner=name)
    optimizer, learning_rate, batch_size = (
        params[key] for key in ("optimizer", "learning_rate", "batch_size")
    )
    check_integer(name, "width", params["width"], minimum=1)
    loss = check_option(name, "loss", params["loss"], _training.LOSSES)
    if not is_transformation(optimizer):
        also = " or an optax.GradientTransformation"
        check_option(name, "optimizer", optimizer, _training.OPTIMIZERS, also=also)
    if not (isinstance(learning_rate, str) and learning_rate == "auto"):
        check_positive(name, "learning_rate", learning_rate, also=' or "auto"')
    for share in ("momentum", "average"):
        if check_positive(name, share, params[share], zero=True) >= 1:
            raise refuse(name, share, "a number in [0, 1)", params[share])
    check_option(name, "schedule", params["schedule"], SCHEDULES)
    check_positive(name, "l2", params["l2"], zero=True)
    check_integer(name, "max_iter", params["max_iter"], minimum=1)
    if not (isinstance(batch_size, str) and batch_size == "auto"):
        check_integer(name, "batch_size", batch_size, minimum=1, also=' or "auto"')
    get_augmentation(name, params["augment"])
    if not isinstance(params["centering"], bool | np.bool_):
        raise refuse(name, "centering", "True or False", params["centering"])
    check_positive(name, "label_scale", params["label_scale"])
    if params["temperature"] is not None:
        check_positive(name, "temperature", params["temperature"], also=" or None")
        if loss != "cross_entropy":
            rule = f"None with loss={loss!r}, which takes labels as they are"
            raise refuse(name, "temperature", rule, params["temperature"])
    check_integer(name, "n_ensembles", params["n_ensembles"], minimum=1)
    return architecture


def problem_of(
    name: str, params: Mapping[str, Given], architecture: Architecture, n_features: int
) -> Problem:
    """Return the settings that code is compiled for.

    Raises
    ------
    ValueError
        If ``image_shape`` is missing, or does not fit the rows or the architecture.
    """
    image_shape, optimizer = params["image_shape"], params["optimizer"]
    input_shape = architecture.input_shape(n_features, image_shape, owner=name)
    if not is_transformation(optimizer):
        optimizer = _training.get_optimizer(optimizer, float(params["momentum"]))
    if params["average"]:
        optimizer = averaging(optimizer, float(params["average"]))
    augment = get_augmentation(name, params["augment"])
    images = None
    if augment is not None and image_shape is not None:
        images = tuple(int(n) for n in image_shape)
    return Problem(architecture, input_shape, params["loss"], optimizer, augment, images)


def fitted_to(params: Mapping[str, Given], targets: Float64s) -> Floats:
    """Return the targets as the loss takes them: scaled, or as probabilities, in float32."""
    if params["loss"] == "mse":
        return (params["label_scale"] * targets).astype(np.float32)
    return _training.probabilities(targets, params["temperature"])
