"""Displays: pictures of support sets, runs and comparisons, in scikit-learn's manner.

They need matplotlib (kipsk's extra 'plot' has it), which is imported when one is drawn. A Display
keeps what it draws, and `plot` draws it again, on other Axes or in another way.
"""

from kipsk._displays._comparison import ComparisonDisplay, Worth
from kipsk._displays._curves import DistillationCurveDisplay
from kipsk._displays._dimension import IntrinsicDimensionDisplay
from kipsk._displays._labels import LabelDisplay
from kipsk._displays._snapshots import SnapshotDisplay
from kipsk._displays._support import SupportDisplay

__all__ = [
    "ComparisonDisplay",
    "DistillationCurveDisplay",
    "IntrinsicDimensionDisplay",
    "LabelDisplay",
    "SnapshotDisplay",
    "SupportDisplay",
    "Worth",
]
