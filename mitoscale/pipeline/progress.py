"""How far a run is, told by its ledgers alone: nothing needs to be running."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from mitoscale.core.event import Event
from mitoscale.core.settings import STAGES
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.standing import Standing, finished
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import LedgerEntry

_LATEST = 200
"""Tasks whose times give the rate."""


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """How far a stage is."""

    name: str
    """The stage."""
    tasks: int
    """All its tasks."""
    done: int
    """Tasks that are done."""
    quarantined: dict[str, str]
    """Tasks that were given up, and the last line of what they raised."""
    finished: bool
    """Whether its end is done too, from what earlier stages have written by now."""
    numbers: dict[str, float]
    """What the stage counted when it last ended."""
    voxels: float
    """Voxels worked on."""
    bytes_read: float
    """Bytes read, before compression."""
    bytes_written: float
    """Bytes written, before compression."""
    seconds: dict[str, float]
    """Seconds of all tasks in ``read``, ``compute`` and ``write``, and (``wall``) of the stage when it last ended."""
    voxels_per_second: float
    """Of its latest tasks; 0 where too few are done."""
    seconds_left: float | None
    """Until its tasks are done at the rate of its latest ones; None where that cannot be told."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far a run is."""

    stages: tuple[StageProgress, ...]
    """All stages in order."""
    working: bool
    """Whether a process is working on it now."""
    events: tuple[Event, ...]
    """What has happened, oldest first."""

    @property
    def finished(self) -> bool:
        """Whether all stages are."""
        return all(stage.finished for stage in self.stages)


def progress(run: Run) -> RunProgress:
    """Read a run's ledgers."""
    folder = RunFolder(run.plan.run)
    return RunProgress(
        stages=tuple(_stage(run, name) for name in STAGES),
        working=_is_locked(folder.path),
        events=tuple(EventLog(folder.events).read()),
    )


def _stage(run: Run, name: str) -> StageProgress:
    standing = Standing.of(run, name)
    done = list(standing.done.values())
    tasks, ended = run.plan.task_count(name), finished(run, name)
    rate, voxel_rate = _rates(done)
    lost = {n: (standing.entries[n].error.strip().splitlines() or [""])[-1] for n in standing.quarantined}
    left = max(0, tasks - len(done) - len(lost))
    seconds = {phase: sum(e.seconds.get(phase, 0.0) for e in done) for phase in ("read", "compute", "write")}
    seconds["wall"] = standing.closing.seconds.get("wall", 0.0) if standing.closing else 0.0
    return StageProgress(
        name=name,
        tasks=tasks,
        done=len(done),
        quarantined=lost,
        finished=ended,
        numbers=standing.closing.counts if standing.closing else {},
        voxels=sum(e.counts.get("voxels", 0.0) for e in done),
        bytes_read=sum(e.counts.get("bytes_read", 0.0) for e in done),
        bytes_written=sum(e.counts.get("bytes_written", 0.0) for e in done),
        seconds=seconds,
        voxels_per_second=voxel_rate,
        seconds_left=0.0 if ended or not left else left / rate if rate else None,
    )


def _rates(done: list[LedgerEntry]) -> tuple[float, float]:
    """Tasks and voxels a second of the latest tasks; 0 where fewer than two are done."""
    latest = sorted(done, key=lambda e: e.time)[-_LATEST:]
    if len(latest) < 2 or latest[-1].time <= latest[0].time:
        return 0.0, 0.0
    span = latest[-1].time - latest[0].time
    return (len(latest) - 1) / span, sum(e.counts.get("voxels", 0.0) for e in latest[1:]) / span


def _is_locked(path: str) -> bool:
    lock = Path(path, ".lock")
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
