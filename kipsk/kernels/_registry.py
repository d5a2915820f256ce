"""Names of kernels: the only lookup by string in the package."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from kipsk._types import Given
from kipsk.kernels._base import JaxKernel
from kipsk.kernels._dot_product import RBF, FullyConnected, Laplace
from kipsk.kernels._infinite._convolutional import ConvNet, Convolutional, Myrtle
from kipsk.kernels._random_features import RandomFeatures
from kipsk.kernels._trained_features import TrainedFeatures


def _of_patches(deeper: str = "", **params: Given) -> RandomFeatures:
    fixed = {"n_networks": 16, "filters": "patches", "resample": False}
    return RandomFeatures(f"shallow{deeper}", **{**fixed, **params})


# For each kind of name: a pattern whose named groups are keyword arguments, the names to show in
# messages, and the function that takes these arguments.
_ALIASES: tuple[tuple[str, str, Callable[..., JaxKernel]], ...] = (
    (
        r"fc(?P<depth>\d+)(_(?P<activation>exp))?(_(?P<kind>nngp|ntk))?",
        "fc1, fc2, ..., fc1_nngp, ...",
        FullyConnected,
    ),
    (r"(?P<architecture>conv\d+)(_(?P<kind>nngp|ntk))?", "conv1, conv2, ...", Convolutional),
    (
        r"convnet(?P<depth>\d+)(_(?P<activation>exp))?(_(?P<kind>nngp|ntk))?",
        "convnet1, convnet2, ..., convnet3_exp, ...",
        ConvNet,
    ),
    (r"convnet(_(?P<kind>nngp|ntk))?", "convnet", partial(ConvNet, first_conv=True)),
    (
        r"myrtle(?P<depth>\d+)(_(?P<activation>exp))?(_(?P<kind>nngp|ntk))?",
        "myrtle5, myrtle7, myrtle10, myrtle5_exp, ...",
        Myrtle,
    ),
    (r"rbf", "rbf", RBF),
    (r"laplace", "laplace", Laplace),
    (r"patches(?P<deeper>2)?", "patches, patches2", _of_patches),
    (r"rf_(?P<architecture>.+)", "rf_convnet3, rf_myrtle5, ...", RandomFeatures),
    (r"trained_(?P<architecture>.+)", "trained_convnet3, ...", TrainedFeatures),
)


def get_kernel(kernel: str | JaxKernel, **params: Given) -> JaxKernel:
    """Return a kernel object from its name.

    Parameters
    ----------
    kernel : str or kernel object
        ``"fc1"`` is the NTK of a network with one hidden layer, ``"fc3_nngp"`` the NNGP kernel of
        a network with three. ``"conv3"``, ``"convnet3"``, ``"convnet"`` and ``"myrtle5"`` are exact
        kernels of convolutional networks, such as ``get_kernel("convnet3", image_shape=(32, 32,
        3))``. ``"rbf"`` is `RBF` and ``"laplace"`` `Laplace`. ``"rf_"`` and the name of an
        architecture, such as ``"rf_convnet3"``, is the `RandomFeatures` of that architecture,
        ``"trained_convnet3"`` its `TrainedFeatures`.
        ``"patches"`` and ``"patches2"`` are one and two layers whose 512 first filters are patches
        of the training images, ``RandomFeatures("shallow", 16, filters="patches",
        resample=False)``. ``"_exp"`` behind a depth, as in ``"myrtle5_exp"``, is the exponential
        activation.
        An object is returned as it is, or, if there are `params`, as a copy with these parameters.
    **params
        Constructor parameters of the kernel.

    Returns
    -------
    kernel : kernel object

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    TypeError
        If `kernel` is neither a name nor a kernel of `kipsk.kernels`.

    Examples
    --------
    >>> from kipsk.kernels import get_kernel
    >>> get_kernel("fc2_nngp", b_std=0.0).depth
    2
    """
    if isinstance(kernel, JaxKernel):
        return type(kernel)(**{**kernel.get_params(), **params}) if params else kernel
    if not isinstance(kernel, str):
        raise TypeError(
            "The 'kernel' parameter must be a name or a kernel object from kipsk.kernels. "
            f"Got {kernel!r} of type {type(kernel).__name__} instead."
        )
    for pattern, _, factory in _ALIASES:
        if match := re.fullmatch(pattern, kernel):
            named = {key: value for key, value in match.groupdict().items() if value is not None}
            if "depth" in named:
                named["depth"] = int(named["depth"])
            return factory(**{**named, **params})
    known = "; ".join(shown for _, shown, _ in _ALIASES)
    raise ValueError(f"Unknown kernel name {kernel!r}. The known names are: {known}.")


def of_images(kernel: str | JaxKernel, image_shape: Given) -> JaxKernel:
    """Return a kernel that knows the shape of images, if it asks for one and has none.

    A kernel of another kernel, such as `Landmarks`, asks for it if the one inside does. One with a
    shape of its own, such as `Invariant`, passes that on itself.

    Parameters
    ----------
    kernel : str or kernel object
    image_shape : tuple (H, W, C) or None
        None leaves the kernel as it is.
    """
    resolved = get_kernel(kernel)
    if image_shape is None:
        return resolved
    params = resolved.get_params()
    if "image_shape" in params:
        if params["image_shape"] is not None:
            return resolved
        return get_kernel(resolved, image_shape=tuple(image_shape))
    if not isinstance(params.get("kernel"), str | JaxKernel):
        return resolved
    inside = get_kernel(params["kernel"])
    knowing = of_images(inside, image_shape)
    return resolved if knowing is inside else type(resolved)(**{**params, "kernel": knowing})
