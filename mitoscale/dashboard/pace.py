"""How fast a run goes on: now, and how fast it went before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

LATEST = 200
"""Tasks whose times give the pace of now."""

MOST_STRETCHES = 240
"""Stretches of time that are kept; when there are more, each two become one."""


@dataclass
class Stretch:
    """A stretch of time in which one stage was at work."""

    stage: str
    """The stage."""
    begin: float
    """Seconds since 1970."""
    end: float
    """Seconds since 1970."""
    tasks: int = 0
    """Tasks that returned in it."""
    voxels: float = 0.0
    """Their voxels."""


class Pace:
    """Counts tasks and voxels as they are done.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.begin("detect", now=100.0)
    >>> for second in (1, 2, 3, 4):
    ...     pace.add(voxels=5e6, now=100.0 + second)
    >>> pace.tasks_per_second, pace.voxels_per_second
    (1.0, 5000000.0)
    >>> [(s.end - s.begin, s.tasks) for s in pace.stretches]
    [(1.0, 1), (1.0, 1), (1.0, 1), (1.0, 1)]
    """

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        self._latest: deque[tuple[float, float]] = deque(maxlen=LATEST)
        self._least = 1.0

    def begin(self, stage: str, now: float) -> None:
        """A stage begins.

        Parameters
        ----------
        stage : str
            Name of the stage.
        now : float
            Seconds since 1970.
        """
        self._latest.clear()
        self._latest.append((now, 0.0))
        self.stretches.append(Stretch(stage=stage, begin=now, end=now))

    def add(self, voxels: float, now: float) -> None:
        """A task of the stage that began last is done.

        Parameters
        ----------
        voxels : float
            Voxels of the task's core.
        now : float
            Seconds since 1970.
        """
        self._latest.append((now, voxels))
        last = self.stretches[-1]
        if last.end - last.begin >= self._least:
            self._shorten()
            last = Stretch(stage=last.stage, begin=last.end, end=now)
            self.stretches.append(last)
        last.end = now
        last.tasks += 1
        last.voxels += voxels

    @property
    def tasks_per_second(self) -> float:
        """Of the latest tasks; 0 where none has returned."""
        span = self._span()
        return (len(self._latest) - 1) / span if span else 0.0

    @property
    def voxels_per_second(self) -> float:
        """Of the latest tasks; 0 where none has returned."""
        span = self._span()
        return sum(voxels for _, voxels in list(self._latest)[1:]) / span if span else 0.0

    def _span(self) -> float:
        return self._latest[-1][0] - self._latest[0][0] if len(self._latest) > 1 else 0.0

    def _shorten(self) -> None:
        """Make each two stretches of a stage one where there are too many, and new ones twice as long."""
        if len(self.stretches) < MOST_STRETCHES:
            return
        self._least *= 2
        kept: list[Stretch] = []
        for stretch in self.stretches:
            last = kept[-1] if kept else None
            if last is not None and last.stage == stretch.stage and stretch.end - last.begin <= self._least:
                last.end, last.tasks, last.voxels = stretch.end, last.tasks + stretch.tasks, last.voxels + stretch.voxels
            else:
                kept.append(stretch)
        self.stretches = kept
