"""
Do learned rows stay near the data?
===================================

Learned rows start as real rows, and may move anywhere. How far do they move, and do they keep the
low dimension of digits?
"""

# %%
# Ten rows are learned for each class, with snapshots of the run.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller
from kipsk.metrics import distance_to_training
from kipsk.plotting import IntrinsicDimensionDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
distiller = KIPDistiller(ipc=10, snapshots="log", random_state=0).fit(X_train, y_train)

# %%
# The distance from each learned row to the nearest training row is divided by that of real rows
# that the run never saw. A copy of a training row has 0, and a new digit would have about 1.

ratios, nearest = [], []
for X_s, _ in distiller.snapshots_.values():
    near = distance_to_training(X_s, X_train, X_test)
    ratios.append(near.ratio)
    nearest.append(near.smallest_ratio)
steps = list(distiller.snapshots_)
print(f"after {steps[-1]} steps: median {ratios[-1]:.2f}, the nearest {nearest[-1]:.2f}")

figure, ax = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
ax.plot(steps, ratios, "o-", color="#0072B2", markersize=4, label="median")
ax.plot(steps, nearest, "o-", color="#E69F00", markersize=4, label="the nearest")
ax.axhline(1, color="0.55", linestyle="--", label="real rows never seen")
ax.set_xscale("symlog", linthresh=1)
ax.set_xlim(left=-0.2)
ax.xaxis.set_major_formatter("{x:g}")
ax.set(xlabel="steps", ylabel="relative distance", title="Distance to the nearest training row")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# The dimension of the set is estimated from the distances to the two nearest neighbours, and
# compared with that of equally many real rows.

IntrinsicDimensionDisplay.from_estimator(distiller, X_train)

# %%
# Learned rows leave the data: at the end no row is a copy of a training row, and the rows spread
# into more dimensions than real digits have.
