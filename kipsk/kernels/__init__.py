"""Kernels: scikit-learn kernel objects outside, pure JAX functions inside."""

from kipsk.kernels._dot_product import RBF, FullyConnected, Laplace
from kipsk.kernels._random_features import RandomFeatures
from kipsk.kernels._registry import get_kernel

__all__ = ["RBF", "FullyConnected", "Laplace", "RandomFeatures", "get_kernel"]
