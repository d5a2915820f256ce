"""
Does a network learn from distilled digits?
===========================================

The kernel of a distiller is that of an infinitely wide network. What does a network of finite width
learn from a few learned rows, compared with equally many real rows?
"""

# %%
# Ten rows are learned for each class. The network has the architecture of the kernel and learns the
# soft labels as they are; ``centering=True`` subtracts its random function at the start.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk.baselines import CoresetSampler
from kipsk.networks import FiniteNetworkClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
scaler = StandardScaler().fit(X_train)
Z_train, Z_test = scaler.transform(X_train), scaler.transform(X_test)

distiller = KIPDistiller("fc1", ipc=10, random_state=0).fit(Z_train, y_train)
sets = {
    "learned rows, soft labels": (distiller.X_s_, distiller.y_s_),
    "learned rows, classes": (distiller.X_s_, distiller.classes_[distiller.y_s_.argmax(axis=1)]),
    "random rows": CoresetSampler("random", ipc=10, random_state=0).fit_resample(Z_train, y_train),
}

# %%
# The test accuracy of each network is noted after every epoch, which is one step here.

curves = {}
for name, (X_s, y_s) in sets.items():
    network = FiniteNetworkClassifier(
        "fc1", width=1024, max_iter=300, centering=True, l2=0, classes=distiller.classes_,
        random_state=0,
    )  # fmt: skip
    curve = []
    network.fit(X_s, y_s, on_epoch=lambda net, curve=curve: curve.append(net.score(Z_test, y_test)))
    curves[name] = curve
    print(f"{name:<28}{network.score(Z_test, y_test):.3f}")
print(f"{'the distiller itself':<28}{distiller.score(Z_test, y_test):.3f}")

# %%
# The same network was trained on three training sets of 100 rows:

figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for (name, curve), colour in zip(curves.items(), ("#0072B2", "#56B4E9", "0.55"), strict=True):
    ax.plot(np.arange(1, len(curve) + 1), curve, color=colour, label=name)
ax.axhline(distiller.score(Z_test, y_test), color="0.5", linestyle="--", label="the distiller")
ax.set(xlabel="epochs", ylabel="test accuracy", xscale="log", title="Networks of width 1024")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# Learned rows train the network better than real rows do, and best with their soft labels, which
# say more than the class of their largest entry.
