"""Workers of a dask cluster that die, hang or cannot take part. Oracle: squares."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from kipsk._engine._dask import _engine
from kipsk._engine._dask._cluster import Cluster
from kipsk._engine._dask._engine import Dask

from ._clusters import QUICK, blocks, cloudpickle, cluster_of, distributed, faulty, squares

# Workers cannot import this file: its functions are sent as code.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.slow


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
