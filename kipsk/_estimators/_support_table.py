"""Support sets as tables: named columns, for CSV files and pandas."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter

from kipsk._storage._files import whole_file
from kipsk._types import AnyArray, Estimator


def named_columns(distiller: Estimator) -> tuple[list[str], list[AnyArray]]:
    """Return the names of the columns of a support set, and the columns.

    They are the features; then, of classes, ``class``, the class of the largest label, and one
    column of soft labels for each class, ``label CLASS``; of numbers ``target``, or ``target 0``
    and so on.

    Parameters
    ----------
    distiller : fitted BaseDistiller
    """
    y_s = distiller.y_s_.reshape(len(distiller.y_s_), -1)
    columns = [*distiller.X_s_.T]
    names = _feature_names(distiller)
    if hasattr(distiller, "classes_"):
        columns.append(distiller.classes_[y_s.argmax(axis=1)])
        names += ["class", *(f"label {name}" for name in distiller.classes_)]
    elif y_s.shape[1] == 1:
        names.append("target")
    else:
        names += [f"target {i}" for i in range(y_s.shape[1])]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            "The columns of a support set must have different names. Got "
            f"{', '.join(map(repr, twice))} more than once, among the names of the features and "
            "those of the labels ('class', 'label ...', 'target ...'): rename these columns of X "
            "and fit again."
        )
    return names, [*columns, *y_s.T]


def _feature_names(distiller: Estimator) -> list[str]:
    """Return the names of the features, or x0, x1 and so on, as scikit-learn has it."""
    given = getattr(distiller, "feature_names_in_", None)
    transformer = getattr(distiller, "preprocess_", None)
    if given is not None and transformer is not None:
        try:
            given = transformer.get_feature_names_out(given)
        except (AttributeError, ValueError):  # it does not name its features
            given = None
    n_features = distiller.X_s_.shape[1]
    if given is None or len(given) != n_features:
        return [f"x{i}" for i in range(n_features)]
    return [str(name) for name in given]


def write_csv(distiller: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a support set as text with a line of names, in UTF-8; numbers lose no digit."""
    names, columns = named_columns(distiller)
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        # str, because csv writes NumPy's numbers as their constructors.
        writer.writerows(zip(*(map(str, column) for column in columns), strict=True))
        text.flush()
        text.detach()
