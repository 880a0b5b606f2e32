"""Which workers take a stage: those of the group it wants, or of the one that stands in for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mitoscale.cluster.connection import no_pending_workers
from mitoscale.cluster.groups import STAND_INS, Group
from mitoscale.core.errors import StoppedError

NO_WORKER_SECONDS = 600.0
"""Where tasks go, and nobody has been there to take them for this long, the run stops."""


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
    more_to_come : callable
        Whether workers are on their way.
    """

    def __init__(self, client: Any, groups: Mapping[Any, Group], more_to_come: Callable[[], bool] = no_pending_workers) -> None:
        self._client = client
        self._planned = {name: group.most * group.tasks for name, group in groups.items()}
        self._more_to_come = more_to_come
        self._resource: str | None = None
        self._manned = time.monotonic()

    def of(self, wanted: str | None) -> Place:
        """The place of tasks that want a group; one nobody knows is a resource of its own."""
        there: dict[str | None, int] = self._client.run_on_scheduler(_offered)
        place = self._place(wanted, there)
        if place.resource != self._resource or place.resource in there:
            self._resource, self._manned = place.resource, time.monotonic()
        return place

    def more_to_come(self) -> bool:
        """Whether workers are on their way.

        Raises
        ------
        StoppedError
            If tasks wait for workers of a group that has lost all of them, though others are still there.
        """
        if self._more_to_come() or self._resource in self._client.run_on_scheduler(_offered):
            self._manned = time.monotonic()
        elif time.monotonic() - self._manned > NO_WORKER_SECONDS:
            raise StoppedError(
                f"there has been no worker that takes {self._resource} for {NO_WORKER_SECONDS / 60:.0f} minutes; "
                "start one, then the same command again to go on"
            )
        return self._more_to_come()

    def _place(self, wanted: str | None, there: Mapping[str | None, int]) -> Place:
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
