"""Displays: pictures of support sets, runs and comparisons, in scikit-learn's manner.

They need matplotlib (kipsk's extra 'plot' has it), which is imported when one is drawn. A Display
keeps what it draws, and `plot` draws it again, on other Axes or in another way.
"""

from kipsk.plotting._comparison import ComparisonDisplay, Worth
from kipsk.plotting._curves import DistillationCurveDisplay
from kipsk.plotting._dimension import IntrinsicDimensionDisplay
from kipsk.plotting._labels import LabelDisplay
from kipsk.plotting._snapshots import SnapshotDisplay
from kipsk.plotting._support import SupportDisplay

__all__ = [
    "ComparisonDisplay",
    "DistillationCurveDisplay",
    "IntrinsicDimensionDisplay",
    "LabelDisplay",
    "SnapshotDisplay",
    "SupportDisplay",
    "Worth",
]
