"""
Can a table with categories be distilled?
=========================================

Most tables have columns of very different units, and some columns hold words. A distiller takes
numbers. Which transformers have to stand before it, and what do the learned rows look like?
"""

# %%
# The table is wine, with one column turned into words.

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from kipsk import KIPDistiller
from kipsk.plotting import SupportDisplay

data = load_wine(as_frame=True)
frame, y = data.data, data.target_names[data.target]
frame["hue"] = pd.cut(frame["hue"], 3, labels=["brown", "brick", "purple"]).astype(str)
train, test, y_train, y_test = train_test_split(frame, y, test_size=0.3, random_state=0, stratify=y)
print(train.iloc[:3, [0, 4, 10, 12]])

# %%
# A ``ColumnTransformer`` scales the numbers and encodes the words; the distiller is the last step
# of a Pipeline.

prepare = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (OneHotEncoder(sparse_output=False), ["hue"]),
    verbose_feature_names_out=False,
)
pipeline = make_pipeline(prepare, KIPDistiller(ipc=2, max_iter=50, random_state=0))
pipeline.fit(train, y_train)
distiller = pipeline[-1]
print(f"{len(distiller.X_s_)} rows, test accuracy {pipeline.score(test, y_test):.3f}")

# %%
# A ColumnTransformer has no inverse, so the rows are drawn in the units that the distiller sees,
# with the names of the columns. ``SupportDisplay`` takes any rows and labels.

display = SupportDisplay(
    distiller.X_s_,
    distiller.y_s_,
    classes=distiller.classes_,
    feature_names=prepare.get_feature_names_out(),
)
display.plot()

# %%
# If the table has numbers only, ``StandardScaler`` takes the rows back to the units of the table.

numbers = make_pipeline(StandardScaler(), KIPDistiller(ipc=2, max_iter=50, random_state=0))
numbers.fit(train.drop(columns="hue"), y_train)
rows = numbers[0].inverse_transform(numbers[-1].X_s_)
learned = pd.DataFrame(rows, columns=train.columns.drop("hue"))
print(learned[["alcohol", "magnesium", "proline"]].astype(float).round(1))

# %%
# Each of these rows is drawn as a line:

SupportDisplay.from_pipeline(numbers, kind="parallel")

# %%
# Two learned rows for each class tell the three wines apart. They have the units of the table, and
# each stands for many wines. In place of a word, they learn a share of each word.
