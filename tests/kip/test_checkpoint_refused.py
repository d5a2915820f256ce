"""Checkpoints of another fit, foreign and damaged files, full disks."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import optax
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import StandardScaler

from kipsk import KIPDistiller
from kipsk._distil import _run
from kipsk._kip import _checkpoint

from ._runs import FAST, noisy, saved_steps

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
    "targets": ("given", "'auto'", "'given'"),
    "init": (START, "'sample'", "tuple(array of shape (3, 5), "),
    "loss": ("platt", "'mse'", "'platt'"),
    "class_weight": ("balanced", "None", "'balanced'"),
    "augment": (noisy, "None", f"{noisy.__module__}.noisy"),
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


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(float).tolist(),
    ],
)
def test_equal_labels_are_equal_in_any_container(labels, blobs, checkpoint, path, monkeypatch):
    """Oracle: the run that ended, which takes no more steps."""
    path.write_bytes(checkpoint)
    X, y = blobs
    again = KIPDistiller(checkpoint_path=path, **FAST).fit(X, labels(y))
    assert_array_equal(again.X_s_, KIPDistiller(**FAST).fit(X, y).X_s_)
    assert again.n_iter_ == FAST["max_iter"]
    message = refusal(KIPDistiller(**FAST), X, labels(y[::-1]), path, monkeypatch)
    assert "y was" in message


def test_every_parameter_is_free_or_has_a_case():
    others = OTHER.keys() | {"factor"}  # below, on images whose sides it divides
    assert others | _checkpoint._FREE == KIPDistiller().get_params().keys()


@pytest.mark.parametrize("name", OTHER)
def test_other_parameter_is_refused(name, checkpoint, blobs, path, monkeypatch):
    path.write_bytes(checkpoint)
    value, was, now = OTHER[name]
    distiller = KIPDistiller(**FAST | {name: value})
    message = refusal(distiller, *blobs, path, monkeypatch)
    assert f"belongs to another fit: '{name}' was {was} and is {now}" in message or (
        name == "dtype" and f"; '{name}' was {was} and is {now}" in message  # and so is X
    )


def test_other_factor_is_refused(blobs, path, monkeypatch):
    X, y = blobs[0][:, :4], blobs[1]
    params = FAST | {"image_shape": (2, 2, 1)}
    KIPDistiller(checkpoint_path=path, **params).fit(X, y)
    message = refusal(KIPDistiller(**params, factor=2), X, y, path, monkeypatch)
    assert "belongs to another fit: 'factor' was 1 and is 2" in message


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
