"""Dask's settings are those of the clusters that live, in whatever order they end, and then what they were."""

from __future__ import annotations

import copy
from contextlib import ExitStack

import dask
import pytest

from mitoscale.cluster.configuration import applied, configuration
from mitoscale.cluster.settings import ClusterSettings

TIMEOUT = "distributed.deploy.lost-worker-timeout"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1)])
def test_clusters_may_end_in_any_order(order: tuple[int, ...]) -> None:
    before = copy.deepcopy(dask.config.config)
    stacks = [ExitStack() for _ in range(3)]
    for number, stack in enumerate(stacks):
        values = {"a-new.place": number, f"own-{number}.name": number, **configuration(ClusterSettings())}
        stack.enter_context(applied(values))
    living = {0, 1, 2}
    for number in order:
        assert dask.config.get(TIMEOUT) == "1 hour" and dask.config.get("a-new.place") == max(living)
        assert {n for n in range(3) if dask.config.get(f"own-{n}.name", None) == n} == living
        stacks[number].close()
        living.remove(number)
    assert dask.config.config == before


def test_a_cluster_that_fails_leaves_nothing() -> None:
    before = copy.deepcopy(dask.config.config)
    with pytest.raises(RuntimeError), applied({TIMEOUT: "2 hours"}):
        raise RuntimeError
    assert dask.config.config == before
