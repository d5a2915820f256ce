"""Runs in processes of their own, which signals of the system end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import kipsk

from ._runs import saved_steps

ROOT = str(Path(kipsk.__file__).parents[1])

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


class Process:
    """SCRIPT in a process of its own."""

    def __init__(self, folder, result="result.npz", **params):
        self.checkpoint = params.get("checkpoint_path")
        self.result = folder / result
        self.before = self.stamp()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(params), str(self.result)],
            env=os.environ | {"PYTHONPATH": ROOT},  # and where compiled code lies, by conftest.py
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


def arrays_of_run(max_iter, path, monkeypatch):
    """What SCRIPT saves, of a run in this process and without checkpoints."""
    monkeypatch.setattr(sys, "argv", ["script", json.dumps({"max_iter": max_iter}), str(path)])
    exec(SCRIPT, {})
    with np.load(path) as file:
        return dict(file)


def kill_until_done(n_kills, max_iter, seed, folder, monkeypatch):
    """Oracle: the run in one process, without checkpoints."""
    path = str(folder / "run.npz")
    expected = arrays_of_run(max_iter, folder / "plain.npz", monkeypatch)
    rng = np.random.default_rng(seed)
    params = {"max_iter": max_iter, "checkpoint_path": path, "checkpoint_interval": 2}
    starts, n_halves = [0], 0
    for _ in range(n_kills):
        process = Process(folder, **params)
        process.send(signal.SIGKILL, rng.uniform(0, 0.01), n_saves=rng.integers(1, 20))
        assert process.end()[0] == -signal.SIGKILL
        n_halves += Path(f"{path}.tmp").exists()
        starts.append(saved_steps(path))  # whole, whenever the kill came
    print(f"\nstarted at steps {starts} of {max_iter}; {n_halves} killed while writing")
    assert all(np.diff(starts) > 0) and starts[-1] < max_iter
    assert not process.result.exists()
    last = Process(folder, **params)
    status, out, err = last.end()
    assert (status, out) == (0, f"fitted {max_iter} 30\n"), err
    assert not Path(f"{path}.tmp").exists()
    arrays = last.arrays()
    assert arrays.keys() == expected.keys() and len(expected["losses"]) == max_iter
    for name, array in expected.items():
        assert_array_equal(arrays[name], array, err_msg=name)


@needs_signals
def test_killed_process_goes_on(tmp_path, monkeypatch):
    """Killed again after it went on: in the slow test, and in test_resume.py without a process."""
    kill_until_done(1, 300, 0, tmp_path, monkeypatch)


@needs_signals
@pytest.mark.slow
def test_process_killed_twenty_times_goes_on(tmp_path, monkeypatch):
    kill_until_done(20, 4000, 1, tmp_path, monkeypatch)


@needs_signals
def test_ctrl_c_ends_a_process_with_its_fit(tmp_path):
    """A signal of the system, in a run that would take an hour."""
    params = {"max_iter": 1_000_000, "checkpoint_interval": 200}
    params["checkpoint_path"] = str(tmp_path / "run.npz")
    process = Process(tmp_path, **params)
    process.send(signal.SIGINT, 0.1)
    status, out, err = process.end()
    assert status == 0, err
    word, n_steps, n_predicted = out.split()
    assert word == "fitted" and 200 <= int(n_steps) < 1_000_000 and n_predicted == "30"
    assert f"ConvergenceWarning: KIPDistiller was interrupted after {n_steps} of" in err
    assert len(process.arrays()["losses"]) == int(n_steps)
    assert abs(saved_steps(tmp_path / "run.npz") - int(n_steps)) < 200
