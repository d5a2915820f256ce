"""
Where does a regression put its rows?
=====================================

:class:`kipsk.KIPRegressor` learns rows and real targets. With one variable they can be seen on a
curve: where do twelve points move that have to stand for a thousand?
"""

# %%
# The curve is flat on the left and wild on the right, and the targets are noisy.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KernelRidgeNTK, KIPRegressor
from kipsk.kernels import RBF

rng = np.random.default_rng(0)
X = rng.uniform(0, 1, size=(1000, 1))


def curve(x):
    return np.sin(12 * x**3)


y = curve(X[:, 0]) + 0.15 * rng.normal(size=1000)
kernel = RBF(length_scale=0.12)
regressor = KIPRegressor(kernel, n_support=12, random_state=0).fit(X, y)

grid = np.linspace(0, 1, 400)[:, None]
some = rng.choice(1000, 12, replace=False)
shift = y[some].mean()
at_random = KernelRidgeNTK(kernel, reg=[1e-6, 1e-4, 1e-2, 1]).fit(X[some], y[some] - shift)
predictions = {"learned": regressor.predict(grid), "random": at_random.predict(grid) + shift}
for name, prediction in predictions.items():
    error = np.sqrt(np.mean((prediction - curve(grid[:, 0])) ** 2))
    print(f"12 {name} points: root mean square error {error:.3f}")

# %%
# On the left are the learned points with the curve that they predict, on the right twelve random
# points of the thousand with theirs.

points = {"learned": (regressor.X_s_, regressor.y_s_), "random": (X[some], y[some])}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, points, strict=True):
    ax.plot(X, y, ".", color="0.8", markersize=3, label="1000 rows")
    ax.plot(grid, curve(grid), color="0.5", linewidth=1, linestyle="--", label="the truth")
    ax.plot(grid, predictions[name], color="#0072B2", label="prediction")
    ax.plot(*points[name], "o", color="#D55E00", label="12 points")
    ax.set(title=f"12 {name} points", xlabel="x", ylim=(-2, 2))
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("y")
axes[1].legend(loc="lower left", frameon=False)

# %%
# The same can be done with a table: ten rows of diabetes are learned and cross-validated.

table = make_pipeline(StandardScaler(), KIPRegressor("rbf", n_support=10, random_state=0))
scores = cross_val_score(table, *load_diabetes(return_X_y=True), cv=3)
print(f"diabetes, 10 rows: R2 {scores.mean():.2f} over 3 folds")

# %%
# Twelve learned points give the whole curve, while twelve random points leave gaps. The learned
# points need not lie on the curve: their places and targets are those that make the regression
# correct between them.
