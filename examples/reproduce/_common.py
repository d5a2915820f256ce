"""What the reproduction scripts share: CIFAR-10 in rows, and the line that dates a table."""

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
        help="folder with cifar10.npz (x_train, y_train, x_test, y_test; images N x 32 x 32 x 3); "
        "default: fetch from OpenML",
    )
    result.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    return result


def load_cifar10(folder):
    """Return X_train, X_test, y_train, y_test: flattened NHWC rows, float32, 0..255."""
    if folder is not None:
        with np.load(Path(folder) / "cifar10.npz") as data:
            images = [data["x_train"], data["x_test"]]
            labels = [data["y_train"].ravel(), data["y_test"].ravel()]
    else:
        X, y = fetch_openml("CIFAR_10", version=1, return_X_y=True, as_frame=False)
        # Channels first, the 50000 training images before the 10000 test images.
        if set(np.bincount(y[50000:].astype(int))) != {1000}:
            raise RuntimeError("OpenML's CIFAR_10 is not in the expected order; use --data DIR.")
        pixels = X.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        images, labels = np.split(pixels, [50000]), np.split(y.astype(int), [50000])
    rows = [x.reshape(len(x), -1).astype(np.float32) for x in images]
    return *rows, *labels


def standardise_channels(X_train, X_test):
    """Return both sets with mean 0 and deviation 1 in each of the three training channels."""
    channels = X_train.reshape(-1, 3)
    mean, std = channels.mean(axis=0, dtype=np.float64), channels.std(axis=0, dtype=np.float64)
    mean, std = (np.tile(v, X_train.shape[1] // 3).astype(np.float32) for v in (mean, std))
    return (X_train - mean) / std, (X_test - mean) / std


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
