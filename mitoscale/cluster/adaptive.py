"""How many workers a group should have for the tasks that want it."""

from __future__ import annotations

import math

from mitoscale.cluster.groups import Group
from mitoscale.cluster.units import seconds_of


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
        """Workers there should be.

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
        needed = min(max(-(-load // self._group.tasks), adaptive.min), adaptive.max)
        if needed >= self._workers:
            self._workers, self._needed_at = needed, now
        elif now - self._needed_at >= seconds_of(adaptive.idle):
            self._workers = needed
        return self._workers
