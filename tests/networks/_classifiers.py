"""What the tests of FiniteNetworkClassifier share."""

from __future__ import annotations

import numpy as np

NAMES = np.array(["ant", "bee", "cat"])
FAST = {"width": 16, "max_iter": 200, "random_state": 0}


def scores(network, X):
    return network.decision_function(X)
