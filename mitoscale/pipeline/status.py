"""How far a run is, told by its ledgers alone: nothing needs to be running."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mitoscale.core.event import Event
from mitoscale.core.grid import COARSE
from mitoscale.core.network_cost import pixels_per_voxel
from mitoscale.core.settings import STAGES
from mitoscale.pipeline.missing_outputs import first_missing
from mitoscale.pipeline.run import LOCK, Run
from mitoscale.pipeline.state import FINISHED, finished, ledger_of
from mitoscale.storage.addresses import join
from mitoscale.storage.events import EventLog
from mitoscale.storage.exclusive import is_held
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import LedgerEntry, last_line

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
    network_pixels: float
    """Pixels that went through a network, in its own pixels, once for each pass; 0 where none was counted."""
    network_pixels_per_voxel: float
    """The same for each voxel worked on."""
    network_seconds: float
    """Seconds of a network on its device, part of ``compute``; 0 where they were not counted."""
    prompts: float
    """Prompts that a network answered."""
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
    missing: str = ""
    """What of its results is gone though it was finished; empty where nothing is."""

    @property
    def finished(self) -> bool:
        """Whether all stages are finished."""
        return all(stage.finished for stage in self.stages)


def progress(run: Run) -> RunProgress:
    """Read a run's ledgers."""
    folder = RunFolder(run.plan.run)
    found = RunProgress(
        stages=tuple(_stage(run, name) for name in STAGES),
        working=is_held(join(folder.path, LOCK)),
        events=tuple(EventLog(folder.events).read()),
    )
    return replace(found, missing=first_missing(run)) if found.finished and not found.working else found


def _stage(run: Run, name: str) -> StageProgress:
    tally = _Tally(ledger_of(run, name).latest(run.plan.settings.token(name)))
    tasks, ended = run.plan.task_count(name), finished(run, name)
    rate, voxel_rate = tally.rates()
    left = max(0, tasks - tally.done - len(tally.lost))
    closing = tally.closing if tally.closing is not None and tally.closing.state == "done" else None
    wall = closing.seconds.get("wall", 0.0) if closing else 0.0
    return StageProgress(
        name=name,
        tasks=tasks,
        done=tally.done,
        quarantined=dict(sorted(tally.lost.items())),
        finished=ended,
        numbers=closing.counts if closing else {},
        voxels=tally.counts["voxels"],
        network_pixels=tally.counts["network_pixels"],
        network_pixels_per_voxel=pixels_per_voxel(tally.counts),
        network_seconds=tally.counts["network_seconds"],
        prompts=tally.counts["prompts"],
        bytes_read=tally.counts["bytes_read"],
        bytes_written=tally.counts["bytes_written"],
        seconds={**{phase: tally.seconds[phase] for phase in ("read", "compute", "write")}, "wall": wall},
        voxels_per_second=voxel_rate,
        seconds_left=0.0 if ended or not left else left / rate if rate else None,
    )


class _Tally:
    """Adds up a stage's latest ledger lines one by one: there may be millions."""

    def __init__(self, entries: Iterable[LedgerEntry]) -> None:
        self.done = 0
        self.lost: dict[str, str] = {}
        self.closing: LedgerEntry | None = None
        self.counts: defaultdict[str, float] = defaultdict(float)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._recent: list[tuple[float, float]] = []
        for entry in entries:
            if entry.name == FINISHED:
                self.closing = entry
            elif entry.name.startswith(COARSE):
                continue
            elif entry.state == "quarantined":
                self.lost[entry.name] = last_line(entry.error)
            elif entry.state == "done":
                self._add(entry)

    def _add(self, entry: LedgerEntry) -> None:
        self.done += 1
        for numbers, added in ((self.counts, entry.counts), (self.seconds, entry.seconds)):
            for name, value in added.items():
                numbers[name] += value
        keep = heapq.heappush if len(self._recent) < _LATEST else heapq.heappushpop
        keep(self._recent, (entry.time, entry.counts.get("voxels", 0.0)))

    def rates(self) -> tuple[float, float]:
        """Tasks and voxels a second of the latest tasks; 0 where fewer than two are done."""
        latest = sorted(self._recent)
        if len(latest) < 2 or latest[-1][0] <= latest[0][0]:
            return 0.0, 0.0
        span = latest[-1][0] - latest[0][0]
        return (len(latest) - 1) / span, sum(voxels for _, voxels in latest[1:]) / span
