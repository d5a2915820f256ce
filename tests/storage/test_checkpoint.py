"""Runs that are killed, interrupted or watched: they go on, or end, as if nothing had happened."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection

import kipsk
from kipsk import KernelRidgeNTK, KIPDistiller
from kipsk._descent import _step
from kipsk._distil import _loop, _run
from kipsk._kip import _base
from kipsk._storage._checkpoint import Checkpoint
from kipsk._storage._describe import describe, fingerprint
from kipsk._storage._files import write_atomically
from kipsk.kernels import RandomFeatures

FAST = {"ipc": 2, "max_iter": 20, "random_state": 0}
SEVERAL = {**FAST, "batch_size": 40}


@pytest.fixture(scope="module")
def blobs():
    """Three classes in five dimensions, away from the origin."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [50, 40, 30])
    return rng.normal(size=(120, 5)) + 3 * np.eye(5)[codes] + 1, codes


@pytest.fixture(scope="module")
def snapshots(blobs):
    """The run of FAST, with the support after every step."""
    return KIPDistiller(snapshots=range(21), **FAST).fit(*blobs)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


class Killed(BaseException):
    """Nothing in the package catches it."""


@contextmanager
def raised_after(step, error):
    """Raise an error as soon as all is done that is due after so many steps."""
    original = _run._look

    def look(problem, watch, history, state, done):
        is_over = original(problem, watch, history, state, done)
        if done == step:
            raise error
        return is_over

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_look", look)
        yield


def kill(distiller, blobs, step):
    with raised_after(step, Killed), pytest.raises(Killed):
        distiller.fit(*blobs)


def interrupt(distiller, blobs, step):
    of = f"was interrupted after {step} of {distiller.max_iter} steps"
    with raised_after(step, KeyboardInterrupt), pytest.warns(ConvergenceWarning, match=of):
        return distiller.fit(*blobs)


def saved_steps(path):
    with np.load(path) as file:
        return len(file["losses"])


def assert_same_run(one, other):
    """Bit for bit; what a run has, and what it has not."""
    for name in (
        "X_s_",
        "y_s_",
        "n_iter_",
        "loss_curve_",
        "temperature_",
        "label_reg_",
        "frozen_",
        "validation_steps_",
        "validation_scores_",
        "best_iter_",
    ):
        assert hasattr(one, name) == hasattr(other, name), name
        assert_array_equal(getattr(one, name, 0), getattr(other, name, 0), err_msg=name)
    one_s, other_s = (getattr(distiller, "snapshots_", {}) for distiller in (one, other))
    assert one_s.keys() == other_s.keys()
    for step, (X_s, y_s) in one_s.items():
        assert_array_equal(X_s, other_s[step][0])
        assert_array_equal(y_s, other_s[step][1])


# --- files ---------------------------------------------------------------------------------------


def test_file_is_there_whole_or_as_it_was(path, monkeypatch):
    write_atomically(path, {"a": np.arange(3)})
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", half)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, {"a": np.arange(4)})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    write_atomically(str(path), {"a": np.arange(4)})
    with np.load(path) as file:
        assert_array_equal(file["a"], np.arange(4))
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_half_written_is_in_nobodys_way(path):
    Path(f"{path}.tmp").write_bytes(b"PK half of it")
    write_atomically(path, {"a": np.arange(3)})
    assert list(path.parent.iterdir()) == [path]


def test_fingerprint_tells_arrays_apart():
    """One bit, the shape, the dtype, and, of equal bytes, where the rows end."""
    rows = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)  # several blocks
    flipped = rows.copy()
    flipped.view(np.uint32)[-1, -1] ^= 1
    objects = np.array(["a", "b"], dtype=object)
    arrays = [
        rows,
        flipped,
        rows.T,
        rows.reshape(3, 5000),
        rows.view(np.int32),
        np.float32(0),
        np.zeros(1, np.float32),
        np.zeros(0, np.float32),
        objects,
        objects[::-1],
    ]
    assert len({fingerprint(array) for array in arrays}) == len(arrays)
    for equal in (rows.copy(), np.asfortranarray(rows), np.repeat(rows, 2, axis=0)[::2]):
        assert fingerprint(equal) == fingerprint(rows)
    assert fingerprint(objects.copy()) == fingerprint(objects)


# Run in two processes. Each has to be told from the others, and be the same in both.
VALUES = """
import functools
import jax, jax.numpy as jnp, numpy as np, optax
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from kipsk import RegularizedZCA, augment, kernels

def named(key, images):
    return images

class Changed:
    def __call__(self, key, images):
        return images

rows = np.arange(12, dtype=np.float32).reshape(4, 3)
VALUES = [
    None, True, 1, 0.5, "fc1", "auto", (1, 2), [1, 2], range(3), frozenset({1, 2}),
    kernels.FullyConnected(), kernels.FullyConnected(depth=2), kernels.RBF(), kernels.RBF(2.0),
    kernels.RandomFeatures("convnet2", width=8), kernels.RandomFeatures("convnet2", width=9),
    ["fc1", kernels.RBF()], ["fc1", kernels.Laplace()],
    named, lambda key, images: images, lambda key, images: 2 * images,
    functools.partial(named, images=1), Changed(),
    augment.Flip(), augment.Shift(0.5), augment.Flip() >> named, ["flip", named],
    rows, rows + 1, (rows, rows[:, 0]), (rows, ["ant", "bee"]), np.array(["ant", None]),
    jnp.arange(5000.0), jnp.arange(5000.0).at[2500].set(0),
    np.random.RandomState(0), np.random.default_rng(0),
    StandardScaler(), StandardScaler(with_mean=False), RegularizedZCA(reg=0.1),
    make_pipeline(StandardScaler(), PCA(2)), FunctionTransformer(named), FunctionTransformer(),
    lambda key, images: jnp.sin(images), lambda key, images: jnp.cos(images),
    lambda key, images, scale=0.0: images, lambda key, images, scale=1.0: images,
    jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 2), {"a": 1}, {"a": 2}, {1, 2}, {1, 3},
    lambda key, images: jax.vmap(lambda a: 2 * a)(images),
    lambda key, images: jax.vmap(lambda a: 3 * a)(images),
    augment.Compose((lambda key, images: images + 1,)),
    augment.Compose((lambda key, images: images + 2,)),
    optax.adam(0.1), optax.adam(0.2), optax.adabelief(0.1),
    optax.warmup_cosine_decay_schedule(0, 1, 5, 30),
]
"""


def test_descriptions_are_the_same_in_another_process():
    namespace = {"__name__": "values"}
    exec(VALUES, namespace)
    here = [describe(value) for value in namespace["VALUES"]]
    code = (
        "import json, sys; namespace = {'__name__': 'values'}; exec(sys.argv[1], namespace)\n"
        "from kipsk._checkpoint import describe\n"
        "print(json.dumps([describe(value) for value in namespace['VALUES']]))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, VALUES],
        env=ENVIRONMENT | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == here
    assert len(set(here)) == len(here)
    for name in ("values.<lambda><", "values.named<"):
        assert any(text.startswith(name) for text in here)


def test_descriptions_of_equal_values():
    assert describe(np.float64(0.5)) == describe(0.5)
    assert describe(np.int64(3)) == describe(3)
    array = np.arange(6.0).reshape(2, 3)
    assert describe(jax.numpy.asarray(array, "float32")) == describe(array.astype("float32"))
    used = np.random.RandomState(0)
    used.normal()
    assert describe(used) == describe(np.random.RandomState(5)) == "RandomState"


# --- going on ------------------------------------------------------------------------------------


def noisy(key, rows):
    return rows + 0.1 * jax.random.normal(key, rows.shape, rows.dtype)


CASES = {
    "one batch": {},
    "several batches": {"batch_size": 40},
    "sampled networks": {
        "kernel": RandomFeatures("fc1", width=8),
        "predict_kernel": "fc1",
        "loss": "platt",
    },
    "a family": {"kernel": ["fc1", "rbf"], "kernel_weights": [2, 1]},
    "solved labels": {"labels": "solved"},
    "augmented": {"augment": noisy},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 15, "batch_size": 40},
    "optax, frozen entries": {"optimizer": optax.adabelief(0.05), "corruption": 0.3},
}


@pytest.fixture
def quick_compilation():
    """Each case compiles its own steps, which is what takes the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("case", CASES)
def test_killed_and_interrupted_run_ends_as_if_it_had_not_been(case, blobs, path):
    """Oracle: the run without checkpoints. Killed between two saves, interrupted, and run again."""
    params = FAST | CASES[case] | {"snapshots": "log"}
    expected = KIPDistiller(**params).fit(*blobs)
    saving = params | {"checkpoint_path": path, "checkpoint_interval": 3}
    kill(KIPDistiller(**saving), blobs, 8)
    assert saved_steps(path) == 6
    interrupted = interrupt(KIPDistiller(**saving), blobs, 12)
    assert saved_steps(path) == interrupted.n_iter_ == 12
    assert_same_run(KIPDistiller(**saving).fit(*blobs), expected)
    assert expected.n_iter_ == (15 if case == "early stopping" else 20)
    assert saved_steps(path) == expected.n_iter_


@pytest.mark.parametrize("interval", [1, 7, 1000])
@pytest.mark.parametrize("params", [FAST, SEVERAL], ids=["one batch", "several batches"])
def test_interval_does_not_matter(params, interval, blobs, path):
    """Oracle: the run without checkpoints, many steps a call where it can."""
    expected = KIPDistiller(**params).fit(*blobs)
    saving = params | {"checkpoint_path": path, "checkpoint_interval": interval}
    assert_same_run(KIPDistiller(**saving).fit(*blobs), expected)
    path.unlink()
    stopped = KIPDistiller(snapshots=[8], **saving)  # a call ends there, to be killed after
    kill(stopped, blobs, 8)
    assert path.exists() == (interval < 8)
    assert list(stopped.fit(*blobs).snapshots_) == [8]
    del stopped.snapshots_[8]
    assert_same_run(stopped, expected)


def test_a_run_that_is_over_takes_no_step(blobs, path, monkeypatch):
    """From a file that has another name by now, with another interval and a progress bar."""
    expected = KIPDistiller(checkpoint_path=path, **FAST).fit(*blobs)
    moved = path.rename(path.with_name("moved.npz"))
    lengths = []
    steps = _step.steps

    def counted(objective, optimizer, state, batch, rates, n_steps):
        lengths.append(rates.max())
        return steps(objective, optimizer, state, batch, rates, n_steps)

    monkeypatch.setattr(_step, "steps", counted)
    again = KIPDistiller(checkpoint_path=str(moved), checkpoint_interval=3, verbose=1, **FAST)
    assert_same_run(again.fit(*blobs), expected)
    assert lengths == [0]  # the last, which only looks


GENERATORS = {
    "None": lambda: np.random.seed(7),  # returns None
    "RandomState": lambda: np.random.RandomState(7),
    "another bit generator": lambda: np.random.RandomState(np.random.PCG64(7)),
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_generator_goes_on_where_the_killed_run_began(kind, blobs, path):
    """Oracle: an uninterrupted run from the same state. The state at the resumption is another."""
    before = np.random.get_state()
    make = GENERATORS[kind]
    params = SEVERAL | {"checkpoint_interval": 3}
    expected = KIPDistiller(**params | {"random_state": make()}).fit(*blobs)
    params["checkpoint_path"] = path
    kill(KIPDistiller(**params | {"random_state": make()}), blobs, 8)
    later = make()
    (later or np.random).normal(size=3)
    assert_same_run(KIPDistiller(**params | {"random_state": later}).fit(*blobs), expected)
    np.random.set_state(before)


def test_failed_run_fails_again(blobs, path):
    """Oracle: the run without checkpoints, whose steps overflow."""
    params = FAST | {"learning_rate": 1e38}
    expected = KIPDistiller(**params)
    with pytest.warns(ConvergenceWarning, match="stopped after 1 of 20 steps"):
        expected.fit(*blobs)
    for _ in range(2):
        again = KIPDistiller(checkpoint_path=path, checkpoint_interval=1, **params)
        with pytest.warns(ConvergenceWarning, match="stopped after 1 of 20 steps"):
            assert_same_run(again.fit(*blobs), expected)


def test_warm_start_goes_on_with_the_same_support_only(snapshots, blobs, path):
    """Oracle: a warm start without checkpoints."""

    def warm(step, **params):
        distiller = KIPDistiller(warm_start=True, **SEVERAL, **params)
        distiller.X_s_, distiller.y_s_ = snapshots.snapshots_[step]
        distiller.classes_ = np.arange(3)
        return distiller

    saving = {"checkpoint_path": path, "checkpoint_interval": 3}
    kill(warm(5, **saving), blobs, 8)
    with pytest.raises(ValueError, match="the support to start from was tuple"):
        warm(6, **saving).fit(*blobs)
    with pytest.raises(ValueError, match=r"was tuple.* and is not there"):
        KIPDistiller(warm_start=True, **SEVERAL, **saving).fit(*blobs)
    assert_same_run(warm(5, **saving).fit(*blobs), warm(5).fit(*blobs))


# --- interrupts ----------------------------------------------------------------------------------


@contextmanager
def interrupted_at(line):
    """Raise KeyboardInterrupt before that line of those that a run goes through on the host."""
    files = {
        sys.modules[name].__file__ for name in ("kipsk._distil._run", "kipsk._storage._checkpoint")
    }
    functions = {_loop.run.__code__, _loop.draws.__code__, _step.leaves.__code__}
    left, has_begun = line, False

    def trace(frame, event, _):
        nonlocal left, has_begun
        has_begun = has_begun or frame.f_code is _run.descend.__code__
        if not has_begun:
            return None
        if frame.f_code.co_filename not in files and frame.f_code not in functions:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_interrupt_at_any_line(stride, blobs, path):
    """Oracle: the run that was not interrupted; with scores, snapshots and saves at every step."""
    params = SEVERAL | {"max_iter": 5, "early_stopping": True, "n_iter_no_change": 5}
    params["snapshots"] = [0, 2, 3, 5]
    expected = KIPDistiller(**params).fit(*blobs)
    assert expected.n_iter_ == 5 and len(expected.validation_steps_) == 6
    params |= {"checkpoint_path": path, "checkpoint_interval": 2}
    ends, line = [], 0
    while not ends or ends[-1] != "not interrupted":
        path.unlink(missing_ok=True)
        distiller = KIPDistiller(**params)
        with warnings.catch_warnings(record=True, action="always") as caught:
            # Between a file's opening and its `with` nobody can close it.
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                with interrupted_at(line):
                    distiller.fit(*blobs)
                ends.append("published" if caught else "not interrupted")
            except KeyboardInterrupt:
                ends.append("raised")
        if ends[-1] == "published":
            (warning,) = caught
            assert warning.category is ConvergenceWarning
            assert f"interrupted after {distiller.n_iter_} of 5" in str(warning.message)
            n_steps = distiller.n_iter_
            assert_array_equal(distiller.loss_curve_, expected.loss_curve_[:n_steps])
            assert np.isfinite(distiller.decision_function(blobs[0])).all()
        resumed = KIPDistiller(**params).fit(*blobs)
        assert_same_run(resumed, expected)
        assert not Path(f"{path}.tmp").exists()
        line += stride
    # Before the first step, and in what comes after the last, there is nothing to end.
    print(f"{len(ends)} lines, {ends.count('published')} of them ended the run")
    assert ends.count("published") > 0.7 * len(ends)


def test_interrupted_fit_is_fitted(snapshots, blobs):
    """Oracle: the supports on the way of the run that was not interrupted."""
    distiller = interrupt(KIPDistiller(snapshots=range(21), **FAST), blobs, 12)
    assert distiller.n_iter_ == 12
    assert_array_equal(distiller.loss_curve_, snapshots.loss_curve_[:12])
    assert list(distiller.snapshots_) == list(range(13))
    # The last whose loss is known: that before the last step.
    assert_array_equal(distiller.X_s_, snapshots.snapshots_[11][0])
    assert distiller.score(*blobs) > 0.9


def test_interrupt_keeps_the_best_support(blobs):
    """Oracle: the snapshot with the highest score so far."""
    params = SEVERAL | {"early_stopping": True, "n_iter_no_change": 20, "snapshots": range(21)}
    # Hardly a hint of the classes, so that scores go up and down.
    X = np.random.default_rng(1).normal(size=(120, 5)) + 0.3 * np.eye(5)[blobs[1]]
    distiller = interrupt(KIPDistiller(**params), (X, blobs[1]), 12)
    scores = distiller.validation_scores_
    assert_array_equal(distiller.validation_steps_, [0, 4, 8, 12])
    assert distiller.best_iter_ == distiller.validation_steps_[np.argmax(scores)]
    assert 0 < distiller.best_iter_ < 12
    assert_array_equal(distiller.X_s_, distiller.snapshots_[distiller.best_iter_][0])


def test_interrupt_of_the_first_step(snapshots, blobs, path, monkeypatch):
    """Oracle: the support before the first step."""

    def interrupted(*_):
        raise KeyboardInterrupt

    distiller = KIPDistiller(checkpoint_path=path, **FAST)
    with monkeypatch.context() as patch:
        patch.setattr(_step, "steps", interrupted)
        with pytest.warns(ConvergenceWarning, match="interrupted after 0 of 20 steps"):
            distiller.fit(*blobs)
    assert distiller.n_iter_ == len(distiller.loss_curve_) == saved_steps(path) == 0
    assert_array_equal(distiller.X_s_, snapshots.snapshots_[0][0])
    assert distiller.predict(blobs[0]).shape == (120,)
    distiller.fit(*blobs)
    assert_array_equal(distiller.X_s_, snapshots.X_s_)


# --- refusals ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(blobs, tmp_path_factory):
    """The bytes of the file of a finished run."""
    path = tmp_path_factory.mktemp("run") / "run.npz"
    KIPDistiller(checkpoint_path=path, **FAST).fit(*blobs)
    return path.read_bytes()


def refusal(distiller, X, y, path, monkeypatch):
    """The message of a refusal before any step, which leaves the file as it was."""
    before = path.read_bytes()
    monkeypatch.setattr(_run, "descend", lambda *_: pytest.fail("steps were run"))
    with pytest.raises(ValueError) as raised:
        distiller.set_params(checkpoint_path=path).fit(X, y)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    message = str(raised.value)
    assert repr(str(path)) in message and "delete it to start anew" in message.lower()
    assert "choose another 'checkpoint_path'" in message
    return message


START = np.zeros((3, 5)), np.arange(3)
OTHER = {
    "kernel": ("fc2", "'fc1'", "'fc2'"),
    "ipc": (3, "2", "3"),
    "kernel_weights": ([1.0], "None", "list(1.0)"),
    "image_shape": ((5, 1, 1), "None", "tuple(5, 1, 1)"),
    "reg": (1e-3, "'auto'", "0.001"),
    "labels": ("fixed", "'learned'", "'fixed'"),
    "label_reg": (0.5, "'auto'", "0.5"),
    "init": (START, "'sample'", "tuple(array of shape (3, 5), "),
    "loss": ("platt", "'mse'", "'platt'"),
    "augment": (noisy, "None", f"{__name__}.noisy"),
    "preprocess": (StandardScaler(), "None", "StandardScaler(copy=True, "),
    "corruption": (0.1, "0.0", "0.1"),
    "predict_kernel": ("rbf", "None", "'rbf'"),
    "max_iter": (21, "20", "21"),
    "learning_rate": (0.1, "'auto'", "0.1"),
    "schedule": ("linear", "'cosine'", "'linear'"),
    "batch_size": (40, "'auto'", "40"),
    "optimizer": (optax.sgd(0.1), "'adam'", "GradientTransformationExtraArgs("),
    "early_stopping": (True, "False", "True"),
    "validation_fraction": (0.2, "0.1", "0.2"),
    "n_iter_no_change": (99, "100", "99"),
    "snapshots": ("log", "None", "'log'"),
    "warm_start": (True, "False", "True"),
    "block_size": (7, "'auto'", "7"),
    "dtype": ("float64", "'float32'", "'float64'"),
    "random_state": (1, "0", "1"),
}


def test_every_parameter_is_free_or_has_a_case():
    assert OTHER.keys() | _base._FREE == KIPDistiller().get_params().keys()


@pytest.mark.parametrize("name", OTHER)
def test_other_parameter_is_refused(name, checkpoint, blobs, path, monkeypatch):
    path.write_bytes(checkpoint)
    value, was, now = OTHER[name]
    distiller = KIPDistiller(**FAST | {name: value})
    message = refusal(distiller, *blobs, path, monkeypatch)
    assert f"belongs to another fit: '{name}' was {was} and is {now}" in message or (
        name == "dtype" and f"; '{name}' was {was} and is {now}" in message  # and so is X
    )


def test_other_data_are_refused(checkpoint, blobs, path, monkeypatch):
    path.write_bytes(checkpoint)
    X, y = blobs[0].astype(np.float32), blobs[1]
    X[-1, -1] = np.nextafter(X[-1, -1], np.float32(np.inf))
    message = refusal(KIPDistiller(**FAST), X, y, path, monkeypatch)
    assert "another fit: X was array of shape (120, 5), " in message and "y was" not in message
    other = np.where(np.arange(120) == 60, 0, y)
    message = refusal(KIPDistiller(**FAST), blobs[0], other, path, monkeypatch)
    assert "another fit: y was array of shape (120,), " in message and "X was" not in message
    message = refusal(KIPDistiller(**FAST), blobs[0][::-1], y[::-1], path, monkeypatch)
    assert "X was" in message and "y was" in message
    message = refusal(KIPDistiller(**FAST | {"ipc": 1}), X, y, path, monkeypatch)
    assert "'ipc' was 2 and is 1; X was" in message


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def facts(**changes):
    known = {"format": "kipsk checkpoint 1", "arrays": ["losses"]} | changes
    return np.array(json.dumps(known))


FOREIGN = {
    "empty": b"",
    "text": b"steps: 20\n",
    "array": npy(np.arange(3)),
    "pickle": npy(np.array([{}], dtype=object)),
    "npz": archive(images=np.zeros((2, 3)), labels=np.arange(2)),
    "pickle in npz": archive(facts=facts(), losses=np.array([{}], dtype=object)),
    "no JSON": archive(facts=np.array("losses"), losses=np.zeros(2)),
    "list": archive(facts=np.array("[1]"), losses=np.zeros(2)),
    "number": archive(facts=np.array("1"), losses=np.zeros(2)),
    "another version": archive(facts=facts(format="kipsk checkpoint 0"), losses=np.zeros(2)),
    "not all": archive(facts=facts(arrays=["losses", "scores"]), losses=np.zeros(2)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_file_that_is_no_checkpoint_is_refused(kind, blobs, path, monkeypatch):
    path.write_bytes(FOREIGN[kind])
    message = refusal(KIPDistiller(**FAST), *blobs, path, monkeypatch)
    assert "is damaged or no checkpoint of this version of kipsk" in message


@pytest.mark.parametrize("part", [0.001, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(part, checkpoint, blobs, path, monkeypatch):
    path.write_bytes(checkpoint[: int(part * len(checkpoint))])
    message = refusal(KIPDistiller(**FAST), *blobs, path, monkeypatch)
    assert "is damaged or no checkpoint of this version of kipsk" in message


def test_damaged_file_is_refused_or_says_the_same(path):
    """Cut, or one bit flipped, anywhere. Some bits, such as those of the time, tell nothing."""
    checkpoint = Checkpoint(path, {"X": "1"})
    arrays = {"losses": np.arange(5.0), "state 0": np.ones((2, 3), np.float32)}
    checkpoint.save(arrays)
    whole = path.read_bytes()
    refused = 0
    damaged = [whole[:length] for length in range(0, len(whole), 3)]
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        damaged.append(bytes(changed))
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = checkpoint.load()
        except ValueError as error:
            assert "damaged or no checkpoint" in str(error)
            refused += 1
        else:
            assert loaded.keys() == arrays.keys()
            assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    assert refused > 0.8 * len(damaged)


# --- disks ---------------------------------------------------------------------------------------


def full(*_):
    raise OSError(28, "No space left on device")


def test_full_disk_ends_no_fit(snapshots, blobs, path, monkeypatch):
    """Oracle: the fit without checkpoints. One warning for all attempts."""
    monkeypatch.setattr(os, "fsync", full)
    distiller = KIPDistiller(checkpoint_path=path, checkpoint_interval=4, **FAST)
    with pytest.warns(UserWarning) as caught:
        distiller.fit(*blobs)
    (warning,) = caught
    assert repr(str(path)) in str(warning.message)
    assert "could not be written ([Errno 28] No space left on device)" in str(warning.message)
    assert_array_equal(distiller.X_s_, snapshots.X_s_)
    assert_array_equal(distiller.loss_curve_, snapshots.loss_curve_)
    assert list(path.parent.iterdir()) == []


def test_disk_that_is_full_for_a_while(snapshots, blobs, path, monkeypatch):
    """What was saved before stays, and is saved again when there is room."""
    fsync, n_calls = os.fsync, 0

    def full_twice(file):
        nonlocal n_calls
        n_calls += 1
        if n_calls in (2, 3):
            assert saved_steps(path) == 4
            full()
        fsync(file)

    monkeypatch.setattr(os, "fsync", full_twice)
    distiller = KIPDistiller(checkpoint_path=path, checkpoint_interval=4, **FAST)
    with pytest.warns(UserWarning, match="could not be written") as caught:
        distiller.fit(*blobs)
    assert len(caught) == 1 and n_calls == 5
    assert saved_steps(path) == 20
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/run.npz", ""])
def test_place_that_cannot_be_written_is_refused_before_any_step(
    place, blobs, tmp_path, monkeypatch
):
    monkeypatch.setattr(_run, "descend", lambda *_: pytest.fail("steps were run"))
    path = str(tmp_path / place)
    with pytest.raises(ValueError, match="must be a file in a folder that exists") as raised:
        KIPDistiller(checkpoint_path=path, **FAST).fit(*blobs)
    assert repr(path) in str(raised.value)


# --- processes -----------------------------------------------------------------------------------

ROOT = str(Path(kipsk.__file__).parents[1])
ENVIRONMENT = os.environ | {"PYTHONPATH": ROOT}

# A few rows in several batches: a step takes a fraction of a millisecond, a save a few.
SCRIPT = """
import json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the parent ignores it
import numpy as np
from kipsk import KIPDistiller
params, result = json.loads(sys.argv[1]), sys.argv[2]
codes = np.repeat([0, 1, 2], 10)
X = np.random.default_rng(0).normal(size=(30, 4)) + 3 * np.eye(4)[codes]
distiller = KIPDistiller(ipc=1, batch_size=10, snapshots="log", random_state=0, **params)
distiller.fit(X, codes)
arrays = {f"snapshot {step}": X_s for step, (X_s, _) in distiller.snapshots_.items()}
arrays |= {"X_s": distiller.X_s_, "y_s": distiller.y_s_, "losses": distiller.loss_curve_}
np.savez(result, **arrays)
print("fitted", distiller.n_iter_, len(distiller.predict(X)))
"""


needs_signals = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder for compiled code, so that only the first process waits for it."""
    return str(tmp_path_factory.mktemp("compiled"))


class Process:
    """SCRIPT in a process of its own."""

    def __init__(self, folder, compiled, result="result.npz", **params):
        self.checkpoint = params.get("checkpoint_path")
        self.result = folder / result
        self.before = self.stamp()
        cache = {
            "JAX_COMPILATION_CACHE_DIR": compiled,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(params), str(self.result)],
            env=ENVIRONMENT | cache,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stamp(self):
        """What changes with every save."""
        try:
            stat = os.stat(self.checkpoint)
        except (FileNotFoundError, TypeError):  # there is none yet, or none at all
            return None
        return stat.st_ino, stat.st_mtime_ns

    def send(self, which, delay, n_saves=1):
        """Send a signal so long after some saves; fail if the process ended before."""
        seen = self.before
        for _ in range(n_saves):
            while (stamp := self.stamp()) == seen:
                assert self.process.poll() is None, self.process.communicate()
                time.sleep(0.001)
            seen = stamp
        time.sleep(delay)
        assert self.process.poll() is None, "the run was over before the signal"
        os.kill(self.process.pid, which)

    def end(self):
        """Wait, and return the exit status, stdout and stderr."""
        out, err = self.process.communicate(timeout=240)
        return self.process.returncode, out, err

    def arrays(self):
        with np.load(self.result) as file:
            return {name: file[name] for name in file.files}


def kill_until_done(n_kills, max_iter, seed, *folders):
    """Oracle: the run in one process, without checkpoints."""
    path = str(folders[0] / "run.npz")
    plain = Process(*folders, "plain.npz", max_iter=max_iter)
    status, _, err = plain.end()
    assert status == 0, err
    rng = np.random.default_rng(seed)
    params = {"max_iter": max_iter, "checkpoint_path": path, "checkpoint_interval": 2}
    starts, n_halves = [0], 0
    for _ in range(n_kills):
        process = Process(*folders, **params)
        process.send(signal.SIGKILL, rng.uniform(0, 0.01), n_saves=rng.integers(1, 20))
        assert process.end()[0] == -signal.SIGKILL
        n_halves += Path(f"{path}.tmp").exists()
        starts.append(saved_steps(path))  # whole, whenever the kill came
    print(f"\nstarted at steps {starts} of {max_iter}; {n_halves} killed while writing")
    assert all(np.diff(starts) > 0) and starts[-1] < max_iter
    assert not process.result.exists()
    last = Process(*folders, **params)
    status, out, err = last.end()
    assert (status, out) == (0, f"fitted {max_iter} 30\n"), err
    assert not Path(f"{path}.tmp").exists()
    expected, arrays = plain.arrays(), last.arrays()
    assert arrays.keys() == expected.keys() and len(expected["losses"]) == max_iter
    for name, array in expected.items():
        assert_array_equal(arrays[name], array, err_msg=name)


@needs_signals
def test_killed_process_goes_on(tmp_path, compiled):
    kill_until_done(3, 600, 0, tmp_path, compiled)


@needs_signals
@pytest.mark.slow
def test_process_killed_twenty_times_goes_on(tmp_path, compiled):
    kill_until_done(20, 4000, 1, tmp_path, compiled)


@needs_signals
def test_ctrl_c_ends_a_process_with_its_fit(tmp_path, compiled):
    """A signal of the system, in a run that would take an hour."""
    params = {"max_iter": 1_000_000, "checkpoint_interval": 200}
    params["checkpoint_path"] = str(tmp_path / "run.npz")
    process = Process(tmp_path, compiled, **params)
    process.send(signal.SIGINT, 0.1)
    status, out, err = process.end()
    assert status == 0, err
    word, n_steps, n_predicted = out.split()
    assert word == "fitted" and 200 <= int(n_steps) < 1_000_000 and n_predicted == "30"
    assert f"ConvergenceWarning: KIPDistiller was interrupted after {n_steps} of" in err
    assert len(process.arrays()["losses"]) == int(n_steps)
    assert abs(saved_steps(tmp_path / "run.npz") - int(n_steps)) < 200


# --- watching ------------------------------------------------------------------------------------

HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None
with_callbacks = pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn has them since 1.9")


class Recorder:
    """A callback that notes what it is told, and ends the run after some steps."""

    def __init__(self, stop=None):
        self.stop = stop
        self.told = []
        self.fitted = []

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.estimator_name} {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.told.append(f"end {context.estimator_name} {context.task_name}")
        if context.task_name == "step":
            self.fitted.append(fitted_estimator)
            return len(self.fitted) == self.stop
        return None


class Propagated(Recorder):
    """One that pipelines hand on to their steps."""

    max_propagation_depth = None


@pytest.mark.parametrize("params", [FAST, SEVERAL], ids=["one batch", "several batches"])
def test_watching_changes_nothing(params, blobs, path):
    """Oracle: the run with none of it."""
    plain = KIPDistiller(**params).fit(*blobs)
    watched = KIPDistiller(
        verbose=1, snapshots="log", checkpoint_path=path, checkpoint_interval=3, **params
    )
    if HAS_CALLBACKS:
        from sklearn.callback import ScoringMonitor

        watched.set_callbacks(ScoringMonitor(scoring="accuracy"), Recorder())
    watched.fit(*blobs)
    assert list(watched.snapshots_) == [0, 1, 2, 4, 6, 8, 12, 18, 20]
    assert_array_equal(watched.snapshots_[20][0], watched.X_s_)
    watched.snapshots_.clear()
    assert_same_run(watched, plain)


@with_callbacks
def test_callback_sees_every_step(snapshots, blobs):
    """Oracle: the support after every step, from snapshots."""
    recorder = Recorder()
    distiller = KIPDistiller(**FAST).set_callbacks(recorder).fit(*blobs)
    steps = [f"{part} KIPDistiller step" for _ in range(20) for part in ("begin", "end")]
    whole = ["setup", "begin KIPDistiller fit", *steps, "end KIPDistiller fit", "teardown"]
    assert recorder.told == whole
    for step, fitted in enumerate(recorder.fitted, start=1):
        assert_array_equal(fitted.X_s_, snapshots.snapshots_[step][0])
        assert_array_equal(fitted.y_s_, snapshots.snapshots_[step][1])
    assert fitted.score(*blobs) == distiller.score(*blobs)


@with_callbacks
@pytest.mark.parametrize("stop", [6, 20])
def test_callback_ends_the_run(stop, snapshots, blobs):
    """Oracle: the whole run's support at that step: what the callback saw is what is kept."""
    recorder = Recorder(stop)
    distiller = KIPDistiller(**FAST).set_callbacks(recorder).fit(*blobs)
    assert len(recorder.fitted) == distiller.n_iter_ == stop
    assert recorder.told[-2:] == ["end KIPDistiller fit", "teardown"]
    assert_array_equal(distiller.loss_curve_, snapshots.loss_curve_[:stop])
    assert_array_equal(distiller.X_s_, snapshots.snapshots_[stop][0])
    assert_array_equal(distiller.y_s_, snapshots.snapshots_[stop][1])


@with_callbacks
def test_callback_and_early_stopping(blobs):
    """Oracle: the best score so far decides what is kept, whoever ends the run."""
    params = SEVERAL | {"early_stopping": True, "n_iter_no_change": 15, "snapshots": range(21)}
    distiller = KIPDistiller(**params).set_callbacks(Recorder(7)).fit(*blobs)
    assert distiller.n_iter_ == 7
    assert_array_equal(distiller.validation_steps_, [0, 3, 6])
    assert_array_equal(distiller.X_s_, distiller.snapshots_[distiller.best_iter_][0])


@with_callbacks
def test_callback_is_told_of_the_steps_that_are_left(snapshots, blobs, path):
    saving = FAST | {"checkpoint_path": path, "checkpoint_interval": 5}
    interrupt(KIPDistiller(**saving), blobs, 15)
    recorder = Recorder()
    KIPDistiller(**saving).set_callbacks(recorder).fit(*blobs)
    assert len(recorder.fitted) == 5
    assert_array_equal(recorder.fitted[0].X_s_, snapshots.snapshots_[16][0])


@with_callbacks
def test_scoring_monitor_logs_each_step(snapshots, blobs):
    """Oracle: kernel ridge regression on the support after a step."""
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    # A frame: what scorers are given must still have its names.
    X = pd.DataFrame(blobs[0], columns=list("abcde"))
    distiller = KIPDistiller(**FAST).set_callbacks(monitor).fit(X, blobs[1])
    log = monitor.get_logs().data
    assert [row["task_id"] for row in log] == list(range(20))
    for step in (1, 10, 20):
        X_s, y_s = snapshots.snapshots_[step]
        ridge = KernelRidgeNTK(distiller.kernel_, reg=distiller.reg_).fit(X_s, y_s)
        hits = ridge.predict(blobs[0].astype(np.float32)).argmax(axis=1) == blobs[1]
        assert log[step - 1]["accuracy"] == hits.mean()


@with_callbacks
def test_callbacks_reach_a_distiller_in_a_pipeline(blobs):
    """Oracle: the callback on the distiller itself, after the same transformer."""
    recorder = Propagated()
    distiller = KIPDistiller(**FAST | {"max_iter": 3})
    pipeline = make_pipeline(StandardScaler(), distiller).set_callbacks(recorder)
    if not hasattr(StandardScaler, "set_callbacks"):
        pytest.skip("a transformer without callbacks warns")
    pipeline.fit(*blobs)
    assert recorder.told[0] == "setup" and recorder.told[-1] == "teardown"
    assert recorder.told.count("begin KIPDistiller step") == 3
    assert recorder.told.count("end Pipeline fit") == 1
    own = Recorder()
    X = StandardScaler().fit_transform(blobs[0])
    alone = KIPDistiller(**FAST | {"max_iter": 3}).set_callbacks(own).fit(X, blobs[1])
    for one, other in zip(recorder.fitted, own.fitted, strict=True):
        assert_array_equal(one.X_s_, other.X_s_)
    assert_array_equal(pipeline[-1].X_s_, alone.X_s_)


@with_callbacks
def test_progress_bar_of_callbacks(blobs, capsys):
    pytest.importorskip("rich", reason="scikit-learn's bar needs rich")
    from sklearn.callback import ProgressBar

    KIPDistiller(**FAST).set_callbacks(ProgressBar()).fit(*blobs)
    assert "KIPDistiller - fit" in (output := capsys.readouterr().out) and "100%" in output


def test_callbacks_of_scikit_learn_are_not_needed(monkeypatch):
    """A second copy of the module, imported as with a scikit-learn that has none."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("without", f"{ROOT}/kipsk/_callbacks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def fit(self):
        return self

    assert module.with_callbacks(fit) is fit
    assert module.CallbackSupportMixin.__module__ == "without"
    assert not hasattr(module.CallbackSupportMixin(), "set_callbacks")
    tasks = module.FitTasks(module.CallbackSupportMixin(), 3, None, None)
    assert not tasks.are_watched
    tasks.end()


def test_random_preprocess_cannot_go_on(blobs, path):
    """Another projection gives another space, where the saved support means nothing."""
    preprocess = GaussianRandomProjection(4)
    KIPDistiller(preprocess=preprocess, checkpoint_path=path, **FAST).fit(*blobs)
    again = KIPDistiller(preprocess=preprocess, checkpoint_path=path, **FAST)
    with pytest.raises(
        ValueError, match=r"'preprocess' made of X is not what it was.*random_state"
    ):
        again.fit(*blobs)
    path.unlink()
    again.set_params(preprocess=GaussianRandomProjection(4, random_state=0)).fit(*blobs)
    assert_array_equal(again.X_s_, clone(again).fit(*blobs).X_s_)


def test_global_numbers_are_part_of_a_function():
    code = "def shift(key, images):\n    return (lambda x: x + SIZE)(images)"
    first, second = ({"__name__": "values", "SIZE": size} for size in (1.0, 2.0))
    for namespace in (first, second):
        exec(code, namespace)
    assert describe(first["shift"]) != describe(second["shift"])
