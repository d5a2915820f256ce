"""
What can labels alone do?
=========================

:class:`kipsk.LabelSolver` keeps real rows and solves for the labels with which they predict all
other rows best. This takes one linear system and no steps. How much better are these labels than
the real ones?
"""

# %%
# Sets of several sizes are compared: real rows with their own labels, the same rows with solved
# labels, and learned rows.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.plotting import LabelDisplay, SupportDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
sizes = [1, 3, 10, 30]
scores = {"their own labels": [], "solved labels": [], "learned rows and labels": []}
solvers = {}
for ipc in sizes:
    solver = solvers[ipc] = LabelSolver(ipc=ipc, random_state=0).fit(X_train, y_train)
    kept = solver.support_indices_
    own = KernelRidgeNTKClassifier().fit(X_train[kept], y_train[kept])
    learned = KIPDistiller(ipc=ipc, max_iter=100, random_state=0).fit(X_train, y_train)
    for name, model in zip(scores, (own, solver, learned), strict=True):
        scores[name].append(model.score(X_test, y_test))
    print(f"{10 * ipc:>4} rows:", *(f"{name} {scores[name][-1]:.3f}," for name in scores))

# %%
# The test accuracy of the same real rows with both kinds of labels, and of learned rows:

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (name, values), colour in zip(scores.items(), ("0.55", "#0072B2", "#E69F00"), strict=True):
    ax.plot([10 * ipc for ipc in sizes], values, "o-", color=colour, label=name)
ax.set_xscale("log")
ax.set_xticks([10 * ipc for ipc in sizes], [10 * ipc for ipc in sizes], minor=False)
ax.minorticks_off()
ax.set(xlabel="rows", ylabel="test accuracy", title="Digits")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# These are the real digits with their solved labels.

SupportDisplay.from_estimator(solvers[1], image_shape=(8, 8, 1))

# %%
# The same labels on one scale:

LabelDisplay.from_estimator(solvers[1])

# %%
# If there are few rows, solved labels help much. If there are many, the real labels are nearly as
# good, and only learning the rows helps.
