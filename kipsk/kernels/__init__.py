"""Kernels: scikit-learn kernel objects outside, pure JAX functions inside."""

from kipsk.kernels._convolutional import ConvNet, Convolutional, Myrtle
from kipsk.kernels._dot_product import RBF, FullyConnected, Laplace
from kipsk.kernels._random_features import RandomFeatures
from kipsk.kernels._registry import get_kernel

__all__ = [
    "RBF",
    "ConvNet",
    "Convolutional",
    "FullyConnected",
    "Laplace",
    "Myrtle",
    "RandomFeatures",
    "get_kernel",
]
