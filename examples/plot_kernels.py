"""
How much does the choice of a kernel matter?
============================================

The kernel says which rows are alike, and so what a learned row has to look like. Do the images
differ, and do the accuracies?
"""

# %%
# The kernel of a wide network with one hidden layer (the default), a Gaussian one, and that of a
# small convolutional network, which knows neighbouring pixels and is sampled by 4 random networks
# at every step. Grey images get one mean and one deviation for all pixels.

import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller
from kipsk.kernels import RandomFeatures
from kipsk.plotting import SupportDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    (X - X.mean()) / X.std(), y, test_size=0.3, random_state=0, stratify=y
)
kernels = {
    "fc1": "fc1",
    "rbf": "rbf",
    "sampled convnet2": RandomFeatures("convnet2", n_networks=4, width=16),
}
distillers, scores = {}, {}
for name, kernel in kernels.items():
    start = time.perf_counter()
    distillers[name] = KIPDistiller(
        kernel, ipc=1, max_iter=150, image_shape=(8, 8, 1), random_state=0
    ).fit(X_train, y_train)
    scores[name] = distillers[name].score(X_test, y_test)
    seconds = time.perf_counter() - start
    print(f"{name:<18} accuracy {scores[name]:.3f}, {seconds:.1f} s with compilation")

# %%
# One image of each class.

figure, axes = plt.subplots(len(kernels), figsize=(7.5, 4.2), layout="constrained")
for ax, (name, distiller) in zip(axes, distillers.items(), strict=True):
    SupportDisplay.from_estimator(distiller, ax=ax, soft_labels=False)
    ax.set_title(f"{name}: test accuracy {scores[name]:.3f}", fontsize=10)

# %%
# Every kernel has images of its own. On digits this small the kernels that see pixels in no order
# are good enough; photographs are where convolutional ones are far ahead.
