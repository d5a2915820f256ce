"""
Can owners of data distil together without showing a row?
=========================================================

Three owners have digits, none of them all ten classes. Each sends two sums over its rows, the
second moments of a kernel's features. What does a set know that is learned from these sums?
"""

# %%
# The kernel is a fixed sample of small convolutional networks. The networks are drawn from a seed,
# so owners who write the same line have the same features.

import matplotlib.pyplot as plt
import numpy as np

from kipsk import KernelRidgeNTK, KIPDistiller, Moments
from kipsk.datasets import load_images
from kipsk.kernels import RandomFeatures

X_train, X_test, y_train, y_test, *_ = load_images("digits")
kernel = RandomFeatures("convnet2", image_shape=(8, 8, 1), n_networks=2, resample=False)

# %%
# The first owner has the digits 0 to 2, the second 3 to 5 and the third 6 to 9. The sums are added.
# They are those of all rows, but for rounding.

owners = {"only 0, 1, 2": [0, 1, 2], "only 3, 4, 5": [3, 4, 5], "only 6, 7, 8, 9": [6, 7, 8, 9]}
sent = {}
for name, digits in owners.items():
    own = np.isin(y_train, digits)
    sent[name] = Moments(kernel, classes=range(10)).fit(X_train[own], y_train[own])
together = sum(sent.values())

whole = Moments(kernel, classes=range(10)).fit(X_train, y_train)
difference = np.abs(together.H_ - whole.H_).max() / np.abs(whole.H_).max()
print(f"{together.n_rows_:.0f} rows; H has {together.H_.shape} numbers, apart by {difference:.0e}")

# %%
# A fourth party, who has the sums alone, learns ten images. They start from noise. The snapshots of
# the run are scored on the test rows.

STEPS = [1, 4, 8, 16, 32, 64, 128, 256]


def scores_by_step(moments):
    """Return the test accuracy of the learned set after each of the steps."""
    distiller = KIPDistiller(
        kernel, ipc=1, init="noise", max_iter=256, snapshots=STEPS, random_state=0
    ).fit_moments(moments)
    found = {}
    for step, (X_s, y_s) in distiller.snapshots_.items():
        targets = KernelRidgeNTK(kernel, reg=distiller.reg_).fit(X_s, y_s).predict(X_test)
        found[step] = float(np.mean(np.argmax(targets, axis=1) == y_test))
    return found


curves = {"all three": scores_by_step(together)}
curves |= {name: scores_by_step(moments) for name, moments in sent.items()}
for name, curve in curves.items():
    print(f"{name}: {list(curve.values())[-1]:.3f}")

# %%
# The test accuracy on all ten digits, of the sets from the sum and from what one owner sent:

figure, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
for (name, curve), color in zip(
    curves.items(), ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), strict=True
):
    ax.plot(list(curve), list(curve.values()), "o-", markersize=4, color=color, label=name)
ax.set(xscale="log", ylim=(0, 1.02), xlabel="steps", ylabel="test accuracy")
ax.set_title("Digits, 1 learned image for each class")
ax.legend(frameon=False, title="owners", loc="center left", bbox_to_anchor=(1, 0.5))
ax.spines[["top", "right"]].set_visible(False)

# %%
# A set from one owner's sums knows the digits of this owner at most. The set from the added sums
# knows all ten, though no party has seen them all. A step costs the same in all four runs, because
# it sees the sums and no rows.
#
# Sums over many rows tell little of one row, but not nothing: :doc:`/million` says how to add noise
# with a guarantee.
