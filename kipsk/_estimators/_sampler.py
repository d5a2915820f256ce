"""What imbalanced-learn asks of a sampler. It need not be installed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sklearn.base import OneToOneFeatureMixin
from sklearn.utils import InputTags, Tags

from kipsk._types import AnyArray


@dataclass(slots=True)
class SamplerTags:
    """What is known of a sampler.

    Attributes
    ----------
    sample_indices : bool
        Whether ``sample_indices_`` says which rows of X those of `fit_resample` are.
    """

    sample_indices: bool = False


@dataclass(slots=True)
class SamplerInputTags(InputTags):
    """What rows a sampler takes: scikit-learn's tags and one more.

    Attributes
    ----------
    dataframe : bool
        Whether `fit_resample` returns a DataFrame for a DataFrame.
    """

    dataframe: bool = True


@dataclass(slots=True)
class SamplerEstimatorTags(Tags):
    """scikit-learn's tags of an estimator and one more.

    Attributes
    ----------
    sampler_tags : SamplerTags
    """

    sampler_tags: SamplerTags | None = None


class SamplerMixin(OneToOneFeatureMixin):
    """An estimator with `fit_resample`, whose rows have the features of X."""

    @property
    def _has_sample_indices(self) -> bool:
        """Whether the rows are some of X, and ``sample_indices_`` says which."""
        return False

    def __sklearn_tags__(self) -> SamplerEstimatorTags:
        tags = super().__sklearn_tags__()
        own = _values(tags) | {
            "input_tags": SamplerInputTags(**_values(tags.input_tags)),
            "sampler_tags": SamplerTags(sample_indices=self._has_sample_indices),
        }
        return SamplerEstimatorTags(**own)


def _values(tags: Any) -> dict[str, Any]:
    return {field.name: getattr(tags, field.name) for field in fields(tags)}


def rows_of_classes(classes: AnyArray, labels: AnyArray) -> dict[Any, int]:
    """Return how many rows have each class, none of some perhaps, as ``sampling_strategy_``."""
    counts = [int((labels == name).sum()) for name in classes]
    return dict(zip(classes.tolist(), counts, strict=True))
