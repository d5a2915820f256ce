"""What a GPU gives: agreement, times, memory and accuracies, part by part, into a CSV.

    python examples/reproduce/gpu.py --data DIR --minutes 15 --out gpu.csv
    python examples/reproduce/gpu.py --small --out trial.csv

The first is for a GPU; DIR has cifar10.npz (see kipsk.datasets), and without it images are random
and have no accuracy. Without a GPU, or with --small, all is done at a small size on scikit-learn's
digits, in about a minute. A row is in the file as soon as it is known, so a run that is cut off
loses nothing; a part that fails has a row that says so, and the next one goes on.
"""

import argparse
import math
import sys
import time
import traceback
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _common import load, standardise_channels
from _gpu import (
    FULL,
    SMALL,
    Log,
    Run,
    error_of,
    fits,
    memory,
    normal,
    product_speed,
    seconds_of,
)
from _gpu_agreement import quantities, reference
from _gpu_moments import moments
from sklearn.base import clone

from kipsk import KernelRidgeNTKClassifier, KIPDistiller, LabelSolver, RegularizedZCA
from kipsk.architectures import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    conv_vec,
    convnet,
    myrtle,
)
from kipsk.kernels import ConvNet, Convolutional, RandomFeatures, load_stax

GB = 1e9
PRECISIONS = ("default", "highest")  # of products that do not name theirs
CACHED = "with JAX's cache of compiled code" if jax.config.jax_compilation_cache_dir else ""


# ---- the card itself


def device(run):
    """Measure the speeds that the other parts are set beside."""
    n = run.size.product
    kinds = [(jnp.float32, "highest"), (jnp.float32, "high"), (jnp.float32, "default")]
    for dtype, precision in [*kinds, (jnp.bfloat16, "default"), (jnp.float64, "highest")]:
        name = jnp.dtype(dtype).name
        with jax.enable_x64(True):
            speed, error = product_speed(n // 2 if dtype == jnp.float64 else n, precision, dtype)
        run.row(f"matrix product, {name}", speed / 1e12, "TFLOP/s", precision=precision)
        run.row(f"error of a product, {name}", error, precision=precision)
    numbers = jnp.ones(run.size.copy, jnp.float32)
    seconds, _ = seconds_of(jax.jit(lambda x: x + 1), numbers)
    run.row("copy, read and written", 8 * run.size.copy / seconds / GB, "GB/s")
    seconds, _ = seconds_of(jax.jit(lambda x: x + 1), jnp.ones(1))
    run.row("a call of one operation", 1e6 * seconds, "µs")
    with jax.enable_x64(True):
        A = jnp.asarray(normal(100, 200), jnp.float64)
        A = A @ A.T
        solve = jax.jit(lambda A: jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(A), True), A))
        seconds, _ = seconds_of(solve, A)
    run.row("100 x 100 solve with 100 right sides, float64", 1e3 * seconds, "ms")


# ---- agreement with the CPU


def agreement(run):
    """Compare with float64 on the CPU; sampled kernels also in other precisions of a product."""
    small = run.size is SMALL
    known = reference(run.arguments.reference, small)
    for quantity in quantities(small):
        for precision in PRECISIONS[: 2 if quantity.is_sampled and not small else 1]:
            if not run.has_time(quantity.name):
                continue
            with products_in(precision):
                found = quantity.compute(np.float32)
            error = error_of(found, known[quantity.name])
            run.row(quantity.name, error, "relative error", precision=precision)


def products_in(precision):
    """Return a context of JAX's precision of products that do not name theirs."""
    return jax.default_matmul_precision("highest") if precision == "highest" else nullcontext()


# ---- a step of KIP with a fully connected kernel


def fc1(run):
    """Time a step beside the two matrix products that it cannot do without."""
    size = run.size
    X, G = normal(size.targets, size.features), normal(size.support, size.targets, seed=1)
    y = np.arange(size.targets) % 10
    multiply = partial(jnp.matmul, precision="highest")
    products = jax.jit(lambda X_s, X_t, G: (multiply(X_s, X_t.T), multiply(G, X_t)))
    alone, _ = seconds_of(products, *map(jnp.asarray, (X[: size.support], X, G)))
    run.row("two matrix products", 1e3 * alone, "ms", precision="float32")
    dtypes = ("float32",) if size is SMALL else ("float32", "float64")
    for dtype in dtypes:
        distiller = KIPDistiller("fc1", ipc=size.support // 10, dtype=dtype, random_state=0)
        measured = fits(distiller, X, y, size.fc1_steps, size.difference)
        run.row("kipsk", 1e3 * measured.step, "ms a step", precision=dtype)
        run.row("kipsk: a fit besides", measured.rest, "s", precision=dtype)
        run.row("kipsk: compiling", measured.compiling, "s", precision=dtype, note=CACHED)
        if dtype == "float32":
            run.row("share of the two products", 100 * alone / measured.step, "%", precision=dtype)
    for dtype in dtypes:
        if has_neural_tangents(run, "neural-tangents") and run.has_time("neural-tangents"):
            seconds = step_of_neural_tangents(X, y, size.support, dtype)
            run.row("neural-tangents", 1e3 * seconds, "ms a step", precision=dtype)


def has_neural_tangents(run, what):
    """Return whether neural-tangents is there; if not, a row says what was not measured."""
    try:
        load_stax()
    except ImportError:
        run.row(what, note="not measured: neural-tangents is not installed")
        return False
    return True


def step_of_neural_tangents(X, y, n_support, dtype):
    """Return the seconds of its loss and gradient, solves included, in one precision."""
    dense = partial(load_stax().Dense, 1, W_std=2**0.5, b_std=0.1)
    kernel = load_stax().serial(dense(), load_stax().Relu(), dense())[2]

    def loss(X_s, y_s, X_t, y_t):
        K_ss, K_ts = kernel(X_s, None, "ntk"), kernel(X_t, X_s, "ntk")
        ridge = 1e-6 * jnp.trace(K_ss) / n_support
        alpha = jax.scipy.linalg.solve(
            K_ss + ridge * jnp.eye(n_support, dtype=K_ss.dtype), y_s, assume_a="pos"
        )
        return 0.5 * jnp.mean((K_ts @ alpha - y_t) ** 2)

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    targets = np.eye(10)[y] - 0.1
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        arguments = X[:n_support], targets[:n_support], X, targets
        return seconds_of(step, *(jnp.asarray(array, dtype) for array in arguments))[0]


# ---- exact convolutional kernels


def networks(size):
    """Return the architectures whose kernels are timed, by name."""
    depth = size.depth
    if size is SMALL:
        return {f"ConvNet{depth}": convnet(depth)}
    return {
        f"ConvNet{depth}": convnet(depth),
        f"Conv{depth}": conv_vec(depth),
        "ConvNet": convnet(depth, first_conv=True),
        "Myrtle5": myrtle(5),
    }


def pairs(run):
    """Time a pair of images, alone and with its gradient, beside neural-tangents."""
    peak, _ = product_speed(run.size.product)
    run.row("matrix product, float32", peak / 1e12, "TFLOP/s", precision="highest")
    first, *others = networks(run.size).items()
    ours(run, *first, peak)
    beside_neural_tangents(run, *first)
    for other in others:
        ours(run, *other, peak)
    for other in others:  # what there is no time for
        beside_neural_tangents(run, *other)


def ours(run, name, architecture, peak):
    """Time a kernel; `peak` are the operations a second of a matrix product."""
    shape = run.size.image_shape
    kernel = Convolutional(architecture, image_shape=shape).function()

    def matrix(X, Y):
        return kernel.cross(kernel.prepare(X), kernel.prepare(Y))

    work = operations(architecture, shape)
    run.row(f"{name}, operations", work / 1e9, "GFLOP a pair")
    for what, seconds, first in times_of_pairs(run, name, matrix, run.size.pairs):
        run.row(what, 1e3 * seconds, "ms a pair", precision="float32")
        run.row(f"{what}: first call", first, "s", note=CACHED)
        if what == name:
            share = 100 * work / seconds / peak
            run.row(f"{name}, share of the product's speed", share, "%")


def times_of_pairs(run, name, matrix, n):
    """Yield what was timed, the seconds of a pair, and those of the first call."""
    X, Y = (jnp.asarray(normal(k, math.prod(run.size.image_shape), seed=k)) for k in n)
    weights = jnp.asarray(normal(*n))
    both = jax.value_and_grad(lambda X, Y: jnp.sum(weights * matrix(X, Y)))
    for what, function in ((name, matrix), (f"{name}, with its gradient", both)):
        if run.has_time(what):
            seconds, first = seconds_of(jax.jit(function), X, Y, turns=3)
            yield what, seconds / math.prod(n), first


def beside_neural_tangents(run, name, architecture):
    """Time the same kernel of neural-tangents, and compare the numbers."""
    shape, size = run.size.image_shape, run.size.pairs_of_others
    if not has_neural_tangents(run, f"neural-tangents, {name}"):
        return
    kernel = of_neural_tangents(architecture)

    def theirs(X, Y):
        return kernel(X.reshape(-1, *shape), Y.reshape(-1, *shape), "ntk")

    with jax.default_matmul_precision("highest"):
        for what, seconds, _ in times_of_pairs(run, f"neural-tangents, {name}", theirs, size):
            run.row(what, 1e3 * seconds, "ms a pair", precision="float32")
        if not run.has_time(f"{name}, difference from neural-tangents"):
            return
        X, Y = (normal(n, math.prod(shape), seed=n) for n in size)
        error = error_of(
            Convolutional(architecture, image_shape=shape)(X, Y),
            jax.jit(theirs)(jnp.asarray(X), jnp.asarray(Y)),
        )
        run.row(f"{name}, difference from neural-tangents", error, "relative")


def of_neural_tangents(architecture):
    stax = load_stax()
    how = 2**0.5, 0.1
    layers = []
    for layer in architecture.layers:
        match layer:
            case Conv():
                layers.append(stax.Conv(1, (3, 3), (1, 1), "SAME", *how))
            case Activation():
                layers.append(stax.Relu())
            case AvgPool():
                layers.append(stax.AvgPool((2, 2), (2, 2)))
            case Flatten():
                layers.append(stax.Flatten())
            case GlobalAvgPool():
                layers.append(stax.GlobalAvgPool())
            case Dense():
                layers.append(stax.Dense(1, *how))
    return stax.serial(*layers)[2]


def operations(architecture, shape):
    """Count the additions and multiplications of a pair, of whole covariances.

    For each of their numbers: 34 for both arc-cosine kernels with their scales, 10 for the filter's
    mean of nngp and ntk, rows first, 2 for a window's mean.
    """
    height, breadth, channels = shape
    is_pooled = any(isinstance(layer, AvgPool | GlobalAvgPool) for layer in architecture.layers)
    total, is_first = 0, True
    for layer in architecture.layers:
        numbers = (height * breadth) ** (2 if is_pooled else 1)
        match layer:
            case Conv():
                total += numbers * (2 * 9 * channels if is_first else 10)
                is_first = False
            case Activation():
                total += numbers * 34
            case AvgPool():
                total += numbers * 2
                height, breadth = height // 2, breadth // 2
    return total


# ---- distillation


class Data(NamedTuple):
    """Images as rows, whitened or standardised; whether they are real; the seconds of whitening."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray
    are_real: bool
    whitening: float = 0.0


@lru_cache(maxsize=1)
def data_for(size, folder):
    """Return CIFAR-10 whitened as in the talk; digits at the small size; or random images."""
    if size is SMALL:
        X_train, X_test, y_train, y_test = load("digits")
        X_train, X_test = standardise_channels(X_train, X_test, 1)
        return Data(X_train, X_test, y_train, y_test, True)
    if folder is None:
        X, y = normal(size.images, math.prod(size.image_shape)), np.arange(size.images) % 10
        return Data(X, X[:1000], y, y[:1000], False)
    X_train, X_test, y_train, y_test = load("cifar10", folder)
    mean = X_train.mean(axis=0, dtype=np.float64).astype(np.float32)
    start = time.perf_counter()
    zca = RegularizedZCA(reg=0.1, layer_norm=False).fit(X_train - mean)
    X_train, X_test = zca.transform(X_train - mean), zca.transform(X_test - mean)
    return Data(X_train, X_test, y_train, y_test, True, time.perf_counter() - start)


def data_of(run):
    data = data_for(run.size, run.arguments.data)
    if data.whitening:
        run.row("whitening, once for all parts, on the host", data.whitening, "s")
    return data


def sampled(run):
    """KIP at the published setting of sampled kernels: 8 networks of width 256, batches of 5120.

    The long fit comes first, in JAX's default precision, which is that of users; it is scored
    under the exact kernel, too.
    """
    size, data = run.size, data_of(run)
    measured = {}
    for precision in PRECISIONS[:1] if size is SMALL else ("default", "bfloat16", "highest"):
        if not run.has_time(f"a step, {precision}"):
            continue
        time_of_features(run, precision)
        distiller = of_sampled(size, precision)
        rows, steps = (data.X_train, data.y_train), size.sampled_steps
        with products_in(precision):
            measured[precision] = fits(distiller, *rows, steps, size.difference)
        tell_fits(run, "a step", measured[precision], precision)
        if data.are_real and precision == "default":
            seconds = min(size.fit_seconds, run.left() - 10)
            exact = ConvNet(size.depth, "nngp", image_shape=size.image_shape)
            n_steps = measured[precision].steps_within(seconds)
            learn(run, distiller, data, n_steps, precision, exact)
    for precision, times in measured.items() if data.are_real else ():
        if run.has_time(f"test accuracy, {precision}", size.equal_steps * times.step):
            learn(run, of_sampled(size, precision), data, size.equal_steps, precision)


def time_of_features(run, precision):
    """Time the features of a batch, and their gradient for 100 images."""
    size = run.size
    function = of_sampled(size, precision).kernel.function()
    X_t, X_s = (
        jnp.asarray(normal(n, math.prod(size.image_shape))) for n in (size.batch_size, size.support)
    )
    gradient = jax.grad(lambda X: jnp.sum(jnp.square(function.prepare(X))))
    with products_in(precision):
        for what, compute, X in (("", function.prepare, X_t), ("gradient of ", gradient, X_s)):
            seconds, first = seconds_of(jax.jit(compute), X, turns=3)
            what = f"{what}features of {len(X)} images"
            run.row(what, 1e3 * seconds, "ms", precision=precision)
            run.row(f"{what}: first call", first, "s", precision=precision, note=CACHED)


def of_sampled(size, precision):
    """Return a distiller, not fitted."""
    kernel = RandomFeatures(
        f"convnet{size.depth}", size.n_networks, size.width, image_shape=size.image_shape,
        dtype="bfloat16" if precision == "bfloat16" else "float32",
    )  # fmt: skip
    return KIPDistiller(
        kernel, ipc=10, loss="platt", batch_size=size.batch_size, validation_fraction=0.02,
        random_state=0,
    )  # fmt: skip


def exact(run):
    """KIP with the exact kernel of ConvNet3."""
    size, data = run.size, data_of(run)
    kernel = ConvNet(size.depth, image_shape=size.image_shape)
    distiller = KIPDistiller(
        kernel, ipc=10, learning_rate=0.1, block_size=size.block_size, random_state=0
    )
    if size is SMALL:
        distiller.set_params(ipc=1, batch_size=50)
    rows, steps = (data.X_train, data.y_train), size.exact_steps
    measured = fits(distiller, *rows, steps, size.difference)
    tell_fits(run, "a step of 500 targets", measured, "float32")
    if data.are_real:
        seconds = min(size.fit_seconds, run.left() - 30)
        learn(run, distiller, data, measured.steps_within(seconds), "float32")
    if run.has_time("a step in blocks of automatic size", 90):
        distiller.set_params(block_size="auto")
        measured = fits(distiller, *rows, steps, size.difference)
        tell_fits(run, "a step in blocks of automatic size", measured, "float32")


def tell_fits(run, what, measured, precision):
    run.row(what, 1e3 * measured.step, "ms", precision=precision)
    run.row(f"{what}: a fit besides", measured.rest, "s", precision=precision)
    run.row(f"{what}: compiling", measured.compiling, "s", precision=precision, note=CACHED)


def learn(run, distiller, data, n_steps, precision, other=None):
    """Fit for so many steps, and score on all test images; under another kernel, too."""
    start = time.perf_counter()
    with products_in(precision):
        fitted = clone(distiller).set_params(max_iter=n_steps).fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - start
    note = f"{n_steps} steps, a fit of {seconds:.0f} s"
    start = time.perf_counter()
    accuracy = fitted.score(data.X_test, data.y_test)
    scoring = time.perf_counter() - start
    run.row("test accuracy", 100 * accuracy, "%", precision=precision, note=note)
    run.row("predictions of all test images", scoring, "s", precision=precision, note=note)
    if other is not None and run.has_time("test accuracy under the exact kernel"):
        # With the ridge that the rows were learned with, not that of an exact kernel.
        model = KernelRidgeNTKClassifier(
            other, reg=fitted.reg_, classes=fitted.classes_, block_size=run.size.block_size
        ).fit(fitted.X_s_, fitted.y_s_)
        accuracy = model.score(data.X_test, data.y_test)
        run.row("test accuracy under the exact kernel", 100 * accuracy, "%", note=note)


def labels(run):
    """Label Solve with the exact kernel of ConvNet3, on as many targets as there is time for."""
    size, data = run.size, data_of(run)
    kernel, ipc = ConvNet(size.depth, image_shape=size.image_shape), 1 if size is SMALL else 10
    solver = LabelSolver(kernel, ipc, block_size=size.block_size, random_state=0)
    some = slice(100 if size is SMALL else 2000)
    for _ in range(2):  # the second is compiled
        start = time.perf_counter()
        solver.fit(data.X_train[some], data.y_train[some])
        seconds = time.perf_counter() - start
    run.row(f"Label Solve of {some.stop} targets", seconds, "s")
    n = min(len(data.X_train), int(some.stop * max(1, (run.left() - 20) / seconds)))
    if data.are_real:
        start = time.perf_counter()
        solver.fit(data.X_train[:n], data.y_train[:n])
        note = f"{n} targets, a fit of {time.perf_counter() - start:.0f} s"
        accuracy = solver.score(data.X_test, data.y_test)
        run.row("test accuracy", 100 * accuracy, "%", note=note)


# ---- what is run


class Part(NamedTuple):
    """A part, the share of the time that it gets, and the memory that it needs, in GB."""

    measure: object
    share: float
    gigabytes: float


PARTS = {
    "device": Part(device, 0.3, 5),
    "agreement": Part(agreement, 0.8, 1),
    "fc1": Part(fc1, 0.4, 1),
    "pairs": Part(pairs, 1, 4),
    "moments": Part(moments, 2, 8),
    "sampled": Part(sampled, 3, 8),
    "exact": Part(exact, 3, 5),
    "labels": Part(labels, 1, 5),
}


def measure(log, size, arguments, parts):
    """Run parts one after the other; time that one leaves goes to the next ones."""
    ends = time.perf_counter() + 60 * arguments.minutes
    names = [name for name in parts if name in arguments.parts]
    for i, name in enumerate(names):
        left = ends - time.perf_counter()
        share = parts[name].share / sum(parts[other].share for other in names[i:])
        run = Run(name, log, size, arguments, time.perf_counter() + left * share)
        measure_part(run, parts[name])


def measure_part(run, part):
    """Run a part, unless the GPU is too small or the time is over; say what went wrong in it."""
    limit, before = memory()
    if run.size is FULL and limit is not None and limit < GB * part.gigabytes:
        run.row(
            "skipped",
            note=f"needs {part.gigabytes:g} GB; JAX may use {limit / GB:.1f} GB of this device",
        )
        return
    if not run.has_time("all of it"):
        return
    start = time.perf_counter()
    try:
        part.measure(run)
    except Exception as error:
        traceback.print_exc()
        message = (str(error).splitlines() or [""])[0]
        run.row("failed", note=f"{type(error).__name__}: {message[:200]}")
    run.row("the whole part", time.perf_counter() - start, "s")
    _, peak = memory()
    if peak is not None:
        note = "" if peak > before else "at most: an earlier part took as much"
        run.row("peak memory", peak / GB, "GB", note=note)


def list_of_parts(text):
    names = text.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return names


def minutes(text):
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number > 0. Got {text} instead")
    return value


def options():
    result = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    result.add_argument("--data", metavar="DIR", help="folder with cifar10.npz")
    result.add_argument("--minutes", type=minutes, default=15.0, help="for all parts (default: 15)")
    result.add_argument("--out", metavar="FILE.csv", required=True, help="rows are added to it")
    result.add_argument(
        "--parts", type=list_of_parts, default=list(PARTS), metavar="A,B",
        help=f"some of {','.join(PARTS)} (default: all)",
    )  # fmt: skip
    result.add_argument(
        "--reference", metavar="FILE.npz",
        help="what the CPU has in float64; written if it is not there (default: beside the CSV)",
    )  # fmt: skip
    result.add_argument("--small", action="store_true", help="a small size, for any machine")
    return result


def main(given=None):
    arguments = options().parse_args(given)
    log, size = Log(arguments.out), SMALL if arguments.small else FULL
    if jax.default_backend() == "cpu" and not arguments.small:
        size = SMALL
        log.row("device", "no GPU", note="JAX has none here: small sizes and digits on the CPU")
    if arguments.reference is None:
        name = f"{log.path.stem}.{'small' if size is SMALL else 'full'}.npz"
        arguments.reference = log.path.with_name(name)
    measure(log, size, arguments, PARTS)


if __name__ == "__main__":
    sys.exit(main())
