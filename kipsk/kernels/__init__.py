"""Kernels: scikit-learn kernel objects outside, pure JAX functions inside."""

from kipsk.kernels._dot_product import RBF, FullyConnected, Laplace
from kipsk.kernels._infinite._convolutional import ConvNet, Convolutional, Myrtle
from kipsk.kernels._invariant import Invariant
from kipsk.kernels._landmarks import Landmarks
from kipsk.kernels._polynomial import Polynomial
from kipsk.kernels._random_features import RandomFeatures
from kipsk.kernels._registry import get_kernel
from kipsk.kernels._stax import StaxKernel, load_stax
from kipsk.kernels._trained_features import TrainedFeatures

__all__ = [
    "RBF",
    "ConvNet",
    "Convolutional",
    "FullyConnected",
    "Invariant",
    "Landmarks",
    "Laplace",
    "Myrtle",
    "Polynomial",
    "RandomFeatures",
    "StaxKernel",
    "TrainedFeatures",
    "get_kernel",
    "load_stax",
]
