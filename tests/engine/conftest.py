from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def client():
    """The client of a cluster of two workers, which are processes."""
    from ._clusters import cluster_of, distributed  # which skips where there is no dask

    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client
