"""What a GPU has to agree with: kernels, gradients, a step, labels and predictions, in float64.

    python examples/reproduce/_gpu_agreement.py FILE [--small]

computes them on the CPU and keeps them in FILE; gpu.py does it by itself where FILE is not there.
"""

import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.exceptions import ConvergenceWarning

import kipsk
from kipsk import KernelRidgeNTK, KIPDistiller, LabelSolver
from kipsk.datasets import load_images
from kipsk.kernels import RandomFeatures, get_kernel

ROWS = ("fc1", "fc1_nngp", "rbf", "laplace")
EXACT = ("conv3", "convnet3", "myrtle5")


class Quantity(NamedTuple):
    """One array to compute.

    Attributes
    ----------
    name : str
    compute : callable
        Of the dtype to compute it in.
    is_sampled : bool
        Features of sampled networks are in float32 whatever the dtype, and on a GPU in what
        `jax.default_matmul_precision` says.
    """

    name: str
    compute: object
    is_sampled: bool = False


def quantities(small=False):
    """Return all quantities, what is learned first."""
    shape = (8, 8, 1) if small else (16, 16, 3)
    exact = ("convnet1",) if small else EXACT
    sampled_one = RandomFeatures("convnet1" if small else "convnet2", 2, 4 if small else 32)
    name_of_it = f"sampled {sampled_one.architecture}"
    result = []
    learned = {"fc1": get_kernel("fc1")}
    learned[name_of_it] = get_kernel(sampled_one, image_shape=(8, 8, 1))
    if not small:
        learned["exact convnet2"] = get_kernel("convnet2", image_shape=(8, 8, 1))
    for name, kernel in learned.items():
        sampled = isinstance(kernel, RandomFeatures)
        step = partial(kip_step, kernel, 50 if small else 200)
        result.append(Quantity(f"KIP step of {name}", step, sampled))
    n = 100 if small else 400
    solved = partial(labels, get_kernel("fc1_nngp"), n)
    result.append(Quantity("Label Solve of fc1_nngp", solved))
    for name, kernel in learned.items():
        if not isinstance(kernel, RandomFeatures):
            result.append(Quantity(f"predictions of {name}", partial(predicted, kernel, n)))
    kernels = {name: get_kernel(name) for name in (ROWS[:1] if small else ROWS)}
    kernels |= {name: get_kernel(name, image_shape=shape) for name in exact}
    kernels[name_of_it] = get_kernel(sampled_one, image_shape=shape)
    for name, kernel in kernels.items():
        n, m = (6, 8) if name in exact else (20, 50)
        given = kernel, *images(n + m, shape, n)
        sampled = isinstance(kernel, RandomFeatures)
        result.append(Quantity(f"K of {name}", partial(matrix, *given), sampled))
        result.append(Quantity(f"gradient of {name}", partial(gradient, *given), sampled))
    return result


def images(n, shape, split):
    """Return two sets of random smooth images as rows, in float64."""
    noise = np.random.default_rng(0).standard_normal((n, *shape))
    smooth = sum(np.roll(noise, (i, j), (1, 2)) for i in range(3) for j in range(3)) / 3
    rows = smooth.reshape(n, -1)
    return rows[:split], rows[split:]


def matrix(kernel, X, Y, dtype):
    return kernel(X.astype(dtype), Y.astype(dtype))


def gradient(kernel, X, Y, dtype):
    """Return the gradient by X of the sum of K's entries with random weights."""
    weights = np.random.default_rng(1).standard_normal((len(X), len(Y)))
    with jax.enable_x64(True):
        function = kernel.resolve(Y).function()

        def total(X, Y):
            return jnp.sum(weights * function.cross(function.prepare(X), function.prepare(Y)))

        return np.asarray(jax.jit(jax.grad(total))(X.astype(dtype), Y.astype(dtype)))


def kip_step(kernel, n, dtype):
    """Return where one step goes whose length, over rows and labels, is 10 deviations.

    By plain gradient descent: Adam's first step has the gradient's signs alone.
    """
    X, y = digits(n)
    along = optax.chain(optax.normalize_by_update_norm(), optax.scale(-10.0))
    start = X[:10], np.eye(10)[y[:10]] - 0.1
    distiller = KIPDistiller(
        kernel, init=start, optimizer=along, max_iter=1, dtype=np.dtype(dtype).name, random_state=0
    )
    with warnings.catch_warnings():  # one step so long may well end higher
        warnings.simplefilter("ignore", ConvergenceWarning)
        distiller.fit(X.astype(dtype), y)
    moved = distiller.X_s_ - start[0], distiller.y_s_ - start[1]
    return np.concatenate([np.ravel(part) for part in moved])


def labels(kernel, n, dtype):
    X, y = digits(n)
    solver = LabelSolver(kernel, ipc=2, dtype=np.dtype(dtype).name, random_state=0)
    return solver.fit(X.astype(dtype), y).y_s_


def predicted(kernel, n, dtype):
    """Return predictions in the precision that "auto" stands for, or in float64."""
    X, y = digits(n)
    given = "float64" if dtype == np.float64 else "auto"
    model = KernelRidgeNTK(kernel, reg=1e-4, dtype=given)
    return model.fit(X[:50], np.eye(10)[y[:50]] - 0.1).predict(X[50:])


def digits(n):
    data = load_images("digits")
    return data.X_train[:n].astype(np.float64), data.y_train[:n]


def reference(path, small=False):
    """Return all quantities in float64 from the CPU, by name: those of a file, or new ones."""
    path = Path(path)
    if not path.exists():
        if jax.default_backend() == "cpu":
            write(path, small)
        else:  # JAX has its GPU by now; another process computes on the CPU alone
            command = [sys.executable, __file__, str(path), *(["--small"] if small else [])]
            folder = str(Path(kipsk.__file__).parents[1])
            paths = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": paths}
            subprocess.run(command, env=environment, check=True)
    with np.load(path) as file:
        return dict(file)


def write(path, small=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{q.name: q.compute(np.float64) for q in quantities(small)})


if __name__ == "__main__":
    write(Path(sys.argv[1]), "--small" in sys.argv)
