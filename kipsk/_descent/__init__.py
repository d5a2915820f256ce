"""Gradient descent: a state, a step, the sizes of steps. It knows nothing of kernels."""
