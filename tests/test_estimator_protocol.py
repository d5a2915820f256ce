from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from kipsk import KIPDistiller, LabelSolver


@pytest.mark.filterwarnings("ignore:Fewer rows than ipc:UserWarning")
@parametrize_with_checks(
    [
        KIPDistiller(ipc=3, max_iter=30),
        KIPDistiller(ipc=3, max_iter=30, labels="solved"),
        LabelSolver(ipc=3),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)
