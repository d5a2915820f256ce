"""Blocks on all devices of this process, one on each at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from kipsk._engine._base import Block, Placed, to_numpy


class Devices:
    """The engine of one process with several devices, by `shard_map`.

    Parameters
    ----------
    devices : sequence of jax.Device
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        self._mesh = Mesh(np.array(devices), ("blocks",))

    @contextmanager
    def place(
        self, constants: Sequence[Any], trees: Sequence[Any] = (), *, task_bytes: int = 0
    ) -> Iterator[Placed]:
        """Keep rows on the host, from where each device gets its own."""
        yield Placed(constants, to_numpy(list(trees)))

    def map(
        self,
        function: Any,
        placed: Placed,
        blocks: Iterable[Block],
        shared: Any = None,
        which: int = 0,
    ) -> Iterator[Any]:
        """Yield the results of the blocks."""
        n_devices = self._mesh.size
        for group in _alike(map(placed.arguments, blocks), n_devices):
            # The last group is filled with its last block.
            full = group + [group[-1]] * (n_devices - len(group))
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *full)
            results = to_numpy(
                _on_all(function, self._mesh, placed.constants[which], stacked, shared)
            )
            for i in range(len(group)):
                yield jax.tree.map(lambda leaf, at=i: leaf[at], results)


def _alike(arguments: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield groups of neighbours of the same shapes."""
    group: list[Any] = []
    for argument in arguments:
        if group and (len(group) == most or _shapes(group[0]) != _shapes(argument)):
            yield group
            group = []
        group.append(argument)
    if group:
        yield group


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


@partial(jax.jit, static_argnames=("function", "mesh"))
def _on_all(function: Any, mesh: Mesh, constant: Any, stacked: Any, shared: Any) -> Any:
    """Return the results of one block on each device, stacked."""

    def one(constant: Any, stacked: Any, shared: Any) -> Any:
        rows, own = jax.tree.map(lambda leaf: leaf[0], stacked)
        return jax.tree.map(lambda leaf: leaf[None], function(constant, rows, own, shared))

    everywhere, apart = PartitionSpec(), PartitionSpec("blocks")
    on_all = jax.shard_map(
        one,
        mesh=mesh,
        in_specs=(everywhere, apart, everywhere),
        out_specs=apart,
        check_vma=False,  # the kernels' loops start from constants, which are the same on all
    )
    return on_all(constant, stacked, shared)
