"""Keeps as many workers of each group as its tasks want, where they are jobs or pods that end, fail and are taken away."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mitoscale.cluster.groups import Group
from mitoscale.cluster.units import seconds_of
from mitoscale.core.errors import MitoscaleError, StoppedError

ROUND_SECONDS = 10.0
"""How often one looks; queues do not like to be asked more often."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Tasks and workers as the scheduler counts them."""

    load: Mapping[str, int]
    """Unfinished tasks by the group they want."""
    idle: Mapping[str, bool]
    """All workers by name, and whether they have nothing to do."""


class WorkerSource(Protocol):
    """Where workers come from."""

    def keep(self, wanted: Mapping[str, int], state: State) -> list[str]:
        """Bring the number of each group's workers nearer to what is wanted.

        Parameters
        ----------
        wanted : mapping of str to int
            Workers of each group that there should be, a multiple of those of a job.
        state : State
            What the scheduler has now.

        Returns
        -------
        list of str
            Names of idle workers that should leave.

        Raises
        ------
        StoppedError
            If there is no hope.
        """

    def more_to_come(self) -> bool:
        """Whether workers are asked for and not here yet."""

    def close(self) -> None:
        """End all workers."""


class Autoscaler:
    """Keeps the groups at their numbers while it is open; a context manager.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler that the workers join.
    groups : mapping of str to Group
        What there should be.
    source : WorkerSource
        Where workers come from.
    """

    def __init__(self, client: Any, groups: Mapping[Any, Group], source: WorkerSource) -> None:
        self._client = client
        self._source = source
        self._demands = {name: Demand(group) for name, group in groups.items()}
        self._end = threading.Event()
        self._problem: MitoscaleError | None = None
        self._thread = threading.Thread(target=self._run, name="mitoscale-autoscaler", daemon=True)

    def __enter__(self) -> Autoscaler:
        try:
            self._round()  # what the queue refuses is told at once
        except BaseException:
            self._source.close()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._source.close()

    def more_to_come(self) -> bool:
        """Whether workers are on their way.

        Raises
        ------
        StoppedError
            If there is no hope.
        """
        if self._problem is not None:
            raise self._problem
        return self._source.more_to_come()

    def _run(self) -> None:
        while not self._end.wait(ROUND_SECONDS):
            try:
                self._round()
            except MitoscaleError as error:
                self._problem = StoppedError(str(error))
                return
            except Exception as error:
                if not self._end.is_set():
                    self._problem = StoppedError(f"workers cannot be kept ({type(error).__name__}: {error})")
                return

    def _round(self) -> None:
        state = State(**self._client.run_on_scheduler(_state))
        now = time.monotonic()
        wanted = {name: demand.workers(state.load.get(name, 0), now) for name, demand in self._demands.items()}
        leaving = self._source.keep(wanted, state)
        if leaving:
            self._client.retire_workers(names=leaving, close_workers=True)


def _state(dask_scheduler: Any) -> dict[str, Any]:
    """Runs on the scheduler: see :class:`State`."""
    load: dict[str, int] = {}
    for task in dask_scheduler.tasks.values():
        if task.state in ("waiting", "queued", "no-worker", "processing"):
            for resource in task.resource_restrictions or ():
                load[resource] = load.get(resource, 0) + 1
    return {"load": load, "idle": {str(w.name): not w.processing for w in dask_scheduler.workers.values()}}


class Demand:
    """Follows the load of one group: grows at once, shrinks when the load has been low for a while.

    Parameters
    ----------
    group : Group
        With its limits; without ``adaptive`` the number never changes.

    Examples
    --------
    >>> demand = Demand(Group(adaptive={"min": 1, "max": 4, "idle": "60 s"}))
    >>> demand.workers(9, now=0.0), demand.workers(0, now=59.0), demand.workers(0, now=60.0)
    (4, 4, 1)
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._workers = group.least
        self._needed_at = -math.inf

    def workers(self, load: int, now: float) -> int:
        """Workers there should be: whole jobs.

        Parameters
        ----------
        load : int
            Tasks that are not finished and want this group.
        now : float
            Seconds on any clock that does not go back.
        """
        adaptive = self._group.adaptive
        if adaptive is None:
            return self._group.least
        per_job = self._group.per_job
        jobs = -(-load // (self._group.tasks * per_job))
        needed = min(max(jobs * per_job, adaptive.min), adaptive.max)
        if needed >= self._workers:
            self._workers, self._needed_at = needed, now
        elif now - self._needed_at >= seconds_of(adaptive.idle):
            self._workers = needed
        return self._workers
