"""How far results are from exact ones: gradients, nearly singular supports, 10000 steps in float32.

    python examples/reproduce/numerics.py [--parts gradients ridges steps]

"gradients" compares the gradient of each loss with each kernel, in float64, with finite differences
of the loss: the slope along three random directions of rows, labels and scale. "ridges" compares
predictions of kernel ridge regression with those of the kernel's formula in long double, solved in
rational numbers. "steps" trains in float32 and in float64 from the same start.
"""

import argparse
import warnings
from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from _common import provenance
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kipsk import KernelRidgeNTK, KIPDistiller
from kipsk._data._labels import one_hot
from kipsk._distil._objective import Labels, Objective
from kipsk._distil._targets import Targets
from kipsk.kernels import (
    RBF,
    ConvNet,
    Convolutional,
    FullyConnected,
    Invariant,
    Landmarks,
    Laplace,
    Myrtle,
    Polynomial,
    RandomFeatures,
)

SHAPE = (8, 8, 1)
N_S, N_T, N_CLASSES = 6, 10, 3
LOSSES = {  # labels, loss
    "mse, learned labels": ("learned", "mse"),
    "mse, fixed labels": ("fixed", "mse"),
    "mse, solved labels": ("solved", "mse"),
    "platt, learned labels": ("learned", "platt"),
}
CLOSE = (1e-2, 1e-4, 1e-6, 1e-8, 0.0)
REGS = (0.0, 1e-12, 1e-6, 1e-3, 1.0, 1e3)


def kernels(X):
    """Return a kernel of each kind, with the networks and landmarks that it stays with."""
    found = {
        "FullyConnected(1)": FullyConnected(),
        "FullyConnected(3, 'nngp')": FullyConnected(3, "nngp"),
        "FullyConnected, erf": FullyConnected(2, activation="erf"),
        "FullyConnected, gelu": FullyConnected(2, activation="gelu"),
        "FullyConnected, exp": FullyConnected(2, activation="exp"),
        "RBF": RBF(8.0),
        "Laplace": Laplace(60.0),
        "Polynomial(2)": Polynomial(2),
        "Convolutional, conv2": Convolutional("conv2", image_shape=SHAPE),
        "ConvNet(2)": ConvNet(2, image_shape=SHAPE),
        "ConvNet(2, 'nngp')": ConvNet(2, "nngp", image_shape=SHAPE),
        "ConvNet(1), exp": ConvNet(1, activation="exp", image_shape=SHAPE),
        "Myrtle(5)": Myrtle(5, image_shape=SHAPE),
        "Invariant(FullyConnected)": Invariant(FullyConnected(), image_shape=SHAPE),
        "Landmarks(FullyConnected)": Landmarks("fc1", 8).resolve(X),
        "RandomFeatures, fc1": RandomFeatures("fc1", 4, 64, resample=False).resolve(X),
        "RandomFeatures, convnet1": RandomFeatures(
            "convnet1", 2, 8, resample=False, image_shape=SHAPE
        ).resolve(X),
    }
    return found


def along(t, objective, params, direction, targets):
    moved = {name: value + t * direction[name] for name, value in params.items()}
    return objective(moved, targets)[0]


compiled, slope_of = jax.jit(along), jax.jit(jax.grad(along))


def sloped(objective, params, targets, key):
    """Return the difference between autodiff and finite differences, as a share of the slope."""
    direction = {
        name: jax.random.normal(jax.random.fold_in(key, i), value.shape, jnp.float64)
        for i, (name, value) in enumerate(params.items())
    }
    given = objective, params, direction, targets
    slope = float(slope_of(0.0, *given))
    errors = []
    for h in (1e-3, 1e-4, 1e-5):  # four points: the error is of order h^4 and rounding / h
        near, far = (float(compiled(d, *given) - compiled(-d, *given)) for d in (h, 2 * h))
        errors.append(abs((8 * near - far) / (12 * h) - slope))
    return min(errors) / abs(slope)


def part_gradients():
    rng = np.random.default_rng(0)
    X_t, X_s = rng.normal(size=(N_T, 64)), rng.normal(size=(N_S, 64))
    y_t = one_hot(np.arange(N_T) % N_CLASSES, N_CLASSES)
    y_s = one_hot(np.arange(N_S) % N_CLASSES, N_CLASSES)
    print("| kernel | " + " | ".join(LOSSES) + " |\n|---|" + "---|" * len(LOSSES))
    with jax.enable_x64(True):
        for name, kernel in kernels(X_t).items():
            function, cells = kernel.function(), []
            prepared = jax.jit(lambda f, X: f.prepare(X))(function, jnp.asarray(X_t))
            targets = Targets(prepared, jnp.asarray(y_t), is_prepared=True)
            for labels, loss in LOSSES.values():
                fixed = None if labels == "learned" else jnp.asarray(y_s)
                objective = Objective(function, 1e-3, 1.0, Labels(fixed, 1e-3, labels == "solved"))
                objective = replace(objective, loss=loss)
                params = {"X": jnp.asarray(X_s)}
                if labels == "learned":
                    params["y"] = jnp.asarray(y_s + 0.1 * rng.normal(size=y_s.shape))
                if loss == "platt":
                    params["log_scale"] = jnp.asarray(1.5)
                keys = jax.random.split(jax.random.key(0), 3)
                worst = max(sloped(objective, params, targets, key) for key in keys)
                cells.append(f"{worst:.0e}")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
            jax.clear_caches()


def exact(K, K_ts, y, ridge):
    """Return ``K_ts (K + ridge I)^-1 y`` in rational numbers, which round nothing.

    Gauss-Jordan elimination: any pivot that is not zero will do.
    """
    n = len(K)
    rows = [[Fraction(*value.as_integer_ratio()) for value in (*K[i], y[i])] for i in range(n)]
    for i in range(n):
        rows[i][i] += Fraction(*ridge.as_integer_ratio())
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(n):
            if factor := rows[j][i] * (j != i):
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return np.array(
        [
            float(
                sum(
                    Fraction(*k.as_integer_ratio()) * row[n]
                    for k, row in zip(line, rows, strict=True)
                )
            )
            for line in K_ts
        ]
    )


def fully_connected(A, B, w_std=2**0.5, b_std=0.1):
    """Return the NTK of one hidden ReLU layer (Cho & Saul 2009) in long double.

    The angle is from the distance of the normalised rows, which keeps the digits of a small one.
    """
    A, B = (
        np.hstack([np.longdouble(w_std) / np.sqrt(np.longdouble(X.shape[1])) * X, column])
        for X in (A.astype(np.longdouble), B.astype(np.longdouble))
        for column in [np.full((len(X), 1), np.longdouble(b_std))]
    )
    a, b = (np.sqrt(np.sum(X * X, axis=1)) for X in (A, B))
    chord = np.sqrt(np.sum(((A / a[:, None])[:, None] - B / b[:, None]) ** 2, axis=2))
    angle = 2 * np.arcsin(chord / 2)
    pi = 4 * np.arctan(np.longdouble(1))
    size, turned = np.outer(a, b), pi - angle
    nngp = size / (2 * pi) * (np.sin(angle) + turned * np.cos(angle))
    slope = turned / (2 * pi) * size * np.cos(angle)
    return np.longdouble(w_std) ** 2 * (nngp + slope) + np.longdouble(b_std) ** 2


def rbf(A, B, length_scale=2.0):
    difference = A.astype(np.longdouble)[:, None] - B.astype(np.longdouble)
    return np.exp(-np.sum(difference**2, axis=2) / (2 * np.longdouble(length_scale) ** 2))


def part_ridges():
    rng = np.random.default_rng(0)
    base, X_t = rng.normal(size=(12, 5)), rng.normal(size=(8, 5))
    y = np.sin(3 * np.arange(12.0))
    for kernel, formula in ((FullyConnected(), fully_connected), (RBF(2.0), rbf)):
        print(
            f"{kernel!r}, 12 rows, of which 6 are the other 6 moved so far; their targets differ\n"
        )
        print("| moved | " + " | ".join(f"reg {reg:g}" for reg in REGS) + " |")
        print("|---|" + "---|" * len(REGS))
        for distance in CLOSE:
            X, cells = base.copy(), []
            X[6:] = base[:6] + distance * base[6:]
            K, K_ts = formula(X, X), formula(X_t, X)
            for reg in REGS:
                try:
                    with warnings.catch_warnings(record=True) as caught:
                        warnings.simplefilter("always")
                        found = KernelRidgeNTK(kernel, reg=reg).fit(X, y).predict(X_t)
                except ValueError as error:
                    if "not positive definite" not in str(error):
                        raise
                    cells.append("error")
                    continue
                expected = exact(K, K_ts, y, np.longdouble(reg) * np.mean(np.diag(K)))
                error = np.abs(found - expected).max() / np.abs(expected).max()
                cells.append(f"{error:.0e}{', warning' if caught else ''}")
            print(f"| {distance:g} | " + " | ".join(cells) + " |", flush=True)
        print()


def part_steps(n_steps=10_000):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    print("| kernel | loss, float32 | float64 | accuracy, float32 | float64 | same predictions |")
    print("|---|---|---|---|---|---|")
    for kernel in ("fc1", "rbf", "laplace", Landmarks("fc1", 200)):
        fitted = [
            KIPDistiller(kernel, ipc=1, max_iter=n_steps, dtype=dtype, random_state=0).fit(
                X_train, y_train
            )
            for dtype in ("float32", "float64")
        ]
        labels = [model.predict(X_test) for model in fitted]
        losses = [f"{model.loss_curve_[-1]:.5f}" for model in fitted]
        scores = [f"{100 * np.mean(found == y_test):.1f}" for found in labels]
        agree = 100 * np.mean(labels[0] == labels[1])
        finite = all(np.isfinite(model.loss_curve_).all() for model in fitted)
        cells = [str(kernel), *losses, *scores, f"{agree:.1f} %{'' if finite else ', not finite'}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"gradients": part_gradients, "ridges": part_ridges, "steps": part_steps}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    arguments = parser.parse_args()
    print(provenance(), end="\n\n")
    for name in arguments.parts:
        parts[name]()
        print()


if __name__ == "__main__":
    main()
