"""
How large should the ridge be?
==============================

``reg`` is the ridge of the kernel regression, relative to the size of the kernel's entries. Does it
matter, and how is a good value found?
"""

# %%
# A distiller is a classifier, so a search works as for any other classifier: in a Pipeline, by
# cross-validation that scores held-out rows. Two rows are learned for each class.

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, ValidationCurveDisplay, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
pipeline = make_pipeline(StandardScaler(), KIPDistiller("rbf", ipc=2, max_iter=50, random_state=0))
search = GridSearchCV(pipeline, {"kipdistiller__reg": [1e-6, 1e-3, 1e-1, 1.0]}, cv=3)
search.fit(X_train, y_train)
print(f"best: {search.best_params_}, cross-validation {search.best_score_:.3f}")
print(f"test accuracy: {search.score(X_test, y_test):.3f}")

# %%
# The accuracy for a whole range of ridges:

display = ValidationCurveDisplay.from_estimator(
    pipeline,
    X_train,
    y_train,
    param_name="kipdistiller__reg",
    param_range=np.logspace(-6, 1, 8),
    cv=3,
    score_name="accuracy",
)
display.ax_.set_title("Four learned rows of breast_cancer")

# %%
# Over many orders of magnitude ``reg`` makes little difference, because the rows are learned for
# the ridge that they are used with. Only the largest ridges cost accuracy.
