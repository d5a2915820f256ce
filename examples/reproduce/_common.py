"""What the reproduction scripts share: image sets as rows, and the line that dates a table."""

import argparse
import importlib.metadata
import os
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.model_selection import train_test_split

import kipsk
from kipsk.datasets import load_images

SHAPES = {
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "cifar100": (32, 32, 3),
    "svhn": (32, 32, 3),
    "digits": (8, 8, 1),
}


def parser(description):
    """Return a parser with the options that all reproduction scripts have."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument(
        "--data",
        metavar="DIR",
        help="folder with cifar10.npz (x_train, y_train, x_test, y_test; images N x 32 x 32 x 3), "
        "fashion_mnist.npz and so on (see kipsk.datasets); what is not there comes from OpenML",
    )
    result.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    return result


def load(name, folder=None, held_out=0):
    """Return X_train, X_test, y_train, y_test: flattened NHWC rows, float32, 0..255 (digits ..16).

    `held_out` training rows, as many of each class, stand in for the test rows, for choices.
    """
    images = load_images(name, data_home=folder, standardize=None)
    X_train, X_test = (X.astype(np.float32) for X in images[:2])
    if not held_out:
        return X_train, X_test, images.y_train, images.y_test
    return train_test_split(
        X_train, images.y_train, test_size=held_out, random_state=0, stratify=images.y_train
    )


def standardise_channels(X_train, X_test, n_channels=3):
    """Return both sets with mean 0 and deviation 1 in each of the training channels."""
    channels = X_train.reshape(-1, n_channels)
    mean, std = channels.mean(axis=0, dtype=np.float64), channels.std(axis=0, dtype=np.float64)
    repeats = X_train.shape[1] // n_channels
    mean, std = (np.tile(v, repeats).astype(np.float32) for v in (mean, std))
    return (X_train - mean) / std, (X_test - mean) / std


def independent_noise(X, y, ipc, seed):
    """Return arrays for `init`: noise with each feature's mean and deviation, no covariance."""
    classes = np.repeat(np.unique(y), ipc)
    noise = np.random.RandomState(seed).standard_normal((len(classes), X.shape[1]))
    return (X.mean(axis=0) + X.std(axis=0) * noise).astype(X.dtype), classes


def random_rows(X, y, ipc, seed):
    """Return the numbers of `ipc` random rows of each class."""
    rng = np.random.RandomState(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(y == c))[:ipc] for c in np.unique(y)])


def speed_of_products(n=3000):
    """Return the machine's GFLOP/s in the product of two float32 matrices."""
    a = jnp.ones((n, n), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    multiply(a, a).block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        multiply(a, a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds) / 1e9


def provenance():
    """Return one line: processors of this process, platform, versions the figures depend on."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("jax", "numpy", "scikit-learn")
    )
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} {platform.machine()} cores, {device.platform} ({device.device_kind}), "
        f"Python {platform.python_version()}, kipsk {kipsk.__version__}, {versions}"
    )


def mean_std(values):
    """Return '46.7 ± 0.2' from fractions."""
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}"
