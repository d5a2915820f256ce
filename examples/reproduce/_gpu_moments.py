"""The part of gpu.py for distillation by moments: the pass, a step, and an accuracy."""

import math
import time

import numpy as np
from _common import load, random_rows
from _gpu import SMALL, Fits, normal
from sklearn.base import clone

from kipsk import KIPDistiller, Moments
from kipsk.architectures import shallow
from kipsk.kernels import Invariant, RandomFeatures


def images_of(run):
    """Return X_train, X_test, y_train, y_test as they are, and whether they are real."""
    size, folder = run.size, run.arguments.data
    if size is SMALL:
        return *load("digits"), True
    if folder is None:
        X, y = normal(size.images, math.prod(size.image_shape)), np.arange(size.images) % 10
        return X, X[:1000], y, y[:1000], False
    X_train, X_test, y_train, y_test = load("cifar10", folder)
    scaled = ((X / 255).astype(np.float32) for X in (X_train, X_test))
    return *scaled, y_train, y_test, True


def map_of(run):
    """Return the kernel: patches, of photographs averaged over mirror images."""
    size = run.size
    architecture = shallow(3, pool=2) if size is SMALL else shallow()
    kernel = RandomFeatures(
        architecture, size.moments_networks, size.moments_width, filters="patches",
        image_shape=size.image_shape, resample=False,
    )  # fmt: skip
    return kernel if size is SMALL else Invariant(kernel, image_shape=size.image_shape)


def moments(run):
    """Distil 100 images by moments, in a map of so many features."""
    X_train, X_test, y_train, y_test, are_real = images_of(run)
    start = time.perf_counter()
    collected = Moments(map_of(run), classes=np.unique(y_train)).fit(X_train, y_train)
    p = len(collected.C_)
    note = f"p = {p}, {len(X_train)} rows"
    run.row("the pass, compiling included", time.perf_counter() - start, "s", note=note)
    rows = random_rows(X_train, y_train, 10, 0)
    distiller = KIPDistiller(
        collected.kernel_, ipc=10, init=(X_train[rows], y_train[rows]), learning_rate=0.2,
        reg=1e-2, random_state=0,
    )  # fmt: skip

    def fitted(n_steps, ridge="auto"):
        start = time.perf_counter()
        model = clone(distiller).set_params(max_iter=n_steps)
        model.fit_moments(collected, ridge=ridge, power=0.25)
        return model, time.perf_counter() - start

    few, many = run.size.moments_steps
    model, cold = fitted(few)
    run.row("the first fit: the ridge, the metric, compiling", cold, "s", note=f"{few} steps")
    ridge = model.ridge_
    least, most = (fitted(n, ridge)[1] for n in (few, many))
    step = max(most - least, 1e-4) / (many - few)
    measured = Fits(step, max(least - few * step, 0.0), cold - least)
    run.row("a step", 1e3 * step, "ms", note=note)
    run.row("a fit besides", measured.rest, "s", note=note)
    if are_real:
        n_steps = measured.steps_within(min(run.size.fit_seconds, run.left() - 10))
        model, seconds = fitted(n_steps, ridge)
        accuracy = model.score(X_test, y_test)
        note = f"{n_steps} steps, a fit of {seconds:.0f} s"
        run.row("test accuracy", 100 * accuracy, "%", note=note)
