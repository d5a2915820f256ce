"""How a message shows the value that it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from kipsk._checks import refuse
from kipsk.augment import Flip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        ("five", "'five'"),
        (np.zeros((30, 2)), "an array of shape (30, 2) and dtype float64"),
        (Flip(0.25), "Flip(p=0.25)"),
        (Flip, "the class Flip"),  # and not the file that it is written in
    ],
)
def test_refused_values(value, shown):
    message = str(refuse("KIPDistiller", "augment", "a rule", value))
    assert (
        message == f"The 'augment' parameter of KIPDistiller must be a rule. Got {shown} instead."
    )
