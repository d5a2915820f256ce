"""Cholesky factors strip by strip against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kipsk._closed_form import _cholesky


@pytest.mark.parametrize("p", [1, 7, 8, 29])
def test_factor_and_solution_are_those_of_numpy(p, monkeypatch):
    monkeypatch.setattr(_cholesky, "_STRIP", 8)
    rng = np.random.default_rng(0)
    A = rng.normal(size=(p, p + 3))
    matrix, right_side = A @ A.T, rng.normal(size=(p, 2))
    L = _cholesky.factor(matrix.copy())
    assert_allclose(np.tril(L), np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-12)
    expected = np.linalg.solve(matrix, right_side)
    assert_allclose(_cholesky.solve(L, right_side), expected, rtol=1e-6)


@pytest.mark.parametrize("place", [0, 7, 20])
def test_negative_eigenvalues_raise(place, monkeypatch):
    monkeypatch.setattr(_cholesky, "_STRIP", 8)
    matrix = np.eye(21)
    matrix[place, place] = -1
    with pytest.raises(np.linalg.LinAlgError):
        _cholesky.factor(matrix)
