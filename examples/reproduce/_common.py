"""What the reproduction scripts share: image sets in rows, and the line that dates a table."""

import argparse
import importlib.metadata
import os
import platform
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import fetch_openml

import kipsk


def parser(description):
    """Return a parser with the options that all reproduction scripts have."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument(
        "--data",
        metavar="DIR",
        help="folder with cifar10.npz (x_train, y_train, x_test, y_test; images N x 32 x 32 x 3), "
        "fashion_mnist.npz likewise; default: fetch from OpenML",
    )
    result.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    return result


def _load_npz(path):
    with np.load(path) as data:
        images = [data["x_train"], data["x_test"]]
        labels = [data["y_train"].ravel(), data["y_test"].ravel()]
    return images, labels


def load_fashion_mnist(folder):
    """Return X_train, X_test, y_train, y_test: flattened rows of 28 x 28, float32, 0..255."""
    if folder is not None:
        images, labels = _load_npz(Path(folder) / "fashion_mnist.npz")
    else:
        X, y = fetch_openml("Fashion-MNIST", version=1, return_X_y=True, as_frame=False)
        images, labels = np.split(X, [60000]), np.split(y.astype(int), [60000])
    rows = [x.reshape(len(x), -1).astype(np.float32) for x in images]
    return *rows, *labels


def load_cifar10(folder):
    """Return X_train, X_test, y_train, y_test: flattened NHWC rows, float32, 0..255."""
    if folder is not None:
        images, labels = _load_npz(Path(folder) / "cifar10.npz")
    else:
        X, y = fetch_openml("CIFAR_10", version=1, return_X_y=True, as_frame=False)
        # Channels first, the 50000 training images before the 10000 test images.
        if set(np.bincount(y[50000:].astype(int))) != {1000}:
            raise RuntimeError("OpenML's CIFAR_10 is not in the expected order; use --data DIR.")
        pixels = X.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        images, labels = np.split(pixels, [50000]), np.split(y.astype(int), [50000])
    rows = [x.reshape(len(x), -1).astype(np.float32) for x in images]
    return *rows, *labels


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


def provenance():
    """Return one line: processor count, platform and versions of what the figures depend on."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("jax", "numpy", "scikit-learn")
    )
    device = jax.devices()[0]
    return (
        f"{os.cpu_count()} {platform.machine()} cores, {device.platform} ({device.device_kind}), "
        f"Python {platform.python_version()}, kipsk {kipsk.__version__}, {versions}"
    )


def mean_std(values):
    """Return '46.7 ± 0.2' from fractions."""
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}"
