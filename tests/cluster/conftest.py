"""One real cluster of two workers for all tests of the cluster package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mitoscale.cluster.clusters import Cluster, ClusterSettings, start


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with start(ClusterSettings(workers=2, threads=1, memory="1 GiB", worker_ttl="60 s")) as running:
        yield running
