"""What the tests of several Displays draw; conftest.py has fitted estimators."""

from __future__ import annotations

SHAPE = (8, 8, 1)


RESULTS = {
    "reducer": ["all", "random", "random", "random", "good", "good", "good", "best"],
    "model": ["SVC"] * 8,
    "ipc": [None, 1, 10, 100, 1, 10, 20, None],
    "n_rows": [10000, 10, 100, 1000, 10, 100, 200, 10],
    "accuracy": [0.9, 0.3, 0.5, 0.8, 0.4, 0.8, 0.2, 0.95],
    "reduce_seconds": [0, 1, 1, 1, 1, 1, 1, 1],
    "fit_seconds": [1] * 8,
}
