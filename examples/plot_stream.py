"""
Can data larger than memory be distilled?
=========================================

``partial_fit`` takes one step on each batch of the rows that it is given. Does it reach the
accuracy of ``fit``, and how many passes over the data does that take?
"""

# %%
# The training rows are in a file, and are read a batch at a time.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "digits.npy"
np.save(path, X_train)
on_disk = np.load(path, mmap_mode="r")

# %%
# There are twelve passes over the file, in batches of 100 rows.

stream = KIPDistiller(ipc=1, batch_size=100, learning_rate=0.03, random_state=0)
scores = []
for _ in range(12):
    stream.partial_fit(on_disk, y_train, classes=np.unique(y))
    scores.append(stream.score(X_test, y_test))
whole = KIPDistiller(ipc=1, random_state=0).fit(X_train, y_train).score(X_test, y_test)
print(f"after one pass {scores[0]:.3f}, after {len(scores)} {scores[-1]:.3f}; fit {whole:.3f}")

# %%
# The test accuracy of the ten learned rows after each pass:

figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
ax.plot(np.arange(1, len(scores) + 1), scores, "o-", color="#0072B2", label="partial_fit")
ax.axhline(whole, color="0.5", linestyle="--", label="fit, 300 steps on all rows")
ax.set(xlabel="passes over the file", ylabel="test accuracy", title="Digits, 1 row for each class")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# The stream comes near ``fit`` within some passes. Its curve is not smooth, because each step sees
# only 100 rows. Its learning rate is constant, because it does not know when the stream ends.

del on_disk
folder.cleanup()
