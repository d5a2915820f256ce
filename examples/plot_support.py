"""
What do learned digits look like?
=================================

A distiller learns rows, and a label for each of them. Are the rows still pictures of digits, and
what do the labels say?
"""

# %%
# Five rows are learned for each class of scikit-learn's digits.

from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk.metrics import compression_ratio
from kipsk.plotting import LabelDisplay, SupportDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
distiller = KIPDistiller(ipc=5, max_iter=200, image_shape=(8, 8, 1), random_state=0)
distiller.fit(X_train, y_train)
ratio = compression_ratio(distiller.X_s_, distiller.y_s_, X_train, y_train)
print(f"test accuracy of {len(distiller.X_s_)} rows: {distiller.score(X_test, y_test):.3f}")
print(f"{ratio.rows:.0f} times fewer rows, {ratio.bytes:.0f} times fewer bytes")

# %%
# These are the images. Below each, there is a bar for the label of each class; the caption is the
# class of the largest bar.

SupportDisplay.from_estimator(distiller)

# %%
# All labels on one scale; a real label would be red in one place and pale blue in all others:

LabelDisplay.from_estimator(distiller)

# %%
# In a Pipeline the distiller sees what the transformers make of the pixels, here 20 principal
# components. ``from_pipeline`` takes the learned rows back through all transformers.

pipeline = make_pipeline(
    StandardScaler(with_std=False), PCA(20), KIPDistiller(ipc=1, max_iter=100, random_state=0)
).fit(X_train, y_train)
SupportDisplay.from_pipeline(pipeline, image_shape=(8, 8, 1))

# %%
# Learned rows are digits of high contrast, with strokes that no one wrote, and their labels mix
# classes. 20 components give smoother images, as they cannot hold the noise that 64 free pixels
# can.
