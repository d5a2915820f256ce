"""What is made of the error of all rows before and after a run: ridges, ranks, best labels."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from scipy.linalg import eigh, qr
from scipy.optimize import minimize_scalar

from kipsk._closed_form import _cholesky, _label_solve, _ridge
from kipsk._closed_form._quadratic import Quadratic
from kipsk._types import Float64s, Floats

# Relative ridges that are searched, in so many factorisations, with so many random signs.
_RIDGES = (1e-7, 1e2)
_FACTORISATIONS = 7
_PROBES = 16
# Of all rows, how many more than the model has parameters, for cross-validation; and an error that
# is worse than any.
_LEAST_LEFT = 0.01
_WORST = 1e30
# How far below zero, in units of trace(H), float32 may bring an eigenvalue.
_ROUNDING = 1e-6
# The largest eigenvalues are taken to a power, one of so many; up to so many features all are.
_LEADING = 4
_FEW_FEATURES = 2048


def of_rank(quadratic: Quadratic, rank: int) -> Quadratic:
    """Return the error of a model's part along the leading eigenvectors of H.

    Elsewhere it is as if the features were zero: there C is left out, too, without which the error
    would fall without end.
    """
    p = len(quadratic.H)
    if rank >= p:
        return quadratic
    values, vectors = eigh(quadratic.H, subset_by_index=(p - rank, p - 1))
    factor = vectors * np.sqrt(np.maximum(values, 0))
    return quadratic._replace(H=factor, C=vectors @ (vectors.T @ quadratic.C))


def in_metric(quadratic: Quadratic, power: float) -> Quadratic:
    """Return the error with the distance to the best model measured by ``H^power``.

    With W* = H^-1 C the error is ``(W - W*)^T H (W - W*)`` and what W* leaves. A few eigenvalues of
    H are thousands of times the others, and descent follows their eigenvectors long before it sees
    the rest: in ``H^power``, with a power below one, they are less apart. The best model is the
    same, and so is its error.

    Of many features only the leading eigenvectors are computed. The eigenvalues after them are near
    the ridge, and are multiplied with one number instead.

    Parameters
    ----------
    quadratic : Quadratic
        In float64, with a ridge.
    power : float
        From 0 to 1.

    Raises
    ------
    ValueError
        If H is singular up to rounding.
    """
    if power == 1:
        return quadratic
    H, C = quadratic.H, quadratic.C
    try:
        best = _cholesky.solve(_cholesky.factor(H.copy()), C)
    except np.linalg.LinAlgError:
        raise _singular() from None
    values, vectors, of_vectors = _leading(H)
    if not values[-1] > 0:
        raise _singular()
    unit = values.mean()
    rest = (values[-1] / unit) ** (power - 1)
    # H multiplied from both sides with I - V d V^T, where V^T H V is diagonal: however near V is to
    # eigenvectors, what comes out has no negative eigenvalue.
    taken = unit * (values / unit) ** power
    shares = 1 - np.sqrt(taken / (rest * values))
    half = of_vectors * shares - 0.5 * vectors * (shares**2 * values)
    change = half @ vectors.T
    metric = H - change
    metric -= change.T
    metric *= rest
    C_metric = metric @ best
    squares = quadratic.y_squares + np.sum(best * (C_metric - C), axis=0)
    # R2 tells how much of the distance from no model at all is left.
    return quadratic._replace(H=metric, C=C_metric, y_squares=squares, variances=squares)


def _singular() -> ValueError:
    return ValueError(
        "The 'ridge' of fit_moments must be large enough for H to have an inverse, unless 'power' "
        "is 1. Got a ridge below the rounding of H: raise it, or give power=1."
    )


def _leading(H: Float64s) -> tuple[Float64s, Float64s, Float64s]:
    """Return the largest eigenvalues, from the largest on, their eigenvectors V, and ``H V``."""
    if len(H) <= _FEW_FEATURES:
        values, vectors = eigh(H)
        values, vectors = values[::-1], vectors[:, ::-1]
        return values, vectors, vectors * values
    # Subspace iteration (Halko et al. 2011, algorithm 4.4), in float32. The last of so many
    # eigenvectors are near the ridge, where it makes no difference which of them are found.
    single = H.astype(np.float32)
    rng = np.random.RandomState(0)
    found = rng.standard_normal((len(H), len(H) // _LEADING)).astype(np.float32)
    for _ in range(2):
        found = qr(single @ found, mode="economic", overwrite_a=True, check_finite=False)[0]
    del single
    vectors = found.astype(np.float64)
    of_vectors = H @ vectors
    values, turn = eigh(vectors.T @ of_vectors, driver="evd", check_finite=False)
    turn = turn[:, ::-1]
    return values[::-1], vectors @ turn, of_vectors @ turn


def positive_part(quadratic: Quadratic) -> Quadratic:
    """Return the error with the nearest positive semi-definite H, in the Frobenius norm.

    Along eigenvectors that are left out C is too, as in `of_rank`.
    """
    values, vectors = eigh(quadratic.H)
    kept = vectors[:, values > 0]
    H = (kept * values[values > 0]) @ kept.T
    return quadratic._replace(H=H, C=kept @ (kept.T @ quadratic.C))


def check_definite(quadratic: Quadratic) -> None:
    """Refuse an H with an eigenvalue that is negative beyond rounding, which no rows have."""
    H = quadratic.H
    try:
        _cholesky.factor(_ridge.add_to_diagonal(H, _ROUNDING * np.trace(H)))
    except np.linalg.LinAlgError:
        raise ValueError(
            "The moments are not those of any rows: H has negative eigenvalues. If they are a "
            "difference, subtract only moments of rows that are in the first ones."
        ) from None


def best_ridge(
    quadratic: Quadratic, held_out: Quadratic | None = None, least: float = 0.0
) -> float:
    """Return the relative ridge with which ridge regression on all rows predicts other rows best.

    Parameters
    ----------
    quadratic : Quadratic
        In float64.
    held_out : Quadratic or None
        The error of other rows, which is then minimised. With None generalised cross-validation
        stands for it; its trace is an average over random signs (Hutchinson 1990, "A stochastic
        estimator of the trace of the influence matrix"), so a ridge costs one factorisation.
    least : float
        The smallest ridge that may be chosen.

    Returns
    -------
    ridge : float
        In units of ``trace(H) / p``.
    """
    H, C, n = quadratic.H, quadratic.C, float(quadratic.n_rows)
    p = len(H)
    unit = np.trace(H) / p
    signs = np.random.RandomState(0).choice([-1.0, 1.0], size=(p, _PROBES))

    def error(log_ridge: float) -> float:
        ridge = np.exp(log_ridge) * unit
        try:
            factor = _cholesky.factor(_ridge.add_to_diagonal(H, ridge))
        except np.linalg.LinAlgError:  # below the rounding of H
            return _WORST
        solved = _cholesky.solve(factor, np.concatenate([C, signs], axis=1))
        W, probes = solved[:, : C.shape[1]], solved[:, C.shape[1] :]
        if held_out is not None:
            return _error(held_out, W)
        freedom = p - ridge * np.mean(np.sum(signs * probes, axis=0))
        left = 1 - freedom / n
        # A model of as many parameters as rows fits them, whatever they are.
        return _error(quadratic, W) / left**2 if left > _LEAST_LEFT else _WORST

    low = max(_RIDGES[0], least)
    bounds = np.log((low, max(_RIDGES[1], 10 * low)))
    found = minimize_scalar(
        error, bounds=bounds, method="bounded", options={"maxiter": _FACTORISATIONS}
    )
    return float(np.exp(found.x))


def _error(quadratic: Quadratic, W: Float64s) -> float:
    squares = np.sum(W * (quadratic.H @ W - 2 * quadratic.C)) + np.sum(quadratic.y_squares)
    return float(squares)


def with_ridge(quadratic: Quadratic, ridge: float) -> Quadratic:
    """Return the error plus ``ridge trace(H)/p |w|^2`` of each output."""
    H = quadratic.H
    return quadratic._replace(H=_ridge.add_to_diagonal(H, ridge * np.trace(H) / len(H)))


def on_device(quadratic: Quadratic, dtype: str = "float32") -> Quadratic:
    """Return a quadratic as a step sees it: H and C in the precision of the rows."""
    H, C = (jnp.asarray(part, dtype) for part in (quadratic.H, quadratic.C))
    return Quadratic(H, C, *(jnp.asarray(part, jnp.float64) for part in quadratic[2:]))


def solved_labels(
    quadratic: Quadratic, Phi_s: Floats, reg: float, label_reg: float | None
) -> tuple[Float64s, float]:
    """Return the best labels of a support set for all rows, and the relative ridge of the labels.

    Parameters
    ----------
    quadratic : Quadratic
        In float64.
    Phi_s : ndarray of shape (n_s, p)
    reg : float
        Relative ridge of the prediction.
    label_reg : float or None
        Relative ridge of the labels; None chooses it by generalised cross-validation.
    """
    Phi = np.asarray(Phi_s, np.float64)
    K_ss = Phi @ Phi.T
    ridge = reg * np.trace(K_ss) / len(K_ss)
    _ridge.fit_alpha(K_ss, np.ones((len(K_ss), 1)), ridge)  # raises, with the reason, if it fails
    regularised = _ridge.add_to_diagonal(K_ss, ridge)
    n = float(quadratic.n_rows)
    half = np.linalg.solve(regularised, Phi)
    normal = n * half @ np.asarray(quadratic.H) @ half.T
    moments = n * half @ np.asarray(quadratic.C)
    normal = (normal + normal.T) / 2
    if label_reg is None:
        y_squared = n * float(np.sum(quadratic.y_squares))
        label_reg = _label_solve.best_label_reg(normal, moments, regularised, y_squared, round(n))
    return _label_solve.solve_labels(normal, moments, regularised, label_reg), label_reg
