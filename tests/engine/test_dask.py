"""Blocks on a dask cluster. Oracle: the same blocks in this process, to the last bit."""

from __future__ import annotations

import operator
import pickle
import sys
import threading

import jax
import jax.numpy as jnp
import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kipsk import KIPDistiller, Moments
from kipsk._distil import _pair_blocks
from kipsk._engine import LOCAL, Block, current, indices
from kipsk._engine._dask._engine import _IN_USE, Dask
from kipsk._engine._dask._worker import dumps
from kipsk.kernels import RBF, ConvNet, RandomFeatures
from kipsk.kernels._dot_product import RBFFunction

from ._clusters import blocks, cloudpickle, distributed, faulty, squares

# Workers cannot import this file: its functions are sent as code.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def weighted(weight, rows, own, shared):
    """A sum of squares; what it is given alone, and what all are given, is added."""
    return {"squares": weight * np.sum(rows**2, axis=0), "own": own + shared["added"]}


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
        assert pickle.loads(dumps(_pair_blocks.forward)) is _pair_blocks.forward
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
    assert functions == ["forward", "pull_back"] * 4 + ["_call", "_call"]


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["learned", "solved"])
def test_convolutional_kernels_have_the_same_bits(client, images, labels):
    assert_same_bits(ConvNet(1, image_shape=(4, 4, 1)), labels, images)


def test_moments_have_the_same_bits(client, images):
    """The blocks of a pass over all rows, on workers whose number does not count."""
    kernel = RandomFeatures("conv1", 2, 8, image_shape=(4, 4, 1), resample=False)
    moments = Moments(kernel, classes=np.unique(images[1]), block_size=7)
    expected = moments.fit(*images).H_
    with joblib.parallel_config("dask"):
        found = moments.fit(*images).H_
    assert_array_equal(found, expected)
