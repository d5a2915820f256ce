"""How many natural images is a distilled one worth? Accuracy against size, on digits.

    python examples/plot_comparison.py [--output comparison.png]

Needs matplotlib (``pip install "kipsk[plot]"``), no network, and takes less than half a minute.
"""

import argparse

import matplotlib
from sklearn.datasets import load_digits

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.evaluation import compare
from kipsk.plotting import ComparisonDisplay

matplotlib.use("Agg")


def main(output):
    X, y = load_digits(return_X_y=True)
    reducers = {
        "all rows": None,
        "random rows": CoresetSampler("random"),
        "Label Solve": LabelSolver(),
        "KIP": KIPDistiller(max_iter=100, downstream="last"),
    }
    models = {"kernel ridge": KernelRidgeNTKClassifier()}
    few, many = [1, 3, 10], [30, 80]
    results = compare(reducers, models, X, y, ipc=few, seeds=[0, 1, 2])
    # The curve of natural rows goes on, to find how many of them a small set is worth.
    more = compare({"random rows": reducers["random rows"]}, models, X, y, ipc=many, seeds=[0, 1])
    results = {name: [*results[name], *more[name]] for name in results}

    display = ComparisonDisplay.from_results(results, baseline="random rows")
    for worth in display.worth():
        print(
            f"{worth.reducer:<12}{worth.n_rows:>6.0f} rows, accuracy {worth.accuracy:.3f}: {worth}"
        )
    display.figure_.savefig(output, dpi=100)
    print(f"\nThe plot is in {output}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="comparison.png", help="where to save the plot")
    main(parser.parse_args().output)
