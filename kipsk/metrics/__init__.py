"""Properties of distilled rows: their size, how near they are to training rows, their dimension.

Distances are Euclidean, in the units of the features as they are given. Scale the features first if
their units differ.
"""

from kipsk.metrics._compression import Compression, compression_ratio
from kipsk.metrics._dimension import intrinsic_dimension, sample_dimension, snapshot_dimensions
from kipsk.metrics._distances import DistanceToTraining, distance_to_training, nearest_rows

__all__ = [
    "Compression",
    "DistanceToTraining",
    "compression_ratio",
    "distance_to_training",
    "intrinsic_dimension",
    "nearest_rows",
    "sample_dimension",
    "snapshot_dimensions",
]
