# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CIFAR-10: photographs
#
# This is the story of `story_digits` with photographs. Here kernels that know which pixels are
# neighbours, and that mirror images mean the same, are far ahead of those that do not.
#
# `DATA` is a folder with the file `cifar10.npz` (`x_train`, `y_train`, `x_test`, `y_test`), or the
# folder to which the images are downloaded from OpenML, once. If there is no such folder, neither
# in the notebook nor in the environment (`KIPSK_DATA=DIR`), the digits take the place of the
# photographs, so that the notebook runs anywhere. They are 8 x 8 images, so the results then say
# nothing about photographs.

# %%
import os
import time

import numpy as np

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver, RegularizedZCA
from kipsk.baselines import CoresetSampler
from kipsk.datasets import load_images
from kipsk.kernels import Invariant, RandomFeatures
from kipsk.networks import FiniteNetworkClassifier
from kipsk.plotting import SupportDisplay

# %% tags=["parameters"]
DATA = None  # a folder, or None for the environment's KIPSK_DATA
IPC = 10  # images for each class
STEPS = 200  # of each run

# %%
DATA = DATA or os.environ.get("KIPSK_DATA")
name = "cifar10" if DATA else "digits"
images = load_images(name, data_home=DATA)  # each channel with mean 0 and deviation 1
X_train, X_test, y_train, y_test, shape = images[:5]
print(f"{name}: {len(X_train)} training images of {shape}, {len(X_test)} test images")

scores = {}


def score(title, model, X=X_test):
    start = time.perf_counter()
    scores[title] = model.score(X, y_test)
    seconds = time.perf_counter() - start
    print(f"{title}: test accuracy {scores[title]:.3f} ({seconds:.0f} s to predict)")


def draw(rows, y_s, classes, **options):
    """Draw rows as the pixels they stand for."""
    pixels = rows.reshape(-1, *shape) * images.std + images.mean
    display = SupportDisplay(pixels.reshape(len(rows), -1), y_s, classes=classes, image_shape=shape)
    return display.plot(**{"max_rows": 20, **options})


# %% [markdown]
# ## A few random images

# %%
few = CoresetSampler("random", ipc=IPC, random_state=0).fit_resample(X_train, y_train)
score("random images", KernelRidgeNTKClassifier().fit(*few))
_ = draw(*few, np.unique(y_train))

# %% [markdown]
# ## Label Solve
#
# The same images get solved labels, in one pass over the training set.

# %%
solver = LabelSolver("fc1_nngp", ipc=IPC, random_state=0).fit(X_train, y_train)
score("Label Solve", solver)

# %% [markdown]
# ## KIP, a kernel of whole images
#
# The fully connected kernel sees pixels in no order. `Invariant` tells it that an image and its
# mirror image mean the same, which is true for photographs, but not for digits.

# %%
kernel = Invariant("fc1") if name == "cifar10" else "fc1"
options = {"ipc": IPC, "max_iter": STEPS, "image_shape": shape, "random_state": 0}
start = time.perf_counter()
kip = KIPDistiller(kernel, **options).fit(X_train, y_train)
print(f"{time.perf_counter() - start:.0f} s")
score("KIP, fc1", kip)
_ = draw(kip.X_s_, kip.y_s_, kip.classes_)

# %% [markdown]
# ## KIP, a sampled ConvNet on whitened images
#
# Convolutional kernels want colour images to be whitened. `preprocess` whitens within the fit:
# `predict` takes images as they are, and `SupportDisplay` takes the rows back by itself. Grey
# images need no whitening.

# %%
is_colour = shape[2] == 3
depth = 3 if shape[0] >= 32 else 2  # how often a side is halved
architecture = f"convnet{depth}"
kernel = RandomFeatures(architecture, n_networks=4, width=32 if is_colour else 16)
whitening = RegularizedZCA(reg=0.1, layer_norm=False) if is_colour else None
start = time.perf_counter()
conv = KIPDistiller(kernel, loss="platt", preprocess=whitening, **options).fit(X_train, y_train)
print(f"{time.perf_counter() - start:.0f} s")
score("KIP, sampled ConvNet", conv)

# %%
_ = SupportDisplay.from_estimator(conv, max_rows=20)

# %% [markdown]
# How certain is the distiller? This is the mean of the largest probability, over the test images
# whose class is predicted correctly and over the others.

# %%
some = slice(0, 1000)
probabilities = conv.predict_proba(X_test[some])
right = conv.classes_[probabilities.argmax(axis=1)] == y_test[some]
for what, chosen in (("right", right), ("wrong", ~right)):
    if chosen.any():
        print(f"{what}: {probabilities[chosen].max(axis=1).mean():.2f}")

# %% [markdown]
# ## A network trained on the learned images
#
# The network is the finite ConvNet with the architecture of the kernel, on the same whitened
# images.


# %%
def whitened(X):
    return X if whitening is None else conv.preprocess_.transform(X)


def network():
    return FiniteNetworkClassifier(
        architecture, width=128 if is_colour else 64, image_shape=shape, optimizer="adam",
        learning_rate=3e-3, max_iter=100, centering=True, l2=0, classes=conv.classes_,
        random_state=0,
    )  # fmt: skip


Z_test = whitened(X_test)
score("network on random images", network().fit(whitened(few[0]), few[1]), Z_test)
score("network on KIP's", network().fit(conv.X_s_, conv.y_s_), Z_test)

# %% [markdown]
# ## All results

# %%
width = max(map(len, scores))
for title, value in sorted(scores.items(), key=lambda item: item[1]):
    print(f"{title:<{width}}  {value:.3f}  " + "#" * round(40 * value))
