"""
What boundary do six learned points draw?
=========================================

A thousand points in the plane lie on two half moons. Six random points are too few to tell the
moons apart. Are six learned points enough?
"""

# %%
# Both models are the same kernel regression on six points. They differ in the places of the points,
# and in their labels.

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from kipsk import KernelRidgeNTKClassifier, KIPDistiller
from kipsk.baselines import CoresetSampler
from kipsk.kernels import RBF

X, y = make_moons(1000, noise=0.1, random_state=0)
X_test, y_test = make_moons(1000, noise=0.1, random_state=1)
kernel = RBF(length_scale=0.8)
learned = KIPDistiller(kernel, ipc=3, random_state=0).fit(X, y)
few, labels = CoresetSampler("random", ipc=3, random_state=0).fit_resample(X, y)
models = {
    "6 random points": (KernelRidgeNTKClassifier(kernel).fit(few, labels), few, labels),
    "6 learned points": (learned, learned.X_s_, learned.y_s_.argmax(axis=1)),
}

# %%
# The large marks are the six points. On the line, the prediction changes from one class to the
# other.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, (name, (model, points, classes)) in zip(axes, models.items(), strict=True):
    accuracy = model.score(X_test, y_test)
    print(f"{name}: test accuracy {accuracy:.3f}")
    DecisionBoundaryDisplay.from_estimator(
        model, X, ax=ax, response_method="decision_function", plot_method="contour", levels=[0],
        colors="0.5",
    )  # fmt: skip
    for c, colour in enumerate(("#0072B2", "#E69F00")):
        ax.scatter(*X[y == c].T, s=4, color=colour, alpha=0.25)
        style = {"s": 110, "color": colour, "marker": "^o"[c], "edgecolor": "black", "zorder": 3}
        ax.scatter(*points[classes == c].T, **style)
    ax.set_title(f"{name}: test accuracy {accuracy:.3f}", fontsize=10)

# %%
# The learned points bend the line around both moons. Some of them lie outside the data, where no
# real point could have been drawn.
