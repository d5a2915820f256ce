"""Rows in which numbers of finite precision lose what tells them apart."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing

from kipsk._closed_form._centre import centre_of, evenly
from kipsk._types import AnyArray, Float64s, Floats, MatrixLike
from kipsk._warn import warn
from kipsk.kernels._base import JaxKernel

# Rounding errors, in deviations of a column, that are noise of 1e-4 of its variance.
_BLURRED = 0.01

# How many times as much as all others together one row has to weigh to be told of, and of how many
# rows there must be some: with fewer there is no telling which of them is the odd one.
_OUTWEIGHS = 100
_FEWEST = 10

# How many times the range of another column is too many, in tables of so few columns.
_UNLIKE, _MOST_COLUMNS = 1e4, 100

# What rounding in float64 leaves of a column that is zero, of the largest range.
_LEFT = 1e-13

# How many roots of eps the entries of a kernel matrix have to differ by, of their size.
_ALIKE = 4

# The part of a kernel matrix that its mean leaves, below which a ridge may outweigh it, and how
# many ridges all of what is left has to be.
_LEFT_BY_MEAN, _FEW_RIDGES = 0.01, 2

# What rounding leaves of the matrix of equal rows.
_ROUNDING = 1e-13

# Entries that are drowned by a network's biases, and such that drown these.
_TINY, _HUGE = 0.02, 100

# The root of the largest number of float32 is 1.8e19; a gradient has further factors.
_OVERFLOWING = 1e17

# Deviations from zero in which a column's mean is far from it.
_OFF = 3


def warn_of_rounding(owner: str, given: MatrixLike, X: Floats, names: AnyArray | None) -> None:
    """Warn if the conversion of rows to float32 has blurred what a column tells apart.

    Parameters
    ----------
    owner : str
        The estimator that converted them.
    given : array-like of shape (n, n_features)
        X as the user gave it.
    X : ndarray of shape (n, n_features)
        What became of it.
    names : ndarray of shape (n_features,), or None
        Of the columns.
    """
    if X.dtype != np.float32 or getattr(given, "dtype", None) == np.float32:
        return
    which = evenly(X)
    rounded = X[which].astype(np.float64)
    # No number is rounded by more than half of eps times itself.
    most = np.finfo(np.float32).eps / 2 * np.abs(rounded).max(axis=0, initial=0)
    columns = np.flatnonzero(most > _BLURRED * rounded.std(axis=0))
    if not len(columns):
        return
    exact = np.asarray(_safe_indexing(given, which), dtype=np.float64)[:, columns]
    deviation = (exact - exact[0]).std(axis=0)  # of a constant column it is 0, without rounding
    error = np.abs(exact - rounded[:, columns]).max(axis=0)
    shares = np.divide(error, deviation, out=np.zeros_like(error), where=deviation > 0)
    worst = int(np.argmax(shares))
    if shares[worst] <= _BLURRED:
        return
    column = columns[worst]
    name = f"column {column}" if names is None else f"column {names[column]!r}"
    n_blurred = np.count_nonzero(shares > _BLURRED)
    warn(
        f"{owner} computes in float32, which has 7 digits. They are too few for {n_blurred} of the "
        f"{X.shape[1]} columns of X, most of all for {name}: its values are near "
        f"{exact[:, worst].mean():.3g}, their deviation is {deviation[worst]:.3g}, and rounding "
        f"changed them by up to {error[worst]:.3g}. Put StandardScaler in front, in a Pipeline, or "
        "set dtype='float64'."
    )


def warn_of_kernel(owner: str, kernel: JaxKernel, X: Floats) -> None:
    """Warn if a kernel does not see what rows may be told apart by.

    Parameters
    ----------
    owner : str
    kernel : JaxKernel
    X : ndarray of shape (n, n_features)
    """
    doubt = kernel._doubt(X) or _doubt_of_scales(X)
    if doubt is not None:
        warn(f"{owner} may learn little of X: {doubt}.")


def _doubt_of_scales(X: Floats) -> str | None:
    """Say that most entries of half of the columns are far more alike than those of another.

    Images are left out: the pixels in their corners may differ in one of a thousand.
    """
    if X.shape[1] > _MOST_COLUMNS:
        return None
    low, high = np.quantile(X[evenly(X)].astype(np.float64), [0.05, 0.95], axis=0)
    with np.errstate(over="ignore"):
        ranges = high - low  # without outliers, which another warning is for
    # What rounding leaves of a column that a transformer has emptied is no column.
    varying = np.flatnonzero(ranges > _LEFT * ranges.max())
    if not len(varying):
        return None
    ordered = varying[np.argsort(ranges[varying])]
    # The last components of PCA are small, too, but most are not: half of the columns have to be.
    middle, most = int(ordered[(len(ordered) - 1) // 2]), int(ordered[-1])
    if ranges[most] <= _UNLIKE * ranges[middle]:
        return None
    return (
        f"its columns are of very different scale, most entries of column {most} lie within "
        f"{ranges[most]:.3g} and those of column {middle} within {ranges[middle]:.3g}, so that the "
        "smaller ones are hardly seen. Put StandardScaler in front, in a Pipeline"
    )


def warn_of_alike(owner: str, kernel: JaxKernel, K: Float64s, dtype: str) -> None:
    """Warn if a kernel matrix differs between pairs of rows by what rounding leaves alone.

    Rows far from zero have angles near zero, and rows near zero are drowned by the bias. Kernels of
    networks depend on angles through arc cosines, so that a relative rounding of eps blurs what is
    below the root of eps.

    Parameters
    ----------
    owner : str
        The estimator.
    kernel : JaxKernel
    K : ndarray of shape (n, n)
        Of rows that are not all equal.
    dtype : {"float32", "float64"}
        Of the rows that the estimator learns from.
    """
    largest = np.abs(K).max(initial=0)
    if not largest:
        return
    spread = float((K.max() - K.min()) / largest)
    if spread > _ALIKE * np.finfo(kernel._precision(dtype)).eps ** 0.5:
        return
    warn(
        f"{owner} can hardly tell rows apart: under the kernel {kernel!r} all pairs of them are "
        f"alike to {spread:.1g} of their values, of which rounding leaves little. Features are far "
        "from zero, or tiny beside the kernel's bias: put StandardScaler in front, in a Pipeline."
    )


def warn_of_heavy_rows(owner: str, K: Float64s) -> None:
    """Warn if one row outweighs all others in a kernel matrix.

    The ridge is relative to the mean of the diagonal, so that it is far larger then than what the
    other rows have.

    Parameters
    ----------
    owner : str
    K : ndarray of shape (n, n)
    """
    diagonal = np.diag(K)
    if len(K) < _FEWEST:
        return
    row, typical = int(np.argmax(diagonal)), float(np.median(diagonal))
    if not diagonal[row] > _OUTWEIGHS * len(K) * typical > 0:
        return
    _tell(owner, f"the kernel of row {row} with itself", diagonal[row], typical)


def warn_of_ridge(owner: str, K: Float64s, reg: float) -> None:
    """Warn if the ridge outweighs all that a kernel tells rows apart by.

    Parameters
    ----------
    owner : str
    K : ndarray of shape (n, n)
    reg : float
        The relative ridge.
    """
    means = K.mean(axis=0)
    centred = np.diag(K) - 2 * means + means.mean()  # the diagonal of H K H
    left = float(np.median(centred) / np.diag(K).mean())  # of most rows, whatever outliers have
    if _ROUNDING < left < _LEFT_BY_MEAN and left * len(K) < _FEW_RIDGES * reg:
        warn(
            f"{owner} learns next to nothing: rows are so alike under its kernel, to {left:.1g} of "
            f"its values, that a ridge of reg={reg:.3g} outweighs their differences. Put "
            "StandardScaler in front, in a Pipeline, or lower 'reg'."
        )


def warn_of_outliers(owner: str, X: Floats) -> None:
    """Warn if one entry is so large that it outweighs all rows together.

    Steps are in units of the deviation of all entries, which is then that of the outlier, and the
    error of one row decides what is learned.

    Parameters
    ----------
    owner : str
    X : ndarray of shape (n, n_features)
    """
    column, square, typical = _outlier(X)
    if square > _OUTWEIGHS * len(X) * typical:
        what = f"the squared distance of an entry of column {column} from the median"
        _tell(owner, what, square, typical)


def warn_of_size(owner: str, X: Floats) -> None:
    """Warn if gradients of a kernel with respect to rows leave the range of float32.

    Parameters
    ----------
    owner : str
    X : ndarray of shape (n, n_features)
    """
    largest = float(max(X.max(initial=0), -X.min(initial=0)))
    if X.dtype == np.float32 and largest > _OVERFLOWING:
        warn(
            f"{owner} computes in float32, and values of X reach {largest:.3g}, of which it cannot "
            "hold the powers in a gradient: put StandardScaler in front, in a Pipeline."
        )


def what_scaling_mends(X: Floats) -> str | None:
    """Say what is unlike standardised rows in X; None if nothing is.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    """
    if centre_of(X) is not None:
        return "are far from zero, in units of their deviation"
    largest = float(np.abs(X).max(initial=0))
    if largest < _TINY:
        return f"are all below {_TINY}, far less than the network's biases"
    _, square, typical = _outlier(X)
    if square > _OUTWEIGHS * len(X) * typical:
        return "have an outlier that outweighs all other rows"
    if largest > _HUGE:
        return f"reach {largest:.3g}"
    some = X[evenly(X)].astype(np.float64)
    means, deviations = np.abs(some.mean(axis=0)), some.std(axis=0)
    far = int(np.argmax(means))
    # A column of ones is a bias; one that all others are small beside takes the learning rate.
    if means[far] > max(_OFF * float(deviations.max()), 1.0):
        return f"have a column far from zero, column {far} near {some[:, far].mean():.3g}"
    return None


def _outlier(X: Floats) -> tuple[int, float, float]:
    """Return the column of the entry farthest from the median, its square, and a row's usual one.

    Two passes for extremes, and no copy of the data.
    """
    some = X[evenly(X)].astype(np.float64)
    centre = np.median(some, axis=0)
    with np.errstate(over="ignore"):  # infinity outweighs anything
        squares = np.sum(np.square(some - centre), axis=1)
        differing = squares[squares > 0]
        if len(X) < _FEWEST or not len(differing):
            return 0, 0.0, 0.0
        largest = np.maximum(X.max(axis=0) - centre, centre - X.min(axis=0))
        column = int(np.argmax(largest))
        return column, float(np.square(largest[column])), float(np.median(differing))


def _tell(owner: str, what: str, largest: float, typical: float) -> None:
    warn(
        f"{owner} has a row that outweighs all others: {what} is {largest:.3g}, where that of the "
        f"median row is {typical:.3g}, so that little is learned of the others. Correct the row or "
        "leave it out, or put QuantileTransformer in front, which bounds every column, in a "
        "Pipeline."
    )
