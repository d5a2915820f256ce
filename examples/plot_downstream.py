"""
Do other models learn from distilled rows?
==========================================

A support set is made for kernel regression. Does it also train a forest or a support vector machine
better than equally many random rows, or than the centres of clusters?
"""

# %%
# ``fit_resample`` returns rows and class labels for any model. With ``downstream=model`` it returns
# those that train this model best, judged on training rows, and with ``downstream="last"`` those
# that a run ends with.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from kipsk import KIPDistiller
from kipsk.baselines import CoresetSampler
from kipsk.plotting import SupportDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
forest = RandomForestClassifier(200, random_state=0)
models = {"forest": forest, "SVC": SVC()}
reducers = {
    "random rows": CoresetSampler("random", random_state=0),
    "k-means": CoresetSampler("k_means", random_state=0),
    "KIP": KIPDistiller(random_state=0),
    "KIP for the forest": KIPDistiller(downstream=forest, random_state=0),
    "the end of a run": KIPDistiller(downstream="last", random_state=0),
}
sets = {name: reducer.fit_resample(X_train, y_train) for name, reducer in reducers.items()}
sets["all rows"] = X_train, y_train
accuracy = {}
for name, (X_s, y_s) in sets.items():
    for model in models:
        accuracy[name, model] = models[model].fit(X_s, y_s).score(X_test, y_test)
    print(f"{name:<20}{len(X_s):>5} rows:", *(f"{m} {accuracy[name, m]:.3f}" for m in models))

# %%
# The test accuracy of both models, trained on ten rows of each class:

figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
places = np.arange(len(sets))
for shift, model, colour in (-0.2, "forest", "#009E73"), (0.2, "SVC", "#0072B2"):
    values = [accuracy[name, model] for name in sets]
    bars = ax.barh(places + shift, values, height=0.38, color=colour, label=model)
    ax.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
ax.set_yticks(places, list(sets))
ax.invert_yaxis()
ax.set(xlim=(0, 1.15), xlabel="test accuracy", title="Digits, 10 rows for each class")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
ax.spines[["top", "right"]].set_visible(False)

# %%
# The constructor of ``SupportDisplay`` takes the rows and labels that ``fit_resample`` returned.

display = SupportDisplay(*sets["KIP"], classes=np.unique(y), image_shape=(8, 8, 1))
display.plot(max_rows=40, n_columns=20)

# %%
# The end of a run suits its own kernel, and other models learn less from it than from random rows.
# The stage that ``fit_resample`` chooses is nearer to real digits, and trains both models better
# than random rows do.
