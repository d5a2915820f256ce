"""
How many natural images is a distilled one worth?
=================================================

A small set is good if many random rows are needed to reach the same accuracy. How many?
"""

# %%
# :func:`kipsk.evaluation.compare` makes sets of several sizes in several ways, and trains a model
# on each of them, for three seeds with a split each.

from sklearn.datasets import load_digits

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.evaluation import compare
from kipsk.plotting import ComparisonDisplay

X, y = load_digits(return_X_y=True)
reducers = {
    "all rows": None,
    "random rows": CoresetSampler("random"),
    "Label Solve": LabelSolver(),
    "KIP": KIPDistiller(max_iter=100, downstream="last"),
}
models = {"kernel ridge": KernelRidgeNTKClassifier()}
results = compare(reducers, models, X, y, ipc=[1, 3, 10], seeds=[0, 1, 2])

# %%
# The curve of random rows needs larger sizes too, to find out how many of them a small set is
# worth.

random_rows = {"random rows": reducers["random rows"]}
more = compare(random_rows, models, X, y, ipc=[30, 80], seeds=[0, 1])
results = {name: [*results[name], *more[name]] for name in results}

# %%
# A set is worth N times its own number of rows if the curve of random rows reaches the accuracy of
# the set at N times as many rows.

display = ComparisonDisplay.from_results(results, baseline="random rows")
for worth in display.worth():
    print(f"{worth.reducer:<12}{worth.n_rows:>6.0f} rows, accuracy {worth.accuracy:.3f}: {worth}")

# %%
# Learned rows are worth an order of magnitude more than random rows. Label Solve keeps real rows
# and learns only their labels, which gains something only if there are few rows.
