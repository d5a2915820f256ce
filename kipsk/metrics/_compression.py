"""How much smaller a distilled set is: in rows and in bytes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from kipsk._checks import check_integer


class Compression(NamedTuple):
    """How many times smaller a distilled set is than the training set."""

    rows: float  #: rows of the training set / rows of the distilled set
    bytes: float  #: memory of the training rows and labels / that of the distilled ones


class StoresBytes(Protocol):
    """A kernel that says what it keeps of the data."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of its arrays."""


def compression_ratio(
    X_s: ArrayLike,
    y_s: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    kernel: StoresBytes | None = None,
    factor: int = 1,
) -> Compression:
    """Return how many times smaller a distilled set is than the training set.

    The ratio in bytes is often smaller than the ratio in rows: a soft label is as many numbers as
    there are classes, and learned rows are floating point where pixels may take one byte.

    Parameters
    ----------
    X_s : array-like of shape (n_s, n_features)
        Distilled rows; with a `factor` above 1 ``distiller.mosaics_``, n_s / factor**2 images that
        hold them.
    y_s : array-like of shape (n_s,), (n_s, n_classes) or (n_s, n_outputs)
        Their labels or targets.
    X : array-like of shape (n, ...)
        Training rows, in the dtype in which they are stored.
    y : array-like of shape (n,) or (n, n_outputs)
        Their labels or targets.
    kernel : kernel object or None, default=None
        The kernel that predicts, ``distiller.predictor_.kernel_``, to count what it keeps of the
        data beside the set: filters from data and landmarks, ``kernel.stored_bytes``. None counts
        the set alone. A fitted ``preprocess_`` is not counted.
    factor : int, default=1
        That of the distiller: how many images lie along each side of a mosaic.

    Returns
    -------
    Compression
        ``rows`` and ``bytes``: for each, the number of the training set divided by that of the
        distilled set. Bytes are those of the uncompressed arrays as they are given.

    Examples
    --------
    >>> import numpy as np
    >>> from kipsk.metrics import compression_ratio
    >>> X, y = np.zeros((1000, 64), dtype=np.uint8), np.zeros(1000, dtype=np.uint8)
    >>> X_s, y_s = np.zeros((10, 64), dtype=np.float32), np.zeros((10, 10))
    >>> compression_ratio(X_s, y_s, X, y)
    Compression(rows=100.0, bytes=19.3...)
    """
    given = {"X_s": X_s, "y_s": y_s, "X": X, "y": y}
    arrays = {name: np.asarray(value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.dtype == object:
            raise ValueError(
                f"{name} must be an array of numbers or of strings of one length, whose bytes can "
                f"be counted. Got dtype object instead: pass numpy.asarray({name}).astype(str), or "
                "numbers."
            )
    n_images = check_integer("compression_ratio", "factor", factor, minimum=1) ** 2
    for rows, labels in (("X_s", "y_s"), ("X", "y")):
        n, n_labels = (len(np.atleast_1d(arrays[name])) for name in (rows, labels))
        each = n_images if rows == "X_s" else 1
        if not n or n * each != n_labels:
            rule = "equally many rows, and at least one"
            if each > 1:
                rule = f"{each} rows of labels for each mosaic of factor={factor}, and at least one"
            are_mosaics = each == 1 and rows == "X_s" and n and n_labels % n == 0
            advice = ": pass the distiller's 'factor' if X_s are mosaics" if are_mosaics else ""
            raise ValueError(
                f"{rows} and {labels} must have {rule}. Got {n} and {n_labels} instead{advice}."
            )
    size = {name: array.nbytes for name, array in arrays.items()}
    if kernel is not None:
        if not hasattr(kernel, "stored_bytes"):
            raise ValueError(
                "The 'kernel' parameter of compression_ratio must be a kernel of kipsk.kernels or "
                f"None. Got {kernel!r} instead: pass distiller.predictor_.kernel_."
            )
        size["X_s"] += kernel.stored_bytes
    return Compression(
        len(arrays["X"]) / len(arrays["y_s"]),
        (size["X"] + size["y"]) / (size["X_s"] + size["y_s"]),
    )
