"""Blocks on a dask cluster. Oracle: the same blocks in this process, to the last bit."""

from __future__ import annotations

import logging
import operator
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk import KIPDistiller
from kipsk._distil import _block_step
from kipsk._engine import LOCAL, Block, current, indices
from kipsk._engine._dask import _engine
from kipsk._engine._dask._cluster import Cluster, Limits
from kipsk._engine._dask._engine import _IN_USE, Dask
from kipsk._engine._dask._worker import dumps
from kipsk.kernels import RBF, ConvNet
from kipsk.kernels._dot_product import RBFFunction

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
cloudpickle = pytest.importorskip("cloudpickle")

# Workers cannot import this file: its functions are sent as code.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

QUICK = Limits(tick=0.2, silent=1.5, result=5, straggler=2, idle=2, no_workers=60, stall=90)
# Nothing here is about speed.
dask_environment = {"distributed.nanny.environ": {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}}


def cluster_of(n_workers, **options):
    options = {"threads_per_worker": 1, "dashboard_address": ":0"} | options
    options |= {"silence_logs": logging.CRITICAL}
    with dask.config.set(dask_environment):
        return distributed.LocalCluster(n_workers=n_workers, **options)


@pytest.fixture(scope="module")
def client():
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def quickly(quick_compilation):
    pass


def weighted(weight, rows, own, shared):
    """A sum of squares; what it is given alone, and what all are given, is added."""
    return {"squares": weight * np.sum(rows**2, axis=0), "own": own + shared["added"]}


def faulty(folder, _, own, shared):
    """Square a number; the first attempts at it may go wrong as `own` says."""
    number, fault, n_attempts = own
    attempts = Path(str(folder)) / str(number)
    if str(fault):
        with attempts.open("a") as file:
            file.write("x")
        if len(attempts.read_text()) <= int(n_attempts):
            {"dies": os.abort, "hangs": lambda: time.sleep(30)}[str(fault)]()
    time.sleep(0.05)
    return number**2


def blocks(faults, n=12, n_attempts=1):
    return [Block(own=(np.array(i), faults.get(i, ""), np.array(n_attempts))) for i in range(n)]


def squares(client, folder, faults, n=12, limits=QUICK, **options):
    engine = Dask(client, limits)
    with engine.place([str(folder)]) as placed:
        given = blocks(faults, n, **options)
        return [int(value) for value in engine.map(faulty, placed, given)]


class TestEngine:
    @pytest.mark.parametrize("which", [0, 1])
    def test_equals_local(self, client, which):
        X = np.random.default_rng(0).standard_normal((23, 4))
        given = [Block(rows, 0, np.float64(i)) for i, rows in enumerate(indices(23, 4))]
        results = []
        for engine in (LOCAL, Dask(client)):
            with engine.place([2.0, 3.0], [X]) as placed:
                results.append(list(engine.map(weighted, placed, given, {"added": 1}, which)))
        for one, other in zip(*results, strict=True):
            assert_array_equal(one["squares"], other["squares"])
            assert one["own"] == other["own"]

    def test_a_generator_of_blocks_is_read_as_needed(self, client, tmp_path):
        """Rows to predict do not all lie in memory."""
        read = []
        engine = Dask(client)
        with engine.place([str(tmp_path)]) as placed:
            results = engine.map(faulty, placed, (read.append(0) or b for b in blocks({}, 30)))
            assert len(read) == 4
            assert [int(next(results)) for _ in range(3)] == [0, 1, 4]
            assert len(read) < 12
            results.close()

    def test_what_is_placed_is_forgotten(self, client):
        def placed():
            from kipsk._engine._dask import _worker

            return list(_worker._SENT)

        engine, other = Dask(client), Dask(client)
        with engine.place([1.0]) as name:
            with other.place([1.0]) as same:
                assert name == same
            assert list(client.run(placed).values()) == [[name], [name]]
        assert list(client.run(placed).values()) == [[], []]
        assert not _IN_USE

    def test_a_client_that_is_not_the_default(self, client, tmp_path, monkeypatch):
        monkeypatch.setattr("distributed.client._global_clients", {})
        assert squares(client, tmp_path, {}, 3) == [0, 1, 4]

    def test_constants_of_jax_keep_their_precision(self, client):
        with jax.enable_x64(True), Dask(client).place([jnp.float64(2)]) as placed:
            (result,) = Dask(client).map(product, placed, [Block(own=np.float64(1.5))])
        assert result.dtype == np.float64

    def test_jitted_functions_are_found_again(self):
        """By name only where the name is theirs."""
        assert pickle.loads(dumps(_block_step._forward)) is _block_step._forward
        jitted = jax.jit(product)
        assert pickle.loads(dumps(jitted)) is not product

    def test_errors_of_a_block_are_shown(self, client):
        engine = Dask(client)
        given = [Block(own=np.array(1.0))]
        with (
            engine.place(["no number"]) as placed,
            pytest.raises(RuntimeError, match="failed on a worker of the dask cluster: UFuncTypeE"),
        ):
            list(engine.map(failing, placed, given))

    def test_what_cannot_be_sent(self, client):
        with (
            pytest.raises(TypeError, match="cannot be sent to the workers"),
            Dask(client).place([threading.Lock()]),
        ):
            pass


def product(constant, _, own, shared):
    return constant * own


def failing(constant, _, own, shared):
    return operator.add(own, np.array(constant))


class TestCurrent:
    def test_where(self, client):
        def where():
            from kipsk._engine import current

            return type(current()).__name__

        assert current() is LOCAL
        with joblib.parallel_config("dask"):
            assert current().client is client
            assert current(is_slow=False) is LOCAL
            found = joblib.Parallel(n_jobs=2)(joblib.delayed(where)() for _ in range(2))
        assert found == ["Local", "Local"]

    def test_closed_client(self, client):
        other = distributed.Client(client.scheduler.address, set_as_default=False)
        other.close()
        with (
            pytest.raises(RuntimeError, match=r"is closed, or its scheduler is gone"),
            Dask(other).place([]),
        ):
            pass


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.standard_normal((31, 16)), np.arange(31) % 3


@pytest.fixture
def slow_rbf(monkeypatch):
    """A kernel that is sent elsewhere as slow ones are, and compiles at once."""
    monkeypatch.setattr(RBFFunction, "pair_size", lambda *_: 2)
    return RBF(4.0)


def assert_same_bits(kernel, labels, images):
    options = {"ipc": 1, "max_iter": 3, "random_state": 0, "block_size": 8, "labels": labels}
    distillers, predictions = [], []
    for backend in ("loky", "dask"):
        with joblib.parallel_config(backend):
            distiller = KIPDistiller(kernel, **options).fit(*images)
            distillers.append(distiller)
            predictions.append(distiller.decision_function(images[0]))
    assert_array_equal(distillers[0].loss_curve_, distillers[1].loss_curve_)
    assert_array_equal(distillers[0].X_s_, distillers[1].X_s_)
    assert_array_equal(distillers[0].y_s_, distillers[1].y_s_)
    assert_array_equal(*predictions)


def test_estimators_have_the_same_bits(client, images, slow_rbf, monkeypatch):
    """Solved labels are those of all rows, so `LabelSolver`'s sums are in it."""
    functions = []
    original = Dask.map
    monkeypatch.setattr(
        Dask, "map", lambda *args, **kw: functions.append(args[1].__name__) or original(*args, **kw)
    )
    assert_same_bits(slow_rbf, "solved", images)
    assert functions == ["_forward", "_pull_back"] * 4 + ["_call", "_call"]


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["learned", "solved"])
def test_convolutional_kernels_have_the_same_bits(client, images, labels):
    assert_same_bits(ConvNet(1, image_shape=(4, 4, 1)), labels, images)


@pytest.mark.slow
class TestFaults:
    """The cluster's nannies start dead workers again."""

    def test_a_worker_dies(self, client, tmp_path):
        assert squares(client, tmp_path, {3: "dies"}) == [i**2 for i in range(12)]

    def test_all_workers_die(self, client, tmp_path):
        assert squares(client, tmp_path, {2: "dies", 3: "dies"}) == [i**2 for i in range(12)]
        client.wait_for_workers(2, timeout=60)

    def test_all_workers_are_killed_between_blocks(self, client, tmp_path):
        """What was computed on them and not yet brought is lost."""
        client.wait_for_workers(2, timeout=60)
        engine = Dask(client, QUICK)
        with engine.place([str(tmp_path)]) as placed:
            results = engine.map(faulty, placed, blocks({}))
            first = [int(next(results)) for _ in range(2)]
            time.sleep(1)  # the next ones are done and lie on the workers
            for pid in client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
            assert first + [int(value) for value in results] == [i**2 for i in range(12)]
        client.wait_for_workers(2, timeout=60)

    def test_a_block_that_kills_every_worker(self, client, tmp_path):
        limits = QUICK._replace(losses=1)
        with pytest.raises(RuntimeError, match=r"lost 1 times .* raise memory_limit"):
            squares(client, tmp_path, {1: "dies"}, 3, limits, n_attempts=99)
        client.wait_for_workers(2, timeout=60)

    def test_cancelled_by_others(self, tmp_path):
        """A restart of the cluster cancels all that is under way."""
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine = Dask(client, QUICK)
            with engine.place([str(tmp_path)]) as placed:
                results = engine.map(faulty, placed, blocks({}))
                first = int(next(results))
                client.restart()
                assert [first, *map(int, results)] == [i**2 for i in range(12)]

    def test_a_worker_hangs(self, tmp_path):
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            start = time.monotonic()
            assert squares(client, tmp_path, {5: "hangs"}) == [i**2 for i in range(12)]
            assert time.monotonic() - start < 25

    def test_a_stopped_worker(self, tmp_path):
        """Nothing of it answers, and it holds blocks that wait."""
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine = Dask(client, QUICK)
            pids = client.run(os.getpid)
            with engine.place([str(tmp_path)]) as placed:
                results = engine.map(faulty, placed, blocks({}))
                first = int(next(results))
                pid = next(iter(pids.values()))
                os.kill(pid, signal.SIGSTOP)
                try:
                    assert [first, *map(int, results)] == [i**2 for i in range(12)]
                finally:
                    os.kill(pid, signal.SIGCONT)

    def test_a_stopped_worker_costs_one_wait(self, tmp_path):
        """It is given nothing more, though others have done what it was to do."""
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine, seconds = Dask(client, QUICK), []
            with engine.place([str(tmp_path)]) as placed:
                list(engine.map(faulty, placed, blocks({})))
                pid = next(iter(client.run(os.getpid).values()))
                os.kill(pid, signal.SIGSTOP)
                try:
                    for _ in range(3):
                        start = time.monotonic()
                        results = engine.map(faulty, placed, blocks({}))
                        assert [int(value) for value in results] == [i**2 for i in range(12)]
                        seconds.append(time.monotonic() - start)
                finally:
                    os.kill(pid, signal.SIGCONT)
            assert seconds[0] < 2 * QUICK.straggler
            assert max(seconds[1:]) < QUICK.silent

    def test_a_block_that_hangs_costs_one_wait(self, tmp_path):
        """Its worker tells of itself and seems busy."""
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine, seconds = Dask(client, QUICK), []
            with engine.place([str(tmp_path)]) as placed:
                list(engine.map(faulty, placed, blocks({})))
                for number in range(3):
                    start = time.monotonic()
                    results = engine.map(faulty, placed, blocks({} if number else {5: "hangs"}))
                    assert [int(value) for value in results] == [i**2 for i in range(12)]
                    seconds.append(time.monotonic() - start)
            assert seconds[0] > QUICK.straggler > max(seconds[1:])

    def test_an_idle_worker_does_not_wait(self, tmp_path):
        """What another one has not done for long is sent to it, once all know how long it takes."""
        limits = QUICK._replace(straggler=25, idle=1)
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine = Dask(client, limits)
            with engine.place([str(tmp_path)]) as placed:
                list(engine.map(faulty, placed, blocks({})))
                start = time.monotonic()
                results = engine.map(faulty, placed, blocks({5: "hangs"}))
                assert [int(value) for value in results] == [i**2 for i in range(12)]
                assert limits.idle < time.monotonic() - start < limits.straggler / 2

    def test_results_on_a_stopped_worker(self, tmp_path):
        """They are waited for once. A worker that joined meanwhile does all."""
        limits = QUICK._replace(silent=25, straggler=25, idle=1)
        with cluster_of(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine = Dask(client, limits)
            with engine.place([str(tmp_path)]) as placed:
                list(engine.map(faulty, placed, blocks({})))
                results = engine.map(faulty, placed, blocks({}, 40))
                first = int(next(results))
                (pid,) = client.run(os.getpid).values()
                cluster.scale(2)
                client.wait_for_workers(2, timeout=60)
                os.kill(pid, signal.SIGSTOP)
                start = time.monotonic()
                try:
                    assert [first, *map(int, results)] == [i**2 for i in range(40)]
                finally:
                    os.kill(pid, signal.SIGCONT)
                assert time.monotonic() - start < 2 * limits.result

    def test_a_result_is_lost(self, tmp_path):
        """Its worker had announced it."""

        class Drop(distributed.WorkerPlugin):
            def setup(self, worker):
                self.worker, self.is_over = worker, False

            def transition(self, key, start, finish, **kwargs):
                if finish == "memory" and str(key).startswith("kipsk-faulty-3-"):
                    if not self.is_over:
                        del self.worker.data[key]
                    self.is_over = True

        with cluster_of(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            client.register_plugin(Drop())
            assert squares(client, tmp_path, {}) == [i**2 for i in range(12)]

    def test_what_waits_behind_a_block_goes_to_an_idle_worker(self, tmp_path, monkeypatch):
        """At once; the block itself when it is late."""
        sent = []
        original = Cluster.submit
        monkeypatch.setattr(
            Cluster,
            "submit",
            lambda self, attempt, *args: (
                sent.append((attempt.task.index, attempt.worker)) or original(self, attempt, *args)
            ),
        )
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            assert squares(client, tmp_path, {1: "hangs"}) == [i**2 for i in range(12)]
        hanging = sent[1][1]
        behind = next(i for i, worker in sent[2:] if worker == hanging)
        assert [worker for i, worker in sent if i == behind] == [hanging, sent[0][1]]
        assert [i for i, _ in sent[-2:]] == [behind, 1]

    def test_a_restart_where_a_worker_is_in_doubt(self, tmp_path):
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine = Dask(client, QUICK)
            with engine.place([str(tmp_path)]) as placed:
                results = engine.map(faulty, placed, blocks({}))
                first = int(next(results))
                engine._cluster.doubt(next(iter(client.scheduler_info()["workers"])))
                client.restart()
                assert [first, *map(int, results)] == [i**2 for i in range(12)]

    @pytest.mark.parametrize("n_workers", [1, 2])
    def test_a_worker_without_what_is_placed(self, client, tmp_path, n_workers):
        """Others do its blocks. If there are none, an error tells."""

        def clear():
            from kipsk._engine._dask import _worker

            _worker._SENT.clear()

        client.wait_for_workers(2, timeout=60)
        workers = [*client.scheduler_info()["workers"]]
        engine = Dask(client, QUICK)
        with engine.place([str(tmp_path)]) as placed:
            client.run(clear, workers=workers[:n_workers])
            results = engine.map(faulty, placed, blocks({}))
            if n_workers == 1:
                assert [int(value) for value in results] == [i**2 for i in range(12)]
            else:
                with pytest.raises(RuntimeError, match=r"Workers joined .* that cannot take part"):
                    list(results)

    def test_an_adaptive_cluster(self, tmp_path):
        """It has no worker until there is something to do."""
        with cluster_of(0) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            cluster.adapt(minimum=0, maximum=1, interval="200ms")
            assert squares(client, tmp_path, {}) == [i**2 for i in range(12)]

    def test_placing_where_a_worker_is_stopped(self, tmp_path):
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGSTOP)
            try:
                assert squares(client, tmp_path, {}) == [i**2 for i in range(12)]
            finally:
                os.kill(pid, signal.SIGCONT)

    def test_placing_where_a_worker_dies(self, tmp_path, monkeypatch):
        def dying(*given, original=_engine.plugin):
            plugin = original(*given)
            type(plugin).setup_of_all = type(plugin).setup
            type(plugin).setup = setup_or_die
            plugin.folder = tmp_path
            return plugin

        def setup_or_die(plugin, worker):
            if not (plugin.folder / "died").exists():
                (plugin.folder / "died").touch()
                os.abort()
            plugin.setup_of_all(worker)

        monkeypatch.setattr(_engine, "plugin", dying)
        with cluster_of(2) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            assert squares(client, tmp_path, {}) == [i**2 for i in range(12)]

    def test_the_scheduler_ends(self, tmp_path):
        with cluster_of(1) as cluster:
            client = distributed.Client(cluster.scheduler_address, set_as_default=False, timeout=2)
            engine = Dask(client, QUICK)
            with (
                pytest.raises(RuntimeError, match=r"its scheduler is gone\. Open one"),
                engine.place([str(tmp_path)]) as placed,
            ):
                for _ in engine.map(faulty, placed, blocks({}, 400)):
                    cluster.close()
            client.close()

    def test_a_late_worker(self, tmp_path):
        with cluster_of(0) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            engine = Dask(client, QUICK)
            with engine.place([str(tmp_path)]) as placed:
                results = engine.map(faulty, placed, blocks({}))
                threading.Timer(1, cluster.scale, [1]).start()
                assert [int(value) for value in results] == [i**2 for i in range(12)]

    def test_threads_of_one_process(self, tmp_path):
        """What one worker drops when it ends stays there for the others."""
        options = {"processes": False, "dashboard_address": None}
        with cluster_of(3, **options) as cluster, distributed.Client(cluster) as client:
            engine = Dask(client, QUICK)
            with engine.place([str(tmp_path)]) as placed:
                results = engine.map(faulty, placed, blocks({}))
                first = int(next(results))
                cluster.sync(cluster.workers[0].close, nanny=False, executor_wait=False)
                assert [first, *map(int, results)] == [i**2 for i in range(12)]

    def test_no_worker(self, tmp_path):
        with (
            cluster_of(0) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
            pytest.raises(RuntimeError, match="has had no worker for 4 seconds"),
        ):
            squares(client, tmp_path, {}, limits=QUICK._replace(no_workers=4))

    def test_silence(self, tmp_path):
        limits = QUICK._replace(stall=3)
        with (
            cluster_of(1) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
            pytest.raises(
                RuntimeError, match=r"No block came back .* for 3 seconds, with 1 worker"
            ),
        ):
            squares(client, tmp_path, {0: "hangs"}, 1, limits)


@pytest.mark.slow
class TestBadClusters:
    def test_memory(self):
        with (
            cluster_of(1, memory_limit="600MiB") as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
            pytest.raises(ValueError, match=r"limit of 600 MiB.* A block needs about 550 MiB"),
            Dask(client).place([], task_bytes=100 * 2**20),
        ):
            pass

    def test_a_worker_without_kipsk(self):
        def hide():
            for name in [name for name in sys.modules if name.partition(".")[0] == "kipsk"]:
                del sys.modules[name]
            sys.modules["kipsk"] = None

        with cluster_of(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            client.run(hide)
            with (
                pytest.raises(RuntimeError, match=r"the worker tcp.* has no kipsk"),
                Dask(client).place([]),
            ):
                pass

    def test_another_version(self):
        def change():
            import kipsk

            kipsk.__version__ = "0.0.1"

        with cluster_of(1) as cluster, distributed.Client(cluster, set_as_default=False) as client:
            client.run(change)
            with (
                pytest.raises(RuntimeError, match=r"has kipsk 0.0.1, jax .*, this process kipsk"),
                Dask(client).place([]),
            ):
                pass
