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
# # Digits: 100 images in place of 1257
#
# A training set is shrunk to ten images for each class in several ways: with images that are chosen
# at random, with solved labels, with images that are learned under a kernel of whole images, and
# with images that are learned under a sampled convolutional kernel. Then other models are trained
# on them.
#
# `jupytext --to ipynb story_digits.py` makes a notebook of this file, and `python story_digits.py`
# runs it. It takes less than two minutes on a core; `IPC` and `STEPS` make it shorter or longer.

# %%
import time

import matplotlib.pyplot as plt
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver
from kipsk.baselines import CoresetSampler
from kipsk.datasets import load_images
from kipsk.kernels import RandomFeatures
from kipsk.metrics import compression_ratio
from kipsk.networks import FiniteNetworkClassifier
from kipsk.plotting import DistillationCurveDisplay, LabelDisplay, SupportDisplay

# %% tags=["parameters"]
IPC = 10  # images for each class
STEPS = 200  # of each run

# %%
images = load_images("digits")  # one mean and one deviation for all pixels
X_train, X_test, y_train, y_test, shape = images[:5]
print(f"{len(X_train)} training images of {shape}, {len(X_test)} test images")

# %% [markdown]
# ## The accuracy of all images, and of a few random ones
#
# The model is kernel ridge regression with the kernel of an infinitely wide network with one hidden
# layer.

# %%
scores = {}


def score(name, model):
    scores[name] = model.score(X_test, y_test)
    print(f"{name}: test accuracy {scores[name]:.3f}")


score("all images", KernelRidgeNTKClassifier().fit(X_train, y_train))
few = CoresetSampler("random", ipc=IPC, random_state=0).fit_resample(X_train, y_train)
score("random images", KernelRidgeNTKClassifier().fit(*few))

# %% [markdown]
# ## Label Solve: real images, better labels
#
# The images stay as they are. Their labels are the solution of a linear system: with these labels,
# the images predict the whole training set best.

# %%
solver = LabelSolver(ipc=IPC, image_shape=shape, random_state=0).fit(X_train, y_train)
score("Label Solve", solver)
_ = SupportDisplay.from_estimator(solver, max_rows=10)

# %% [markdown]
# ## KIP: learned images and labels
#
# Gradient descent changes the pixels and the labels. The images start as random real ones.

# %%
start = time.perf_counter()
options = {"ipc": IPC, "max_iter": STEPS, "image_shape": shape, "random_state": 0}
kip = KIPDistiller("fc1", **options).fit(X_train, y_train)
print(f"{time.perf_counter() - start:.0f} s")
score("KIP, fc1", kip)
ratio = compression_ratio(kip.X_s_, kip.y_s_, X_train, y_train)
print(f"{ratio.rows:.0f} times fewer rows, {ratio.bytes:.0f} times fewer bytes")

# %%
_ = SupportDisplay.from_estimator(kip, max_rows=20)

# %%
_ = LabelDisplay.from_estimator(kip)

# %%
_ = DistillationCurveDisplay.from_estimator(kip)

# %% [markdown]
# ## A convolutional kernel, sampled
#
# This kernel knows which pixels are neighbours. Every step draws new random networks, whose
# features estimate the kernel. `loss="platt"`, the cross-entropy, gives probabilities.

# %%
kernel = RandomFeatures("convnet2", n_networks=4, width=16)
start = time.perf_counter()
conv = KIPDistiller(kernel, loss="platt", **options).fit(X_train, y_train)
print(f"{time.perf_counter() - start:.0f} s")
score("KIP, sampled ConvNet", conv)
_ = SupportDisplay.from_estimator(conv, max_rows=20)

# %% [markdown]
# ## A network trained on the learned images
#
# The network has finite width and the architecture of the kernel. It is trained on the learned
# images with their soft labels, and on equally many random images.


# %%
def network():
    return FiniteNetworkClassifier(
        "fc1", width=1024, max_iter=200, centering=True, l2=0, classes=kip.classes_, random_state=0
    )


score("network on random images", network().fit(*few))
score("network on KIP's", network().fit(kip.X_s_, kip.y_s_))

# %% [markdown]
# ## What other models learn
#
# `fit_resample` returns images and classes that suit most models. They are not the end of a run,
# but the stage of a run that is best for these models, judged on training images.

# %%
X_s, y_s = KIPDistiller(ipc=IPC, random_state=0).fit_resample(X_train, y_train)
models = {
    "SVC": SVC(),
    "forest": RandomForestClassifier(random_state=0),
    "nearest": KNeighborsClassifier(1),
}
for name, model in models.items():
    score(f"{name} on random images", model.fit(*few))
    score(f"{name} on fit_resample's", model.fit(X_s, y_s))

# %% [markdown]
# ## All results

# %%
figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
colours = ["0.6" if "random" in name or "all" in name else "#0072B2" for name in scores]
bars = ax.barh(list(scores), list(scores.values()), color=colours)
ax.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
ax.invert_yaxis()
ax.set(xlabel="test accuracy", xlim=(0, 1.12), title=f"Digits, {IPC} images for each class")
ax.spines[["top", "right"]].set_visible(False)
