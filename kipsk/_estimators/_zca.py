"""Regularised ZCA whitening of rows, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags, gen_batches
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from kipsk._checks import check_not_images, check_positive, check_rows
from kipsk._types import AnyArray, Float64s, Floats, MatrixLike

# Rows become float64 this many bytes at a time; X as a whole never does.
_CHUNK_BYTES = 64 * 2**20
_EPS = float(np.finfo(np.float64).eps)


class RegularizedZCA(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Regularised ZCA whitening: ``X -> LayerNorm(X) W``.

    LayerNorm acts on each row: it subtracts the row's mean and divides by the
    Euclidean norm of what is left (a constant row becomes zeros). With Z the
    n x d matrix of these rows::

        C = Z^T Z / n = U diag(mu) U^T
        W = U diag(phi(mu)) U^T
        phi(mu) = (mu + reg * trace(C) / d)^(-1/2)

    C is not centred. The whitened rows have the covariance eigenvalues
    ``mu / (mu + reg * trace(C) / d)``.

    Parameters
    ----------
    reg : float, default=10.0
        The regularisation relative to the mean eigenvalue ``trace(C) / d``; at least
        0. 0 whitens fully, and a large value leaves the rows' directions as they are.
        The default whitens mildly, because strong whitening costs the fully connected
        kernels accuracy; the papers' 0.1 is for convolutional kernels on colour images.
    layer_norm : bool, default=True
        Whether each row is normalised first. If False, Z is X itself.

    Attributes
    ----------
    covariance_ : ndarray of shape (n_features, n_features)
        C, in float64.
    eigenvalues_ : ndarray of shape (n_features,)
        The eigenvalues of C, ascending, clipped at 0.
    whitening_ : ndarray of shape (n_features, n_features)
        W, in float64, symmetric positive definite. After `partial_fit`, this and
        `eigenvalues_` are absent until the next `transform` or `inverse_transform`.
    row_mean_ : float
        The mean over the training rows of each row's mean; 0 without `layer_norm`.
    row_norm_ : float
        The mean over the training rows of each row's centred norm; 1 without
        `layer_norm`.
    n_samples_seen_ : int
        The number of training rows, n.
    n_features_in_ : int
        The number of features, d.
    feature_names_in_ : ndarray of shape (n_features,)
        The names of the features, if all of them are strings.

    See Also
    --------
    KIPDistiller : Takes this transformer as its `preprocess`.
    kipsk.datasets.load_images : Loads image sets with each channel standardised.
    sklearn.decomposition.PCA : Whitens in the basis of the components, with ``whiten=True``.

    Notes
    -----
    The formulas are those of arXiv:2107.13034 and its published code. There, RGB
    image sets were whitened with ``reg=0.1`` and grey ones were standardised per
    channel instead. Whitening serves convolutional kernels; for fully connected ones
    :doc:`/results` compares the accuracy with and without it.

    When n < d, nothing is known of the directions outside the span of the rows. They get
    ``phi = (trace(C) * max(1, reg / d))^(-1/2)``. For ``reg <= d`` this is the 1 of the
    published code where `layer_norm` makes trace(C) 1, and the same in units of X where
    it does not; for larger ``reg`` it is no more than the phi of the other directions.
    Directions that are null up to rounding
    (``mu + reg * trace(C) / d <= d * eps * max(mu)``, so all null directions if
    ``reg=0``) get this phi too.

    All arithmetic is in float64, on chunks of rows of about 64 MB. The output is float32
    for float32 X and float64 for every other dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from kipsk import RegularizedZCA
    >>> X, _ = load_digits(return_X_y=True)
    >>> zca = RegularizedZCA(reg=0.1).fit(X)
    >>> Z = zca.transform(X)
    >>> Z.shape
    (1797, 64)
    >>> bool(np.allclose(zca.transform(zca.inverse_transform(Z)), Z))
    True
    """

    covariance_: Float64s
    eigenvalues_: Float64s
    whitening_: Float64s
    row_mean_: float
    row_norm_: float
    n_samples_seen_: int

    def __init__(self, reg: float = 10.0, layer_norm: bool = True) -> None:
        self.reg = reg
        self.layer_norm = layer_norm

    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Learn the whitening of X; rows of an earlier fit are forgotten.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The training rows, of any real dtype (uint8 images stay uint8).
        y : None
            Ignored.

        Returns
        -------
        self : RegularizedZCA

        Raises
        ------
        ValueError
            If a parameter or X is invalid, or if the squares of X overflow float64.
        """
        self._check_parameters()
        X = self._validate(X, reset=True)
        self._accumulate(X, reset=True)
        # W is made now, so that `transform` changes no attribute after `fit`.
        self._factorize()
        return self

    def partial_fit(self, X: MatrixLike, y: object = None) -> Self:
        """Add training rows; up to rounding, the result is that of `fit` on all rows so far.

        The eigendecomposition is computed at the first `transform`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            More training rows.
        y : None
            Ignored.

        Returns
        -------
        self : RegularizedZCA

        Raises
        ------
        ValueError
            For the reasons that `fit` has, and if X has other features than the rows before.
        """
        self._check_parameters()
        first = not hasattr(self, "n_samples_seen_")
        X = self._validate(X, reset=first)
        self._accumulate(X, reset=first)
        return self

    def transform(self, X: MatrixLike) -> Floats:
        """Normalise the rows of X if `layer_norm` is set, and whiten them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to whiten.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features)
            float32 if X is float32, otherwise float64.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        whitening = self._factorize()
        out = np.empty(X.shape, dtype=_output_dtype(X))
        for rows in _row_chunks(X):
            chunk = _float64_copy(X[rows])
            if self.layer_norm:
                _layer_norm(chunk)
            out[rows] = chunk @ whitening
        return out

    def inverse_transform(self, X: MatrixLike) -> Floats:
        """Take whitened rows back to the units of the training rows.

        The rows are multiplied by the inverse of W. Without `layer_norm` this is the
        exact inverse of `transform`. With `layer_norm` the mean and the norm of each row
        are lost, and the means over the training rows, `row_mean_` and `row_norm_`, take
        their place; then ``transform(inverse_transform(Z))`` equals Z for every Z that
        `transform` has made.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Whitened rows.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            float32 if X is float32, otherwise float64.
        """
        check_is_fitted(self)
        # Feature names are not checked, because whitened rows are mostly plain arrays.
        check_not_images("X", X)
        X = check_array(X, dtype="numeric", estimator=self)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        # W is positive definite and far better conditioned than C, because null directions are
        # not blown up. It is factored in every call: keeping a third d x d matrix does not pay
        # for a method that is used on few rows.
        factor = cho_factor(self._factorize(), check_finite=False)
        out = np.empty(X.shape, dtype=_output_dtype(X))
        for rows in _row_chunks(X):
            chunk = cho_solve(factor, _float64_copy(X[rows]).T, check_finite=False).T
            out[rows] = chunk * self.row_norm_ + self.row_mean_
        return out

    def _check_parameters(self) -> None:
        name = type(self).__name__
        check_positive(name, "reg", self.reg, zero=True)
        if not isinstance(self.layer_norm, (bool, np.bool_)):
            raise ValueError(
                f"The 'layer_norm' parameter of {name} must be an instance of 'bool'. "
                f"Got {self.layer_norm!r} instead."
            )

    def _validate(self, X: MatrixLike, *, reset: bool) -> AnyArray:
        # "numeric" keeps the dtype. Asking for floats would make all of X larger if it is uint8.
        check_not_images("X", X)
        # It lets text in columns of categories through.
        return check_rows("X", validate_data(self, X, dtype="numeric", reset=reset))

    def _accumulate(self, X: AnyArray, *, reset: bool) -> None:
        """Add the rows of X to C, n, `row_mean_` and `row_norm_`, or replace these by theirs."""
        n, d = X.shape
        gram = np.zeros((d, d))
        means = norms = 0.0
        with np.errstate(over="ignore", invalid="ignore"):  # reported just below
            for rows in _row_chunks(X):
                chunk = _float64_copy(X[rows])
                if self.layer_norm:
                    mean, norm = _layer_norm(chunk)
                    means += float(mean.sum())
                    norms += float(norm.sum())
                gram += chunk.T @ chunk
        if not math.isfinite(float(np.trace(gram)) + means + norms):
            raise ValueError("The squares of X overflow float64. Scale X down, e.g. X / X.max().")

        seen = 0 if reset else self.n_samples_seen_
        total = seen + n
        gram /= total
        if seen:
            gram += self.covariance_ * (seen / total)
            means += self.row_mean_ * seen
            norms += self.row_norm_ * seen
        self.covariance_ = gram
        self.row_mean_ = means / total if self.layer_norm else 0.0
        self.row_norm_ = norms / total if self.layer_norm else 1.0
        self.n_samples_seen_ = total
        # These were computed from the C before.
        for stale in ("eigenvalues_", "whitening_"):
            if hasattr(self, stale):
                delattr(self, stale)

    def _factorize(self) -> Float64s:
        """Return W, which is computed from C if it is not there already."""
        if hasattr(self, "whitening_"):
            return self.whitening_
        d, n = self.n_features_in_, self.n_samples_seen_
        mu, U = eigh(self.covariance_, driver="evd", check_finite=False)  # ascending
        mu = np.maximum(mu, 0.0)
        shifted = mu + self.reg * mu.mean()  # tr(C) / d = mean eigenvalue
        floor = d * _EPS * mu[-1]
        # The eigenvalue of a null direction is rounding noise, whose inverse root would blow up
        # noise in new rows. Such a direction is scaled by the size of the rows instead, as if
        # the whole trace were its own, and never weighs more than a known direction. If all rows
        # are zero, W is the identity.
        null = shifted <= floor
        if n < d:
            # Rows span at most n directions, so the d - n smallest mu are 0 in exact arithmetic.
            # If the rank is below n, the whole null space counts as null: its eigenvectors are
            # arbitrary, so W is well defined only if all of them have the same phi.
            null |= mu <= floor
            null[: d - n] = True
        unknown = mu.sum() * max(1.0, self.reg / d) or 1.0
        phi = np.where(null, unknown, shifted) ** -0.5
        U *= np.sqrt(phi)  # now W = U U^T, exactly symmetric
        self.eigenvalues_ = mu
        self.whitening_ = U @ U.T
        return self.whitening_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _output_dtype(X: AnyArray) -> type[np.float32 | np.float64]:
    return np.float32 if X.dtype == np.float32 else np.float64


def _row_chunks(X: AnyArray) -> Iterator[slice]:
    rows: Iterator[slice] = gen_batches(len(X), max(1, _CHUNK_BYTES // (8 * X.shape[1])))
    return rows


def _float64_copy(rows: AnyArray) -> Float64s:
    """Return a copy in float64 and C order, in which numpy sums along a row are pairwise."""
    return np.array(rows, dtype=np.float64, order="C")


def _layer_norm(Z: Float64s) -> tuple[Float64s, Float64s]:
    """Centre and normalise the rows of Z in place; return their means and norms."""
    mean: Float64s = Z.mean(axis=1)
    Z -= mean[:, np.newaxis]
    norm: Float64s = np.sqrt(np.einsum("ij,ij->i", Z, Z))
    # The computed mean of a constant row may be off by a few roundings. The difference that is
    # left is noise, not a direction, and must not be scaled up to norm 1.
    constant = norm <= 10 * _EPS * math.sqrt(Z.shape[1]) * np.abs(mean)
    Z[constant] = norm[constant] = 0.0
    Z /= np.where(norm == 0.0, 1.0, norm)[:, np.newaxis]
    return mean, norm
