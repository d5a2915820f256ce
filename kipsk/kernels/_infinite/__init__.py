"""Exact kernels of infinitely wide networks, by propagating covariances through their layers."""
