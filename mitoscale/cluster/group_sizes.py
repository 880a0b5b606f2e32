"""Which workers may leave where somebody else takes them back: those of groups that have more than they should.

The Dask operator asks the scheduler for some workers that can go and deletes their pods, whatever group it makes smaller. Left to
itself the scheduler names any that are idle, also the only one of another group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed import SchedulerPlugin


class GroupSizes(SchedulerPlugin):
    """Lives on the scheduler, which asks it before it names workers that can go."""

    name = "mitoscale-group-sizes"

    def __init__(self) -> None:
        self.wanted: Mapping[str, int] = {}

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Called by Dask.

        Parameters
        ----------
        scheduler : distributed.Scheduler
            With all workers.
        workers : list of distributed.scheduler.WorkerState
            Those that could go.

        Returns
        -------
        list
            Of each group so many as it has too many, those with nothing to do first.
        """
        may_leave: list[Any] = []
        for group, wanted in self.wanted.items():
            there = sum(group in worker.resources for worker in scheduler.workers.values())
            own = sorted((w for w in workers if group in w.resources), key=lambda worker: bool(worker.processing))
            may_leave += own[: max(there - wanted, 0)]
        return may_leave


def set_group_sizes(client: Any, wanted: Mapping[str, int]) -> None:
    """Tell the scheduler how many workers each group should have.

    Parameters
    ----------
    client : distributed.Client
        Connected to it.
    wanted : mapping of str to int
        Workers by group.
    """
    client.run_on_scheduler(_set, wanted=dict(wanted))


def _set(dask_scheduler: Any, wanted: Mapping[str, int]) -> None:
    """Runs on the scheduler."""
    if GroupSizes.name not in dask_scheduler.plugins:
        dask_scheduler.add_plugin(GroupSizes(), name=GroupSizes.name)
    dask_scheduler.plugins[GroupSizes.name].wanted = wanted
