"""One real cluster whose dashboard has the page, for all tests of the dashboard; helpers of the cluster's tests are at hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mitoscale.cluster.clusters import Cluster, ClusterSettings, start

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    from mitoscale.dashboard.plugin import (
        add_page,  # here: it loads distributed, whose log settings must not come before those of pytest
    )

    with start(ClusterSettings(workers=2, threads=1, memory="1 GiB", worker_ttl="60 s")) as running:
        add_page(running.client, running.dashboard_link)
        yield running
