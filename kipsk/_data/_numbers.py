"""Real numbers as targets: standardised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from kipsk._checks import check_present
from kipsk._data._coding import Coding, Data
from kipsk._types import AnyArray, Float64s, Floats, Given, Ints
from kipsk._warn import warn

_BLOCK = 4096  # rows


@dataclass(frozen=True)
class RealCoding(Coding):
    """Real numbers: the targets are each output less its mean, over its deviation.

    All rows are one stratum.

    Attributes
    ----------
    mean, scale : ndarrays of shape (n_outputs,)
        Mean and deviation of each output. The scale of a constant output is 1.
    is_1d : bool
        Whether y has one dimension.
    """

    mean: Float64s
    scale: Float64s
    is_1d: bool
    size_name: ClassVar[str] = "n_support"
    score_name: ClassVar[str] = "R2"
    validation: ClassVar[dict[str, bool]] = {"multi_output": True, "y_numeric": True}

    def __str__(self) -> str:
        return "y of one dimension" if self.is_1d else f"y of {self.n_outputs} columns"

    @staticmethod
    def check(y: Given) -> None:
        """Refuse missing numbers."""
        check_present(y)

    @classmethod
    def encode(cls, owner: str, y: Given, dtype: DTypeLike) -> tuple[Self, Ints, Floats]:
        """Return the coding of numbers, zeros and the standardised numbers."""
        if np.asarray(y).dtype.kind in "USmMV":
            raise ValueError(
                f"{owner} needs numbers in y. Got dtype {np.asarray(y).dtype} instead: "
                "KIPDistiller is for class labels."
            )
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        columns = y.reshape(len(y), -1)
        scaler = StandardScaler().fit(columns)
        coding = cls(scaler.mean_, scaler.scale_, y.ndim == 1)
        return coding, np.zeros(len(y), np.intp), coding.given(y, dtype)

    @classmethod
    def of_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Return the coding of a fitted regressor."""
        is_1d = attributes["y_s_"].ndim == 1
        return cls(attributes["y_mean_"], attributes["y_scale_"], is_1d)

    @classmethod
    def of_file(cls, labels: AnyArray, arrays: Mapping[str, AnyArray]) -> tuple[Self, AnyArray]:
        """Return the coding of a file: its mean and scale, or those of the support set itself."""
        if "classes" in arrays:
            raise ValueError(
                "The file holds a support set of classes, not of real targets: load it into a "
                "KIPDistiller or LabelSolver."
            )
        coding, _, targets = cls.encode("load_support", labels, np.float64)
        if "y_mean" in arrays and "y_scale" in arrays:
            mean, scale = arrays["y_mean"], arrays["y_scale"]
            are_numbers = mean.dtype.kind == scale.dtype.kind == "f"
            if not (are_numbers and mean.shape == scale.shape == (coding.n_outputs,)) or not (
                np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()
            ):
                raise ValueError(
                    "The 'y_mean' and 'y_scale' of the file must be finite numbers, one for each "
                    f"of the {coding.n_outputs} columns of its 'labels', and the scales > 0. Got "
                    f"arrays of shape {mean.shape} and {scale.shape}: correct the file."
                )
            coding = cls(mean, scale, labels.ndim == 1)
            targets = coding.given(labels)
        return coding, targets

    def is_like(self, other: Coding) -> bool:
        """Return whether y has as many dimensions and as many columns."""
        own = self.n_outputs, self.is_1d
        return isinstance(other, RealCoding) and own == (other.n_outputs, other.is_1d)

    @property
    def n_outputs(self) -> int:
        """The number of columns of y."""
        return self.mean.size

    @property
    def n_strata(self) -> int:
        """One: all rows are alike."""
        return 1

    @property
    def attributes(self) -> dict[str, AnyArray]:
        """Mean and scale of y."""
        return {"y_mean_": self.mean, "y_scale_": self.scale}

    @property
    def arrays(self) -> dict[str, AnyArray]:
        """Mean and scale of y."""
        return {"y_mean": self.mean, "y_scale": self.scale}

    @property
    def given_rule(self) -> str:
        """The shape of y."""
        return "shape (n_support,)" if self.is_1d else f"shape (n_support, {self.n_outputs})"

    def labels(self, data: Data) -> AnyArray:
        """Return the numbers, as exact as the targets are."""
        return self.published(data.y)

    def published(self, y_s: Floats) -> Floats:
        """Return numbers in the units of y and with its dimensions."""
        y = y_s * self.scale + self.mean
        return y[:, 0] if self.is_1d else y

    def given(self, y_s: AnyArray, dtype: DTypeLike = np.float64) -> AnyArray:
        """Return numbers in the units of y as targets, and those of another shape as they are."""
        if y_s.dtype.kind not in "biuf":
            y_s = check_array(y_s, dtype=np.float64, ensure_2d=False, input_name="y of the support")
        columns = y_s[:, None] if y_s.ndim == 1 and self.is_1d else y_s
        if columns.ndim != 2 or columns.shape[1] != self.n_outputs:
            return y_s
        return ((columns - self.mean) / self.scale).astype(dtype)

    def strata(self, y_s: Floats) -> Ints:
        """Return zeros: all rows are one stratum."""
        return np.zeros(len(y_s), np.intp)

    def made_targets(self, data: Data, X_s: Floats, codes_s: Ints, init: str) -> Floats:
        """Return the mean target of the rows that a centre of k-means is nearest to.

        The targets of noise are zero, the mean of y.
        """
        y_s = np.zeros((len(X_s), self.n_outputs), data.y.dtype)
        if init == "kmeans":
            nearest = _nearest(data.X, X_s)
            np.add.at(y_s, nearest, data.y)
            y_s /= np.maximum(np.bincount(nearest, minlength=len(X_s)), 1)[:, None]
        return y_s

    def warn_of_scarce(self, counts: Ints, size: int) -> None:
        """Warn if there are fewer rows than `n_support`."""
        if counts[0] < size:
            warn(f"Fewer rows than n_support={size}: all {counts[0]} are taken. Lower 'n_support'.")


def _nearest(X: Floats, X_s: Floats) -> Ints:
    """Return the number of the row of X_s that is nearest to each row of X."""
    # The search expands |x - x'|^2, of which nothing is left far from zero. In blocks: no second
    # copy of the data.
    mean = X_s.mean(axis=0, dtype=np.float64).astype(X.dtype)
    blocks = (X[start : start + _BLOCK] - mean for start in range(0, len(X), _BLOCK))
    return np.concatenate([pairwise_distances_argmin(block, X_s - mean) for block in blocks])
