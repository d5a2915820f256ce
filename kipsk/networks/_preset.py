"""How later papers train a network on distilled images, so that figures can be compared."""

from __future__ import annotations

from numpy.typing import ArrayLike

from kipsk._checks import check_integer, refuse
from kipsk._types import Given
from kipsk.architectures import convnet
from kipsk.architectures._layers import checked_shape
from kipsk.augment import dsa
from kipsk.networks._classifier import FiniteNetworkClassifier

_BLOCKS, _BATCH = 3, 256


def papers_protocol(
    image_shape: tuple[int, int, int],
    *,
    n_rows: int = _BATCH,
    n_epochs: int = 1000,
    flip: bool = True,
    classes: ArrayLike | None = None,
    random_state: Given = None,
) -> FiniteNetworkClassifier:
    """Return the network and training that papers after KIP report distilled images with.

    ConvNet-3 of width 128: three times 3 x 3 convolution, instance normalisation, ReLU and average
    pooling, and a dense layer. It is trained by cross-entropy with SGD, at a rate of 0.01 that
    falls to a tenth in the middle, momentum 0.9 and weight decay 5e-4, in batches of 256, on images
    that `kipsk.augment.dsa` changes at each step (Zhao and Bilen 2021, arXiv 2102.08259). The
    result is an estimator like any other: ``set_params`` changes what a paper does otherwise.

    Parameters
    ----------
    image_shape : tuple (H, W, C)
        Of images of at least 8 x 8 pixels.
    n_rows : int, default=256
        How many rows the set has. Up to 256 an epoch is one step; more rows need more steps.
    n_epochs : int, default=1000
        1000 is common with augmentation, 300 without.
    flip : bool, default=True
        Whether mirror images are among the changes: not for digits.
    classes : array-like of shape (n_classes,), default=None
        The class of each column of soft labels, if the network is trained on these.
    random_state : int, RandomState or None, default=None
        Seed of the network and the augmentations.

    Returns
    -------
    network : FiniteNetworkClassifier
        Not fitted.

    Raises
    ------
    ValueError
        If the images are smaller than 8 x 8 pixels, or a parameter breaks its rule.

    Notes
    -----
    Three things differ from the networks of those papers: the normalisation has no learned scale
    and shift, weights start as normal numbers with the deviation of their uniform ones, and images
    of 28 x 28 pixels are not padded to 32 x 32.

    Examples
    --------
    >>> from kipsk.networks import papers_protocol
    >>> network = papers_protocol((32, 32, 3), n_rows=500, n_epochs=300)
    >>> network.width, network.max_iter
    (128, 600)
    """
    name = "papers_protocol"
    shape = checked_shape(name, "image_shape", image_shape, n_dims=(3,))
    least = 2**_BLOCKS
    if min(shape[:2]) < least:
        rule = (
            f"(height, width, channels) of at least {least} x {least} pixels, which three poolings "
            "halve; smaller images need an architecture of fewer blocks, such as "
            "FiniteNetworkClassifier(convnet(2, normalize=True))"
        )
        raise refuse(name, "image_shape", rule, image_shape)
    n_rows = check_integer(name, "n_rows", n_rows, minimum=1)
    n_epochs = check_integer(name, "n_epochs", n_epochs, minimum=1)
    architecture = convnet(
        _BLOCKS, normalize=True, w_std=3**-0.5, b_std=0.0, parameterization="standard"
    )
    return FiniteNetworkClassifier(
        architecture,
        width=128,
        image_shape=shape,
        loss="cross_entropy",
        learning_rate=0.01,
        schedule="step",
        l2=5e-4,
        max_iter=n_epochs * -(-n_rows // _BATCH),
        batch_size=_BATCH,
        augment=dsa(flip=flip),
        classes=classes,
        random_state=random_state,
    )
