"""
What happens in a run, and when does it stop?
=============================================

A distiller takes some hundred steps. Which of them matter, what do the images look like after some
of them, and how does early stopping choose?
"""

# %%
# There are two runs of at most 300 steps. ``early_stopping=True`` holds out a tenth of the training
# rows, scores the support on them, keeps the best support and ends when no score has been better
# for ``n_iter_no_change`` steps. ``snapshots="log"`` keeps the support after 0, 1, 2, 4, ... steps.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller
from kipsk.plotting import DistillationCurveDisplay, SnapshotDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
runs = {}
for ipc in (1, 5):
    runs[f"{ipc} per class"] = KIPDistiller(
        ipc=ipc, early_stopping=True, snapshots="log", image_shape=(8, 8, 1), random_state=0
    ).fit(X_train, y_train)
for name, run in runs.items():
    print(f"{name}: {run.n_iter_} steps, the best after {run.best_iter_}, ", end="")
    print(f"test accuracy {run.score(X_test, y_test):.3f}")

# %%
# Most of the loss is gone after a few steps. The star marks the support that was kept.

DistillationCurveDisplay.from_estimator(runs)

# %%
# The same images after several numbers of steps; they start as real digits:

SnapshotDisplay.from_estimator(runs["1 per class"])

# %%
# The set with one row per class goes on learning long after its rows no longer look like those that
# it started from. The set with five rows per class soon reaches its best accuracy.
