"""The image sets that distillation is measured on."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.datasets import fetch_openml, get_data_home, load_digits
from sklearn.model_selection import train_test_split

from kipsk._checks import check_option
from kipsk._storage._files import read_arrays
from kipsk._types import AnyArray

_OWNER = "load_images"
_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class _Published:
    """What is known of a published set.

    Attributes
    ----------
    data_id : int
        The number of the set on OpenML, where its training rows come before its test rows.
    image_shape : tuple (H, W, C)
    train_counts, test_counts : tuple of int
        The number of rows of each class.
    channels_first : bool
        Whether a row on OpenML is one plane of pixels for each channel, as in CIFAR's own files.
    zero_is : int
        The label that stands for class 0 on OpenML and in the original files.
    sha256 : str or None
        The checksum of the bytes of x_train, y_train, x_test and y_test, in uint8, images as
        N x H x W x C. None if it is not known.
    """

    data_id: int
    image_shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    channels_first: bool = False
    zero_is: int = 0
    sha256: str | None = None


_PUBLISHED = {
    "mnist": _Published(
        554,
        (28, 28, 1),
        (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    ),
    "fashion_mnist": _Published(
        40996,
        (28, 28, 1),
        10 * (6000,),
        10 * (1000,),
        sha256="ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f",
    ),
    "cifar10": _Published(
        40927,
        (32, 32, 3),
        10 * (5000,),
        10 * (1000,),
        channels_first=True,
        sha256="80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660",
    ),
    "cifar100": _Published(41983, (32, 32, 3), 100 * (500,), 100 * (100,), channels_first=True),
    "svhn": _Published(
        41081,
        (32, 32, 3),
        (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
        zero_is=10,
    ),
}


class Images(NamedTuple):
    """An image set as rows: each row is a flattened image, channels last."""

    X_train: AnyArray  #: (n_train, H * W * C), in float32, or pixels in uint8
    X_test: AnyArray  #: (n_test, H * W * C), of the same dtype
    y_train: NDArray[np.int64]  #: (n_train,), classes counted from 0
    y_test: NDArray[np.int64]  #: (n_test,)
    image_shape: tuple[int, int, int]  #: (H, W, C)
    mean: NDArray[np.float32]  #: (C,), the mean that was subtracted from each channel
    std: NDArray[np.float32]  #: (C,), the deviation that each channel was divided by


def load_images(
    name: str,
    *,
    data_home: str | os.PathLike[str] | None = None,
    standardize: str | None = "channel",
) -> Images:
    """Load an image set as rows, split into training and test rows as it was published.

    ========================  =============  ===========  ==============  =======
    name                      image_shape    classes      training rows   test
    ========================  =============  ===========  ==============  =======
    ``"mnist"``               (28, 28, 1)    10           60000           10000
    ``"fashion_mnist"``       (28, 28, 1)    10           60000           10000
    ``"cifar10"``             (32, 32, 3)    10           50000           10000
    ``"cifar100"``            (32, 32, 3)    100, fine    50000           10000
    ``"svhn"``                (32, 32, 3)    10, digits   73257           26032
    ``"digits"``              (8, 8, 1)      10           1257            540
    ========================  =============  ===========  ==============  =======

    ``"digits"`` is scikit-learn's own set, with a fixed stratified split. The other sets are read
    from ``data_home/NAME.npz`` if there is such a file. Otherwise they are fetched from OpenML by
    `sklearn.datasets.fetch_openml`, which needs pandas and keeps its download in `data_home`.

    Parameters
    ----------
    name : str
        One of the names in the table.
    data_home : str or path-like, default=None
        A folder; None is scikit-learn's (`sklearn.datasets.get_data_home`). The file ``NAME.npz``
        in it holds the arrays x_train, y_train, x_test and y_test (or X_train and X_test). Their
        pixels go from 0 to 255 and have shape (n, H, W, C), (n, H * W * C) or, if C is 1,
        (n, H, W), in the published order.
    standardize : {"channel", None}, default="channel"
        "channel" gives each channel mean 0 and standard deviation 1 over the training pixels. None
        leaves pixels in uint8, from 0 to 255 (those of digits from 0 to 16).

    Returns
    -------
    images : Images
        A named tuple (X_train, X_test, y_train, y_test, image_shape, mean, std). The pixels are
        ``X.reshape(-1, *image_shape) * std + mean``, whatever `standardize` is.

    Raises
    ------
    FileNotFoundError
        If there is no such file and OpenML cannot be reached.
    ValueError
        If the name is unknown, or if the arrays are not the published ones. For every set the
        shapes, the number of rows of each class and the range of the pixels (whole numbers from 0
        to 255) are checked; for Fashion-MNIST and CIFAR-10 also the SHA-256 of all bytes. For
        MNIST, CIFAR-100 and SVHN no checksum is known, so a changed pixel, or two rows of a class
        in another order, are not noticed. Colour images with their channels first are noticed,
        because their neighbouring pixels differ more than those of real images.

    Notes
    -----
    The labels of SVHN are the digits; its files call digit 0 "10". CIFAR-100 has the fine labels.

    Examples
    --------
    >>> from kipsk.datasets import load_images
    >>> images = load_images("digits")
    >>> images.X_train.shape, images.image_shape
    ((1257, 64), (8, 8, 1))
    """
    check_option(_OWNER, "name", name, (*_PUBLISHED, "digits"))
    if standardize is not None:
        check_option(_OWNER, "standardize", standardize, ("channel",), also=" or None")
    if name == "digits":
        shape, arrays = (8, 8, 1), _digits()
    else:
        shape, arrays = _PUBLISHED[name].image_shape, _published(name, data_home)
    x_train, y_train, x_test, y_test = arrays
    rows: list[AnyArray] = [x.reshape(len(x), -1) for x in (x_train, x_test)]
    labels = [y.astype(np.int64) for y in (y_train, y_test)]
    mean, std = np.zeros(shape[2], np.float32), np.ones(shape[2], np.float32)
    if standardize is not None:
        mean, std = _channel_moments(x_train.reshape(-1, shape[2]))
        rows = [_standardized(x, mean, std) for x in rows]
    return Images(rows[0], rows[1], labels[0], labels[1], shape, mean, std)


def _digits() -> list[NDArray[np.uint8]]:
    """Return scikit-learn's digits, split as the examples of the documentation split them."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    return [array.astype(np.uint8) for array in (X_train, y_train, X_test, y_test)]


def _published(name: str, data_home: str | os.PathLike[str] | None) -> list[NDArray[np.uint8]]:
    """Return the arrays of a published set, checked, in the order of `_KEYS`."""
    published = _PUBLISHED[name]
    path = Path(get_data_home(data_home)).resolve() / f"{name}.npz"
    if path.exists():
        source = str(path)
        advice = f"Replace the file, or remove it to fetch {name!r} from OpenML."
        arrays = _from_file(path)
    else:
        source = f"data set {published.data_id} of OpenML"
        advice = f"Put the published arrays into {path}, with the keys {', '.join(_KEYS)}."
        arrays = _from_openml(name, published, path)
    try:
        return _checked(published, arrays)
    except ValueError as error:
        raise ValueError(f"{source} is not the published {name!r}: {error} {advice}") from None


def _from_file(path: Path) -> list[AnyArray]:
    """Return the arrays of a file in the order of `_KEYS`, as they are."""
    try:
        arrays = read_arrays(path)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged or no .npz file of arrays ({error}): replace it, or remove it to "
            "fetch the set from OpenML."
        ) from error
    keys = [key if key in arrays else key.capitalize() for key in _KEYS]
    missing = [given for given, key in zip(_KEYS, keys, strict=True) if key not in arrays]
    if missing:
        raise ValueError(
            f"{path} must have the arrays {', '.join(_KEYS)}. Got {', '.join(arrays)} "
            f"instead: save it with numpy.savez(path, {missing[0]}=..., ...)."
        )
    return [arrays[key] for key in keys]


def _from_openml(name: str, published: _Published, path: Path) -> list[AnyArray]:
    """Return the arrays of a set on OpenML in the order of `_KEYS`; `path` is for the error."""
    try:
        X, y = fetch_openml(
            data_id=published.data_id, data_home=path.parent, return_X_y=True, as_frame=False
        )
    except OSError as error:  # the errors of urllib are among these
        raise FileNotFoundError(
            f"There is no file {path}, and OpenML could not be reached to fetch {name!r} "
            f"({error}). Put the file there, with the arrays {', '.join(_KEYS)} (pixels from 0 to "
            f"255, images n x {' x '.join(map(str, published.image_shape))}), or pass the folder "
            "that has it as 'data_home'."
        ) from error
    y = np.asarray(y).astype(np.int64)
    if published.channels_first:
        height, width, n_channels = published.image_shape
        X = X.reshape(-1, n_channels, height, width).transpose(0, 2, 3, 1)
    n_train = sum(published.train_counts)
    return [X[:n_train], y[:n_train], X[n_train:], y[n_train:]]


def _checked(published: _Published, arrays: list[AnyArray]) -> list[NDArray[np.uint8]]:
    """Return the arrays in uint8, images as n x H x W x C.

    Raises
    ------
    ValueError
        If they are not the published ones; the message says what differs.
    """
    shape = published.image_shape
    x_train, y_train, x_test, y_test = arrays
    result = [
        _checked_images("x_train", x_train, sum(published.train_counts), shape),
        _checked_labels("y_train", y_train, published.train_counts, published.zero_is),
        _checked_images("x_test", x_test, sum(published.test_counts), shape),
        _checked_labels("y_test", y_test, published.test_counts, published.zero_is),
    ]
    if published.sha256 is not None:
        digest = hashlib.sha256()
        for array in result:
            digest.update(np.ascontiguousarray(array).data)
        if digest.hexdigest() != published.sha256:
            raise ValueError(
                f"its SHA-256 must be {published.sha256}. Got {digest.hexdigest()} instead: its "
                "rows are others, or in another order."
            )
    elif shape[2] > 1 and not _is_channels_last(result[0][:1000]):
        raise ValueError("its pixels must be in the order height, width, channel.")
    return result


def _checked_images(
    name: str, x: AnyArray, n: int, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    shapes: list[tuple[int, ...]] = [(n, *shape), (n, int(np.prod(shape)))]
    if shape[2] == 1:
        shapes.append((n, *shape[:2]))
    if x.shape not in shapes:
        raise ValueError(f"{name} must have shape {shapes[0]}. Got {x.shape} instead.")
    return _as_bytes(name, x).reshape(shapes[0])


def _checked_labels(
    name: str, y: AnyArray, counts: tuple[int, ...], zero_is: int
) -> NDArray[np.uint8]:
    labels = _as_bytes(name, y).ravel()
    if zero_is:
        labels = np.where(labels == zero_is, np.uint8(0), labels)
    found = np.bincount(labels, minlength=256)
    expected = np.pad(counts, (0, 256 - len(counts)))
    if not np.array_equal(found, expected):
        first = np.flatnonzero(found != expected)[0]
        raise ValueError(
            f"{name} must have {expected[first]} rows of class {first}. Got {found[first]} instead."
        )
    return labels


def _is_channels_last(images: NDArray[np.uint8]) -> bool:
    """Return whether neighbouring pixels are more alike as they are than after undoing an error.

    The two errors are rows that hold one plane of pixels for each channel, and rows whose channels
    were last and that were taken for such planes.
    """
    n, height, width, n_channels = images.shape
    planes = images.reshape(n, n_channels, height, width).transpose(0, 2, 3, 1)
    interleaved = images.transpose(0, 3, 1, 2).reshape(images.shape)

    def roughness(x: NDArray[np.uint8]) -> float:
        return sum(float(np.abs(np.diff(x.astype(np.int64), axis=a)).mean()) for a in (1, 2))

    return roughness(images) < min(roughness(planes), roughness(interleaved))


def _as_bytes(name: str, array: ArrayLike) -> NDArray[np.uint8]:
    given = np.asarray(array)
    with np.errstate(invalid="ignore"):  # a number that does not fit in a byte becomes another one
        result = given.astype(np.uint8)
    if not np.array_equal(result, given):
        raise ValueError(f"{name} must hold whole numbers from 0 to 255.")
    return result


def _channel_moments(
    pixels: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and standard deviation of each column of pixels (n, C), from exact sums."""
    n = len(pixels)
    sums = pixels.sum(axis=0, dtype=np.int64)
    squares = np.square(pixels, dtype=np.uint16).sum(axis=0, dtype=np.int64)
    std = np.sqrt(squares / n - (sums / n) ** 2)
    return (sums / n).astype(np.float32), std.astype(np.float32)


def _standardized(
    x: AnyArray, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return rows of pixels with `mean` subtracted from each channel and divided by `std`."""
    pixels = x.reshape(-1, len(mean)).astype(np.float32)
    pixels -= mean
    pixels /= std
    return pixels.reshape(len(x), -1)
