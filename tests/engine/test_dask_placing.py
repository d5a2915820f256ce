"""What a dask cluster is given, and forgets late. Oracle: a client that stands in for a cluster."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from kipsk._engine._dask import _engine
from kipsk._engine._dask._engine import _IN_USE, Dask
from kipsk._engine._dask._worker import SHARED

pytest.importorskip("distributed")
pytest.importorskip("cloudpickle")


class Client:
    """Keeps what a scheduler keeps. Whatever is forgotten waits while a worker hangs."""

    def __init__(self, id="client"):
        self.id, self.status, self.scheduler = id, "running", self
        self.plugins, self.metadata = {}, {}
        self.goes_on = threading.Event()
        self.n_late = 0

    def identity(self):
        worker = {"last_seen": time.time(), "nthreads": 1, "status": "running", "memory_limit": 0}
        return {"workers": {"tcp://worker": worker}}

    def sync(self, function, **_):
        return function()

    def register_plugin(self, plugin, name):
        self.plugins[name] = plugin

    def unregister_worker_plugin(self, name):
        self.goes_on.wait(60)
        del self.plugins[name]
        self.n_late += 1

    def set_metadata(self, keys, value):
        self.metadata[tuple(keys)] = value

    def cancel(self, futures):
        pass


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(_engine, "_FORGET", 0.05)


def wait_for(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_what_is_forgotten_late_is_not_what_is_placed_again(impatient):
    """The same content, while a worker that hangs still keeps the client from forgetting it."""
    client = Client()
    content = [2.0], [np.arange(6.0)]
    with Dask(client).place(*content) as first:
        assert list(client.plugins) == [first]
    with Dask(client).place(*content) as second:
        client.set_metadata([SHARED, second], b"what blocks share")
        client.goes_on.set()
        wait_for(lambda: client.metadata.get((SHARED, first), 0) is None)
        assert list(client.plugins) == [second]
        assert client.metadata[SHARED, second] == b"what blocks share"
    wait_for(lambda: client.n_late == 2)
    assert not client.plugins and not _IN_USE


def test_placing_does_not_wait_for_what_is_forgotten(monkeypatch):
    monkeypatch.setattr(_engine, "_FORGET", 60.0)
    client, is_placed = Client(), threading.Event()

    def forgets():
        with Dask(client).place([1.0]):
            pass

    def places():
        with Dask(client).place([2.0]):
            is_placed.set()

    first = threading.Thread(target=forgets)
    first.start()
    wait_for(lambda: client.plugins and not _IN_USE)
    second = threading.Thread(target=places)
    second.start()
    assert is_placed.wait(30)
    client.goes_on.set()
    for thread in (first, second):
        thread.join()
    assert not client.plugins


def test_runs_at_a_time_share_what_is_placed():
    client = Client()
    client.goes_on.set()
    with Dask(client).place([1.0]) as one:
        with Dask(client).place([1.0]) as same, Dask(client).place([2.0]) as other:
            assert one == same != other
        assert list(client.plugins) == [one]
    assert not client.plugins


def test_clients_do_not_share_what_is_placed():
    """One forgets nothing that another one needs."""
    clients = Client("one"), Client("other")
    for client in clients:
        client.goes_on.set()
    with Dask(clients[0]).place([1.0]) as one, Dask(clients[1]).place([1.0]) as other:
        assert one != other
        assert [list(client.plugins) for client in clients] == [[one], [other]]
