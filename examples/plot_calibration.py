"""
Are the probabilities of a distilled set any good?
==================================================

``loss="platt"`` learns with the cross-entropy, and keeps a tenth of the rows to set the temperature
of ``predict_proba``. If a class is predicted with a probability of 80 %, is it correct in 80 % of
the cases?
"""

# %%
# The problem is noisy, so that probabilities between 0 and 1 are needed: 5 of its 20 features are
# informative, and a tenth of its labels are wrong.

import matplotlib.pyplot as plt
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import train_test_split

from kipsk import KIPDistiller

X, y = make_classification(
    6000, 20, n_informative=5, n_redundant=2, flip_y=0.2, class_sep=0.7, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)
options = {"ipc": 5, "max_iter": 200, "random_state": 0}
platt = KIPDistiller(loss="platt", **options).fit(X_train, y_train)

# %%
# A set that is learned with squared error predicts no probabilities. Scikit-learn's
# ``CalibratedClassifierCV`` fits a logistic function of its decisions by cross-validation with
# three folds, and therefore distils four times.

mse = CalibratedClassifierCV(KIPDistiller(**options), cv=3, ensemble=False).fit(X_train, y_train)
models = {'loss="platt"': platt, 'loss="mse", calibrated': mse}
probabilities = {name: model.predict_proba(X_test)[:, 1] for name, model in models.items()}
for name, p in probabilities.items():
    accuracy = models[name].score(X_test, y_test)
    scores = f"log loss {log_loss(y_test, p):.3f}, Brier {brier_score_loss(y_test, p):.3f}"
    print(f"{name:<24}accuracy {accuracy:.3f}, {scores}")

# %%
# On the diagonal, a probability equals the share of cases in which the class is correct.

figure, ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
styles = ("#0072B2", "o"), ("#E69F00", "s")
for (name, p), (colour, marker) in zip(probabilities.items(), styles, strict=True):
    CalibrationDisplay.from_predictions(
        y_test, p, n_bins=10, strategy="quantile", ax=ax, name=name, color=colour, marker=marker
    )
ax.set_title("Ten learned rows")

# %%
# The calibrated probabilities lie near the diagonal. The logistic function of decisions that were
# learned with squared error never comes near 0 or 1, however clear a case is.
