"""Displays: pictures of support sets, runs and comparisons, in the manner of scikit-learn.

They need matplotlib, which kipsk's extra 'plot' installs; it is imported when something is drawn. A
Display keeps what it draws, so `plot` can draw it again, on other Axes or with other options.
"""

from kipsk.plotting._comparison import ComparisonDisplay
from kipsk.plotting._curves import DistillationCurveDisplay
from kipsk.plotting._dimension import IntrinsicDimensionDisplay
from kipsk.plotting._labels import LabelDisplay
from kipsk.plotting._snapshots import SnapshotDisplay
from kipsk.plotting._support import SupportDisplay
from kipsk.plotting._worth import Worth

__all__ = [
    "ComparisonDisplay",
    "DistillationCurveDisplay",
    "IntrinsicDimensionDisplay",
    "LabelDisplay",
    "SnapshotDisplay",
    "SupportDisplay",
    "Worth",
]
