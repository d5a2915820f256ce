"""
How much does the choice of a kernel matter?
============================================

The kernel says which rows are alike, and therefore what a learned row has to look like. Do the
images differ from kernel to kernel, and do the accuracies?
"""

# %%
# There are three kernels: that of a wide network with one hidden layer (the default), a Gaussian
# kernel, and that of a small convolutional network, which knows which pixels are neighbours and is
# sampled by 4 random networks at every step. ``load_images`` splits the digits, and standardises
# all pixels with one mean and one deviation.

import time

import matplotlib.pyplot as plt

from kipsk import KIPDistiller
from kipsk.datasets import load_images
from kipsk.kernels import RandomFeatures
from kipsk.plotting import SupportDisplay

digits = load_images("digits")
kernels = {
    "fc1": "fc1",
    "rbf": "rbf",
    "sampled convnet2": RandomFeatures("convnet2", n_networks=4, width=16),
}
distillers, scores = {}, {}
for name, kernel in kernels.items():
    start = time.perf_counter()
    distillers[name] = KIPDistiller(
        kernel, ipc=1, max_iter=150, image_shape=digits.image_shape, random_state=0
    ).fit(digits.X_train, digits.y_train)
    scores[name] = distillers[name].score(digits.X_test, digits.y_test)
    seconds = time.perf_counter() - start
    print(f"{name:<18} accuracy {scores[name]:.3f}, {seconds:.1f} s with compilation")

# %%
# Each kernel has learned one image of each class:

figure, axes = plt.subplots(len(kernels), figsize=(7.5, 4.2), layout="constrained")
for ax, (name, distiller) in zip(axes, distillers.items(), strict=True):
    SupportDisplay.from_estimator(distiller, ax=ax, soft_labels=False)
    ax.set_title(f"{name}: test accuracy {scores[name]:.3f}", fontsize=10)

# %%
# The images differ from kernel to kernel. On digits this small, the kernels that see pixels in no
# order are good enough; on photographs, convolutional kernels are far ahead.
