"""Names for types that many annotations share, and that say more than ``Any`` does."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Real numbers in numpy, of float32 or float64: rows, targets, matrices.
Floats: TypeAlias = NDArray[np.floating[Any]]

#: Numbers in double precision.
Float64s: TypeAlias = NDArray[np.float64]

#: Row numbers, and codes of classes.
Ints: TypeAlias = NDArray[np.intp]

#: An array of numpy whose dtype does not matter here: class labels, what is stored in a file.
AnyArray: TypeAlias = NDArray[Any]

#: What users give as X or y, before it is validated: arrays, DataFrames, lists, memory maps.
MatrixLike: TypeAlias = Any

#: What users give as a parameter of an estimator, before it is checked.
Given: TypeAlias = Any

#: Arrays of JAX in nested tuples, lists, dicts and registered dataclasses.
PyTree: TypeAlias = Any

#: An estimator in scikit-learn's sense; scikit-learn has no types of its own.
Estimator: TypeAlias = Any
