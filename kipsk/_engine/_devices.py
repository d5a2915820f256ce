"""Blocks on all devices of this process, one block on each device at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from kipsk._engine._base import Block, Function, Placed, to_numpy
from kipsk._types import PyTree


class Devices:
    """The engine of one process with several devices, by `shard_map`.

    Parameters
    ----------
    devices : sequence of jax.Device
    """

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        self._mesh = Mesh(np.array(devices), ("blocks",))

    @contextmanager
    def place(
        self, constants: Sequence[PyTree], trees: Sequence[PyTree] = (), *, task_bytes: int = 0
    ) -> Iterator[Placed]:
        """Keep rows on the host, from where each device gets the rows of its block."""
        yield Placed(constants, to_numpy(list(trees)))

    def map(
        self,
        function: Function,
        placed: Placed,
        blocks: Iterable[Block],
        shared: PyTree = None,
        which: int = 0,
    ) -> Iterator[PyTree]:
        """Yield the results of the blocks."""
        n_devices = self._mesh.size
        for group in _alike(map(placed.arguments, blocks), n_devices):
            # The last block fills up the last group.
            full = group + [group[-1]] * (n_devices - len(group))
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *full)
            results = to_numpy(
                _on_all(function, self._mesh, placed.constants[which], stacked, shared)
            )
            for i in range(len(group)):
                yield jax.tree.map(lambda leaf, at=i: leaf[at], results)


def _alike(arguments: Iterable[PyTree], most: int) -> Iterator[list[PyTree]]:
    """Yield groups of neighbours with the same shapes, `most` at most in a group."""
    group: list[PyTree] = []
    for argument in arguments:
        if group and (len(group) == most or _shapes(group[0]) != _shapes(argument)):
            yield group
            group = []
        group.append(argument)
    if group:
        yield group


def _shapes(tree: PyTree) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


@partial(jax.jit, static_argnames=("function", "mesh"))
def _on_all(
    function: Function, mesh: Mesh, constant: PyTree, stacked: PyTree, shared: PyTree
) -> PyTree:
    """Return the results of one block on each device, stacked."""

    def one(constant: PyTree, stacked: PyTree, shared: PyTree) -> PyTree:
        rows, own = jax.tree.map(lambda leaf: leaf[0], stacked)
        return jax.tree.map(lambda leaf: leaf[None], function(constant, rows, own, shared))

    everywhere, apart = PartitionSpec(), PartitionSpec("blocks")
    on_all = jax.shard_map(
        one,
        mesh=mesh,
        in_specs=(everywhere, apart, everywhere),
        out_specs=apart,
        check_vma=False,  # loops of kernels start from constants, which are the same on all devices
    )
    return on_all(constant, stacked, shared)
