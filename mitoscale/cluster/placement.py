"""Which workers take a stage: those of the group it wants, or of the one that stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitoscale.cluster.groups import STAND_INS, Group


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where tasks go."""

    resource: str | None
    """Dask resource that each takes one of; None: any worker will do."""
    slots: int
    """Tasks computed there at once, where all workers are there."""


class Placement:
    """Finds the place of a group's tasks. Each worker offers its group's name as a resource, as often as it has threads.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    groups : mapping of str to Group
        Groups whose workers are, or will be, there; empty where workers are taken as they are.
    """

    def __init__(self, client: Any, groups: Mapping[Any, Group]) -> None:
        self._client = client
        self._planned = {name: group.most * group.tasks for name, group in groups.items()}

    def of(self, wanted: str | None) -> Place:
        """The place of tasks that want a group; one nobody knows is a resource of its own."""
        there: dict[str | None, int] = self._client.run_on_scheduler(_offered)
        for name in STAND_INS.get(wanted or "", (wanted,) if wanted else ()):
            if name in there or name in self._planned:
                return Place(resource=name, slots=max(there.get(name, 0), self._planned.get(name, 0), 1))
        return Place(resource=wanted if wanted not in STAND_INS else None, slots=max(there.get(None, 0), 1))


def _offered(dask_scheduler: Any) -> dict[str | None, int]:
    """Runs on the scheduler: what all workers offer of each resource, and (None) their threads."""
    offered: dict[str | None, int] = {None: 0}
    for worker in dask_scheduler.workers.values():
        offered[None] += worker.nthreads
        for name, quantity in worker.resources.items():
            offered[name] = offered.get(name, 0) + int(quantity)
    return offered
