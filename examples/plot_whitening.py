"""
What does whitening do to images?
=================================

Neighbouring pixels are nearly equal, so a kernel of whole images sees little but brightness and
large shapes. :class:`kipsk.RegularizedZCA` gives small structures more weight. What is left of the
images, and is there a way back?
"""

# %%
# ``reg`` says how mild the whitening is: the larger it is, the less is changed. The default is 10.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from kipsk import KIPDistiller, RegularizedZCA
from kipsk.plotting import SupportDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
regs = [10, 1, 0.1]
zcas = {reg: RegularizedZCA(reg=reg, layer_norm=False).fit(X_train) for reg in regs}

shown = X_train[[np.flatnonzero(y_train == digit)[0] for digit in range(10)]]
lines = {"pixels": shown}
for reg, zca in zcas.items():
    lines[f"reg={reg}"] = zca.transform(shown)
back = zca.inverse_transform(lines["reg=0.1"])
lines["and back"] = back
print(f"the way there and back changes a pixel by {np.abs(back - shown).max():.0e} at most")

# %%
# These are ten digits; each line has a grey scale of its own.

figure, axes = plt.subplots(len(lines), 10, figsize=(7.5, 4.2), layout="constrained")
figure.suptitle("Ten digits, whitened more and more, and taken back", fontsize=10)
for row, (name, images) in zip(axes, lines.items(), strict=True):
    low, high = np.percentile(images, [1, 99])
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=low, vmax=high)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")

# %%
# The variance of the rows along each direction, before and after:

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
colours = {"pixels": "black", 10: "#0072B2", 1: "#E69F00", 0.1: "#009E73"}
for name, colour in colours.items():
    rows = X_train if name == "pixels" else zcas[name].transform(X_train)
    variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    label = name if name == "pixels" else f"reg={name}"
    ax.plot(variances / variances.sum(), color=colour, label=label)
ax.set(
    xlabel="direction, by variance",
    ylabel="share of the variance",
    yscale="log",
    ylim=(1e-6, 1),
    title="Variance of the training rows by direction",
)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# Whitened rows are distilled in a Pipeline, and drawn through its inverse.

for reg in regs:
    pipeline = make_pipeline(RegularizedZCA(reg), KIPDistiller(ipc=1, max_iter=100, random_state=0))
    pipeline.fit(X_train, y_train)
    print(f"reg={reg}: test accuracy {pipeline.score(X_test, y_test):.3f}")
    if reg == 10:
        SupportDisplay.from_pipeline(pipeline, image_shape=(8, 8, 1))

# %%
# The stronger the whitening, the more edges and noise stand out. Nothing is lost: the way back
# gives the same pixels. Whitening was made for colour images and convolutional kernels; digits do
# not need it.
