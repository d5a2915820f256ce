"""Comparisons with a baseline, by the data of what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipsk.plotting import ComparisonDisplay

from ._data import RESULTS


@pytest.mark.parametrize("as_frame", [False, True])
def test_comparison(as_frame):
    results = RESULTS
    if as_frame:
        import pandas as pd

        results = pd.DataFrame(RESULTS).astype({"ipc": "Int64"})
    display = ComparisonDisplay.from_results(results, baseline="random")
    assert list(display.lines_) == ["random", "good", "best"]
    assert_array_equal(display.lines_["good"].get_xdata(), [10, 100, 200])
    assert_array_equal(display.lines_["good"].get_ydata(), [0.4, 0.8, 0.2])
    assert_array_equal(display.full_line_.get_ydata(), [0.9, 0.9])
    assert [text.get_text() for text in display.texts_] == [
        "more than ×1000",
        "×3.2",
        "×10",
        "less than ×0.05",
    ]
    assert display.plot(show_worth=False).texts_ == []
    assert ComparisonDisplay.from_results(results).texts_ == []


def test_worth_by_hand():
    """Half-way from 0.3 to 0.5 is half-way from log 10 to log 100; all rows end the curve."""
    display = ComparisonDisplay.from_results(RESULTS, baseline="random")
    found = {(w.reducer, w.n_rows): (w.relation, w.times) for w in display.worth()}
    assert found.keys() == {("good", 10), ("good", 100), ("good", 200), ("best", 10)}
    assert found["good", 10] == ("=", pytest.approx(10**0.5))
    assert found["good", 100] == ("=", pytest.approx(10))
    assert found["good", 200] == ("<", pytest.approx(10 / 200))
    assert found["best", 10] == (">", pytest.approx(1000))


def test_worth_of_an_accuracy_reached_and_lost_again():
    """The first size that reaches it counts, and what noise takes away later does not."""
    natural = [10, 100, 1000, 10000], [0.5, 0.8, 0.7, 0.9], [0] * 4
    curves = {"random": natural, "good": ([10, 20], [0.8, 0.9], [0, 0])}
    worths = ComparisonDisplay(curves, baseline="random").worth()
    assert_allclose([worth.times for worth in worths], [10, 500])


def test_comparison_of_several_models_and_failures():
    results = {name: [*values, values[-1]] for name, values in RESULTS.items()}
    results["accuracy"][-2] = np.nan
    results["model"][-1] = "1-NN"
    display = ComparisonDisplay.from_results(results, model="SVC")
    assert list(display.lines_) == ["random", "good"]
    with pytest.raises(ValueError, match=r"'model' parameter .* one of \['SVC', '1-NN'\]"):
        ComparisonDisplay.from_results(results)
    with pytest.raises(ValueError, match=r"'data' parameter"):
        ComparisonDisplay.from_results(RESULTS, data="digits")


def test_unknown_baseline():
    with pytest.raises(ValueError, match=r"'baseline' parameter .* \['random', 'good', 'best'\]"):
        ComparisonDisplay.from_results(RESULTS, baseline="all")
