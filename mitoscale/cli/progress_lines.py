"""How far a run is where there is no terminal: in the log of a batch job, plain lines, now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import timedelta

import click

from mitoscale.pipeline import Observer, StageOutcome

SECONDS = 30.0
"""Least time between two lines of a stage."""


class ProgressLines(Observer):
    """An observer of a run that prints a line every half minute, and one as each stage ends, to stderr.

    Parameters
    ----------
    clock : callable
        Seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._told = 0.0
        self._earlier = self._done = self._total = 0
        self._voxels = 0.0

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._began = self._told = self._clock()
        self._earlier = self._done = len(done)
        self._total, self._voxels = total, 0.0

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._done, self._voxels, now = self._done + 1, self._voxels + voxels, self._clock()
        if now - self._told < SECONDS or self._done >= self._total:
            return
        self._told, spent = now, now - self._began
        rate = f", {self._voxels / 1e6 / spent:.2f} Mvoxel/s" if self._voxels else ""
        left = timedelta(seconds=round(spent * (self._total - self._done) / (self._done - self._earlier)))
        click.echo(f"{name:9} {self._done} of {self._total} tasks{rate}, about {left} left", err=True)

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        lost = f", {len(outcome.quarantined)} given up" if outcome.quarantined else ""
        what = f"{outcome.computed} of {outcome.tasks} tasks computed{lost}" if outcome.tasks else "done"
        click.echo(f"{outcome.name:9} {what}, {outcome.seconds:.1f} s", err=True)
